//! The independent checker: rejects a plan that breaks a promise, whoever made it.
//!
//! It shares no code with placement, rollout or the step builder. It plays the steps over a small
//! model of the nodes and judges each by what must have happened *before* it (its ancestors), so
//! that every order in which an executor may run the steps is covered, not just the listed one.
//! Undos are played from the moment at which each wave's gate can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::action::Action;
use super::body::{Goal, PlanBody, Step, StepId, Work};
use super::check_place;
use super::graph::Graph;
use super::ledger::Head;
use super::names::{NodeName, PodId, WorkloadName};
use super::observation::{Observation, Requests};
use super::undo::undo_steps;

/// A promise that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Steps are not numbered in order, or wait for a later one.
    #[error("step {0} is out of order")]
    Order(u32),
    /// A step is on a node that is not part of the fleet, or did not answer.
    #[error("step {step} touches {node}, which did not answer")]
    UnknownNode {
        /// Which step.
        step: u32,
        /// Which node.
        node: NodeName,
    },
    /// A pod would take traffic before its gate.
    #[error("{pod} would take traffic on {node} before its gate")]
    TrafficBeforeGate {
        /// Which pod.
        pod: PodId,
        /// On which node's table.
        node: NodeName,
    },
    /// A pod would be stopped while a table still leads to it.
    #[error("{pod} would stop while {node} still sends it traffic")]
    StopWhileServing {
        /// Which pod.
        pod: PodId,
        /// On which node's table.
        node: NodeName,
    },
    /// A pod would be stopped without its connections being waited for.
    #[error("{pod} would stop without being drained")]
    NotDrained {
        /// Which pod.
        pod: PodId,
    },
    /// Fewer replicas than promised would serve.
    #[error("{workload} would have {serving} of {floor} replicas on {node} at step {step}")]
    BelowFloor {
        /// Which workload.
        workload: WorkloadName,
        /// On which node's table.
        node: NodeName,
        /// How many would serve.
        serving: usize,
        /// How many are promised.
        floor: u32,
        /// At which step.
        step: u32,
    },
    /// A generation is not new.
    #[error("{pod} is not a new generation: {known} is known")]
    OldGeneration {
        /// Which pod.
        pod: PodId,
        /// The highest generation known.
        known: u64,
    },
    /// An address is in use.
    #[error("{pod} would take {address}, which is in use")]
    AddressInUse {
        /// Which pod.
        pod: PodId,
        /// Which address.
        address: Ipv4Addr,
    },
    /// A pod would be removed that is not ours, or not there.
    #[error("{pod} on {node} is not ours to remove")]
    NotOurs {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
    },
    /// A node would be promised more than it has.
    #[error("{pod} does not fit on {node}")]
    Overcommitted {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
    },
    /// A pod would be where a constraint does not let it.
    #[error("{pod} may not be on {node}: {why}")]
    Misplaced {
        /// Which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
        /// Which constraint.
        why: String,
    },
    /// The environment would ask for more than its quota.
    #[error("the quota of {name} would be exceeded")]
    OverQuota {
        /// Of what.
        name: String,
    },
    /// A converging plan takes a node's network away.
    #[error("step {0} would take away what a node needs")]
    Dismantles(u32),
}

/// Judges a plan against what it was made from. Empty if it keeps every promise.
pub fn check(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    head: &Head,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let start = Model::of(observation);
    let mut judge = Judge { body, model: start.clone(), violations: &mut violations };
    judge.order(&body.steps, 0, observation);
    judge.play(&body.steps);
    generations(body, observation, head, &mut violations);
    addresses(body, observation, head, &mut violations);
    capacity(body, graph, observation, &mut violations);
    check_place::placement(body, graph, observation, &mut violations);
    for (workload, branch) in body.branches.iter().filter(|(_, branch)| branch.undo) {
        for wave in 0..branch.waves.len() {
            let wave = u32::try_from(wave).unwrap_or(u32::MAX);
            let mut judge = Judge {
                body,
                model: start.clone().when_gate_fails(body, workload, wave),
                violations: &mut violations,
            };
            judge.play(&undo_steps(body, workload, wave, body.next_step()));
        }
    }
    violations
}

/// The nodes as far as the promises go: who serves where, which pods are there and passed.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Backends by table.
    tables: BTreeMap<(NodeName, WorkloadName), BTreeSet<PodId>>,
    /// Our pods.
    pods: BTreeSet<(NodeName, PodId)>,
    /// Pods that serve already, and so have passed their gate.
    passed: BTreeSet<PodId>,
}

impl Model {
    fn of(observation: &Observation) -> Self {
        let mut model = Self::default();
        for name in observation.nodes.keys() {
            let Some(seen) = observation.seen(name) else { continue };
            model.pods.extend(seen.spec.pods.keys().map(|pod| (name.clone(), pod.clone())));
            for (workload, endpoint) in &seen.spec.endpoints {
                let backends: BTreeSet<_> =
                    endpoint.backends.iter().map(|b| b.pod.clone()).collect();
                model.passed.extend(backends.iter().cloned());
                model.tables.insert((name.clone(), workload.clone()), backends);
            }
        }
        model
    }

    /// The model at the moment when a wave's gate fails: every step of the branch that does not
    /// come after one of that wave's gates has been done.
    fn when_gate_fails(mut self, body: &PlanBody, workload: &WorkloadName, wave: u32) -> Self {
        let mut behind: BTreeSet<StepId> = BTreeSet::new();
        for step in body.steps.iter().filter(|step| step.branch.as_ref() == Some(workload)) {
            let gate = matches!(step.work, Work::AwaitReady { .. }) && step.wave == Some(wave);
            if gate || step.after.iter().any(|id| behind.contains(id)) {
                behind.insert(step.id);
                continue;
            }
            self.take(step);
        }
        self
    }

    fn take(&mut self, step: &Step) {
        let Step { node, work, .. } = step;
        match work {
            Work::AwaitReady { pod, .. } => {
                self.passed.insert(pod.clone());
            }
            Work::AwaitDrained { .. } => {}
            Work::Act(Action::EnsurePod { pod }) => {
                self.pods.insert((node.clone(), pod.id.clone()));
            }
            Work::Act(Action::RemovePod { pod, .. }) => {
                self.pods.remove(&(node.clone(), pod.clone()));
            }
            Work::Act(Action::SwapEndpoint { endpoint, .. }) => {
                let backends = endpoint.backends.iter().map(|b| b.pod.clone()).collect();
                self.tables.insert((node.clone(), endpoint.workload.clone()), backends);
            }
            Work::Act(Action::RemoveEndpoint { endpoint, .. }) => {
                self.tables.remove(&(node.clone(), endpoint.clone()));
            }
            Work::Act(
                Action::EnsureNetwork { .. }
                | Action::InstallReflex { .. }
                | Action::EnsureTenant { .. }
                | Action::EnsureImage { .. }
                | Action::RemoveImage { .. }
                | Action::RemoveTenant { .. }
                | Action::RemoveReflex { .. }
                | Action::RemoveNetwork,
            ) => {}
        }
    }
}

struct Judge<'a> {
    body: &'a PlanBody,
    model: Model,
    violations: &'a mut Vec<Violation>,
}

impl Judge<'_> {
    fn order(&mut self, steps: &[Step], first: u32, observation: &Observation) {
        for (index, step) in steps.iter().enumerate() {
            let number = first + u32::try_from(index).unwrap_or(u32::MAX);
            let waits_ahead = step.after.iter().any(|id| id.0 >= number);
            if step.id.0 != number || waits_ahead {
                self.violations.push(Violation::Order(number));
            }
            if observation.seen(&step.node).is_none() {
                let node = step.node.clone();
                self.violations.push(Violation::UnknownNode { step: number, node });
            }
        }
    }

    fn play(&mut self, steps: &[Step]) {
        let ancestry = Ancestry::of(steps);
        for (index, step) in steps.iter().enumerate() {
            let before = || ancestry.before(index).map(|i| &steps[i]);
            match &step.work {
                Work::Act(Action::SwapEndpoint { endpoint, .. }) => {
                    let passed: BTreeSet<&PodId> = before().filter_map(gate_of).collect();
                    for backend in &endpoint.backends {
                        let pod = &backend.pod;
                        if !passed.contains(pod) && !self.model.passed.contains(pod) {
                            let (pod, node) = (pod.clone(), step.node.clone());
                            self.violations.push(Violation::TrafficBeforeGate { pod, node });
                        }
                    }
                    self.floor(step, &endpoint.workload, endpoint.backends.len());
                }
                Work::Act(Action::RemovePod { pod, .. }) => {
                    self.removal(step, pod, &before().collect::<Vec<_>>(), steps);
                }
                Work::Act(
                    Action::RemoveNetwork
                    | Action::RemoveTenant { .. }
                    | Action::RemoveReflex { .. },
                ) => match self.body.goal {
                    Goal::Destroy => {}
                    Goal::Converge => self.violations.push(Violation::Dismantles(step.id.0)),
                },
                Work::Act(
                    Action::EnsureNetwork { .. }
                    | Action::InstallReflex { .. }
                    | Action::EnsureTenant { .. }
                    | Action::EnsureImage { .. }
                    | Action::EnsurePod { .. }
                    | Action::RemoveEndpoint { .. }
                    | Action::RemoveImage { .. },
                )
                | Work::AwaitReady { .. }
                | Work::AwaitDrained { .. } => {}
            }
        }
    }

    fn floor(&mut self, step: &Step, workload: &WorkloadName, serving: usize) {
        let Some(branch) = self.body.branches.get(workload) else { return };
        if serving < branch.floor as usize {
            self.violations.push(Violation::BelowFloor {
                workload: workload.clone(),
                node: step.node.clone(),
                serving,
                floor: branch.floor,
                step: step.id.0,
            });
        }
    }

    fn removal(&mut self, step: &Step, pod: &PodId, before: &[&Step], steps: &[Step]) {
        let here = (step.node.clone(), pod.clone());
        let made = before.iter().any(|other| {
            matches!(&other.work, Work::Act(Action::EnsurePod { pod: made }) if &made.id == pod)
        });
        if !made && !self.model.pods.contains(&here) {
            let (node, pod) = here;
            self.violations.push(Violation::NotOurs { pod, node });
        }
        let drained = before
            .iter()
            .any(|s| matches!(&s.work, Work::AwaitDrained { pod: other, .. } if other == pod));
        if !drained {
            self.violations.push(Violation::NotDrained { pod: pod.clone() });
        }
        // For every table that leads to the pod, at the start or by a step: the last word on it
        // among the ancestors must be one without the pod.
        let mut tables: BTreeMap<(&NodeName, &WorkloadName), bool> = self
            .model
            .tables
            .iter()
            .map(|((node, name), backends)| ((node, name), backends.contains(pod)))
            .collect();
        let leads = |other: &Step| match &other.work {
            Work::Act(Action::SwapEndpoint { endpoint, .. }) => {
                endpoint.backends.iter().any(|b| &b.pod == pod)
            }
            Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => false,
        };
        for other in before {
            match &other.work {
                Work::Act(Action::SwapEndpoint { endpoint, .. }) => {
                    tables.insert((&other.node, &endpoint.workload), leads(other));
                }
                Work::Act(Action::RemoveEndpoint { endpoint, .. }) => {
                    tables.insert((&other.node, endpoint), false);
                }
                Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => {}
            }
        }
        let known: BTreeSet<StepId> = before.iter().map(|s| s.id).collect();
        let later = steps.iter().filter(|s| !known.contains(&s.id) && leads(s));
        let still = tables.iter().filter(|(_, leads)| **leads).map(|((node, _), _)| *node);
        for node in still.chain(later.map(|s| &s.node)) {
            let (pod, node) = (pod.clone(), node.clone());
            self.violations.push(Violation::StopWhileServing { pod, node });
        }
    }
}

fn gate_of(step: &Step) -> Option<&PodId> {
    match &step.work {
        Work::AwaitReady { pod, .. } => Some(pod),
        Work::Act(_) | Work::AwaitDrained { .. } => None,
    }
}

/// For each step, all the steps that must be done before it.
struct Ancestry {
    rows: Vec<Vec<u64>>,
}

impl Ancestry {
    fn of(steps: &[Step]) -> Self {
        let index: BTreeMap<StepId, usize> =
            steps.iter().enumerate().map(|(index, step)| (step.id, index)).collect();
        let mut rows: Vec<Vec<u64>> = Vec::with_capacity(steps.len());
        for step in steps {
            let mut row: Vec<u64> = Vec::new();
            for parent in step.after.iter().filter_map(|id| index.get(id)) {
                let Some(above) = rows.get(*parent) else { continue };
                row.resize(row.len().max(above.len()).max(parent / 64 + 1), 0);
                for (mine, theirs) in row.iter_mut().zip(above) {
                    *mine |= theirs;
                }
                row[parent / 64] |= 1 << (parent % 64);
            }
            rows.push(row);
        }
        Self { rows }
    }

    fn before(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let row = self.rows.get(index).map(Vec::as_slice).unwrap_or_default();
        row.iter().enumerate().flat_map(|(word, bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        })
    }
}

fn created(body: &PlanBody) -> impl Iterator<Item = (&NodeName, &super::action::PodSpec)> {
    body.steps.iter().filter_map(|step| match &step.work {
        Work::Act(Action::EnsurePod { pod }) => Some((&step.node, pod)),
        Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => None,
    })
}

fn generations(
    body: &PlanBody,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let mut highest = head.generations.clone();
    let seen = observation.nodes.keys().filter_map(|name| observation.seen(name));
    let pods = seen.flat_map(|seen| seen.spec.pods.keys()).chain(head.placed.keys());
    for pod in pods {
        let known = highest.entry(pod.replica()).or_default();
        *known = (*known).max(pod.generation);
    }
    for (_, pod) in created(body) {
        let known = highest.entry(pod.id.replica()).or_default();
        if pod.id.generation <= *known {
            violations.push(Violation::OldGeneration { pod: pod.id.clone(), known: *known });
        }
        *known = (*known).max(pod.id.generation);
    }
}

fn addresses(
    body: &PlanBody,
    observation: &Observation,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let seen = observation.nodes.keys().filter_map(|name| observation.seen(name));
    let mut used: BTreeSet<Ipv4Addr> = seen
        .flat_map(|seen| {
            seen.spec.pods.values().map(|pod| pod.ip4).chain(seen.spec.claimed.iter().copied())
        })
        .collect();
    let unseen = head.placed.values().filter(|placed| observation.seen(&placed.node).is_none());
    used.extend(unseen.map(|placed| placed.ip4));
    let restored = body.branches.values().flat_map(|b| &b.waves).flat_map(|w| &w.moves);
    let restored = restored.filter_map(|one| one.restore.as_ref()).map(|(_, pod)| pod);
    for pod in created(body).map(|(_, pod)| pod).chain(restored) {
        if !used.insert(pod.ip4) {
            let (pod, address) = (pod.id.clone(), pod.ip4);
            violations.push(Violation::AddressInUse { pod, address });
        }
    }
}

/// At every creation, what the node holds at worst. Workloads run at the same time, each in the
/// order of its own steps: so each counts with the most that it has on the node from what must be
/// done by then on, and the pod's own with what it has then.
fn capacity(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    violations: &mut Vec<Violation>,
) {
    let ancestry = Ancestry::of(&body.steps);
    let mut on_node: BTreeMap<&NodeName, Vec<usize>> = BTreeMap::new();
    for (index, step) in body.steps.iter().enumerate() {
        match &step.work {
            Work::Act(Action::EnsurePod { .. } | Action::RemovePod { .. }) => {
                on_node.entry(&step.node).or_default().push(index);
            }
            Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => {}
        }
    }
    for (name, steps) in on_node {
        let (Some(seen), Some(node)) = (observation.seen(name), graph.nodes.get(name)) else {
            continue;
        };
        let room = node.room(&seen.facts.has());
        let removed = |id: &PodId| {
            steps.iter().find_map(|index| match &body.steps[*index].work {
                Work::Act(Action::RemovePod { pod, .. }) if pod == id => {
                    Some(body.steps[*index].branch.as_ref())
                }
                Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => None,
            })
        };
        // What stays whatever happens, and what each workload has to begin with.
        let mut stays = Requests::default();
        seen.spec.others.values().for_each(|requests| stays.add(requests));
        let mut begins: BTreeMap<Option<&WorkloadName>, Requests> = BTreeMap::new();
        let mut known: BTreeMap<&PodId, Requests> = BTreeMap::new();
        for (id, there) in &seen.spec.pods {
            known.insert(id, there.requests.clone());
            match removed(id) {
                Some(branch) => begins.entry(branch).or_default().add(&there.requests),
                None => stays.add(&there.requests),
            }
        }
        for index in &steps {
            if let Work::Act(Action::EnsurePod { pod }) = &body.steps[*index].work {
                known.insert(&pod.id, pod.requests());
                begins.entry(body.steps[*index].branch.as_ref()).or_default();
            }
        }
        let play = |usage: &mut Requests, index: usize| match &body.steps[index].work {
            // Making a pod that is there already makes no other one.
            Work::Act(Action::EnsurePod { pod }) if !seen.spec.pods.contains_key(&pod.id) => {
                usage.add(&pod.requests());
            }
            Work::Act(Action::RemovePod { pod, .. }) => {
                usage.sub(known.get(pod).unwrap_or(&Requests::default()));
            }
            Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => {}
        };
        for &index in &steps {
            let step = &body.steps[index];
            let Work::Act(Action::EnsurePod { pod }) = &step.work else { continue };
            let before: BTreeSet<usize> = ancestry.before(index).collect();
            let mut total = stays.clone();
            for (branch, begins) in &begins {
                let own = *branch == step.branch.as_ref();
                let of_branch = steps.iter().filter(|i| body.steps[**i].branch.as_ref() == *branch);
                let mut usage = begins.clone();
                let (done, rest): (Vec<usize>, Vec<usize>) =
                    of_branch.partition(|i| if own { **i <= index } else { before.contains(i) });
                done.into_iter().for_each(|i| play(&mut usage, i));
                let mut most = usage.clone();
                if !own {
                    for i in rest {
                        play(&mut usage, i);
                        most = most.max_with(&usage);
                    }
                }
                total.add(&most);
            }
            if exceeds(&total, &room, &pod.requests()) {
                let (pod, node) = (pod.id.clone(), name.clone());
                violations.push(Violation::Overcommitted { pod, node });
            }
        }
    }
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
