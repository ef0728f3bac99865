//! What comes and goes, counted: room, replicas by node and by value, ports, cells.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{ADDRESSES, Fleet, Resident, Resource};
use crate::plan::body::Holder;
use crate::plan::place::preempt::Change;

impl Fleet {
    pub(in crate::plan::place) fn put(
        &mut self,
        node: usize,
        workload: usize,
        needs: &Arc<[(usize, u64)]>,
    ) {
        self.spend(node, needs);
        let priority = self.tallies[workload].priority;
        if let Some(index) = &mut self.index {
            index.comes(priority);
        }
        self.residents[node].push(Resident { workload, needs: Arc::clone(needs) });
        self.tell(node, workload, true);
        self.shifted(node, Change::Comes { priority, needs });
    }

    pub(in crate::plan::place) fn pull(
        &mut self,
        node: usize,
        workload: usize,
        needs: &Arc<[(usize, u64)]>,
    ) {
        let width = self.resources.len();
        for &(resource, amount) in &**needs {
            let used = &mut self.used[node * width + resource];
            *used = used.saturating_sub(amount);
            if *used == 0 {
                self.holders.remove(&(resource, node));
            }
        }
        let gone = Resident { workload, needs: Arc::clone(needs) };
        if let Some(found) = self.residents[node].iter().position(|resident| *resident == gone) {
            self.residents[node].swap_remove(found);
        }
        let priority = self.tallies[workload].priority;
        self.tell(node, workload, false);
        self.shifted(node, Change::Leaves { priority, needs });
    }

    /// Notes who takes a node's ports, for people; whoever came first stays.
    pub(super) fn hold(&mut self, node: usize, needs: &[(usize, u64)], by: impl Fn() -> Holder) {
        for (resource, _) in needs {
            if let Resource::Port(_) = self.resources[*resource] {
                self.holders.entry((*resource, node)).or_insert_with(&by);
            }
        }
    }

    /// One replica more or fewer in a workload's counts.
    pub(super) fn tell(&mut self, node: usize, workload: usize, more: bool) {
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
        tally.changes += 1;
        for (label, counts) in tally.by_value.iter_mut().enumerate() {
            let value = self.labels[label].of_node[node];
            if let Some(count) = counts.as_mut().and_then(|counts| counts.get_mut(value)) {
                *count = step(*count);
            }
        }
        if let Some(index) = &mut self.index {
            index.told(node, workload, before, after);
        }
    }

    pub(super) fn spend(&mut self, node: usize, needs: &[(usize, u64)]) {
        for &(resource, amount) in needs {
            self.spend_one(node, resource, amount);
        }
    }

    pub(in crate::plan::place) fn spend_one(&mut self, node: usize, resource: usize, amount: u64) {
        let width = self.resources.len();
        let used = &mut self.used[node * width + resource];
        *used = used.saturating_add(amount);
    }

    pub(in crate::plan::place) fn release_one(
        &mut self,
        node: usize,
        resource: usize,
        amount: u64,
    ) {
        let used = &mut self.used[node * self.resources.len() + resource];
        *used = used.saturating_sub(amount);
    }

    /// Prices all capacities that have no price yet, and reckons anew what is kept.
    pub(super) fn reckon(&mut self) {
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
    pub(super) fn shifted(&mut self, node: usize, change: Change<'_>) {
        if let Some(before) = self.cells.get(node).copied() {
            let (room, after) = (self.room_of(node), self.cell(node));
            if before != after {
                let kept = self.kept.entry(room).or_default();
                self.prices.keep(kept, room, Some(before), after);
                self.cells[node] = after;
            }
        }
        if let Some(mut index) = self.index.take() {
            index.yields_change(self, node, change);
            index.shifted(self, node);
            self.index = Some(index);
        }
    }

    pub(super) fn take_at(&mut self, index: usize, ip4: Ipv4Addr) {
        if self.slots[index].take(ip4) {
            self.spend_one(index, ADDRESSES, 1);
        }
    }
}
