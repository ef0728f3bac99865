//! Images: all that a pod needs are on its node before it is made, those of its companions included,
//! and those of pods that an undo would make are there by then.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::plan::action::{Action, PodSpec};
use crate::plan::after::Run;
use crate::plan::body::{PlanBody, StepId, Work};
use crate::plan::names::{ImageDigest, NodeName};
use crate::plan::observation::Observation;

/// Judges a plan's images.
pub(super) fn images(body: &PlanBody, observation: &Observation, violations: &mut Vec<Violation>) {
    let mut brought: BTreeMap<(&NodeName, &ImageDigest), Vec<StepId>> = BTreeMap::new();
    let mut made: Vec<(&[Run], &NodeName, &PodSpec)> = Vec::new();
    for step in &body.steps {
        match &step.work {
            Work::Act(Action::EnsureImage { image, .. }) => {
                brought.entry((&step.node, image)).or_default().push(step.id);
            }
            Work::Act(Action::EnsurePod { pod }) => made.push((step.after.runs(), &step.node, pod)),
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => {}
        }
    }
    let seen = |node: &NodeName| observation.seen(node).map(|seen| &seen.spec.images);
    let mut last: Option<(&NodeName, &BTreeSet<ImageDigest>)> = None;
    let mut is_there = |node, image: &ImageDigest| {
        if last.is_none_or(|(known, _)| known != node) {
            last = seen(node).map(|images| (node, images));
        }
        last.is_some_and(|(known, images)| known == node && images.contains(image))
    };
    let mut lacks = |node: &NodeName, pod: &PodSpec, image: &ImageDigest| {
        let (pod, node, image) = (pod.id.clone(), node.clone(), image.clone());
        violations.push(Violation::ImageMissing { pod, node, image });
    };
    // What a node itself needs is no ancestor, so a pod has to wait for it by name.
    for (after, node, pod) in made {
        for image in pod.images() {
            let comes = || {
                let mut steps = brought.get(&(node, image)).into_iter().flatten();
                steps.any(|id| after.iter().any(|run| (run.first..=run.last).contains(id)))
            };
            if !is_there(node, image) && !comes() {
                lacks(node, pod, image);
            }
        }
    }
    let moves = body.branches.values().flat_map(|b| &b.waves).flat_map(|wave| &wave.moves);
    for (node, pod) in moves.flat_map(|one| &one.restore) {
        for image in pod.images() {
            if !is_there(node, image) && !brought.contains_key(&(node, image)) {
                lacks(node, pod, image);
            }
        }
    }
}
