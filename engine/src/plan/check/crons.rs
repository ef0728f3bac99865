//! Crons: no run that was seen under way is cut short, unless its cron leaves the text, or another pod of it is there: two would run.

use super::Violation;
use crate::plan::action::Action;
use crate::plan::body::{Goal, PlanBody, Work};
use crate::plan::graph::Graph;
use crate::plan::observation::{Observation, PodStatus};

/// Judges what a plan takes away of crons.
pub(super) fn crons(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    violations: &mut Vec<Violation>,
) {
    if body.goal == Goal::Destroy {
        return;
    }
    for step in &body.steps {
        let (Work::Act(Action::RemovePod { pod, .. }), Some(seen)) =
            (&step.work, observation.seen(&step.node))
        else {
            continue;
        };
        let Some(there) = seen.spec.pods.get(pod).filter(|there| there.cron) else { continue };
        let runs = matches!(seen.status.pods.get(pod), Some(PodStatus::Running { .. }));
        let others = observation.nodes.keys().filter_map(|node| observation.seen(node));
        let mut others = others.flat_map(|seen| &seen.spec.pods);
        let is_doubled = others.any(|(id, other)| id != pod && other.workload == there.workload);
        if runs && !is_doubled && graph.workloads.contains_key(&there.workload) {
            violations.push(Violation::CutShort { pod: pod.clone() });
        }
    }
}
