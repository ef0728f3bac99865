//! Preconditions: what a plan read, and whether it is still so.
//!
//! A node's precondition covers its Spec and Facts, and of its Status only what decided
//! something: whether each of our pods runs. A plan is refused when one differs, and the words
//! say which node and what about it.

use std::collections::BTreeMap;

use super::action::Action;
use super::body::{Goal, PlanBody, Work};
use super::canon::digest_of;
use super::graph::Graph;
use super::names::{NodeName, PodId};
use super::observation::{NodeObservation, NodeView, Observation, PodStatus};

/// Digests what was read of each node that answered.
pub fn preconditions(observation: &Observation) -> BTreeMap<NodeName, String> {
    let seen = observation.nodes.iter().filter_map(|(name, view)| match view {
        NodeView::Seen(seen) => Some((name.clone(), digest_of("berth-node/1", &relevant(seen)))),
        NodeView::Unknown { .. } => None,
    });
    seen.collect()
}

/// Names what changed between two observations, one line a difference; empty if nothing that a
/// plan reads did.
pub fn changed(then: &Observation, now: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    let names: std::collections::BTreeSet<_> = then.nodes.keys().chain(now.nodes.keys()).collect();
    for name in names {
        match (then.seen(name), now.seen(name)) {
            (None, None) => {}
            (None, Some(_)) => lines.push(format!("{name} has become reachable")),
            (Some(_), None) => lines.push(format!("{name} is not reachable any more")),
            (Some(then), Some(now)) => {
                let before = lines.len();
                differences(name, then, now, &mut lines);
                let differ = relevant(then) != relevant(now);
                if differ && lines.len() == before {
                    lines.push(format!("{name}: what Berth wrote there has changed"));
                }
            }
        }
    }
    lines
}

/// Names the crons that run now, did not when the plan was made, and would be cut short by it.
pub fn begun(body: &PlanBody, graph: &Graph, then: &Observation, now: &Observation) -> Vec<String> {
    let is_busy = |seen: &Observation, node: &NodeName, pod: &PodId| {
        let seen = seen.seen(node);
        let status = seen.and_then(|seen| seen.status.pods.get(pod));
        matches!(status, Some(PodStatus::Running { .. }))
    };
    let goes = body.steps.iter().filter_map(|step| match &step.work {
        Work::Act(Action::RemovePod { pod, .. }) => Some((&step.node, pod)),
        _ => None,
    });
    let cron = |(node, pod): &(&NodeName, &PodId)| {
        let seen = now.seen(node).and_then(|seen| seen.spec.pods.get(*pod));
        seen.is_some_and(|pod| pod.cron && graph.workloads.contains_key(&pod.workload))
    };
    let begun = goes.filter(cron).filter(|(node, pod)| {
        body.goal == Goal::Converge && is_busy(now, node, pod) && !is_busy(then, node, pod)
    });
    begun.map(|(node, pod)| format!("{pod} on {node} has begun to run")).collect()
}

fn relevant(
    seen: &NodeObservation,
) -> (&super::observation::Facts, &super::observation::NodeSpec, BTreeMap<&PodId, bool>) {
    let running = |status: &PodStatus| match status {
        PodStatus::Running { .. } | PodStatus::Waiting { .. } => true,
        PodStatus::Stopped { .. } | PodStatus::Created => false,
    };
    // A job that has ended since is what its gate waits for.
    let ends = |id: &PodId| seen.spec.pods.get(id).is_some_and(|pod| pod.ends);
    let pods = seen.status.pods.iter().map(|(id, status)| (id, ends(id) || running(status)));
    let pods = pods.collect();
    (&seen.facts, &seen.spec, pods)
}

fn differences(
    name: &NodeName,
    then: &NodeObservation,
    now: &NodeObservation,
    lines: &mut Vec<String>,
) {
    let (_, _, ran) = relevant(then);
    let (_, _, runs) = relevant(now);
    for (pod, was) in &ran {
        match runs.get(pod) {
            None => lines.push(format!("{pod} on {name} is gone")),
            Some(is) if is != was => {
                let state = if *is { "runs now" } else { "does not run any more" };
                lines.push(format!("{pod} on {name} {state}"));
            }
            Some(_) => {}
        }
    }
    for pod in runs.keys().filter(|pod| !ran.contains_key(*pod)) {
        lines.push(format!("{pod} on {name} is new"));
    }
    for (pod, seen) in &now.spec.pods {
        let was = then.spec.pods.get(pod);
        if was.is_some_and(|was| was != seen) {
            lines.push(format!("{pod} on {name} was changed"));
        }
    }
    if then.spec.endpoints != now.spec.endpoints {
        lines.push(format!("{name}: an endpoint's backends changed"));
    }
    if then.spec.volumes != now.spec.volumes {
        lines.push(format!("{name}: its volumes changed"));
    }
    if then.facts.machine_id != now.facts.machine_id {
        lines.push(format!("{name} is another machine"));
    }
}
