//! Room: at every creation, what its node holds at worst.
//!
//! Workloads run at the same time, each in the order of its own steps: so each counts with the most
//! that it has on the node from what must be done by then on, and the pod's own with what it has
//! then. For a workload that the pod waits for in nothing, that most is one number for all pods.

use std::collections::BTreeMap;

use super::Violation;
use super::ancestry::Ancestry;
use crate::plan::action::Action;
use crate::plan::body::{Gate, PlanBody, Work};
use crate::plan::graph::Graph;
use crate::plan::names::{NodeName, PodId, VolumeId, WorkloadName};
use crate::plan::observation::{NodeObservation, Observation, Requests};

/// Judges what every node is promised.
pub(super) fn capacity(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    ancestry: &Ancestry,
    violations: &mut Vec<Violation>,
) {
    let mut on_node: BTreeMap<&NodeName, Vec<usize>> = BTreeMap::new();
    for (index, step) in body.steps.iter().enumerate() {
        match &step.work {
            Work::Act(
                Action::EnsurePod { .. } | Action::RemovePod { .. } | Action::EnsureVolume { .. },
            )
            | Work::Ask(Gate::Ended { .. }) => {
                on_node.entry(&step.node).or_default().push(index);
            }
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => {}
        }
    }
    for (name, steps) in on_node {
        let (Some(seen), Some(node)) = (observation.seen(name), graph.nodes.get(name)) else {
            continue;
        };
        let room = node.room(&seen.facts.has());
        Held::of(body, seen, &steps).judge(name, &room, ancestry, violations);
    }
}

/// What lies on a node, and what the plan does there.
struct Held<'a> {
    body: &'a PlanBody,
    seen: &'a NodeObservation,
    /// What stays whatever happens.
    stays: Requests,
    /// What each workload has to begin with, and its steps on the node, in order.
    branches: Vec<(Requests, Vec<usize>)>,
    /// What each pod asks for.
    known: BTreeMap<&'a PodId, Requests>,
    /// Volumes that are made, or made larger.
    made: Vec<&'a VolumeId>,
}

impl<'a> Held<'a> {
    fn of(body: &'a PlanBody, seen: &'a NodeObservation, steps: &[usize]) -> Self {
        let mut branches: BTreeMap<Option<&WorkloadName>, (Requests, Vec<usize>)> = BTreeMap::new();
        let mut removed: BTreeMap<&PodId, Option<&WorkloadName>> = BTreeMap::new();
        let mut known: BTreeMap<&PodId, Requests> = BTreeMap::new();
        let mut stays = Requests::default();
        let mut made = Vec::new();
        for index in steps {
            let step = &body.steps[*index];
            if let Work::Act(Action::EnsureVolume { volume, spec, .. }) = &step.work {
                let noted = seen.spec.volumes.get(volume).map_or(0, |noted| noted.size_bytes);
                if spec.size_bytes > noted {
                    stays.add(&on_disk(spec.size_bytes - noted));
                    made.push(volume);
                }
                continue;
            }
            let branch = step.branch.as_ref();
            branches.entry(branch).or_default().1.push(*index);
            match &step.work {
                Work::Act(Action::EnsurePod { pod }) => {
                    known.insert(&pod.id, pod.requests());
                }
                // What has run to its end takes nothing any more.
                Work::Act(Action::RemovePod { pod, .. }) | Work::Ask(Gate::Ended { pod, .. }) => {
                    removed.entry(pod).or_insert(branch);
                }
                Work::Act(_)
                | Work::AwaitReady { .. }
                | Work::AwaitDrained { .. }
                | Work::Ask(_)
                | Work::Fence { .. } => {}
            }
        }
        stays.add(&on_disk(seen.spec.volumes_of_others_bytes));
        seen.spec.volumes.values().for_each(|noted| stays.add(&on_disk(noted.size_bytes)));
        seen.spec.others.values().for_each(|requests| stays.add(requests));
        for (id, there) in &seen.spec.pods {
            let takes = seen.takes(id, there);
            match removed.get(id) {
                Some(branch) => branches.entry(*branch).or_default().0.add(&takes),
                None => stays.add(&takes),
            }
            known.entry(id).or_insert(takes);
        }
        Self { body, seen, stays, branches: branches.into_values().collect(), known, made }
    }

    fn play(&self, usage: &mut Requests, index: usize) {
        match &self.body.steps[index].work {
            // Making a pod that is there already makes no other one.
            Work::Act(Action::EnsurePod { pod }) if !self.seen.spec.pods.contains_key(&pod.id) => {
                usage.add(&pod.requests());
            }
            Work::Act(Action::RemovePod { pod, .. }) | Work::Ask(Gate::Ended { pod, .. }) => {
                usage.sub(self.known.get(pod).unwrap_or(&Requests::default()));
            }
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => {}
        }
    }

    /// The most that a branch has once some of its steps are done.
    fn most(&self, begins: &Requests, steps: &[usize], done: impl Fn(usize) -> bool) -> Requests {
        let mut usage = begins.clone();
        steps.iter().filter(|i| done(**i)).for_each(|i| self.play(&mut usage, *i));
        let mut most = usage.clone();
        for index in steps.iter().filter(|i| !done(**i)) {
            self.play(&mut usage, *index);
            most = most.max_with(&usage);
        }
        most
    }

    fn judge(
        &self,
        name: &NodeName,
        room: &Requests,
        ancestry: &Ancestry,
        violations: &mut Vec<Violation>,
    ) {
        let most: Vec<Requests> = self
            .branches
            .iter()
            .map(|(begins, steps)| self.most(begins, steps, |_| false))
            .collect();
        // What all branches up to each, and from each on, have at most.
        let mut up_to = vec![self.stays.clone()];
        let mut from = vec![Requests::default()];
        for index in 0..most.len() {
            let mut sum = up_to[index].clone();
            sum.add(&most[index]);
            up_to.push(sum);
            let mut sum = from[index].clone();
            sum.add(&most[most.len() - 1 - index]);
            from.push(sum);
        }
        let disk = up_to.last().map_or(0, |all| all.disk_bytes);
        if room.disk_bytes > 0 && disk > room.disk_bytes {
            violations.extend(self.made.iter().map(|volume| {
                let (volume, node) = ((*volume).clone(), name.clone());
                Violation::VolumeTooLarge { volume, node }
            }));
        }
        for (number, (begins, steps)) in self.branches.iter().enumerate() {
            let mut others = up_to[number].clone();
            others.add(&from[most.len() - 1 - number]);
            let mut usage = begins.clone();
            for &index in steps {
                self.play(&mut usage, index);
                let Work::Act(Action::EnsurePod { pod }) = &self.body.steps[index].work else {
                    continue;
                };
                let mut total = if ancestry.waits_outside(index) {
                    self.others_after(number, index, ancestry)
                } else {
                    others.clone()
                };
                total.add(&usage);
                if exceeds(&total, room, &pod.requests()) {
                    let (pod, node) = (pod.id.clone(), name.clone());
                    violations.push(Violation::Overcommitted { pod, node });
                }
            }
        }
    }

    /// The most that all other branches have once what a step waits for is done.
    fn others_after(&self, number: usize, index: usize, ancestry: &Ancestry) -> Requests {
        let mut total = self.stays.clone();
        for (other, (begins, steps)) in self.branches.iter().enumerate() {
            if other != number {
                total.add(&self.most(begins, steps, |step| ancestry.is_before(step, index)));
            }
        }
        total
    }
}

fn on_disk(disk_bytes: u64) -> Requests {
    Requests { disk_bytes, ..Requests::default() }
}

/// Whether something that a pod asks for is promised beyond what there is.
fn exceeds(total: &Requests, room: &Requests, asks: &Requests) -> bool {
    let Requests { cpu_millis, memory_bytes, disk_bytes, named, ports: _ } = asks;
    let of = |requests: &Requests, name: &String| requests.named.get(name).copied().unwrap_or(0);
    *cpu_millis > 0 && total.cpu_millis > room.cpu_millis
        || *memory_bytes > 0 && total.memory_bytes > room.memory_bytes
        || *disk_bytes > 0 && room.disk_bytes > 0 && total.disk_bytes > room.disk_bytes
        || named.iter().any(|(name, asked)| *asked > 0 && of(total, name) > of(room, name))
}
