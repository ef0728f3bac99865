//! Volumes: made once, there when they are mounted, one pod of a replica at a time, and never taken
//! from anybody who still needs them.
//!
//! It shares no code with the planner's: it takes the steps, what was seen, and what the ledger
//! remembers. As everywhere here, what a step needs must have happened before it in every order.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::ancestry::Ancestry;
use crate::plan::action::{Action, PodSpec};
use crate::plan::body::{Goal, PlanBody, Step, Work};
use crate::plan::canon::template_digest;
use crate::plan::graph::Graph;
use crate::plan::ledger::Head;
use crate::plan::names::{NodeName, PodId, SpecDigest, VolumeId, WorkloadName};
use crate::plan::observation::{Observation, OnDelete};
use crate::plan::undo::undo_steps;

/// What steps do to volumes and to pods that mount them, by index.
#[derive(Default)]
struct Deeds<'a> {
    made: BTreeMap<&'a VolumeId, Vec<(usize, &'a NodeName)>>,
    gone: Vec<(usize, &'a NodeName, &'a VolumeId)>,
    mounting: Vec<(usize, &'a NodeName, &'a PodSpec)>,
    removed: BTreeMap<&'a PodId, Vec<usize>>,
    gates: BTreeMap<&'a WorkloadName, Vec<usize>>,
}

impl<'a> Deeds<'a> {
    fn of(steps: &'a [Step]) -> Self {
        let mut deeds = Self::default();
        for (index, Step { node, branch, work, .. }) in steps.iter().enumerate() {
            match work {
                Work::Act(Action::EnsureVolume { volume, .. }) => {
                    deeds.made.entry(volume).or_default().push((index, node));
                }
                Work::Act(Action::RemoveVolume { volume, .. }) => {
                    deeds.gone.push((index, node, volume));
                }
                Work::Act(Action::EnsurePod { pod }) if !pod.mounts.is_empty() => {
                    deeds.mounting.push((index, node, pod));
                }
                Work::Act(Action::RemovePod { pod, .. }) => {
                    deeds.removed.entry(pod).or_default().push(index);
                }
                Work::AwaitReady { .. } => {
                    let gates = branch.as_ref().map(|branch| deeds.gates.entry(branch));
                    gates.into_iter().for_each(|gates| gates.or_default().push(index));
                }
                Work::Act(_) | Work::AwaitDrained { .. } | Work::Ask(_) | Work::Fence { .. } => {}
            }
        }
        deeds
    }

    fn has_gone(&self, pod: &PodId, before: usize, ancestry: &Ancestry) -> bool {
        let removed = self.removed.get(pod).into_iter().flatten();
        removed.into_iter().any(|step| ancestry.is_before(*step, before))
    }
}

/// Judges a plan's volumes.
pub(super) fn volumes(
    body: &PlanBody,
    graph: &Graph,
    (observation, head): (&Observation, &Head),
    ancestry: &Ancestry,
    violations: &mut Vec<Violation>,
) {
    as_the_text_says(body, graph, violations);
    let deeds = Deeds::of(&body.steps);
    if deeds.made.is_empty() && deeds.gone.is_empty() && deeds.mounting.is_empty() {
        return;
    }
    let mut seen: BTreeMap<&VolumeId, BTreeSet<&NodeName>> = BTreeMap::new();
    for name in observation.nodes.keys() {
        for id in observation.seen(name).into_iter().flat_map(|seen| seen.spec.volumes.keys()) {
            seen.entry(id).or_default().insert(name);
        }
    }
    // An apply that was killed may have removed what it was to.
    let begun = head.in_flight.iter().flat_map(|flight| &flight.plan.steps);
    let going: BTreeSet<&VolumeId> = begun
        .filter_map(|step| match &step.work {
            Work::Act(Action::RemoveVolume { volume, .. }) => Some(volume),
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => None,
        })
        .collect();
    for (id, steps) in &deeds.made {
        let there = seen.get(id);
        for (_, node) in steps {
            let noted = there.is_some_and(|there| there.contains(node));
            let elsewhere = steps.iter().any(|(_, other)| other != node)
                || there.is_some_and(|there| there.iter().any(|other| other != node));
            let known = head.volumes().get(*id);
            let was = known.is_some_and(|at| {
                !(at.unsure || going.contains(id)) || observation.seen(&at.node).is_none()
            });
            if elsewhere || !noted && was {
                let (volume, node) = ((*id).clone(), (*node).clone());
                violations.push(Violation::VolumeMadeAgain { volume, node });
            }
        }
    }
    let unseen = head.may_be_there().into_iter();
    let unseen = unseen.filter(|(_, placed)| observation.seen(&placed.node).is_none());
    let seen_pods = observation.nodes.keys().filter_map(|name| observation.seen(name));
    let seen_pods = seen_pods.flat_map(|seen| &seen.spec.pods);
    let seen_pods = seen_pods.filter(|(_, pod)| !pod.mounts.is_empty());
    let mut there: BTreeMap<(&WorkloadName, u32), BTreeSet<&PodId>> = BTreeMap::new();
    for (id, workload) in seen_pods
        .map(|(id, pod)| (id, &pod.workload))
        .chain(unseen.map(|(id, placed)| (id, &placed.workload)))
    {
        there.entry((workload, id.ordinal)).or_default().insert(id);
    }
    for (index, node, pod) in &deeds.mounting {
        for id in pod.mounts.values() {
            // What a node itself needs is no ancestor, so the pod has to wait for it by name.
            let after = body.steps.get(*index).map(|step| step.after.runs()).unwrap_or_default();
            let waits = |step: usize| {
                let id = body.steps[step].id;
                after.iter().any(|run| (run.first..=run.last).contains(&id))
            };
            let mut made = deeds.made.get(id).into_iter().flatten();
            let there = seen.get(id).is_some_and(|there| there.len() == 1 && there.contains(node))
                || made.any(|(step, on)| on == node && waits(*step));
            if !there {
                violations.push(Violation::VolumeMissing {
                    pod: pod.id.clone(),
                    volume: id.clone(),
                    node: (*node).clone(),
                });
            }
        }
        alone(&deeds, (*index, pod), &there, ancestry, violations);
    }
    for (index, node, id) in &deeds.gone {
        taken(body, graph, observation, (*index, node, id), (&deeds, ancestry), violations);
    }
    undone(body, &seen, violations);
}

/// What new pods mount is what their workloads' text says.
fn as_the_text_says(body: &PlanBody, graph: &Graph, violations: &mut Vec<Violation>) {
    let mut digests: BTreeMap<&WorkloadName, SpecDigest> = BTreeMap::new();
    for (node, pod) in body.created() {
        let Some(workload) = graph.workloads.get(&pod.workload) else { continue };
        let mounts = &workload.template.mounts;
        if mounts.is_empty() && pod.mounts.is_empty() {
            continue;
        }
        let digest =
            digests.entry(&pod.workload).or_insert_with(|| template_digest(&workload.template));
        if *digest != pod.digest {
            continue;
        }
        let wanted = mounts.iter().map(|(path, mount)| {
            let own = if mount.each_replica { Some(pod.id.ordinal) } else { None };
            (path, mount.volume.id(own))
        });
        if !wanted.eq(pod.mounts.iter().map(|(path, id)| (path, id.clone()))) {
            let (pod, node) = (pod.id.clone(), node.clone());
            let why = "it does not mount what the text says".to_owned();
            violations.push(Violation::Misplaced { pod, node, why });
        }
    }
}

/// A pod that mounts volumes comes when no other pod of its replica that does is there, or may be.
fn alone(
    deeds: &Deeds<'_>,
    (index, pod): (usize, &PodSpec),
    there: &BTreeMap<(&WorkloadName, u32), BTreeSet<&PodId>>,
    ancestry: &Ancestry,
    violations: &mut Vec<Violation>,
) {
    let mut others: BTreeSet<&PodId> =
        there.get(&(&pod.workload, pod.id.ordinal)).cloned().unwrap_or_default();
    others.extend(deeds.mounting.iter().map(|(_, _, other)| &other.id).filter(|other| {
        other.workload == pod.id.workload
            && other.ordinal == pod.id.ordinal
            && other.generation < pod.id.generation
    }));
    others.remove(&pod.id);
    for other in others.into_iter().filter(|other| !deeds.has_gone(other, index, ancestry)) {
        let (pod, other) = (pod.id.clone(), other.clone());
        violations.push(Violation::VolumeShared { pod, other });
    }
}

/// Data goes only if its note says so, the text does not have it, whoever mounts it is gone, and
/// nothing that goes back will want it.
fn taken(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    (index, node, id): (usize, &NodeName, &VolumeId),
    (deeds, ancestry): (&Deeds<'_>, &Ancestry),
    violations: &mut Vec<Violation>,
) {
    let seen = observation.seen(node);
    let noted = seen.and_then(|seen| seen.spec.volumes.get(id));
    let in_text = body.goal == Goal::Converge
        && graph.volumes.iter().any(|(name, volume)| match (volume.each_replica, id.replica()) {
            (true, Some((_, ordinal))) => name.id(Some(ordinal)) == *id,
            (true, None) => false,
            (false, _) => name.id(None) == *id,
        });
    let pods = seen.into_iter().flat_map(|seen| &seen.spec.pods);
    let user = pods
        .filter(|(_, pod)| pod.mounts.contains(id))
        .any(|(pod, _)| !deeds.has_gone(pod, index, ancestry));
    let comes = deeds.mounting.iter().any(|(_, _, pod)| pod.mounts.values().any(|m| m == id));
    let wanted_back =
        body.branches.iter().filter(|(_, branch)| branch.undo).any(|(name, branch)| {
            let before = branch.before.iter().flat_map(|before| before.template.mounts.values());
            let mut mounting = before.filter(|mount| match (mount.each_replica, id.replica()) {
                (true, Some((_, ordinal))) => mount.volume.id(Some(ordinal)) == *id,
                (true, None) => false,
                (false, _) => mount.volume.id(None) == *id,
            });
            let gates = deeds.gates.get(name).into_iter().flatten();
            mounting.next().is_some()
                && gates.into_iter().any(|gate| !ancestry.is_before(*gate, index))
        });
    if noted.is_none_or(|noted| noted.on_delete != OnDelete::Destroy)
        || in_text
        || user
        || comes
        || wanted_back
    {
        let (volume, node) = (id.clone(), node.clone());
        violations.push(Violation::VolumeTaken { volume, node });
    }
}

/// What goes back mounts its volumes where they are, and when what came is gone.
fn undone(
    body: &PlanBody,
    seen: &BTreeMap<&VolumeId, BTreeSet<&NodeName>>,
    violations: &mut Vec<Violation>,
) {
    for (name, branch) in body.branches.iter().filter(|(_, branch)| branch.undo) {
        let moves = || branch.waves.iter().flat_map(|wave| &wave.moves);
        let mounts = |pod: &PodSpec| !pod.mounts.is_empty();
        if !moves().any(|one| one.restore.as_ref().is_some_and(|(_, pod)| mounts(pod))) {
            continue;
        }
        for (node, pod) in moves().filter_map(|one| one.restore.as_ref()) {
            let missing = pod.mounts.values().find(|id| {
                seen.get(id).is_none_or(|there| there.len() != 1 || !there.contains(node))
            });
            violations.extend(missing.map(|volume| Violation::VolumeMissing {
                pod: pod.id.clone(),
                volume: volume.clone(),
                node: node.clone(),
            }));
        }
        for failed in 0..branch.waves.len() {
            let wave = u32::try_from(failed).unwrap_or(u32::MAX);
            let steps = undo_steps(body, name, wave, body.next_step());
            let (deeds, ancestry) = (Deeds::of(&steps), Ancestry::of(&steps));
            let came = branch.waves.iter().take(failed + 1).flat_map(|wave| &wave.moves);
            let came: BTreeMap<u32, &PodId> = came
                .filter(|one| one.create)
                .filter_map(|one| one.into.as_ref())
                .filter(|(_, pod)| mounts(pod))
                .map(|(_, pod)| (pod.id.ordinal, &pod.id))
                .collect();
            for (index, _, pod) in &deeds.mounting {
                let Some(other) = came.get(&pod.id.ordinal) else { continue };
                if !deeds.has_gone(other, *index, &ancestry) {
                    let (pod, other) = (pod.id.clone(), (*other).clone());
                    violations.push(Violation::VolumeShared { pod, other });
                }
            }
        }
    }
}
