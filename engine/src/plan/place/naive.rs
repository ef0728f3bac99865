//! Filter and score of every node: what placement means, the oracle of the index, and what its
//! speed is compared with.

use super::filter::{self, At, Reach};
use super::fleet::Fleet;
use super::score::{self, Score};
use super::want::{Domain, Floors, Ticket, Want};

/// Finds the node that takes a replica, if one does.
pub fn search(fleet: &Fleet, ticket: Ticket) -> Option<usize> {
    let want = fleet.want(ticket);
    let floors = floors(fleet, want, 0..fleet.len());
    let mut best: Option<(Score, usize)> = None;
    for node in 0..fleet.len() {
        let at = At { fleet, node, want, floors: &floors, credit: None };
        if ![Reach::Class, Reach::Domain, Reach::Node].iter().all(|r| filter::passes(&at, *r)) {
            continue;
        }
        let score = score::score(&at);
        if best.is_none_or(|(other, _)| score < other) {
            best = Some((score, node));
        }
    }
    best.map(|(_, node)| node)
}

/// The number of replicas in the emptiest domain among the nodes that the replica may be on.
pub(super) fn floors(fleet: &Fleet, want: &Want, nodes: impl Iterator<Item = usize>) -> Floors {
    if want.even.is_empty() {
        return Floors::default();
    }
    let may = |node: &usize| {
        fleet.class_passes(*node, want) && want.placement.leaves_open(fleet.name_at(*node))
    };
    let nodes: Vec<usize> = nodes.filter(may).collect();
    let least = |over: Domain| {
        let nodes = nodes.iter().filter(|node| fleet.has_domain(over, **node));
        nodes.map(|node| fleet.replicas_in(want.workload, over, *node)).min().unwrap_or(0)
    };
    Floors(want.even.iter().map(|(over, _)| least(*over)).collect())
}
