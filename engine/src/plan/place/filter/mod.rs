//! Constraints, one file each: why a node does not take a replica.
//!
//! A filter knows one node and one replica. What it can be decided by ([`Reach`]) is all that the
//! index has to know of it.

mod address;
mod apart;
mod at;
mod even;
mod intake;
mod label;
mod near;
mod port;
mod reach;
mod room;
mod taint;
mod volume;

use super::fleet::Fleet;
use super::want::{Domain, Floors, Want};
use crate::plan::body::Rejection;
use crate::plan::observation::Requests;

/// One node and one replica.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// The node's number.
    pub node: usize,
    /// The replica.
    pub want: &'a Want,
    /// What the emptiest domains have.
    pub floors: &'a Floors,
    /// What is freed on the node before the replica comes.
    pub credit: Option<&'a Requests>,
}

/// What a constraint depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What nodes of one class have in common, and never changes while replicas are placed.
    Class,
    /// Counters of a domain, which nodes of one class have in common too.
    Domain,
    /// The node itself.
    Node,
}

/// Takes the reasons; or, where only yes or no matters, that there is one.
#[derive(Debug, Default)]
pub struct No {
    any: bool,
    words: Option<Vec<Rejection>>,
}

impl No {
    /// Notes a reason.
    pub fn because(&mut self, reason: impl FnOnce() -> Rejection) {
        self.any = true;
        if let Some(words) = &mut self.words {
            words.push(reason());
        }
    }
}

type Filter = fn(&At<'_>, Reach, &mut No);

/// Every constraint, and how it is dealt with. A filter is asked once for each reach, and answers
/// for what it decides there.
const FILTERS: &[(Filter, Way)] = &[
    (reach::check, Way::Asked),
    (intake::check, Way::Asked),
    (label::check, Way::Asked),
    (taint::check, Way::Asked),
    (at::check, Way::Sets),
    (volume::check, Way::Sets),
    (room::check, Way::Room),
    (address::check, Way::Asked),
    (port::check, Way::Room),
    (even::check, Way::Sets),
    (near::check, Way::Sets),
    (apart::check, Way::Sets),
];

/// How a constraint on a node itself is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is asked of each node that is looked at.
    Asked,
    /// So is this one; and it is about room, which somebody may yield.
    Room,
    /// The index's sets of nodes have decided it before a node is looked at.
    Sets,
}

/// Says whether every constraint of a reach holds.
pub fn passes(at: &At<'_>, reach: Reach) -> bool {
    let mut no = No::default();
    FILTERS.iter().all(|(filter, _)| {
        filter(at, reach, &mut no);
        !no.any
    })
}

/// Says whether the constraints on the node itself hold that the index's sets do not decide.
pub(super) fn passes_after_sets(at: &At<'_>) -> bool {
    let mut no = No::default();
    FILTERS.iter().filter(|(_, way)| *way != Way::Sets).all(|(filter, _)| {
        filter(at, Reach::Node, &mut no);
        !no.any
    })
}

/// Says whether what counters of domains decide holds, and nothing else.
pub(super) fn passes_domains(at: &At<'_>) -> bool {
    let mut no = No::default();
    FILTERS.iter().filter(|(_, way)| *way == Way::Sets).all(|(filter, _)| {
        filter(at, Reach::Domain, &mut no);
        !no.any
    })
}

/// Says whether every constraint on the node itself holds, but for what can be made room for.
pub(super) fn passes_but_room(at: &At<'_>) -> bool {
    let mut no = No::default();
    FILTERS.iter().filter(|(_, way)| *way != Way::Room).all(|(filter, _)| {
        filter(at, Reach::Node, &mut no);
        !no.any
    })
}

/// Lists every constraint that does not hold. A node that did not answer says no more than that.
pub fn rejections(at: &At<'_>) -> Vec<Rejection> {
    let mut no = No { any: false, words: Some(Vec::new()) };
    if !at.fleet.slot_at(at.node).reachable {
        return vec![Rejection::Unknown];
    }
    for (filter, _) in FILTERS {
        for reach in [Reach::Class, Reach::Domain, Reach::Node] {
            filter(at, reach, &mut no);
        }
    }
    no.words.unwrap_or_default()
}

/// Where a constraint over a domain is decided.
fn reach_of(over: Domain) -> Reach {
    match over {
        Domain::Node => Reach::Node,
        Domain::Key(_) => Reach::Domain,
    }
}
