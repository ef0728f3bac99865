//! The fleet as placement sees it: nodes, what lies on them, and who counts where.
//!
//! Names are numbered once; from then on everything is numbers. Nodes keep the order in which they
//! were added, which is the order of ties, so callers add them by name.

mod choose;
mod count;
mod intern;
mod look;
mod names;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub use self::choose::Verdict;
use self::names::{number_value, room};
use super::ask::{Ask, Slot};
use super::grid::Cell;
use super::index::Index;
use super::preempt::Change;
use super::price::{Foresight, Kept, Prices};
use super::want::{self, Domain, Ticket, Want};
use crate::plan::action::NodePort;
use crate::plan::body::Holder;
use crate::plan::graph::{Fill, Placement, Quota, Relation};
use crate::plan::names::{NodeName, VolumeId, WorkloadName};
use crate::plan::observation::Requests;

/// Thousandths of a core.
pub const CPU: usize = 0;
/// Bytes of memory.
pub const MEMORY: usize = 1;
/// Bytes of disk.
pub const DISK: usize = 2;
/// Addresses in the node's pod range.
pub const ADDRESSES: usize = 3;
/// How many resources there are that every node has.
const KNOWN: usize = 4;
/// Stands for a disk of which nobody knows how large it is.
const NOT_LIMITED: u64 = u64::MAX >> 8;

/// The fleet.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    names: Vec<NodeName>,
    by_name: BTreeMap<NodeName, usize>,
    slots: Vec<Slot>,
    /// What is counted, by number.
    resources: Vec<Resource>,
    /// What there is, and what is taken: `resources.len()` numbers a node.
    room: Vec<u64>,
    used: Vec<u64>,
    labels: Vec<Label>,
    tallies: Vec<Tally>,
    by_workload: BTreeMap<WorkloadName, usize>,
    /// Who holds which of a node's ports, by the port's number as a resource.
    holders: BTreeMap<(usize, usize), Holder>,
    /// What is on each node, for preemption.
    pub(super) residents: Vec<Vec<Resident>>,
    wants: Vec<Arc<Want>>,
    quota: Option<Quota>,
    asked: Requests,
    /// What every replica takes beside what it asks for, for mends.
    overhead: Requests,
    fill: Fill,
    prices: Prices,
    /// Where replicas go if they may, whatever else is better; by workload, in their order.
    advice: BTreeMap<WorkloadName, VecDeque<usize>>,
    /// Where volumes are or will be, and whether their room is counted.
    homes: BTreeMap<VolumeId, (NodeName, bool)>,
    /// By capacity, how much of the nodes that are begun is kept for later; and each node's cell.
    kept: BTreeMap<[u64; 2], Kept>,
    cells: Vec<Cell>,
    pub(super) index: Option<Box<Index>>,
}

/// Something that is counted on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// What every node has: CPU, memory, disk, addresses.
    Known(&'static str),
    /// What the user named.
    Named(String),
    /// A port of the node: there is one.
    Port(NodePort),
}

/// A label that some constraint looks at, and its values, each with a number; 0 is "not there".
#[derive(Clone, Debug, Default)]
struct Label {
    key: String,
    values: Vec<String>,
    of_node: Vec<usize>,
}

/// Where a workload's replicas are.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    name: WorkloadName,
    pub(super) total: u32,
    /// How often a replica has come or gone.
    pub(super) changes: u64,
    pub(super) on: BTreeMap<usize, u32>,
    /// Replicas by value, for labels that somebody counts it by.
    by_value: Vec<Option<Vec<u32>>>,
    placement: Option<Arc<Placement>>,
    /// Who wants to be apart from it.
    shunned_by: Vec<(usize, Domain)>,
    pub(super) priority: i32,
    pub(super) keep: Option<u32>,
    /// The ask that it had last.
    ticket: Option<Ticket>,
}

impl Tally {
    fn of(name: WorkloadName) -> Self {
        Self {
            name,
            total: 0,
            changes: 0,
            on: BTreeMap::new(),
            by_value: Vec::new(),
            placement: None,
            shunned_by: Vec::new(),
            priority: 0,
            keep: None,
            ticket: None,
        }
    }
}

/// A pod that lies on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) workload: usize,
    pub(super) needs: Arc<[(usize, u64)]>,
}

impl Fleet {
    /// Says how nodes fill up.
    pub fn set_fill(&mut self, fill: Fill) {
        self.fill = fill;
        self.tallies.iter_mut().for_each(|tally| tally.ticket = None);
        self.wants.clear();
        self.index = None;
    }

    pub(super) fn quota(&self) -> Option<&Quota> {
        self.quota.as_ref()
    }

    pub(super) fn overhead(&self) -> &Requests {
        &self.overhead
    }

    /// Says what of every ask is overhead, which no text can ask less of.
    pub fn set_overhead(&mut self, overhead: Requests) {
        self.overhead = overhead;
    }

    /// Says what all replicas together may ask for.
    pub fn set_quota(&mut self, quota: Option<Quota>) {
        self.quota = quota;
    }

    /// Says what is asked for, class by class: what remaining room is priced by.
    pub fn set_demand(&mut self, demand: Vec<(Requests, u64)>, foresight: Foresight) {
        self.prices = Prices::new(demand, foresight);
        self.cells.clear();
        self.tallies.iter_mut().for_each(|tally| tally.ticket = None);
        self.wants.clear();
        self.index = None;
    }

    /// Says where replicas of a workload go, in the order in which they will be asked for, if they
    /// may go there when their turn comes.
    pub fn advise(&mut self, workload: &WorkloadName, nodes: impl IntoIterator<Item = usize>) {
        self.advice.entry(workload.clone()).or_default().extend(nodes);
    }

    /// Says where a volume is or will be, and whether the room that it takes is counted already.
    pub fn house(&mut self, volume: &VolumeId, node: &NodeName, counted: bool) {
        self.homes.insert(volume.clone(), (node.clone(), counted));
    }

    /// Where a volume is or will be, and whether its room is counted.
    pub fn home(&self, volume: &VolumeId) -> Option<(&NodeName, bool)> {
        self.homes.get(volume).map(|(node, counted)| (node, *counted))
    }

    /// The number of a node.
    pub fn number(&self, node: &NodeName) -> Option<usize> {
        self.by_name.get(node).copied()
    }

    /// Adds a node.
    pub fn add(&mut self, node: NodeName, slot: Slot) {
        self.number_known();
        for name in slot.room.named.keys() {
            self.number_of(&Resource::Named(name.clone()));
        }
        let (addresses, taken) = slot.addresses();
        let width = self.resources.len();
        let index = self.names.len();
        self.room.resize((index + 1) * width, 0);
        self.used.resize((index + 1) * width, 0);
        for resource in 0..width {
            self.room[index * width + resource] = match resource {
                DISK if slot.room.disk_bytes == 0 => NOT_LIMITED,
                ADDRESSES => addresses,
                other => room(&slot.room, other, &self.resources),
            };
        }
        self.used[index * width + ADDRESSES] = taken;
        self.by_name.insert(node.clone(), index);
        self.names.push(node);
        for label in &mut self.labels {
            label.of_node.push(number_value(&mut label.values, slot.labels.get(&label.key)));
        }
        self.slots.push(slot);
        self.cells.clear();
        for tally in &mut self.tallies {
            tally.ticket = None;
            tally.by_value.clear();
        }
        self.wants.clear();
        self.residents.push(Vec::new());
        self.index = None;
    }

    /// Looks a node up.
    pub fn slot(&self, node: &NodeName) -> Option<&Slot> {
        self.by_name.get(node).map(|index| &self.slots[*index])
    }

    /// Lists the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, &Slot)> {
        self.names.iter().zip(&self.slots)
    }

    /// Tells of a workload that is wanted, and of where it may go, so that others can be apart
    /// from it and near it, and it from them, whichever is placed first.
    pub fn learn(&mut self, name: &WorkloadName, placement: &Placement, keep: Option<u32>) {
        let number = self.workload(name);
        let shunned = self.tallies[number].placement.as_ref().is_some_and(|p| !p.apart.is_empty());
        for tally in self.tallies.iter_mut().filter(|_| shunned) {
            let before = tally.shunned_by.len();
            tally.shunned_by.retain(|(by, _)| *by != number);
            if tally.shunned_by.len() != before {
                tally.ticket = None;
            }
        }
        for key in want::labels(placement) {
            self.label(key);
        }
        for Relation { workload, over, weight } in &placement.apart {
            let (other, over) = (self.workload(workload), self.domain(over));
            let shunned = &mut self.tallies[other].shunned_by;
            if weight.is_none() && !shunned.contains(&(number, over)) {
                shunned.push((number, over));
                // It may have been asked for before.
                self.tallies[other].ticket = None;
            }
        }
        let tally = &mut self.tallies[number];
        tally.placement = Some(Arc::new(placement.clone()));
        tally.priority = placement.priority;
        tally.keep = keep;
        tally.ticket = None;
    }

    /// Counts a pod that is there.
    pub fn count(
        &mut self,
        node: &NodeName,
        workload: &WorkloadName,
        requests: &Requests,
        ip4: Ipv4Addr,
    ) {
        let number = self.workload(workload);
        self.asked.add(requests);
        let Some(&index) = self.by_name.get(node) else { return };
        let needs: Arc<[_]> = self.needs(requests).into();
        self.take_at(index, ip4);
        self.hold(index, &needs, || Holder::Service(workload.clone()));
        self.put(index, number, &needs);
    }

    /// Counts a pod that is to come: it yields to nobody, since it is not there.
    pub fn promise(
        &mut self,
        node: &NodeName,
        workload: &WorkloadName,
        requests: &Requests,
        ip4: Ipv4Addr,
    ) {
        let number = self.workload(workload);
        self.asked.add(requests);
        let needs = self.needs(requests);
        let Some(&index) = self.by_name.get(node) else { return };
        self.take_at(index, ip4);
        self.hold(index, &needs, || Holder::Service(workload.clone()));
        self.spend(index, &needs);
        self.tell(index, number, true);
        self.shifted(index, Change::Other);
    }

    /// Counts requests that belong to nobody in this plan, such as another tenant's; `by` says whose.
    pub fn reserve(&mut self, node: &NodeName, requests: &Requests, by: &Holder) {
        let needs = self.needs(requests);
        let Some(&index) = self.by_name.get(node) else { return };
        self.hold(index, &needs, || by.clone());
        self.spend(index, &needs);
        self.shifted(index, Change::Other);
    }

    /// Counts a volume that is there: its node's disk, and the quota's.
    pub fn lay(&mut self, node: &NodeName, disk_bytes: u64) {
        let disk = Requests { disk_bytes, ..Requests::default() };
        self.asked.add(&disk);
        self.reserve(node, &disk, &Holder::Process);
    }

    /// By how much, in bytes, a node's disk or the quota's is promised beyond what there is.
    pub fn disk_over(&self, node: &NodeName) -> u64 {
        let width = self.resources.len();
        let at = self.by_name.get(node).map(|index| index * width + DISK);
        let over = at.map_or(0, |at| self.used[at].saturating_sub(self.room[at]));
        let quota = self.quota.as_ref().and_then(|quota| quota.disk_bytes).unwrap_or(u64::MAX);
        over.max(self.asked.disk_bytes.saturating_sub(quota))
    }

    /// Takes a port of a node from whoever holds it.
    pub fn free_port(&mut self, node: &NodeName, port: NodePort) {
        let resource = self.number_of(&Resource::Port(port));
        let Some(&index) = self.by_name.get(node) else { return };
        let width = self.resources.len();
        self.used[index * width + resource] = 0;
        self.holders.remove(&(resource, index));
        self.index = None;
    }

    /// Marks an address as taken.
    pub fn take(&mut self, node: &NodeName, ip4: Ipv4Addr) {
        if let Some(&index) = self.by_name.get(node) {
            self.take_at(index, ip4);
        }
    }

    /// Takes a pod out of the counts of its workload and of the quota; its resources stay counted,
    /// since other branches run at the same time.
    pub fn uncount(&mut self, node: &NodeName, workload: &WorkloadName, requests: &Requests) {
        self.asked.sub(requests);
        if let (Some(&node), Some(&workload)) =
            (self.by_name.get(node), self.by_workload.get(workload))
        {
            self.tell(node, workload, false);
        }
    }

    /// Undoes [`Self::uncount`].
    pub fn recount(&mut self, node: &NodeName, workload: &WorkloadName, requests: &Requests) {
        self.asked.add(requests);
        if let (Some(&node), Some(&workload)) =
            (self.by_name.get(node), self.by_workload.get(workload))
        {
            self.tell(node, workload, true);
        }
    }

    /// Makes room for a replica that no node takes: lists the node and the workload of each pod
    /// that has to go, which are not counted any more. Nothing if nobody yields.
    pub fn make_room(&mut self, ask: &Ask<'_>) -> Option<Vec<(NodeName, WorkloadName)>> {
        let ticket = self.ticket(ask);
        let gone = self.preempt(ticket)?;
        Some(gone.into_iter().map(|(node, name)| (self.names[node].clone(), name)).collect())
    }

    /// Changes a node, keeping what lies on it.
    pub fn alter(&mut self, node: &NodeName, change: impl FnOnce(&mut Slot)) {
        let Some(&index) = self.by_name.get(node) else { return };
        change(&mut self.slots[index]);
        let slot = &self.slots[index];
        for label in &mut self.labels {
            label.of_node[index] = number_value(&mut label.values, slot.labels.get(&label.key));
        }
        for tally in &mut self.tallies {
            tally.ticket = None;
            tally.by_value.clear();
        }
        self.wants.clear();
        self.index = None;
    }

    /// Lists the nodes that a workload's replicas are on, one entry a replica.
    pub fn replicas(&self, name: &WorkloadName) -> Vec<NodeName> {
        let Some(&number) = self.by_workload.get(name) else { return Vec::new() };
        let on = self.tallies[number].on.iter();
        on.flat_map(|(node, count)| (0..*count).map(|_| self.names[*node].clone())).collect()
    }

    /// What a workload was said to want.
    pub fn placement_of(&self, name: &WorkloadName) -> Option<&Placement> {
        self.tallies[*self.by_workload.get(name)?].placement.as_deref()
    }

    /// Takes a pod away: out of the counts, its resources and its address free.
    pub fn remove(
        &mut self,
        node: &NodeName,
        workload: &WorkloadName,
        requests: &Requests,
        ip4: Option<Ipv4Addr>,
    ) {
        let needs: Arc<[_]> = self.needs(requests).into();
        self.asked.sub(requests);
        let (Some(&index), Some(&number)) =
            (self.by_name.get(node), self.by_workload.get(workload))
        else {
            return;
        };
        if let Some(ip4) = ip4
            && self.slots[index].give(ip4)
        {
            let width = self.resources.len();
            self.used[index * width + ADDRESSES] -= 1;
        }
        self.pull(index, number, &needs);
    }
}
