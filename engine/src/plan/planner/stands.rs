//! What should stand now: the text's workloads, or what a pin, a pause or a stop makes stand in their place.

use std::collections::BTreeMap;

use super::Inputs;
use crate::plan::body::{Blocked, Goal, PlanBody};
use crate::plan::canon::release_digest;
use crate::plan::change;
use crate::plan::graph::Workload;
use crate::plan::ledger::Head;
use crate::plan::names::WorkloadName;
use crate::plan::overrides::{self, Standing};

/// Refuses to remove what is protected: what was last applied says so, since the text says nothing of it
/// any more.
fn protect(inputs: &Inputs<'_>, body: &mut PlanBody) {
    let Inputs { graph, head, goal, .. } = *inputs;
    let stays = |name: &WorkloadName| match goal {
        Goal::Converge => graph.workloads.contains_key(name) || body.leaves(name),
        Goal::Destroy => false,
    };
    let gone = head.reached.iter().filter(|(name, reached)| reached.protect && !stays(name));
    let blocked = gone.map(|(name, _)| Blocked::Protected { resource: format!("service/{name}") });
    let blocked: Vec<Blocked> = blocked.collect();
    body.blocked.extend(blocked);
}

/// What stands in the place of the text's release, so many of it and where the text says. Of a job, what has been done.
pub(super) fn standing(text: &Workload, stands: &Workload) -> Workload {
    if stands.once.is_some() {
        return stands.clone();
    }
    Workload {
        replicas: text.replicas,
        scale: text.scale,
        placement: text.placement.clone(),
        protect: text.protect,
        on_unreachable: text.on_unreachable,
        ..stands.clone()
    }
}

/// Each workload as it should be now: the text's, or what a pin or a pause makes stand.
pub(super) fn effective(
    inputs: &Inputs<'_>,
    body: &mut PlanBody,
) -> BTreeMap<WorkloadName, Workload> {
    let Inputs { graph, head, goal, now_ms, .. } = *inputs;
    protect(inputs, body);
    match goal {
        Goal::Destroy => return BTreeMap::new(),
        Goal::Converge => {}
    }
    let mut wanted = BTreeMap::new();
    for (name, workload) in &graph.workloads {
        if body.leaves(name) {
            continue;
        }
        let at = |stands: &Workload| standing(workload, stands);
        if let Some(pin) = head.held(name, workload) {
            body.changes.push(change::held(name, workload, pin));
            let mut stands = pin.stands.as_deref();
            // A rollback by hand waits while that is paused, as the text does.
            if let (Some((pause, reached)), Some(back)) = (paused(head, name, now_ms), stands)
                && release_digest(reached) != release_digest(back)
            {
                body.changes.push(change::paused(name, workload, pause));
                stands = Some(reached);
            }
            // What a job has done before it has done all the same, and nothing of that is done again.
            if workload.once.is_some() {
                stands = head.reached.get(name).filter(|it| it.once.is_some());
            }
            wanted.extend(stands.map(|stands| (name.clone(), at(stands))));
            continue;
        }
        // A release counts as reached when replicas of it have passed its gates, not before.
        if workload.replicas == 0 {
            let reached = head.reached.get(name);
            if reached.is_none_or(|it| release_digest(it) != release_digest(workload)) {
                body.changes.push(change::stopped(name, workload));
                wanted.extend(reached.map(|stands| (name.clone(), at(stands))));
                continue;
            }
        }
        let kept = match paused(head, name, now_ms) {
            Some((pause, stands)) if release_digest(stands) != release_digest(workload) => {
                body.changes.push(change::paused(name, workload, pause));
                at(stands)
            }
            Some(_) | None => workload.clone(),
        };
        wanted.insert(name.clone(), kept);
    }
    for (name, reached) in &head.reached {
        if body.leaves(name) {
            wanted.insert(name.clone(), reached.clone());
        }
        if body.leaves(name) || graph.workloads.contains_key(name) {
            continue;
        }
        if let Some((pause, stands)) = paused(head, name, now_ms) {
            body.changes.push(change::paused(name, stands, pause));
            wanted.insert(name.clone(), stands.clone());
        }
    }
    for (name, pin) in &head.pins {
        let held = graph.workloads.get(name).is_some_and(|w| head.held(name, w).is_some());
        if !held && !body.leaves(name) {
            body.unpinned.insert(name.clone());
            body.changes.push(change::released(name, graph.workloads.get(name), pin));
        }
    }
    wanted
}

/// The pause of a workload and the release that it keeps. What never had a release has none to keep.
pub(super) fn paused<'a>(
    head: &'a Head,
    name: &WorkloadName,
    now_ms: u64,
) -> Option<(&'a Standing, &'a Workload)> {
    overrides::pause(&head.overrides, name, now_ms).zip(head.reached.get(name))
}
