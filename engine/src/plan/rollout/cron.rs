//! Decisions about a cron: nothing of it changes while it runs.
//!
//! A cron is one replica that its node starts now and then, so that it rolls out like anything that stops before its successor
//! starts. A run that is under way is left to its end, as far as the observation shows it: what would take its pod away waits for
//! an apply after that. What leaves the text goes at once; and so does one that comes back with its node while another one has taken its
//! place: that none runs twice at once goes before.

use super::{Case, Decision, leave};
use crate::plan::canon::template_digest;
use crate::plan::graph::Workload;
use crate::plan::names::PodId;
use crate::plan::world::Here;

/// What is decided of a cron that runs just now and would have to go; nothing if none does.
pub(super) fn waits(case: &Case<'_>, wanted: &Workload) -> Option<Decision> {
    let digest = template_digest(&wanted.template);
    let (id, pod) = alone(case)?;
    let stays = id.ordinal < wanted.replicas
        && pod.is_sound(&digest)
        && case.leaves(id, pod, wanted).is_none();
    (!stays).then(|| left(case, id, pod))
}

/// What is decided of a cron that the text has, and that is to be nowhere, while it runs.
pub(super) fn stays(case: &Case<'_>) -> Option<Decision> {
    let (id, pod) = alone(case)?;
    Some(left(case, id, pod))
}

/// A pod that runs just now, if it is the only one of its cron.
fn alone<'a>(case: &'a Case<'_>) -> Option<(&'a PodId, &'a Here)> {
    let mut known = case.world.of_workload(case.name).filter(|(_, pod)| pod.is_known());
    let one = known.next()?;
    (known.next().is_none() && one.1.busy).then_some(one)
}

fn left(case: &Case<'_>, id: &PodId, pod: &Here) -> Decision {
    let words =
        format!("{id} on {} runs just now: it is changed by an apply after that", pod.node());
    Decision { deferred: vec![words], incomplete: true, ..leave(case) }
}
