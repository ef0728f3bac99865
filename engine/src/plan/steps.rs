//! The step builder: decisions in, steps out.
//!
//! It receives no observation, so it cannot decide anything; it numbers steps and knows what a
//! replaced replica takes, in which order. Forward plans and undos are both built here, so that
//! what goes back goes the same way as what came.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Backend, Endpoint, PodSpec};
use super::body::{Move, Placed, Step, StepId, Work};
use super::graph::{Probe, Rollout};
use super::names::{NodeName, PodId, Tenant, WorkloadName};

/// How long a pod that left its endpoint may go on serving what it had, in milliseconds.
const DRAIN_DEADLINE_MS: u64 = 15_000;

/// Numbers steps.
#[derive(Debug, Default)]
pub struct Builder {
    first: u32,
    steps: Vec<Step>,
}

impl Builder {
    /// Starts numbering at `first`, for steps that come after others.
    pub fn starting_at(first: StepId) -> Self {
        Self { first: first.0, steps: Vec::new() }
    }

    /// Adds a step for a node itself.
    pub fn node(&mut self, node: &NodeName, action: Action, after: &[StepId]) -> StepId {
        self.push(node, None, None, Work::Act(action), after)
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
        after: &[StepId],
    ) -> StepId {
        let count = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let id = StepId(self.first.saturating_add(count));
        let after: BTreeSet<_> = after.iter().copied().collect();
        self.steps.push(Step {
            id,
            node: node.clone(),
            branch: branch.cloned(),
            wave,
            work,
            after: after.into_iter().collect(),
        });
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
    tables: BTreeMap<NodeName, Option<Endpoint>>,
    /// Who serves at this point of the plan.
    serving: BTreeMap<PodId, Backend>,
    /// What every further step waits for.
    last: Vec<StepId>,
    wave: Option<u32>,
}

impl<'a> Track<'a> {
    /// Begins a workload's steps.
    pub fn new(
        builder: &'a mut Builder,
        tenant: &'a Tenant,
        workload: &'a WorkloadName,
        endpoint: Option<Endpoint>,
        tables: BTreeMap<NodeName, Option<Endpoint>>,
        serving: BTreeMap<PodId, Backend>,
    ) -> Self {
        Self { builder, tenant, workload, endpoint, tables, serving, last: Vec::new(), wave: None }
    }

    /// Makes the first steps wait for every node's own steps, since endpoints' tables and routes
    /// lie on all of them.
    pub fn start_after(&mut self, prepared: &BTreeMap<NodeName, Vec<StepId>>) {
        self.last = prepared.values().flatten().copied().collect();
    }

    /// Replaces a wave's replicas. `ready_for` names what a node needs before a pod is created
    /// there (its network, the image).
    pub fn wave(
        &mut self,
        number: u32,
        moves: &[Move],
        health: Option<&Probe>,
        rollout: &Rollout,
        ready_for: &dyn Fn(&NodeName) -> Vec<StepId>,
    ) {
        self.wave = Some(number);
        let (first, second): (Vec<&Move>, Vec<&Move>) = moves.iter().partition(|m| m.start_first);
        self.take_out(&second);
        self.bring_in(moves, health, rollout, ready_for);
        self.take_out(&first);
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
        let last = self.last.clone();
        let removed: Vec<_> = has_endpoint
            .iter()
            .map(|node| {
                let action = Action::RemoveEndpoint {
                    tenant: self.tenant.clone(),
                    endpoint: self.workload.clone(),
                };
                self.push(node, Work::Act(action), &last)
            })
            .collect();
        if !removed.is_empty() {
            self.last = removed;
        }
    }

    fn bring_in(
        &mut self,
        moves: &[Move],
        health: Option<&Probe>,
        rollout: &Rollout,
        ready_for: &dyn Fn(&NodeName) -> Vec<StepId>,
    ) {
        let mut gates = Vec::new();
        for one in moves {
            let Some((node, pod)) = &one.into else { continue };
            let mut after = self.last.clone();
            if one.create {
                after.extend(ready_for(node));
                let action = Action::EnsurePod { pod: pod.clone() };
                after = vec![self.push(node, Work::Act(action), &after)];
            }
            let gate = Work::AwaitReady {
                pod: pod.id.clone(),
                ip4: pod.ip4,
                probe: health.cloned(),
                deadline_ms: rollout.deadline_ms,
            };
            gates.push(self.push(node, gate, &after));
            self.serving.insert(pod.id.clone(), backend(pod));
        }
        if gates.is_empty() {
            return;
        }
        self.last = gates;
        // What a start-first replacement takes out leaves in the same transaction.
        for one in moves.iter().filter(|one| one.start_first) {
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
        let last = self.last.clone();
        self.last = out
            .iter()
            .map(|(pod, placed)| {
                let drain = Work::AwaitDrained { pod: pod.clone(), deadline_ms: DRAIN_DEADLINE_MS };
                let drained = self.push(&placed.node, drain, &last);
                let action = Action::RemovePod {
                    tenant: self.tenant.clone(),
                    pod: pod.clone(),
                    grace_ms: placed.grace_ms,
                };
                self.push(&placed.node, Work::Act(action), &[drained])
            })
            .collect();
    }

    fn swap(&mut self) {
        let Some(endpoint) = &self.endpoint else { return };
        let wanted =
            Endpoint { backends: self.serving.values().cloned().collect(), ..endpoint.clone() };
        let stale: Vec<NodeName> = self
            .tables
            .iter()
            .filter(|(_, table)| !same_table(table.as_ref(), &wanted))
            .map(|(node, _)| node.clone())
            .collect();
        if stale.is_empty() {
            return;
        }
        let last = self.last.clone();
        self.last = stale
            .into_iter()
            .map(|node| {
                let action =
                    Action::SwapEndpoint { tenant: self.tenant.clone(), endpoint: wanted.clone() };
                let step = self.push(&node, Work::Act(action), &last);
                self.tables.insert(node, Some(wanted.clone()));
                step
            })
            .collect();
    }

    fn push(&mut self, node: &NodeName, work: Work, after: &[StepId]) -> StepId {
        self.builder.push(node, Some(self.workload), self.wave, work, after)
    }
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
