//! Rather the emptiest node; or, where nodes are filled densely, the one where least is lost of
//! what the fleet asks for.
//!
//! The number comes from the cell of the grid that the node is in, so that two nodes that differ
//! by less than a cell are equal, and the name decides.

use super::At;
use crate::plan::place::fleet::{CPU, MEMORY};
use crate::plan::place::grid::Cell;

pub(super) fn number(at: &At<'_>) -> i64 {
    i64::from(at.fleet.rank(at.want, at.node, cell(at)))
}

fn cell(at: &At<'_>) -> Cell {
    let free = |resource| at.fleet.free(at.node, resource, at.credit);
    Cell::of([free(CPU), free(MEMORY)], at.fleet.room_of(at.node))
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    let room = at.fleet.room_of(at.node);
    let share = |resource: usize| {
        let free = u128::from(at.fleet.free(at.node, resource, at.credit));
        let share = free * 100 / u128::from(room[resource].max(1));
        if room[resource] == 0 { 0 } else { share.min(100) }
    };
    Some(format!("{}% free", share(CPU).min(share(MEMORY))))
}
