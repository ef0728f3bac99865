//! The last resort: a place for each of many replicas, by trying and going back.
//!
//! Placement goes one replica after the other and does not go back. Where somebody then has no
//! place, this search looks for a place for all of them together: depth first, in the order in
//! which they are asked for, so that each is let in by every constraint when its turn comes.
//! Nodes that nothing tells apart, neither what they are nor what lies on them, are one *kind*, of
//! which one is tried; what was found to lead nowhere is remembered by kinds too. The number of
//! kinds that it looks at is bounded, so that it says "not found" in a large fleet, and never
//! "impossible". Everything is counted in integers and in an order, so it finds the same again.
//!
//! It knows nothing of what earlier waves free (a credit), and makes nobody yield.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::filter::{self, At, Reach};
use super::fleet::{ADDRESSES, CPU, Fleet, MEMORY};
use super::naive;
use super::want::{Floors, Ticket, Want};
use crate::plan::observation::Requests;

/// How many kinds of node are looked at before the search gives up.
pub const MOST_LOOKS: u64 = 1 << 20;

/// A replica that is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// What it asks for.
    pub ticket: Ticket,
    /// The node that it is rather on, by its number: that of the pod that it replaces.
    pub rather: Option<usize>,
}

/// What tells nodes apart: what they are and had before, and who of the wishes has come.
type Kind = (usize, Vec<Ticket>);

/// Finds a node for each wish, with all constraints kept, each in its turn; nothing if there is
/// none, or if it was not found with so many looks. The fleet is as before.
pub fn search(fleet: &Fleet, wishes: &[Wish], looks: u64) -> Option<Vec<usize>> {
    let mut asked = Requests::default();
    for wish in wishes {
        asked.add(&fleet.want(wish.ticket).requests);
    }
    if !fleet.quota_left(&asked).is_empty() || !is_enough(fleet, wishes) {
        return None;
    }
    let mut left: BTreeMap<Ticket, u64> = BTreeMap::new();
    wishes.iter().for_each(|wish| *left.entry(wish.ticket).or_default() += 1);
    let mut fleet = fleet.clone();
    fleet.without_index();
    let base = likeness(&fleet, left.keys().copied());
    let mut kinds: BTreeMap<Kind, BTreeSet<usize>> = BTreeMap::new();
    for (node, kind) in base.iter().enumerate() {
        kinds.entry((*kind, Vec::new())).or_default().insert(node);
    }
    let come = vec![Vec::new(); fleet.len()];
    Search { fleet, wishes, left, base, come, kinds, dead: BTreeSet::new(), looks }.run()
}

/// Whether all the nodes together have as much room as all the wishes ask for.
fn is_enough(fleet: &Fleet, wishes: &[Wish]) -> bool {
    let mut asked: BTreeMap<usize, u128> = BTreeMap::new();
    for (resource, needs) in wishes.iter().flat_map(|wish| &fleet.want(wish.ticket).needs) {
        *asked.entry(*resource).or_default() += u128::from(*needs);
    }
    asked.into_iter().all(|(resource, asked)| {
        let free = |node| u128::from(fleet.free(node, resource, None));
        (0..fleet.len()).map(free).sum::<u128>() >= asked
    })
}

/// Numbers the nodes such that two with one number are the same to every wish.
fn likeness(fleet: &Fleet, tickets: impl Iterator<Item = Ticket> + Clone) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    let mut on: Vec<Vec<(usize, u32)>> = vec![Vec::new(); fleet.len()];
    for (workload, node, count) in fleet.holdings() {
        on[node].push((workload, count));
    }
    let number = |node: usize| {
        let slot = fleet.slot_at(node);
        let name = fleet.name_at(node);
        let placements = tickets.clone().map(|t| &fleet.want(t).placement);
        let named: Vec<bool> = placements.map(|p| p.names_nodes() && p.leaves_open(name)).collect();
        let kind = (
            fleet.values(node).collect::<Vec<_>>(),
            slot.taints.clone(),
            (slot.intake, slot.reachable),
            (fleet.rooms(node).to_vec(), fleet.taken(node).to_vec()),
            std::mem::take(&mut on[node]),
            named,
        );
        let next = numbers.len();
        *numbers.entry(kind).or_insert(next)
    };
    (0..fleet.len()).map(number).collect()
}

/// A wish's candidates, and which of them is tried.
struct Turn {
    nodes: Vec<usize>,
    tried: usize,
}

struct Search<'a> {
    fleet: Fleet,
    wishes: &'a [Wish],
    /// How many of each are still to come.
    left: BTreeMap<Ticket, u64>,
    base: Vec<usize>,
    /// Who has come to each node, sorted.
    come: Vec<Vec<Ticket>>,
    kinds: BTreeMap<Kind, BTreeSet<usize>>,
    /// What leads nowhere: who has come to which kinds.
    dead: BTreeSet<Vec<Kind>>,
    looks: u64,
}

impl Search<'_> {
    fn run(mut self) -> Option<Vec<usize>> {
        let mut turns: Vec<Turn> = Vec::new();
        while turns.len() < self.wishes.len() {
            let nodes = if self.dead.contains(&self.state()) {
                Vec::new()
            } else {
                self.candidates(self.wishes[turns.len()])?
            };
            turns.push(Turn { nodes, tried: 0 });
            // On to the next candidate, of this wish or of one before it.
            loop {
                let depth = turns.len() - 1;
                let turn = &turns[depth];
                if let Some(node) = turn.nodes.get(turn.tried).copied() {
                    self.come(depth, node);
                    break;
                }
                let state = self.state();
                self.dead.insert(state);
                turns.pop();
                let before = turns.last_mut()?;
                let node = before.nodes[before.tried];
                before.tried += 1;
                self.go(turns.len() - 1, node);
            }
        }
        Some(turns.iter().map(|turn| turn.nodes[turn.tried]).collect())
    }

    /// The nodes that take a wish now, one of each kind, the fullest first; none if somebody who
    /// comes later has too little room already. Nothing if the looks are used up.
    fn candidates(&mut self, wish: Wish) -> Option<Vec<usize>> {
        let first = |nodes: &BTreeSet<usize>| nodes.first().copied();
        let each: Vec<usize> = self.kinds.values().filter_map(first).collect();
        let gone = self.wishes.len() - self.left.values().map(|left| *left as usize).sum::<usize>();
        let cost = each.len() * (1 + self.left.len()) + gone;
        self.looks = self.looks.checked_sub(u64::try_from(cost).unwrap_or(u64::MAX))?;
        if !self.has_places() {
            return Some(Vec::new());
        }
        let want = Arc::clone(self.fleet.want(wish.ticket));
        let floors = naive::floors(&self.fleet, &want, each.iter().copied());
        let mut nodes: Vec<usize> = Vec::new();
        nodes.extend(each.iter().filter(|node| takes(&self.fleet, &want, &floors, **node)));
        let free = |node: usize| {
            let room = self.fleet.room_of(node);
            let share = |of: usize| {
                let free = u128::from(self.fleet.free(node, of, None));
                free * 1_000_000 / u128::from(room[of].max(1))
            };
            share(CPU).min(share(MEMORY))
        };
        nodes.sort_by_cached_key(|node| (free(*node), *node));
        if let Some(rather) = wish.rather
            && takes(&self.fleet, &want, &floors, rather)
        {
            nodes.retain(|node| *node != rather);
            nodes.insert(0, rather);
        }
        Some(nodes)
    }

    /// Whether the room that there is could do for each class of wishes, were it alone.
    fn has_places(&self) -> bool {
        self.left.iter().filter(|(_, left)| **left > 0).all(|(ticket, left)| {
            let want = self.fleet.want(*ticket);
            let mut places = 0_u64;
            self.kinds.values().any(|nodes| {
                let Some(node) = nodes.first() else { return false };
                let fit = |(resource, needs): &(usize, u64)| {
                    self.fleet.free(*node, *resource, None) / (*needs).max(1)
                };
                let fit = want.needs.iter().map(fit).min().unwrap_or(u64::MAX);
                places = places.saturating_add(fit.saturating_mul(nodes.len() as u64));
                places >= *left
            })
        })
    }

    fn state(&self) -> Vec<Kind> {
        let begun = self.kinds.iter().filter(|((_, come), _)| !come.is_empty());
        begun.flat_map(|(kind, nodes)| nodes.iter().map(|_| kind.clone())).collect()
    }

    fn come(&mut self, depth: usize, node: usize) {
        let ticket = self.wishes[depth].ticket;
        self.fleet.come(ticket, node);
        self.shift(node, |come| {
            let at = come.partition_point(|other| *other < ticket);
            come.insert(at, ticket);
        });
        *self.left.entry(ticket).or_default() -= 1;
    }

    fn go(&mut self, depth: usize, node: usize) {
        let ticket = self.wishes[depth].ticket;
        self.fleet.go(ticket, node);
        self.shift(node, |come| {
            if let Ok(at) = come.binary_search(&ticket) {
                come.remove(at);
            }
        });
        *self.left.entry(ticket).or_default() += 1;
    }

    /// Moves a node into another kind.
    fn shift(&mut self, node: usize, change: impl FnOnce(&mut Vec<Ticket>)) {
        let before = (self.base[node], self.come[node].clone());
        if let Some(nodes) = self.kinds.get_mut(&before) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.kinds.remove(&before);
            }
        }
        change(&mut self.come[node]);
        let after = (self.base[node], self.come[node].clone());
        self.kinds.entry(after).or_default().insert(node);
    }
}

fn takes(fleet: &Fleet, want: &Want, floors: &Floors, node: usize) -> bool {
    let at = At { fleet, node, want, floors, credit: None };
    [Reach::Class, Reach::Domain, Reach::Node].iter().all(|reach| filter::passes(&at, *reach))
}

impl Fleet {
    fn come(&mut self, ticket: Ticket, node: usize) {
        let want = Arc::clone(self.want(ticket));
        self.spend_one(node, ADDRESSES, 1);
        self.put(node, want.workload, &want.takes);
    }

    fn go(&mut self, ticket: Ticket, node: usize) {
        let want = Arc::clone(self.want(ticket));
        self.pull(node, want.workload, &want.takes);
        self.release_one(node, ADDRESSES, 1);
    }
}
