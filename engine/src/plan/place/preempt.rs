//! Preemption: who yields when no node takes a replica.
//!
//! Only pods of a lower priority yield, only as many of a workload at a time as its limit allows,
//! and only where that makes room: being apart, near, even, or a port's holder, is not changed by
//! force. The order of choice: first, that the most important victim be as unimportant as can be;
//! then, that there be few; then the node with most to yield; then its name. Of many nodes that
//! could yield, the [`MOST_LOOKED_AT`] with most to yield are looked at.
//!
//! What nodes could yield is kept like what they have free: a grid for each priority.

use std::collections::BTreeMap;

use super::filter::{self, At, Reach};
use super::fleet::{CPU, Fleet, MEMORY, Resident};
use super::grid::{Cell, Grid};
use super::want::{Floors, Want};

/// How many nodes are looked at for the fewest victims.
pub const MOST_LOOKED_AT: usize = 64;

/// Who yields, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yielding {
    /// The node's number.
    pub node: usize,
    /// Whose pods go, by the number of the workload, one entry a pod.
    pub(super) victims: Vec<Resident>,
}

/// What has changed on a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// A pod has come that yields to more important ones.
    Comes {
        /// How important it is.
        priority: i32,
        /// What it takes.
        needs: &'a [(usize, u64)],
    },
    /// Such a pod has left.
    Leaves {
        /// How important it was.
        priority: i32,
        /// What it took.
        needs: &'a [(usize, u64)],
    },
    /// Something that yields to nobody.
    Other,
}

/// What nodes could yield, priority by priority.
#[derive(Clone, Debug, Default)]
pub(super) struct Yields {
    /// The priorities that there are, lowest first.
    tiers: Vec<i32>,
    /// CPU and memory that would be free on a node if all up to a tier went.
    potential: Vec<[u64; 2]>,
    /// A grid for each class and tier.
    grids: Vec<Vec<Grid>>,
}

impl Yields {
    /// Computes what every node could yield. `classes` are the nodes of each class.
    pub(super) fn of<'a>(fleet: &Fleet, classes: impl Iterator<Item = &'a [usize]>) -> Self {
        let mut tiers: Vec<i32> = fleet
            .residents
            .iter()
            .flatten()
            .map(|pod| fleet.tally(pod.workload).priority)
            .collect();
        tiers.sort_unstable();
        tiers.dedup();
        let mut yields = Self { tiers, potential: Vec::new(), grids: Vec::new() };
        yields.potential = vec![[0; 2]; fleet.len() * yields.tiers.len()];
        (0..fleet.len()).for_each(|node| yields.count(fleet, node));
        let tiers = 0..yields.tiers.len();
        let grids = classes.map(|nodes| {
            let grid =
                |tier| Grid::new(nodes.iter().map(|n| yields.cell(fleet, *n, tier)).collect());
            tiers.clone().map(grid).collect()
        });
        yields.grids = grids.collect();
        yields
    }

    /// Says whether a priority is one of the tiers.
    pub(super) fn knows(&self, priority: i32) -> bool {
        self.tiers.binary_search(&priority).is_ok()
    }

    /// Something has come to a node or left it. What a pod takes it would yield again to those
    /// that are more important than it, so that only the tiers below its own have changed.
    pub(super) fn refresh(
        &mut self,
        fleet: &Fleet,
        node: usize,
        (class, local): (usize, usize),
        change: Change<'_>,
    ) {
        let width = self.tiers.len();
        let below = |priority: i32| self.tiers.partition_point(|tier| *tier < priority);
        let (below, needs, comes) = match change {
            Change::Comes { priority, needs } => (below(priority), needs, true),
            Change::Leaves { priority, needs } => (below(priority), needs, false),
            Change::Other => (width, &[][..], false),
        };
        // Where more is promised than there is, what is free does not follow what is taken.
        let counted = match change {
            Change::Comes { .. } => !fleet.is_overfull(node, &[]),
            Change::Leaves { .. } => !fleet.is_overfull(node, needs),
            Change::Other => false,
        };
        if counted {
            for tier in &mut self.potential[node * width..][..below] {
                for (resource, amount) in needs.iter().filter(|(r, _)| *r == CPU || *r == MEMORY) {
                    let of = &mut tier[*resource];
                    *of =
                        if comes { of.saturating_sub(*amount) } else { of.saturating_add(*amount) };
                }
            }
        } else {
            self.count(fleet, node);
        }
        let tiers = if counted { below } else { width };
        for tier in 0..tiers {
            let cell = self.cell(fleet, node, tier);
            self.grids[class][tier].shift(local, cell);
        }
    }

    fn count(&mut self, fleet: &Fleet, node: usize) {
        let width = self.tiers.len();
        let row = &mut self.potential[node * width..(node + 1) * width];
        row.fill([0; 2]);
        for pod in &fleet.residents[node] {
            let priority = fleet.tally(pod.workload).priority;
            let Ok(tier) = self.tiers.binary_search(&priority) else { continue };
            for (resource, amount) in &*pod.needs {
                if *resource == CPU || *resource == MEMORY {
                    row[tier][*resource] = row[tier][*resource].saturating_add(*amount);
                }
            }
        }
        let mut sum = [CPU, MEMORY].map(|resource| fleet.free(node, resource, None));
        for tier in row {
            sum = [sum[0].saturating_add(tier[0]), sum[1].saturating_add(tier[1])];
            *tier = sum;
        }
    }

    fn cell(&self, fleet: &Fleet, node: usize, tier: usize) -> Cell {
        Cell::of(self.potential[node * self.tiers.len() + tier], fleet.room_of(node))
    }

    /// Finds who yields to a want. `classes` are those that may take it, each with its nodes.
    pub(super) fn search<'a>(
        &self,
        fleet: &Fleet,
        want: &Want,
        floors: &Floors,
        classes: impl Iterator<Item = (usize, &'a [usize])> + Clone,
    ) -> Option<Yielding> {
        let asks = |resource: usize| want.needs.iter().find(|n| n.0 == resource).map_or(0, |n| n.1);
        let needs = [asks(CPU), asks(MEMORY)];
        for tier in 0..self.tiers.partition_point(|tier| *tier < want.placement.priority) {
            let grid = |class: usize| &self.grids[class][tier];
            let mut heads: Vec<Head<'_>> = Vec::new();
            for (class, nodes) in classes.clone() {
                let least = Cell::of(needs, fleet.room_of(nodes[0])).levels();
                if let Some(found) = grid(class).emptiest(0, least) {
                    heads.push(Head { found, class, least, nodes });
                }
            }
            let mut looked_at = 0;
            let mut best: Option<Yielding> = None;
            let mut merged: Vec<usize> = Vec::new();
            while let Some(rank) = heads.iter().map(|head| head.found.0).min() {
                let alone = heads.iter().filter(|head| head.found.0 == rank).count() == 1;
                merged.clear();
                let mut first = None;
                heads.retain_mut(|head| {
                    while head.found.0 == rank {
                        let lane = &grid(head.class).lanes()[head.found.1];
                        let next = grid(head.class).emptiest(head.found.2, head.least);
                        // Cells that tie are merged by the order of nodes; one alone has it already.
                        if alone && next.is_none_or(|next| next.0 != rank) && merged.is_empty() {
                            first = Some((lane, head.nodes));
                        } else {
                            merged.extend(lane.members().map(|local| head.nodes[local]));
                        }
                        let Some(next) = next else { return false };
                        head.found = next;
                    }
                    true
                });
                merged.sort_unstable();
                let lane = first.into_iter();
                let lane =
                    lane.flat_map(|(lane, nodes)| lane.members().map(move |local| nodes[local]));
                for node in lane.chain(merged.iter().copied()) {
                    if !passes_but_room(fleet, want, floors, node) {
                        continue;
                    }
                    let Some(victims) = victims(fleet, want, node, self.tiers[tier]) else {
                        continue;
                    };
                    looked_at += 1;
                    if best.as_ref().is_none_or(|best| victims.len() < best.victims.len()) {
                        best = Some(Yielding { node, victims });
                    }
                    if looked_at == MOST_LOOKED_AT
                        || best.as_ref().is_some_and(|b| b.victims.len() == 1)
                    {
                        return best;
                    }
                }
            }
            if best.is_some() {
                return best;
            }
        }
        None
    }
}

/// The emptiest cell of a class that has not been looked into.
struct Head<'a> {
    /// Its rank, its lane, and where to go on from.
    found: (u32, usize, usize),
    class: usize,
    least: [u64; 2],
    nodes: &'a [usize],
}

/// Whether every constraint but room holds.
fn passes_but_room(fleet: &Fleet, want: &Want, floors: &Floors, node: usize) -> bool {
    let at = At { fleet, node, want, floors, credit: None };
    filter::passes(&at, Reach::Domain) && filter::passes_but_room(&at)
}

/// The pods up to a priority that have to go from a node for a want to fit: as few as can be
/// found, and of as little importance.
fn victims(fleet: &Fleet, want: &Want, node: usize, most: i32) -> Option<Vec<Resident>> {
    let priority = |pod: &Resident| fleet.tally(pod.workload).priority;
    let spare = |workload: usize| {
        let tally = fleet.tally(workload);
        let keep = tally.keep.unwrap_or(tally.total.saturating_sub(1));
        tally.total.saturating_sub(keep)
    };
    let rooms = fleet.rooms(node);
    let size = |pod: &Resident| -> u128 {
        let share = |&(resource, amount): &(usize, u64)| parts(amount, rooms[resource].max(1));
        pod.needs.iter().map(share).sum()
    };
    let lack = |gone: &[&Resident]| -> Vec<(usize, u64)> {
        let short = want.needs.iter().map(|&(resource, needs)| {
            let freed = gone.iter().map(|pod| yields(pod, resource));
            let free = freed.fold(fleet.free(node, resource, None), u64::saturating_add);
            (resource, needs.saturating_sub(free))
        });
        short.filter(|(_, short)| *short > 0).collect()
    };
    // One alone is what is looked for first, and nearly always there is one.
    let first = lack(&[]);
    let residents = || fleet.residents[node].iter().filter(|pod| priority(pod) <= most);
    let enough = |pod: &&Resident| {
        first.iter().all(|(r, short)| yields(pod, *r) >= *short) && spare(pod.workload) > 0
    };
    if let Some(pod) =
        residents().filter(enough).min_by_key(|pod| (priority(pod), size(pod), pod.workload))
    {
        return Some(vec![pod.clone()]);
    }
    let mut may: Vec<&Resident> = residents().collect();
    let mut left: BTreeMap<usize, u32> = BTreeMap::new();
    may.retain(|pod| {
        let left = left.entry(pod.workload).or_insert_with(|| spare(pod.workload));
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    });
    let mut gone: Vec<&Resident> = Vec::new();
    loop {
        let short = lack(&gone);
        if short.is_empty() {
            break;
        }
        let covers = |pod: &Resident| -> u128 {
            let parts = short
                .iter()
                .map(|(resource, short)| parts(yields(pod, *resource).min(*short), *short));
            parts.sum()
        };
        let next = may
            .iter()
            .enumerate()
            .filter(|(_, pod)| covers(pod) > 0)
            .max_by_key(|(_, pod)| {
                (covers(pod), std::cmp::Reverse((priority(pod), size(pod), pod.workload)))
            })
            .map(|(index, _)| index)?;
        gone.push(may.swap_remove(next));
    }
    // Whoever turns out not to be needed stays, the most important first.
    gone.sort_by_key(|pod| std::cmp::Reverse((priority(pod), pod.workload)));
    let mut index = 0;
    while index < gone.len() {
        let pod = gone.remove(index);
        if !lack(&gone).is_empty() {
            gone.insert(index, pod);
            index += 1;
        }
    }
    Some(gone.into_iter().cloned().collect())
}

/// An amount in millionths of a whole.
fn parts(amount: u64, whole: u64) -> u128 {
    // The usual way is several times as fast.
    match amount.checked_mul(1_000_000) {
        Some(millionths) => u128::from(millionths / whole),
        None => u128::from(amount) * 1_000_000 / u128::from(whole),
    }
}

/// How much of a resource a pod gives back; no address, since it has its own until it is gone.
fn yields(pod: &Resident, resource: usize) -> u64 {
    pod.needs.iter().find(|(other, _)| *other == resource).map_or(0, |need| need.1)
}

#[cfg(test)]
mod tests {
    use crate::plan::graph::Placement;
    use crate::plan::names::{NodeName, WorkloadName};
    use crate::plan::observation::Requests;
    use crate::plan::place::{Ask, Fleet, Slot};

    fn fleet(nodes: u32) -> Fleet {
        let mut fleet = Fleet::default();
        for number in 0..nodes {
            let range4 = format!("10.0.{number}.0/24").parse().expect("a range");
            let range6 = format!("fd00:{number}::/64").parse().expect("a range");
            let room = Requests { cpu_millis: 4000, memory_bytes: 4 << 30, ..Requests::default() };
            fleet.add(NodeName::new(format!("n{number}")), Slot::plain(room, (range4, range6)));
        }
        fleet
    }

    fn run(
        fleet: &mut Fleet,
        name: &str,
        priority: i32,
        keep: Option<u32>,
        cpu: u64,
    ) -> Option<Vec<String>> {
        let workload = &WorkloadName::new(name);
        let placement = &Placement { priority, ..Placement::default() };
        fleet.learn(workload, placement, keep);
        let requests = &Requests { cpu_millis: cpu, ..Requests::default() };
        let credit = &Default::default();
        let ask = Ask {
            workload,
            requests,
            volumes_bytes: 0,
            placement,
            image: None,
            stay: None,
            credit,
        };
        let ticket = fleet.ticket(&ask);
        if fleet.place(ticket).is_some() {
            return Some(Vec::new());
        }
        let yielding = fleet.preempt(ticket)?;
        assert!(fleet.place(ticket).is_some(), "there is room now");
        Some(yielding.into_iter().map(|(_, workload)| workload.to_string()).collect())
    }

    #[test]
    fn one_large_victim_goes_rather_than_two_small_ones() {
        let mut fleet = fleet(2);
        for name in ["a1", "a2"] {
            assert_eq!(run(&mut fleet, name, 0, Some(0), 2000), Some(vec![]));
        }
        // One node each so far; fill the first with two small ones, the second with a large one.
        assert_eq!(run(&mut fleet, "large", 0, Some(0), 2000), Some(vec![]));
        assert_eq!(run(&mut fleet, "small", 0, Some(0), 1000), Some(vec![]));
        assert_eq!(run(&mut fleet, "small2", 0, Some(0), 1000), Some(vec![]));
        let gone = run(&mut fleet, "urgent", 10, None, 2000).expect("somebody yields");
        assert_eq!(gone.len(), 1);
    }

    #[test]
    fn the_least_important_goes_and_no_equal_one() {
        let mut fleet = fleet(2);
        assert_eq!(run(&mut fleet, "mid", 5, Some(0), 4000), Some(vec![]));
        assert_eq!(run(&mut fleet, "low", 1, Some(0), 4000), Some(vec![]));
        assert_eq!(run(&mut fleet, "urgent", 10, Some(0), 3000), Some(vec!["low".to_owned()]));
        assert_eq!(run(&mut fleet, "same", 5, Some(0), 3000), None);
    }

    #[test]
    fn a_limit_on_disruption_holds() {
        let mut fleet = fleet(1);
        assert_eq!(run(&mut fleet, "kept", 0, Some(1), 4000), Some(vec![]));
        assert_eq!(run(&mut fleet, "urgent", 10, None, 3000), None);
    }
}
