//! The step builder: decisions in, steps out.
//!
//! It receives no observation, so it cannot decide anything; it numbers steps and knows what a
//! replaced replica takes, in which order. Forward plans and undos are both built here, so that
//! what goes back goes the same way as what came.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::action::{Action, Backend, Endpoint, PodSpec, Split};
use super::after::After;
use super::body::{Bake, Gate, Move, Placed, Step, StepId, Wave, Work};
use super::graph::{Check, Once, Probe, Rollout};
use super::names::{NodeName, PodId, Tenant, WorkloadName};

/// How long a pod that left its endpoint may go on serving what it had, in milliseconds.
const DRAIN_DEADLINE_MS: u64 = 15_000;

/// Numbers steps.
#[derive(Debug, Default)]
pub struct Builder {
    first: u32,
    steps: Vec<Step>,
    /// Where in `steps` pods leave.
    leaving: Vec<usize>,
}

impl Builder {
    /// Starts numbering at `first`, for steps that come after others.
    pub fn starting_at(first: StepId) -> Self {
        Self { first: first.0, ..Self::default() }
    }

    /// Has room for about so many steps.
    pub fn with_room_for(steps: usize) -> Self {
        Self { steps: Vec::with_capacity(steps + steps / 16), ..Self::default() }
    }

    /// Adds a step for a node itself.
    pub fn node(&mut self, node: &NodeName, action: Action, after: After) -> StepId {
        self.push(node, None, None, Work::Act(action), after)
    }

    /// Adds the step that switches a node off.
    pub fn fence(&mut self, node: &NodeName, command: Vec<String>, since_ms: u64) -> StepId {
        self.push(node, None, None, Work::Fence { command, since_ms }, After::default())
    }

    /// Adds a write that belongs to a branch, if to any, and to no wave of it.
    pub fn last(
        &mut self,
        node: &NodeName,
        branch: Option<&WorkloadName>,
        action: Action,
        after: After,
    ) -> StepId {
        self.push(node, branch, None, Work::Act(action), after)
    }

    /// Counts the steps so far.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Says whether there is no step yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Lists the steps from the `first`-th on.
    pub fn since(&self, first: usize) -> &[Step] {
        self.steps.get(first..).unwrap_or_default()
    }

    /// Lists the steps by which pods leave, with the pods.
    pub fn leaving(&self) -> impl Iterator<Item = (&Step, &PodId)> {
        let step = |index: &usize| match self.steps.get(*index) {
            Some(step @ Step { work: Work::Act(Action::RemovePod { pod, .. }), .. }) => {
                Some((step, pod))
            }
            Some(_) | None => None,
        };
        self.leaving.iter().filter_map(step)
    }

    /// Hands the steps over.
    pub fn finish(self) -> Vec<Step> {
        self.steps
    }

    fn push(
        &mut self,
        node: &NodeName,
        branch: Option<&WorkloadName>,
        wave: Option<u32>,
        work: Work,
        after: After,
    ) -> StepId {
        let count = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let id = StepId(self.first.saturating_add(count));
        if matches!(work, Work::Act(Action::RemovePod { .. })) {
            self.leaving.push(self.steps.len());
        }
        let (node, branch) = (node.clone(), branch.cloned());
        self.steps.push(Step { id, node, branch, wave, work, after });
        id
    }
}

/// One workload's steps under construction: its endpoint's tables, and what comes last so far.
pub struct Track<'a> {
    builder: &'a mut Builder,
    tenant: &'a Tenant,
    workload: &'a WorkloadName,
    /// The endpoint without its backends; `None` if the workload has no ports.
    endpoint: Option<Endpoint>,
    /// What each table node's endpoint is at this point of the plan.
    tables: BTreeMap<NodeName, Option<Arc<Endpoint>>>,
    /// Who may serve at this point of the plan.
    serving: BTreeMap<PodId, Backend>,
    /// Those of them that are of the new release, while both are there.
    fresh: BTreeSet<PodId>,
    /// What these get of the traffic.
    share: Option<u32>,
    /// Whether whoever comes is of the new release.
    comes_new: bool,
    /// What every further step waits for.
    last: After,
    /// The last step of what each node itself needs.
    prepared: Option<&'a BTreeMap<NodeName, StepId>>,
    wave: Option<u32>,
    /// Where the new pods are, and how they are reached.
    homes: BTreeMap<PodId, (NodeName, Ipv4Addr)>,
    /// How pods run to their ends, if they do.
    once: Option<Once>,
}

impl<'a> Track<'a> {
    /// Begins a workload's steps.
    pub fn new(
        builder: &'a mut Builder,
        tenant: &'a Tenant,
        workload: &'a WorkloadName,
        endpoint: Option<Endpoint>,
        tables: BTreeMap<NodeName, Option<Arc<Endpoint>>>,
        serving: BTreeMap<PodId, Backend>,
    ) -> Self {
        let (last, prepared, wave) = (After::default(), None, None);
        let (fresh, share) = (BTreeSet::new(), None);
        Self {
            builder,
            tenant,
            workload,
            endpoint,
            tables,
            serving,
            fresh,
            share,
            comes_new: true,
            last,
            prepared,
            wave,
            homes: BTreeMap::new(),
            once: None,
        }
    }

    /// Says that pods run to their ends, which their gates wait for.
    pub fn runs_once(&mut self, once: Once) {
        self.once = Some(once);
    }

    /// Makes every step wait for some of other workloads.
    pub fn begins_after(&mut self, others: After) {
        self.last = others;
    }

    /// What waits for this workload waits for.
    pub fn last(&self) -> &After {
        &self.last
    }

    /// Says which of those that serve to begin with are of the new release, and where those of them are that
    /// stay.
    pub fn fresh(&mut self, fresh: BTreeSet<PodId>, homes: BTreeMap<PodId, (NodeName, Ipv4Addr)>) {
        (self.fresh, self.homes) = (fresh, homes);
    }

    /// Says that whoever comes is of the release before: these alone are of the new one, and get so much
    /// of the traffic to begin with.
    pub fn going_back(&mut self, fresh: BTreeSet<PodId>, share: Option<u32>) {
        (self.fresh, self.share, self.comes_new) = (fresh, share, false);
    }

    /// Makes each step wait for its own node's steps, not for other nodes': a pod needs its node's
    /// network, and a table the network of the node that it is on, routes to all pods among it.
    pub fn start_after(&mut self, prepared: &'a BTreeMap<NodeName, StepId>) {
        self.prepared = Some(prepared);
    }

    /// Replaces a wave's replicas, and takes out those that an earlier one `held`. `ready_for` names
    /// what a node needs before a pod is created there (its network, the image).
    pub fn wave(
        &mut self,
        number: u32,
        wave: &Wave,
        held: &[&Move],
        (health, rollout): (Option<&Probe>, &Rollout),
        ready_for: &dyn Fn(&NodeName) -> Vec<StepId>,
    ) {
        self.wave = Some(number);
        self.share = wave.share;
        let moves = &wave.moves;
        let holds = wave.held_until.is_some();
        let (first, second): (Vec<&Move>, Vec<&Move>) = moves.iter().partition(|m| m.start_first);
        let leaving: Vec<&Move> = held.iter().copied().chain(second).collect();
        self.take_out(&leaving);
        self.bring_in(moves, holds, health, rollout, ready_for);
        if !holds {
            self.take_out(&first);
        }
        self.swap();
        if let Some(bake) = &wave.bake {
            self.bake(bake, health);
        }
    }

    /// Watches the new release for a while.
    fn bake(&mut self, bake: &Bake, health: Option<&Probe>) {
        let mut gates = Vec::new();
        let homes = std::mem::take(&mut self.homes);
        for (pod, (node, ip4)) in homes.iter().filter(|_| bake.for_ms > 0) {
            let (pod, ip4, for_ms) = (pod.clone(), *ip4, bake.for_ms);
            let gate = Gate::Steady { pod, ip4, probe: health.cloned(), for_ms };
            gates.push(self.push(node, Work::Ask(gate), self.ready(node)));
        }
        for (metric, (pod, (node, _))) in bake.metrics.iter().zip(homes.iter().cycle()) {
            let (pod, metric, for_ms) = (pod.clone(), metric.clone(), bake.for_ms);
            let gate = Gate::Metric { pod, metric, for_ms };
            gates.push(self.push(node, Work::Ask(gate), self.ready(node)));
        }
        self.homes = homes;
        if !gates.is_empty() {
            self.last = After::of(gates);
        }
    }

    /// Makes every table say who serves now; adds nothing where one does already.
    pub fn settle(&mut self) {
        self.swap();
    }

    /// Ends the workload: its endpoint goes first, then its pods.
    pub fn remove(&mut self, number: u32, moves: &[Move], has_endpoint: &[NodeName]) {
        self.wave = Some(number);
        self.serving.clear();
        self.endpoint = None;
        self.tables.clear();
        self.drop_endpoint(has_endpoint);
        self.take_out(&moves.iter().collect::<Vec<_>>());
    }

    /// Takes the endpoint off the nodes that have it.
    pub fn drop_endpoint(&mut self, has_endpoint: &[NodeName]) {
        let removed: Vec<_> = has_endpoint
            .iter()
            .map(|node| {
                let action = Action::RemoveEndpoint {
                    tenant: self.tenant.clone(),
                    endpoint: self.workload.clone(),
                };
                self.push(node, Work::Act(action), self.ready(node))
            })
            .collect();
        if !removed.is_empty() {
            self.last = After::of(removed);
        }
    }

    /// All pods, then all gates: so what waits for every gate of a wave waits for one run of steps.
    fn bring_in(
        &mut self,
        moves: &[Move],
        holds: bool,
        health: Option<&Probe>,
        rollout: &Rollout,
        ready_for: &dyn Fn(&NodeName) -> Vec<StepId>,
    ) {
        let mut coming: Vec<(&NodeName, &Arc<PodSpec>, After)> = Vec::new();
        for one in moves {
            let Some((node, pod)) = &one.into else { continue };
            let after = if one.create {
                let after = self.last.and(&After::of(ready_for(node)));
                let action = Action::EnsurePod { pod: Arc::clone(pod) };
                After::of([self.push(node, Work::Act(action), after)])
            } else {
                self.ready(node)
            };
            coming.push((node, pod, after));
        }
        let mut gates = Vec::with_capacity(coming.len());
        let mut asked = Vec::new();
        let commands: Vec<(&[String], u64)> =
            rollout.checks.iter().filter_map(Check::command).collect();
        for (node, pod, after) in coming {
            let gate = match &self.once {
                None => Work::AwaitReady {
                    pod: pod.id.clone(),
                    ip4: pod.ip4,
                    probe: health.cloned(),
                    deadline_ms: rollout.deadline_ms,
                },
                Some(Once { retries, parallel: _ }) => Work::Ask(Gate::Ended {
                    pod: pod.id.clone(),
                    retries: *retries,
                    timeout_ms: rollout.deadline_ms,
                }),
            };
            let ready = self.push(node, gate, after);
            gates.push(ready);
            asked.extend(commands.iter().map(|command| (ready, node, &pod.id, *command)));
            self.serving.insert(pod.id.clone(), backend(pod));
            if self.comes_new {
                self.fresh.insert(pod.id.clone());
                self.homes.insert(pod.id.clone(), (node.clone(), pod.ip4));
            }
        }
        for (ready, node, pod, (run, timeout_ms)) in asked {
            let (pod, run) = (pod.clone(), run.to_vec());
            let gate = Work::Ask(Gate::Command { pod, run, timeout_ms });
            gates.push(self.push(node, gate, After::of([ready])));
        }
        if gates.is_empty() {
            return;
        }
        self.last = After::of(gates);
        // What a start-first replacement takes out leaves in the same transaction.
        for one in moves.iter().filter(|one| one.start_first && !holds) {
            for (pod, _) in &one.out {
                self.serving.remove(pod);
            }
        }
        self.swap();
    }

    fn take_out(&mut self, moves: &[&Move]) {
        let out: Vec<&(PodId, Placed)> = moves.iter().flat_map(|one| &one.out).collect();
        if out.is_empty() {
            return;
        }
        for (pod, _) in &out {
            self.serving.remove(pod);
        }
        self.swap();
        let drained: Vec<StepId> = out
            .iter()
            .map(|(pod, placed)| {
                let drain = Work::AwaitDrained { pod: pod.clone(), deadline_ms: DRAIN_DEADLINE_MS };
                self.push(&placed.node, drain, self.ready(&placed.node))
            })
            .collect();
        let removed: Vec<StepId> = out
            .iter()
            .zip(drained)
            .map(|((pod, placed), drained)| {
                let action = Action::RemovePod {
                    tenant: self.tenant.clone(),
                    pod: pod.clone(),
                    grace_ms: placed.grace_ms,
                };
                self.push(&placed.node, Work::Act(action), After::of([drained]))
            })
            .collect();
        self.last = After::of(removed);
    }

    fn swap(&mut self) {
        let Some(endpoint) = &self.endpoint else { return };
        let wanted = shared(endpoint, &self.serving, &self.fresh, self.share);
        let stale: Vec<NodeName> = self
            .tables
            .iter()
            .filter(|(_, table)| !same_table(table.as_deref(), &wanted))
            .map(|(node, _)| node.clone())
            .collect();
        if stale.is_empty() {
            return;
        }
        let wanted = Arc::new(wanted);
        let swapped: Vec<StepId> = stale
            .into_iter()
            .map(|node| {
                let endpoint = Arc::clone(&wanted);
                let action = Action::SwapEndpoint { tenant: self.tenant.clone(), endpoint };
                let step = self.push(&node, Work::Act(action), self.ready(&node));
                self.tables.insert(node, Some(Arc::clone(&wanted)));
                step
            })
            .collect();
        self.last = After::of(swapped);
    }

    /// What a step on a node waits for, unless it follows another one there.
    fn ready(&self, node: &NodeName) -> After {
        let prepared = self.prepared.and_then(|prepared| prepared.get(node));
        self.last.and(&After::of(prepared.copied()))
    }

    fn push(&mut self, node: &NodeName, work: Work, after: After) -> StepId {
        self.builder.push(node, Some(self.workload), self.wave, work, after)
    }
}

/// An endpoint with its backends, of whom the `fresh` ones get a share of the traffic.
pub fn shared(
    endpoint: &Endpoint,
    serving: &BTreeMap<PodId, Backend>,
    fresh: &BTreeSet<PodId>,
    share: Option<u32>,
) -> Endpoint {
    let of = |wanted: bool| serving.values().filter(move |b| fresh.contains(&b.pod) == wanted);
    let is_mixed = of(true).next().is_some() && of(false).next().is_some();
    let all = || serving.values().cloned().collect();
    let (backends, split) = match share.filter(|_| is_mixed) {
        None => (all(), None),
        Some(0) => (of(false).cloned().collect(), None),
        Some(10_000..) => (of(true).cloned().collect(), None),
        Some(share) => {
            let to = of(true).map(|backend| backend.pod.clone()).collect();
            (all(), Some(Split { to, share }))
        }
    };
    Endpoint { backends, split, ..endpoint.clone() }
}

/// An endpoint that nobody has yet and that nobody serves is as good as absent: its address is
/// refused either way.
fn same_table(table: Option<&Endpoint>, wanted: &Endpoint) -> bool {
    match table {
        Some(table) => table == wanted,
        None => wanted.backends.is_empty(),
    }
}

/// A pod as its endpoint sees it.
pub fn backend(pod: &PodSpec) -> Backend {
    Backend { pod: pod.id.clone(), ip4: pod.ip4, ip6: pod.ip6 }
}
