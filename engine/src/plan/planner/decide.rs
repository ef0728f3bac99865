//! Who is placed in which order, and what else is tried where somebody has no place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claim::{addresses, ranges};
use super::{Inputs, Planning};
use crate::plan::action::{NodePort, Protocol};
use crate::plan::body::{Goal, Holder, Placed};
use crate::plan::graph::{Fill, Volume, Workload};
use crate::plan::ledger::Claims;
use crate::plan::names::{NodeName, PodId, VolumeName, WorkloadName};
use crate::plan::observation::Requests;
use crate::plan::place::exact::{self, Wish};
use crate::plan::place::price::Foresight;
use crate::plan::place::{Ask, Fleet, Slot};
use crate::plan::rollout::{self, Case, Decision};
use crate::plan::secret;
use crate::plan::volume;
use crate::plan::world::World;

/// The fleet as placement sees it, with everything that is there counted.
pub(in crate::plan) fn fleet(
    inputs: &Inputs<'_>,
    world: &World,
    claims: &Claims,
    wanted: &BTreeMap<WorkloadName, Workload>,
) -> Fleet {
    let Inputs { graph, observation, .. } = *inputs;
    let mut fleet = Fleet::default();
    fleet.set_fill(graph.fill);
    fleet.set_quota(graph.quota.clone());
    let overhead = wanted.values().next().map(|workload| workload.template.overhead.clone());
    fleet.set_overhead(overhead.unwrap_or_default());
    let asked: BTreeSet<NodePort> =
        wanted.values().flat_map(|workload| workload.template.publish.keys().copied()).collect();
    for (name, node) in &graph.nodes {
        let Some(ranges) = ranges(graph, claims, name) else { continue };
        let seen = observation.seen(name);
        let found = seen.map(|seen| seen.facts.has()).unwrap_or_default();
        let slot = Slot {
            labels: node.labels.clone(),
            taints: node.taints.clone(),
            intake: node.intake,
            reachable: seen.is_some(),
            pressure: seen.map(|seen| seen.status.pressure).unwrap_or_default(),
            images: seen.map(|seen| seen.spec.images.clone()).unwrap_or_default(),
            ..Slot::plain(node.room(&found), ranges)
        };
        fleet.add(name.clone(), slot);
        let ssh = NodePort { port: node.ssh_port(), protocol: Protocol::Tcp };
        let own = [(ssh, Holder::Ssh)].into_iter();
        let own = own.chain(
            seen.iter().flat_map(|s| &s.status.listens).map(|port| (*port, Holder::Process)),
        );
        for (port, by) in own.filter(|(port, _)| asked.contains(port)) {
            fleet.reserve(name, &Requests { ports: [port].into(), ..Requests::default() }, &by);
        }
        for (by, requests) in seen.iter().flat_map(|seen| &seen.spec.others) {
            fleet.reserve(name, requests, &Holder::Tenant(by.clone()));
        }
        let theirs = seen.map_or(0, |seen| seen.spec.volumes_of_others_bytes);
        let theirs = Requests { disk_bytes: theirs, ..Requests::default() };
        fleet.reserve(name, &theirs, &Holder::Process);
        for address in seen.iter().flat_map(|seen| &seen.spec.claimed) {
            fleet.take(name, *address);
        }
    }
    for (name, workload) in wanted {
        fleet.learn(name, &workload.placement, Some(workload.keeps()));
    }
    let demand = wanted.values().map(|w| (w.template.asks(), u64::from(w.replicas)));
    fleet.set_demand(demand.collect(), Foresight::Likely);
    volume::lay(&mut fleet, graph, wanted, &world.volumes);
    for here in world.pods.values() {
        let Placed { node, workload, requests, ip4, .. } = &here.placed;
        // What leaves in this plan has given its ports up by the time that others come: their
        // steps wait for it.
        let mut requests = requests.clone();
        if !wanted.contains_key(workload) && here.is_known() {
            requests.ports.clear();
        }
        fleet.count(node, workload, &requests, *ip4);
    }
    fleet
}

/// In which order workloads of one priority are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// By name.
    Usual,
    /// By what a replica asks for.
    LargestFirst,
}

/// What was decided for each workload, and which pods make room for whom.
type Decided = (BTreeMap<WorkloadName, Decision>, BTreeMap<PodId, WorkloadName>);

/// Who is placed first: whom others yield to; then whom others must be near; then in an order.
fn in_order_of_choice(
    names: BTreeSet<&WorkloadName>,
    wanted: &BTreeMap<WorkloadName, Workload>,
    order: Order,
) -> Vec<WorkloadName> {
    let mut left: Vec<&WorkloadName> = names.into_iter().collect();
    let priority = |name: &WorkloadName| wanted.get(name).map_or(0, |w| w.placement.priority);
    // A core weighs as much as 4 GiB.
    let size = |name: &WorkloadName| match (order, wanted.get(name)) {
        (Order::Usual, _) | (Order::LargestFirst, None) => 0,
        (Order::LargestFirst, Some(workload)) => {
            let asks = workload.template.asks();
            asks.cpu_millis.saturating_add(asks.memory_bytes >> 22)
        }
    };
    left.sort_by_key(|name| std::cmp::Reverse((priority(name), size(name))));
    let places: BTreeMap<&WorkloadName, usize> =
        left.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    // Whom each waits for, and who waits for each, by place in the order so far.
    let mut waits: Vec<usize> = vec![0; left.len()];
    let mut followers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, name) in left.iter().enumerate() {
        let near = wanted.get(*name).map(|w| w.placement.near.as_slice()).unwrap_or_default();
        let near = near.iter().filter(|n| n.weight.is_none() && &n.workload != *name);
        let near: BTreeSet<usize> = near.filter_map(|n| places.get(&n.workload).copied()).collect();
        waits[place] = near.len();
        near.into_iter().for_each(|other| followers.entry(other).or_default().push(place));
    }
    let mut ready: BTreeSet<usize> = (0..left.len()).filter(|place| waits[*place] == 0).collect();
    let mut rest: BTreeSet<usize> = (0..left.len()).collect();
    let mut order: Vec<WorkloadName> = Vec::with_capacity(left.len());
    // Of a circle, the first begins.
    while let Some(next) = ready.pop_first().or_else(|| rest.first().copied()) {
        rest.remove(&next);
        order.push(left[next].clone());
        for follower in followers.remove(&next).unwrap_or_default() {
            waits[follower] -= 1;
            if waits[follower] == 0 && rest.contains(&follower) {
                ready.insert(follower);
            }
        }
    }
    order
}

/// Looks for a place for all replicas together that were to be placed, and advises the fleet so;
/// says whether there is one.
fn search(
    (decisions, _): &Decided,
    wanted: &BTreeMap<WorkloadName, Workload>,
    volumes: &BTreeMap<VolumeName, Volume>,
    fleet: &mut Fleet,
) -> bool {
    let mut trial = fleet.clone();
    for (name, decision) in decisions {
        for placed in &decision.replaced {
            trial.uncount(&placed.node, name, &placed.requests);
        }
    }
    let none = BTreeMap::new();
    let mut wishes: Vec<(WorkloadName, Wish)> = Vec::new();
    for name in in_order_of_choice(decisions.keys().collect(), wanted, Order::LargestFirst) {
        let (Some(workload), Some(decision)) = (wanted.get(&name), decisions.get(&name)) else {
            continue;
        };
        for (ordinal, stay) in &decision.asked {
            let asks = volume::asks(workload, *ordinal, volumes, &trial);
            let ask = Ask {
                workload: &name,
                requests: &asks.requests,
                volumes_bytes: asks.volumes_bytes,
                placement: asks.tied.as_ref().unwrap_or(&workload.placement),
                image: Some(&workload.template.image),
                stay: None,
                credit: &none,
            };
            let ticket = trial.ticket(&ask);
            let rather = stay.as_ref().and_then(|node| trial.number(node));
            wishes.push((name.clone(), Wish { ticket, rather }));
        }
    }
    let (names, wishes): (Vec<_>, Vec<_>) = wishes.into_iter().unzip();
    let Some(nodes) = exact::search(&trial, &wishes, exact::MOST_LOOKS) else { return false };
    for (name, node) in names.iter().zip(nodes) {
        fleet.advise(name, [node]);
    }
    true
}

impl Planning<'_, '_> {
    /// Decides for every workload. Where somebody has no place, it is tried again with the largest
    /// first, then as densely as can be, and then by a search that goes back; what leaves the
    /// fewest without a place is taken.
    pub(super) fn decide(
        &mut self,
        wanted: &BTreeMap<WorkloadName, Workload>,
        tables: &Arc<[NodeName]>,
        fleet: &Fleet,
    ) -> BTreeMap<WorkloadName, Decision> {
        let usual = self.inputs.graph.fill;
        let without_place = |decided: &Decided| -> usize {
            decided.0.values().map(|decision| decision.blocked.len() + decision.waiting).sum()
        };
        let mut best = self.decide_in(Order::Usual, wanted, tables, &mut fleet.clone());
        for (fill, searched) in [(usual, false), (Fill::Dense, false), (usual, true)] {
            if without_place(&best) == 0 {
                break;
            }
            let mut trial = fleet.clone();
            if searched && !search(&best, wanted, &self.inputs.graph.volumes, &mut trial) {
                continue;
            }
            if fill != usual {
                trial.set_fill(fill);
            }
            let decided = self.decide_in(Order::LargestFirst, wanted, tables, &mut trial);
            if without_place(&decided) < without_place(&best) {
                best = decided;
            }
        }
        let (decisions, yielding) = best;
        self.yielding = yielding;
        decisions
    }

    fn decide_in(
        &self,
        order: Order,
        wanted: &BTreeMap<WorkloadName, Workload>,
        tables: &Arc<[NodeName]>,
        fleet: &mut Fleet,
    ) -> Decided {
        let Inputs { graph, head, .. } = *self.inputs;
        let revision = self.body.revision;
        let mut names: BTreeSet<&WorkloadName> = wanted.keys().collect();
        names.extend(self.world.workloads());
        names.extend(head.reached.keys());
        names.extend(self.seen().flat_map(|(_, seen)| seen.spec.endpoints.keys()));
        let names = in_order_of_choice(names, wanted, order);
        let is_in_text = |name: &WorkloadName| match self.inputs.goal {
            Goal::Converge => graph.workloads.contains_key(name),
            Goal::Destroy => false,
        };
        let revoked = secret::revoked(graph, head);
        let mut decisions = BTreeMap::new();
        let mut yielding: BTreeMap<PodId, WorkloadName> = BTreeMap::new();
        for name in names {
            let case = Case {
                tenant: &graph.tenant,
                name: &name,
                world: self.world,
                head,
                revision,
                tables,
                addresses: addresses(graph, &self.body.claims, &name),
                nodes: &graph.nodes,
                yielding: &yielding,
                volumes: &graph.volumes,
                revoked: &revoked,
                bears: self.bears(&name),
                say: self.say_of_rollout(&name, wanted.get(&name)),
            };
            let decision = match wanted.get(&name) {
                _ if self.is_left(&name, &yielding) => rollout::leave(&case),
                Some(workload) => rollout::decide(&case, workload, fleet),
                None => rollout::decide_removal(&case, is_in_text(&name)),
            };
            for (node, workload) in &decision.evicts {
                let pods = self.world.of_workload(workload);
                let pods = pods.filter(|(id, here)| {
                    here.node() == node && here.is_known() && !yielding.contains_key(*id)
                });
                if let Some((id, _)) = pods.max_by_key(|(id, _)| (id.ordinal, id.generation)) {
                    yielding.insert(id.clone(), name.clone());
                }
            }
            decisions.insert(name, decision);
        }
        (decisions, yielding)
    }
}
