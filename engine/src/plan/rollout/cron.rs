//! Decisions about a cron: nothing of it changes while it runs.
//!
//! A cron is one replica that its node starts now and then, so that it rolls out like anything that stops before its successor
//! starts. A run that is under way is left to its end, as far as the observation shows it: what would take its pod away waits for
//! an apply after that. What leaves the text goes at once.

use super::{Case, Decision, leave};
use crate::plan::canon::template_digest;
use crate::plan::graph::Workload;
use crate::plan::names::PodId;
use crate::plan::world::Here;

/// What is decided of a cron that runs just now and would have to go; nothing if none does.
pub(super) fn waits(case: &Case<'_>, wanted: &Workload) -> Option<Decision> {
    let digest = template_digest(&wanted.template);
    let stays = |id, pod| -> bool {
        let pod: &Here = pod;
        pod.is_sound(&digest) && case.leaves(id, pod, wanted).is_none()
    };
    let mut busy = case
        .world
        .of_workload(case.name)
        .filter(|(id, pod)| pod.busy && (id.ordinal >= wanted.replicas || !stays(*id, *pod)));
    let (id, pod) = busy.next()?;
    Some(left(case, id, pod))
}

/// What is decided of a cron that the text has, and that is to be nowhere, while it runs.
pub(super) fn stays(case: &Case<'_>) -> Option<Decision> {
    let (id, pod) = case.world.of_workload(case.name).find(|(_, pod)| pod.busy)?;
    Some(left(case, id, pod))
}

fn left(case: &Case<'_>, id: &PodId, pod: &Here) -> Decision {
    let words =
        format!("{id} on {} runs just now: it is changed by an apply after that", pod.node());
    Decision { deferred: vec![words], incomplete: true, ..leave(case) }
}
