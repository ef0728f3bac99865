//! What filters, scores and the index look at: rooms, counts, domains.

use std::sync::Arc;

use super::names::amount;
use super::{CPU, Fleet, MEMORY, Resource, Tally};
use crate::plan::body::Holder;
use crate::plan::graph::{Fill, Over, Placement};
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::Requests;
use crate::plan::place::ask::Slot;
use crate::plan::place::filter::{self, At, Reach};
use crate::plan::place::grid::Cell;
use crate::plan::place::price::Ranker;
use crate::plan::place::want::{Domain, Floors, Ticket, Want};

impl Fleet {
    /// The cell of a node's free share.
    pub(in crate::plan::place) fn cell(&self, node: usize) -> Cell {
        Cell::of([self.free(node, CPU, None), self.free(node, MEMORY, None)], self.room_of(node))
    }

    /// What is left of a resource on a node.
    pub(in crate::plan::place) fn free(
        &self,
        node: usize,
        resource: usize,
        credit: Option<&Requests>,
    ) -> u64 {
        let at = node * self.resources.len() + resource;
        let more = credit.map_or(0, |credit| amount(credit, resource, &self.resources));
        self.room[at].saturating_add(more).saturating_sub(self.used[at])
    }

    /// A node's CPU and memory.
    pub(in crate::plan::place) fn room_of(&self, node: usize) -> [u64; 2] {
        let at = node * self.resources.len();
        [self.room[at + CPU], self.room[at + MEMORY]]
    }

    /// Says whether CPU or memory of a node is promised beyond what there is, or was so until just
    /// now, when these left.
    pub(in crate::plan::place) fn is_overfull(&self, node: usize, left: &[(usize, u64)]) -> bool {
        let at = node * self.resources.len();
        [CPU, MEMORY].iter().any(|&of| {
            let left = left.iter().find(|(resource, _)| *resource == of).map_or(0, |need| need.1);
            self.used[at + of].saturating_add(left) > self.room[at + of]
        })
    }

    /// All that a node has, for telling classes apart.
    pub(in crate::plan::place) fn rooms(&self, node: usize) -> &[u64] {
        let width = self.resources.len();
        &self.room[node * width..(node + 1) * width]
    }

    /// All that is taken on a node.
    pub(in crate::plan::place) fn taken(&self, node: usize) -> &[u64] {
        let width = self.resources.len();
        &self.used[node * width..(node + 1) * width]
    }

    /// Lists who is where: a workload, a node, how many.
    pub(in crate::plan::place) fn holdings(
        &self,
    ) -> impl Iterator<Item = (usize, usize, u32)> + '_ {
        let each = self.tallies.iter().enumerate();
        each.flat_map(|(workload, tally)| tally.on.iter().map(move |(n, c)| (workload, *n, *c)))
    }

    /// How good a cell is for a want; less is better.
    pub(in crate::plan::place) fn rank(&self, want: &Want, node: usize, cell: Cell) -> u32 {
        self.ranker(want, node).rank(cell)
    }

    /// How cells of a node's class are compared for a want.
    pub(in crate::plan::place) fn ranker(&self, want: &Want, node: usize) -> Ranker<'_> {
        match self.fill {
            Fill::Even => Ranker::Even,
            Fill::Dense => {
                let room = self.room_of(node);
                let kept = self.kept.get(&room).copied().unwrap_or_default();
                self.prices.ranker(want.priced, room, kept)
            }
        }
    }

    /// Says whether the emptiest node is the best one for everybody.
    pub(in crate::plan::place) fn is_filled_evenly(&self) -> bool {
        match self.fill {
            Fill::Even => true,
            Fill::Dense => false,
        }
    }

    pub(in crate::plan::place) fn slot_at(&self, node: usize) -> &Slot {
        &self.slots[node]
    }

    pub(in crate::plan::place) fn name_at(&self, node: usize) -> &NodeName {
        &self.names[node]
    }

    /// Names a node by its number.
    pub fn name(&self, node: usize) -> Option<&NodeName> {
        self.names.get(node)
    }

    /// Counts the nodes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Says whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(in crate::plan::place) fn want(&self, ticket: Ticket) -> &Arc<Want> {
        &self.wants[ticket.0]
    }

    pub(in crate::plan::place) fn tally(&self, workload: usize) -> &Tally {
        &self.tallies[workload]
    }

    pub(in crate::plan::place) fn workload_name(&self, workload: usize) -> &WorkloadName {
        &self.tallies[workload].name
    }

    pub(in crate::plan::place) fn resource(&self, resource: usize) -> &Resource {
        &self.resources[resource]
    }

    /// Who holds a node's port, by the port's number as a resource.
    pub(in crate::plan::place) fn holder(&self, resource: usize, node: usize) -> Holder {
        self.holders.get(&(resource, node)).cloned().unwrap_or(Holder::Process)
    }

    /// Replicas of a workload in the domain that a node is in.
    pub(in crate::plan::place) fn replicas_in(
        &self,
        workload: usize,
        over: Domain,
        node: usize,
    ) -> u32 {
        let tally = &self.tallies[workload];
        match over {
            Domain::Node => tally.on.get(&node).copied().unwrap_or(0),
            Domain::Key(label) => self.by_value(tally, label, self.labels[label].of_node[node]),
        }
    }

    fn by_value(&self, tally: &Tally, label: usize, value: usize) -> u32 {
        match tally.by_value.get(label) {
            Some(Some(counts)) => counts.get(value).copied().unwrap_or(0),
            Some(None) | None => {
                let of_node = &self.labels[label].of_node;
                tally.on.iter().filter(|(node, _)| of_node[**node] == value).map(|(_, n)| *n).sum()
            }
        }
    }

    /// Replicas of a workload by the values of a label, where they are counted so.
    pub(in crate::plan::place) fn counts_of(
        &self,
        workload: usize,
        over: Domain,
    ) -> Option<&[u32]> {
        match over {
            Domain::Node => None,
            Domain::Key(label) => self.tallies[workload].by_value.get(label)?.as_deref(),
        }
    }

    /// The number of a node's value of a label; 0 without one.
    pub(in crate::plan::place) fn value_at(&self, over: Domain, node: usize) -> usize {
        match over {
            Domain::Node => 0,
            Domain::Key(label) => self.labels[label].of_node[node],
        }
    }

    /// Says whether a node is in a domain at all.
    pub(in crate::plan::place) fn has_domain(&self, over: Domain, node: usize) -> bool {
        match over {
            Domain::Node => true,
            Domain::Key(label) => self.labels[label].of_node[node] != 0,
        }
    }

    pub(in crate::plan::place) fn domain_name(&self, over: Domain, node: usize) -> Option<String> {
        match over {
            Domain::Node => Some(self.names[node].to_string()),
            Domain::Key(label) => self.slots[node].labels.get(&self.labels[label].key).cloned(),
        }
    }

    pub(in crate::plan::place) fn over(&self, over: Domain) -> Over {
        match over {
            Domain::Node => Over::Node,
            Domain::Key(label) => Over::Label(self.labels[label].key.clone()),
        }
    }

    /// Says whether a workload need not be near another one yet: there is none of it, and it is
    /// the same, or waits for this one in its turn.
    pub(in crate::plan::place) fn begins(&self, workload: usize, other: usize) -> bool {
        let name = &self.tallies[workload].name;
        let waits = |p: &Arc<Placement>| {
            p.near.iter().any(|near| &near.workload == name && near.weight.is_none())
        };
        let tally = &self.tallies[other];
        tally.total == 0 && (workload == other || tally.placement.as_ref().is_some_and(waits))
    }

    /// The values that tell nodes apart, by label.
    pub(in crate::plan::place) fn values(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.labels.iter().map(move |label| label.of_node[node])
    }

    /// Says whether a node passes whatever its class alone decides.
    pub(in crate::plan::place) fn class_passes(&self, node: usize, want: &Want) -> bool {
        let floors = Floors::default();
        filter::passes(&At { fleet: self, node, want, floors: &floors, credit: None }, Reach::Class)
    }
}
