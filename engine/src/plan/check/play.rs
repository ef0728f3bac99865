//! Traffic, gates, draining and floors: the steps played over a small model of the nodes.
//!
//! Each step is judged by what must have happened *before* it (its ancestors), so that every order
//! in which an executor may run the steps is covered, not just the listed one. A branch is judged
//! by its own steps: another one's are taken to be anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Violation;
use super::ancestry::Ancestry;
use crate::plan::action::{Action, Backend, Endpoint};
use crate::plan::body::{Goal, PlanBody, Step, StepId, Work};
use crate::plan::graph::{Graph, Intake, Strategy};
use crate::plan::ledger::Head;
use crate::plan::names::{NodeName, PodId, WorkloadName};
use crate::plan::observation::Observation;

/// The nodes as far as the promises go: who serves where, which pods are there and passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Model<'a> {
    /// Backends by table.
    tables: BTreeMap<&'a WorkloadName, BTreeMap<&'a NodeName, &'a [Backend]>>,
    /// Our pods.
    pods: BTreeMap<&'a PodId, BTreeSet<&'a NodeName>>,
    /// Pods that serve already, and so have passed their gate.
    passed: BTreeSet<&'a PodId>,
    /// Pods that passed it once, by the ledger.
    stood: BTreeSet<&'a PodId>,
    /// Whose tables lead to pods of a workload, by the slug that those pods have.
    led_by: BTreeMap<&'a str, BTreeSet<&'a WorkloadName>>,
    /// What the ids of pods begin with whose workloads were renamed since.
    born: BTreeMap<&'a WorkloadName, BTreeSet<&'a str>>,
    /// Nodes that are retired and have nothing to lose, so that Berth may leave them.
    empty: BTreeSet<&'a NodeName>,
}

impl<'a> Model<'a> {
    pub(super) fn of(
        body: &'a PlanBody,
        graph: &'a Graph,
        observation: &'a Observation,
        head: &'a Head,
    ) -> Self {
        let mut model = Self { stood: head.proven.iter().collect(), ..Self::default() };
        let comes = |node: &NodeName| {
            let comes = |step: &&Step| matches!(step.work, Work::Act(Action::EnsurePod { .. }));
            body.steps.iter().filter(comes).any(|step| step.node == *node)
        };
        for name in observation.nodes.keys() {
            let Some(seen) = observation.seen(name) else { continue };
            let retired = graph.nodes.get(name).is_some_and(|n| n.intake == Intake::Retired);
            let holds = !seen.spec.pods.is_empty() || !seen.spec.volumes.is_empty();
            if retired && !holds && graph.keeper != *name && !comes(name) {
                model.empty.insert(name);
            }
            for (pod, here) in &seen.spec.pods {
                model.pods.entry(pod).or_default().insert(name);
                let workload = &here.workload;
                if pod.workload != workload.as_str() && pod.workload != workload.slug() {
                    model.born.entry(workload).or_default().insert(&pod.workload);
                }
            }
            for (workload, endpoint) in &seen.spec.endpoints {
                let tables = model.tables.entry(workload).or_default();
                // Most tables are like their neighbours'.
                let like = tables.last_key_value().map(|(_, like)| *like);
                tables.insert(name, &endpoint.backends);
                if like.is_none_or(|like| *like != endpoint.backends) {
                    model.passed.extend(endpoint.backends.iter().map(|backend| &backend.pod));
                    model.leads(workload, &endpoint.backends);
                }
            }
        }
        model
    }

    fn leads(&mut self, workload: &'a WorkloadName, backends: &'a [Backend]) {
        let mut last = None;
        for backend in backends {
            let slug = backend.pod.workload.as_str();
            if last != Some(slug) {
                self.led_by.entry(slug).or_default().insert(workload);
                // Who is on a node that did not answer may have the name of before, too.
                if slug != workload.as_str() && slug != workload.slug() {
                    self.born.entry(workload).or_default().insert(slug);
                }
                last = Some(slug);
            }
        }
    }

    /// What concerns one workload.
    pub(super) fn about(&self, workload: &WorkloadName) -> Self {
        let mut about = Self::default();
        let born = self.born.get(workload).into_iter().flatten().map(|slug| (*slug).to_owned());
        for slug in born.chain([workload.slug()]) {
            let led_by = self.led_by.get_key_value(slug.as_str());
            about.led_by.extend(led_by.map(|(slug, names)| (*slug, names.clone())));
            let led_by = led_by.into_iter().flat_map(|(_, names)| names).copied();
            for name in led_by.chain([workload]) {
                if let Some((name, tables)) = self.tables.get_key_value(name) {
                    about.tables.insert(name, tables.clone());
                }
            }
            let first = PodId { workload: slug.clone(), ordinal: 0, generation: 0 };
            let last = PodId { workload: slug, ordinal: u32::MAX, generation: u64::MAX };
            let own = (Bound::Included(&first), Bound::Included(&last));
            let pods = self.pods.range::<PodId, _>(own);
            about.pods.extend(pods.map(|(pod, nodes)| (*pod, nodes.clone())));
            about.passed.extend(self.passed.range::<PodId, _>(own).copied());
            about.stood.extend(self.stood.range::<PodId, _>(own).copied());
        }
        about
    }

    /// The model at the moment when a wave's gate fails: every step of the branch that does not
    /// come after one of that wave's gates has been done.
    pub(super) fn when_gate_fails(mut self, steps: &[&'a Step], wave: u32) -> Self {
        let mut behind: BTreeSet<StepId> = BTreeSet::new();
        for step in steps {
            let gate = is_gate(&step.work) && step.wave == Some(wave);
            let runs = step.after.runs().iter();
            if gate || runs.clone().any(|run| behind.range(run.first..=run.last).next().is_some()) {
                behind.insert(step.id);
                continue;
            }
            self.take(step);
        }
        self
    }

    fn take(&mut self, step: &'a Step) {
        let Step { node, work, .. } = step;
        match work {
            Work::AwaitReady { pod, .. } => {
                self.passed.insert(pod);
            }
            Work::AwaitDrained { .. } | Work::Ask(_) | Work::Fence { .. } => {}
            Work::Act(Action::EnsurePod { pod }) => {
                self.pods.entry(&pod.id).or_default().insert(node);
            }
            Work::Act(Action::RemovePod { pod, .. }) => {
                if let Some(nodes) = self.pods.get_mut(pod) {
                    nodes.remove(node);
                }
            }
            Work::Act(Action::SwapEndpoint { endpoint, .. }) => {
                let tables = self.tables.entry(&endpoint.workload).or_default();
                tables.insert(node, &endpoint.backends);
                self.leads(&endpoint.workload, &endpoint.backends);
            }
            Work::Act(Action::RemoveEndpoint { endpoint, .. }) => {
                if let Some(tables) = self.tables.get_mut(endpoint) {
                    tables.remove(node);
                }
            }
            Work::Act(
                Action::EnsureNetwork { .. }
                | Action::InstallReflex { .. }
                | Action::EnsureTenant { .. }
                | Action::EnsureImage { .. }
                | Action::EnsureVolume { .. }
                | Action::RemoveVolume { .. }
                | Action::RenamePod { .. }
                | Action::RenameEndpoint { .. }
                | Action::RemoveImage { .. }
                | Action::RemoveTenant { .. }
                | Action::RemoveReflex { .. }
                | Action::RemoveNetwork,
            ) => {}
        }
    }
}

/// Says whether work can turn a release down.
pub(super) fn is_gate(work: &Work) -> bool {
    match work {
        Work::AwaitReady { .. } | Work::Ask(_) => true,
        Work::Act(_) | Work::AwaitDrained { .. } | Work::Fence { .. } => false,
    }
}

/// A step, by index, that writes a table, and the number of what it says; nothing for one that takes
/// the table away.
type Word = (usize, Option<usize>);

/// What steps do to pods and tables, by index.
#[derive(Default)]
struct Deeds<'a> {
    gates: BTreeMap<&'a PodId, Vec<usize>>,
    made: BTreeMap<&'a PodId, Vec<usize>>,
    drained: BTreeMap<&'a PodId, Vec<usize>>,
    /// For each table, the steps that write it, in order.
    words: BTreeMap<&'a WorkloadName, BTreeMap<&'a NodeName, Vec<Word>>>,
    /// What each table says to begin with.
    begins: BTreeMap<&'a WorkloadName, Vec<(&'a NodeName, usize)>>,
    /// How many different things tables say, at the start or by a step.
    said: usize,
    /// For each pod that some step removes, what is said that leads to it, in order, and by whose
    /// tables.
    leading: BTreeMap<&'a PodId, BTreeMap<&'a WorkloadName, Vec<usize>>>,
}

impl<'a> Deeds<'a> {
    fn of(model: &Model<'a>, steps: &'a [Step]) -> Self {
        let mut deeds = Self::default();
        let mut removed: BTreeSet<&PodId> = BTreeSet::new();
        for step in steps {
            if let Work::Act(Action::RemovePod { pod, .. }) = &step.work {
                removed.insert(pod);
            }
        }
        let slugs: BTreeSet<&str> = removed.iter().map(|pod| pod.workload.as_str()).collect();
        let led_by = slugs.iter().filter_map(|slug| model.led_by.get(slug)).flatten();
        for name in led_by.copied().collect::<BTreeSet<&WorkloadName>>() {
            let mut like: Option<&[Backend]> = None;
            for (node, backends) in model.tables.get(name).into_iter().flatten() {
                if like.is_none_or(|like| like != *backends) {
                    deeds.say(name, backends, &removed);
                    like = Some(*backends);
                }
                deeds.begins.entry(name).or_default().push((*node, deeds.said - 1));
            }
        }
        let mut last: Option<&Arc<Endpoint>> = None;
        for (index, step) in steps.iter().enumerate() {
            match &step.work {
                Work::AwaitReady { pod, .. } => deeds.gates.entry(pod).or_default().push(index),
                Work::AwaitDrained { pod, .. } => deeds.drained.entry(pod).or_default().push(index),
                Work::Act(Action::EnsurePod { pod }) => {
                    deeds.made.entry(&pod.id).or_default().push(index);
                }
                Work::Act(Action::SwapEndpoint { endpoint, .. }) if !removed.is_empty() => {
                    if last.is_none_or(|last| !Arc::ptr_eq(last, endpoint)) {
                        last = Some(endpoint);
                        deeds.say(&endpoint.workload, &endpoint.backends, &removed);
                    }
                    let said = deeds.said.checked_sub(1);
                    deeds.word(&endpoint.workload, &step.node, index, said);
                }
                Work::Act(Action::RemoveEndpoint { endpoint, .. }) => {
                    deeds.word(endpoint, &step.node, index, None);
                }
                Work::Act(_) | Work::Ask(_) | Work::Fence { .. } => {}
            }
        }
        deeds
    }

    fn say(
        &mut self,
        workload: &'a WorkloadName,
        backends: &'a [Backend],
        removed: &BTreeSet<&PodId>,
    ) {
        for pod in backends.iter().map(|b| &b.pod).filter(|pod| removed.contains(pod)) {
            self.leading.entry(pod).or_default().entry(workload).or_default().push(self.said);
        }
        self.said += 1;
    }

    fn word(
        &mut self,
        workload: &'a WorkloadName,
        node: &'a NodeName,
        index: usize,
        said: Option<usize>,
    ) {
        let tables = self.words.entry(workload).or_default();
        tables.entry(node).or_default().push((index, said));
    }
}

/// Plays steps over a model, and notes what they break.
pub(super) fn play(
    body: &PlanBody,
    model: &Model<'_>,
    steps: &[Step],
    ancestry: &Ancestry,
    violations: &mut Vec<Violation>,
) {
    Judge { body, model, deeds: Deeds::of(model, steps), ancestry, violations }.play(steps);
}

struct Judge<'a> {
    body: &'a PlanBody,
    model: &'a Model<'a>,
    deeds: Deeds<'a>,
    ancestry: &'a Ancestry,
    violations: &'a mut Vec<Violation>,
}

impl Judge<'_> {
    fn play(&mut self, steps: &[Step]) {
        // What tables of many nodes are made to say after the same steps is judged once.
        let mut proven: Option<(usize, &Arc<Endpoint>)> = None;
        for (index, step) in steps.iter().enumerate() {
            match &step.work {
                Work::Act(Action::SwapEndpoint { endpoint, .. }) => {
                    let again = proven.is_some_and(|(other, same)| {
                        Arc::ptr_eq(same, endpoint) && self.ancestry.same(other, index)
                    });
                    if !again && self.gated(index, step, endpoint) {
                        proven = Some((index, endpoint));
                    }
                    self.floor(step, &endpoint.workload, endpoint.backends.len());
                }
                Work::Act(Action::RemovePod { pod, .. }) => self.removal(index, step, pod),
                Work::Act(
                    Action::RemoveNetwork
                    | Action::RemoveTenant { .. }
                    | Action::RemoveReflex { .. },
                ) => match self.body.goal {
                    Goal::Destroy => {}
                    Goal::Converge if self.model.empty.contains(&step.node) => {}
                    Goal::Converge => self.violations.push(Violation::Dismantles(step.id.0)),
                },
                Work::Act(
                    Action::EnsureNetwork { .. }
                    | Action::InstallReflex { .. }
                    | Action::EnsureTenant { .. }
                    | Action::EnsureImage { .. }
                    | Action::EnsureVolume { .. }
                    | Action::RemoveVolume { .. }
                    | Action::EnsurePod { .. }
                    | Action::RenamePod { .. }
                    | Action::RenameEndpoint { .. }
                    | Action::RemoveEndpoint { .. }
                    | Action::RemoveImage { .. },
                )
                | Work::AwaitReady { .. }
                | Work::AwaitDrained { .. }
                | Work::Ask(_)
                | Work::Fence { .. } => {}
            }
        }
    }

    /// Whether any of these steps comes before one.
    fn any_before(&self, steps: Option<&Vec<usize>>, index: usize) -> bool {
        let mut steps = steps.into_iter().flatten();
        steps.any(|earlier| self.ancestry.is_before(*earlier, index))
    }

    /// Every backend has passed its gate before.
    fn gated(&mut self, index: usize, step: &Step, endpoint: &Endpoint) -> bool {
        let mut all = true;
        // Only where all traffic goes over at once does what stood before stay to take it back.
        let branch = self.body.branches.get(&endpoint.workload);
        let goes_over = branch.is_some_and(|b| {
            matches!(b.rollout.strategy, Strategy::BlueGreen | Strategy::Canary { .. })
        });
        for backend in &endpoint.backends {
            let pod = &backend.pod;
            let has_passed =
                self.model.passed.contains(pod) || goes_over && self.model.stood.contains(pod);
            if !has_passed && !self.any_before(self.deeds.gates.get(pod), index) {
                all = false;
                let (pod, node) = (pod.clone(), step.node.clone());
                self.violations.push(Violation::TrafficBeforeGate { pod, node });
            }
        }
        all
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

    fn removal(&mut self, index: usize, step: &Step, pod: &PodId) {
        let there = self.model.pods.get(pod).is_some_and(|nodes| nodes.contains(&step.node));
        if !there && !self.any_before(self.deeds.made.get(pod), index) {
            let (node, pod) = (step.node.clone(), pod.clone());
            self.violations.push(Violation::NotOurs { pod, node });
        }
        if !self.any_before(self.deeds.drained.get(pod), index) {
            self.violations.push(Violation::NotDrained { pod: pod.clone() });
        }
        // For every table that leads to the pod, at the start or by a step: the last word on it
        // among the ancestors must be one without the pod, and no word that is no ancestor may lead
        // to it.
        for (name, leading) in self.deeds.leading.get(pod).into_iter().flatten() {
            let leads_there = |said: usize| leading.binary_search(&said).is_ok();
            let begins = self.deeds.begins.get(name).into_iter().flatten();
            let mut leads: BTreeMap<&NodeName, bool> =
                begins.map(|(node, said)| (*node, leads_there(*said))).collect();
            let mut later: Vec<&NodeName> = Vec::new();
            for (node, words) in self.deeds.words.get(name).into_iter().flatten() {
                for (word, said) in words {
                    let to = said.is_some_and(leads_there);
                    if self.ancestry.is_before(*word, index) {
                        leads.insert(node, to);
                    } else if to {
                        later.push(node);
                    }
                }
            }
            let still = leads.into_iter().filter(|(_, leads)| *leads).map(|(node, _)| node);
            for node in still.chain(later) {
                let (pod, node) = (pod.clone(), node.clone());
                self.violations.push(Violation::StopWhileServing { pod, node });
            }
        }
    }
}
