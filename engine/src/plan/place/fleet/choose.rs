//! Choosing: a node for an ask, who makes room for it, and what is against every other node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ADDRESSES, Fleet, Resident};
use crate::plan::body::{Holder, Rejection};
use crate::plan::graph::Quota;
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::Requests;
use crate::plan::place::ask::{Ask, Place};
use crate::plan::place::filter::{self, At};
use crate::plan::place::index::Index;
use crate::plan::place::preempt::Yielding;
use crate::plan::place::score::{self, Score};
use crate::plan::place::want::{Floors, Ticket, Want};

/// A node's score for a replica, with its words; or every constraint that fails.
pub type Verdict = Result<(Score, String), Vec<Rejection>>;

impl Fleet {
    /// Chooses a node.
    ///
    /// # Errors
    /// Every failing constraint of every node.
    pub fn choose(&mut self, ask: &Ask<'_>) -> Result<Place, BTreeMap<NodeName, Vec<Rejection>>> {
        let ticket = self.ticket(ask);
        let advised = self.advised(ask);
        let chosen = advised.or_else(|| self.chosen(ticket, ask.stay, ask.credit));
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

    /// Says whether a node takes a replica; no advice is used up by asking.
    pub fn has_place(&mut self, ask: &Ask<'_>) -> bool {
        let ticket = self.ticket(ask);
        self.chosen(ticket, ask.stay, ask.credit).is_some()
    }

    /// The node that somebody advised for this replica, if it may go there.
    fn advised(&mut self, ask: &Ask<'_>) -> Option<usize> {
        let node = self.advice.get_mut(ask.workload)?.pop_front()?;
        let name = self.names[node].clone();
        self.judge_one(ask, &name)?.ok()?;
        Some(node)
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
    pub fn judge(&mut self, ask: &Ask<'_>) -> BTreeMap<NodeName, Verdict> {
        let (want, floors) = self.looked_at(ask);
        let nodes = self.names.iter().enumerate();
        nodes.map(|(node, name)| (name.clone(), self.verdict(ask, &want, &floors, node))).collect()
    }

    /// The same of one node; nothing if there is no such node.
    pub fn judge_one(&mut self, ask: &Ask<'_>, node: &NodeName) -> Option<Verdict> {
        let node = self.number(node)?;
        let (want, floors) = self.looked_at(ask);
        Some(self.verdict(ask, &want, &floors, node))
    }

    fn looked_at(&mut self, ask: &Ask<'_>) -> (Arc<Want>, Floors) {
        let ticket = self.ticket(ask);
        let mut index = self.take_index();
        let floors = index.floors(self, ticket);
        self.index = Some(index);
        (Arc::clone(&self.wants[ticket.0]), floors)
    }

    fn verdict(&self, ask: &Ask<'_>, want: &Want, floors: &Floors, node: usize) -> Verdict {
        let credit = ask.credit.get(&self.names[node]);
        let at = At { fleet: self, node, want, floors, credit };
        let mut failing = filter::rejections(&at);
        failing.extend(self.quota_left(&want.requests));
        if failing.is_empty() { Ok((score::score(&at), score::words(&at))) } else { Err(failing) }
    }

    fn rejections(&mut self, ask: &Ask<'_>) -> BTreeMap<NodeName, Vec<Rejection>> {
        let judged = self.judge(ask).into_iter();
        judged.filter_map(|(node, verdict)| Some((node, verdict.err()?))).collect()
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
        self.hold(node, &want.takes, || Holder::Service(want.name.clone()));
        self.put(node, want.workload, &want.takes);
    }

    /// What of the quota is not enough for one more.
    pub(in crate::plan::place) fn quota_left(&self, requests: &Requests) -> Vec<Rejection> {
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

    /// Forgets the index, for a search that does without.
    pub(in crate::plan::place) fn without_index(&mut self) {
        self.index = None;
    }

    fn take_index(&mut self) -> Box<Index> {
        match self.index.take() {
            Some(index) => index,
            None => Box::new(Index::of(self)),
        }
    }
}
