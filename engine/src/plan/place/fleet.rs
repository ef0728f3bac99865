//! The fleet as placement sees it: nodes, what lies on them, and who counts where.
//!
//! Names are numbered once; from then on everything is numbers. Nodes keep the order in which they
//! were added, which is the order of ties, so callers add them by name.

mod look;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use self::names::{amount, number_value};
use super::ask::{Ask, Place, Slot};
use super::filter::{self, At};
use super::grid::Cell;
use super::index::Index;
use super::preempt::Yielding;
use super::price::{Foresight, Kept, Prices};
use super::score::{self, Score};
use super::want::{self, Domain, Floors, Ticket, Tie, Want};
use crate::plan::body::Rejection;
use crate::plan::graph::{Fill, Placement, Quota, Relation};
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::Requests;

/// Thousandths of a core.
pub const CPU: usize = 0;
/// Bytes of memory.
pub const MEMORY: usize = 1;
/// Bytes of disk.
pub const DISK: usize = 2;
/// Addresses in the node's pod range.
pub const ADDRESSES: usize = 3;
/// What the resources are called that every node has.
const KNOWN: [&str; 4] = ["cpu", "memory", "disk", "addresses"];
/// Stands for a disk of which nobody knows how large it is.
const NOT_LIMITED: u64 = u64::MAX >> 8;

/// The fleet.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    names: Vec<NodeName>,
    by_name: BTreeMap<NodeName, usize>,
    slots: Vec<Slot>,
    resources: Vec<String>,
    /// What there is, and what is taken: `resources.len()` numbers a node.
    room: Vec<u64>,
    used: Vec<u64>,
    labels: Vec<Label>,
    tallies: Vec<Tally>,
    by_workload: BTreeMap<WorkloadName, usize>,
    /// Who holds a port of which node.
    ports: BTreeMap<(u16, usize), usize>,
    /// What is on each node, for preemption.
    pub(super) residents: Vec<Vec<Resident>>,
    wants: Vec<Arc<Want>>,
    quota: Option<Quota>,
    asked: Requests,
    fill: Fill,
    prices: Prices,
    /// By capacity, how much of the nodes that are begun is kept for later; and each node's cell.
    kept: BTreeMap<[u64; 2], Kept>,
    cells: Vec<Cell>,
    pub(super) index: Option<Box<Index>>,
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

    /// Adds a node.
    pub fn add(&mut self, node: NodeName, slot: Slot) {
        if self.resources.is_empty() {
            self.resources = KNOWN.map(str::to_owned).to_vec();
        }
        for name in slot.room.named.keys() {
            self.number_of(name);
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
                other => amount(&slot.room, other, &self.resources),
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
        self.spend(index, &needs);
        self.tell(index, number, true);
        self.shifted(index);
    }

    /// Counts requests that belong to nobody in this plan, such as another tenant's.
    pub fn reserve(&mut self, node: &NodeName, requests: &Requests) {
        let needs = self.needs(requests);
        let Some(&index) = self.by_name.get(node) else { return };
        self.spend(index, &needs);
        self.shifted(index);
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

    /// Chooses a node.
    ///
    /// # Errors
    /// Every failing constraint of every node.
    pub fn choose(&mut self, ask: &Ask<'_>) -> Result<Place, BTreeMap<NodeName, Vec<Rejection>>> {
        let ticket = self.ticket(ask);
        let chosen = self.chosen(ticket, ask.stay, ask.credit);
        let Some(node) = chosen else { return Err(self.rejections(ask)) };
        let want = &*self.wants[ticket.0];
        let why = if ask.stay == Some(&self.names[node]) {
            "stays on its node".to_owned()
        } else {
            let floors = Floors::default();
            let credit = ask.credit.get(&self.names[node]);
            score::words(&At { fleet: self, node, want, floors: &floors, credit })
        };
        let Some(addresses) = self.slots[node].next_addresses() else {
            return Err(self.rejections(ask));
        };
        Ok(Place { node: self.names[node].clone(), addresses, why })
    }

    fn chosen(
        &mut self,
        ticket: Ticket,
        stay: Option<&NodeName>,
        credit: &BTreeMap<NodeName, Requests>,
    ) -> Option<usize> {
        if !self.quota_left(&self.wants[ticket.0].requests).is_empty() {
            return None;
        }
        let mut index = self.take_index();
        let found = index.search(self, ticket);
        let floors = index.floors(self, ticket);
        self.index = Some(index);
        let want = Arc::clone(&self.wants[ticket.0]);
        let at = |node| At {
            fleet: self,
            node,
            want: &want,
            floors: &floors,
            credit: credit.get(&self.names[node]),
        };
        let fits = |node: usize| filter::rejections(&at(node)).is_empty();
        if let Some(&stay) = stay.and_then(|stay| self.by_name.get(stay))
            && fits(stay)
        {
            return Some(stay);
        }
        // Nodes with a credit have more room than the index knows.
        let credited = credit.keys().filter_map(|name| self.by_name.get(name).copied());
        let credited = credited.filter(|node| fits(*node));
        credited.chain(found).min_by_key(|node| (score::score(&at(*node)), *node))
    }

    /// Says of every node what a replica's score there would be, or what is against it.
    pub fn judge(
        &mut self,
        ask: &Ask<'_>,
    ) -> BTreeMap<NodeName, Result<(Score, String), Vec<Rejection>>> {
        let ticket = self.ticket(ask);
        let mut index = self.take_index();
        let floors = index.floors(self, ticket);
        self.index = Some(index);
        let want = Arc::clone(&self.wants[ticket.0]);
        let quota = self.quota_left(&want.requests);
        let judge = |node: usize| {
            let credit = ask.credit.get(&self.names[node]);
            let at = At { fleet: self, node, want: &want, floors: &floors, credit };
            let mut failing = filter::rejections(&at);
            failing.extend(quota.iter().cloned());
            if failing.is_empty() {
                Ok((score::score(&at), score::words(&at)))
            } else {
                Err(failing)
            }
        };
        (0..self.names.len()).map(|node| (self.names[node].clone(), judge(node))).collect()
    }

    fn rejections(&mut self, ask: &Ask<'_>) -> BTreeMap<NodeName, Vec<Rejection>> {
        let judged = self.judge(ask).into_iter();
        judged.filter_map(|(node, verdict)| Some((node, verdict.err()?))).collect()
    }

    /// Interns an ask.
    pub fn ticket(&mut self, ask: &Ask<'_>) -> Ticket {
        let Ask { workload, requests, placement, image, stay: _, credit: _ } = *ask;
        let number = self.workload(workload);
        if let Some(ticket) = self.tallies[number].ticket
            && self.wants[ticket.0].is(requests, placement, image)
        {
            return ticket;
        }
        if self.tallies[number].placement.as_deref() != Some(placement) {
            let keep = self.tallies[number].keep;
            self.learn(workload, placement, keep);
        }
        match self.fill {
            Fill::Even => {}
            Fill::Dense => self.reckon(),
        }
        let want = self.resolve(ask, number);
        let ticket = Ticket(self.wants.len());
        self.wants.push(Arc::new(want));
        self.tallies[number].ticket = Some(ticket);
        ticket
    }

    fn resolve(&mut self, ask: &Ask<'_>, number: usize) -> Want {
        let Ask { workload, requests, placement, image, stay: _, credit: _ } = *ask;
        let mut needs = self.needs(requests);
        let takes = needs.as_slice().into();
        needs.push((ADDRESSES, 1));
        let spread = match &placement.spread {
            None => Domain::Node,
            Some(label) => Domain::Key(self.label(label)),
        };
        let even: Vec<_> =
            placement.even.iter().map(|even| (self.domain(&even.over), even.skew.max(1))).collect();
        let mut want = Want {
            name: workload.clone(),
            workload: number,
            requests: requests.clone(),
            needs,
            takes,
            priced: self.prices.class_of(requests),
            placement: placement.clone(),
            image: image.cloned(),
            spread,
            even,
            near: Vec::new(),
            apart: Vec::new(),
            lean: Vec::new(),
        };
        let lists = [(&placement.near, true), (&placement.apart, false)];
        for (relations, near) in lists {
            for Relation { workload, over, weight } in relations {
                let (other, over) = (self.workload(workload), self.domain(over));
                let tie = Tie { other, over, theirs: false };
                match weight {
                    None if near => want.near.push(tie),
                    None => want.apart.push(tie),
                    Some(weight) if near => want.lean.push((tie, i64::from(*weight))),
                    Some(weight) => want.lean.push((tie, -i64::from(*weight))),
                }
            }
        }
        for &(other, over) in &self.tallies[number].shunned_by {
            if other != number {
                want.apart.push(Tie { other, over, theirs: true });
            }
        }
        for (over, other) in want.counted() {
            if let Domain::Key(label) = over {
                self.count_by(other, label);
            }
        }
        want
    }

    /// Places a replica by its ticket and counts it: the planner's `choose` and `count` in one,
    /// without words. Its address is marked as taken.
    pub fn place(&mut self, ticket: Ticket) -> Option<usize> {
        let want = Arc::clone(&self.wants[ticket.0]);
        if self.quota.is_some() && !self.quota_left(&want.requests).is_empty() {
            return None;
        }
        let mut index = self.take_index();
        let node = index.search(self, ticket);
        self.index = Some(index);
        let node = node?;
        self.settle(ticket, node);
        Some(node)
    }

    /// Makes room for a replica that no node takes: lists the node and the workload of each pod
    /// that has to go, which are not counted any more. The replica then fits there.
    pub fn preempt(&mut self, ticket: Ticket) -> Option<Vec<(usize, WorkloadName)>> {
        if !self.quota_left(&self.wants[ticket.0].requests).is_empty() {
            return None;
        }
        let mut index = self.take_index();
        let yielding = index.preempt(self, ticket);
        self.index = Some(index);
        let Yielding { node, victims } = yielding?;
        let mut gone = Vec::new();
        for Resident { workload, needs } in victims {
            self.pull(node, workload, &needs);
            gone.push((node, self.tallies[workload].name.clone()));
        }
        Some(gone)
    }

    /// Counts a replica on a node, by its ticket.
    pub fn settle(&mut self, ticket: Ticket, node: usize) {
        let want = Arc::clone(&self.wants[ticket.0]);
        if self.quota.is_some() {
            self.asked.add(&want.requests);
        }
        let slot = &mut self.slots[node];
        if let Some((ip4, _)) = slot.next_addresses() {
            slot.take(ip4);
        }
        self.spend_one(node, ADDRESSES, 1);
        self.put(node, want.workload, &want.takes);
    }

    /// What of the quota is not enough for one more.
    fn quota_left(&self, requests: &Requests) -> Vec<Rejection> {
        let Some(quota) = &self.quota else { return Vec::new() };
        let Quota { cpu_millis, memory_bytes, disk_bytes, named } = quota;
        let asked = &self.asked;
        let mut failing = Vec::new();
        let mut check = |name: &str, limit: Option<u64>, asked: u64, needs: u64| {
            if let Some(free) = limit.map(|limit| limit.saturating_sub(asked))
                && needs > free
            {
                failing.push(Rejection::Quota { name: name.to_owned(), needs, free });
            }
        };
        check("cpu", *cpu_millis, asked.cpu_millis, requests.cpu_millis);
        check("memory", *memory_bytes, asked.memory_bytes, requests.memory_bytes);
        check("disk", *disk_bytes, asked.disk_bytes, requests.disk_bytes);
        for (name, limit) in named {
            let of = |requests: &Requests| requests.named.get(name).copied().unwrap_or(0);
            check(name, Some(*limit), of(asked), of(requests));
        }
        failing
    }

    fn take_index(&mut self) -> Box<Index> {
        match self.index.take() {
            Some(index) => index,
            None => Box::new(Index::of(self)),
        }
    }

    fn put(&mut self, node: usize, workload: usize, needs: &Arc<[(usize, u64)]>) {
        self.spend(node, needs);
        let priority = self.tallies[workload].priority;
        if let Some(index) = &mut self.index {
            index.comes(priority);
        }
        self.residents[node].push(Resident { workload, needs: Arc::clone(needs) });
        self.tell(node, workload, true);
        self.shifted(node);
    }

    fn pull(&mut self, node: usize, workload: usize, needs: &Arc<[(usize, u64)]>) {
        let width = self.resources.len();
        for &(resource, amount) in &**needs {
            let used = &mut self.used[node * width + resource];
            *used = used.saturating_sub(amount);
        }
        let gone = Resident { workload, needs: Arc::clone(needs) };
        if let Some(found) = self.residents[node].iter().position(|resident| *resident == gone) {
            self.residents[node].swap_remove(found);
        }
        self.tell(node, workload, false);
        self.shifted(node);
    }

    /// One replica more or fewer in a workload's counts.
    fn tell(&mut self, node: usize, workload: usize, more: bool) {
        let tally = &mut self.tallies[workload];
        let step =
            |count: u32| if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        let on = tally.on.entry(node).or_default();
        let before = *on;
        *on = step(before);
        let after = *on;
        if after == 0 {
            tally.on.remove(&node);
        }
        if before == after {
            return;
        }
        tally.total = step(tally.total);
        for (label, counts) in tally.by_value.iter_mut().enumerate() {
            let value = self.labels[label].of_node[node];
            if let Some(count) = counts.as_mut().and_then(|counts| counts.get_mut(value)) {
                *count = step(*count);
            }
        }
        let placement = tally.placement.clone();
        for &port in placement.iter().flat_map(|p| &p.host_ports) {
            if after == 0 {
                self.ports.remove(&(port, node));
            } else {
                self.ports.entry((port, node)).or_insert(workload);
            }
        }
        if let Some(index) = &mut self.index {
            index.told(node, workload, before, after);
        }
    }

    fn spend(&mut self, node: usize, needs: &[(usize, u64)]) {
        for &(resource, amount) in needs {
            self.spend_one(node, resource, amount);
        }
    }

    fn spend_one(&mut self, node: usize, resource: usize, amount: u64) {
        let width = self.resources.len();
        let used = &mut self.used[node * width + resource];
        *used = used.saturating_add(amount);
    }

    /// Prices all capacities that have no price yet, and reckons anew what is kept.
    fn reckon(&mut self) {
        if self.cells.len() == self.names.len() {
            return;
        }
        self.kept.clear();
        self.cells.clear();
        for node in 0..self.names.len() {
            let (room, cell) = (self.room_of(node), self.cell(node));
            self.prices.prepare(room);
            self.prices.keep(self.kept.entry(room).or_default(), room, None, cell);
            self.cells.push(cell);
        }
    }

    /// A node's free share has changed.
    fn shifted(&mut self, node: usize) {
        if let Some(before) = self.cells.get(node).copied() {
            let (room, after) = (self.room_of(node), self.cell(node));
            if before != after {
                let kept = self.kept.entry(room).or_default();
                self.prices.keep(kept, room, Some(before), after);
                self.cells[node] = after;
            }
        }
        if let Some(mut index) = self.index.take() {
            index.shifted(self, node);
            self.index = Some(index);
        }
    }

    fn take_at(&mut self, index: usize, ip4: Ipv4Addr) {
        if self.slots[index].take(ip4) {
            self.spend_one(index, ADDRESSES, 1);
        }
    }
}

impl Want {
    /// Whose replicas are counted over what.
    fn counted(&self) -> BTreeSet<(Domain, usize)> {
        let own = self.even.iter().map(|(over, _)| *over).chain([self.spread]);
        let ties = self.near.iter().chain(&self.apart).chain(self.lean.iter().map(|(tie, _)| tie));
        own.map(|over| (over, self.workload)).chain(ties.map(|tie| (tie.over, tie.other))).collect()
    }
}
