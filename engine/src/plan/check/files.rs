//! Files: what is in those of every pod that a plan or its undo makes is in the plan, and is what its name
//! says.

use std::collections::BTreeMap;

use super::Violation;
use crate::plan::action::{Action, PodSpec};
use crate::plan::body::{PlanBody, Work};
use crate::plan::names::ContentDigest;

/// Judges what is in a plan's files.
pub(super) fn files(body: &PlanBody, violations: &mut Vec<Violation>) {
    let made = body.steps.iter().filter_map(|step| match &step.work {
        Work::Act(Action::EnsurePod { pod }) => Some(pod),
        Work::Act(_)
        | Work::AwaitReady { .. }
        | Work::AwaitDrained { .. }
        | Work::Ask(_)
        | Work::Fence { .. } => None,
    });
    let moves = body.branches.values().flat_map(|branch| &branch.waves).flat_map(|w| &w.moves);
    let restored = moves.filter_map(|one| one.restore.as_ref()).map(|(_, pod)| pod);
    let mut known: BTreeMap<&ContentDigest, bool> = BTreeMap::new();
    for pod in made.chain(restored) {
        let lacks = PodSpec::contents(pod).find(|content| {
            !*known.entry(content).or_insert_with(|| body.contents.get(content).is_some())
        });
        if let Some(content) = lacks {
            let (pod, content) = (pod.id.clone(), content.clone());
            violations.push(Violation::ContentMissing { pod, content });
        }
    }
}
