//! An ask with its names resolved: what the filters and scores look at, computed once a workload.

use crate::plan::graph::{Over, Placement};
use crate::plan::names::{ImageDigest, WorkloadName};
use crate::plan::observation::Requests;

/// An interned ask: the same workload, requests, placement and image have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) usize);

/// What divides the fleet into domains, with the label's name resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// Each node is a domain.
    Node,
    /// Each value of this label is one.
    Key(usize),
}

/// A tie to another workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    /// Whose replicas count.
    pub other: usize,
    /// In which domain.
    pub over: Domain,
    /// Whether it is the other one that asks for it.
    pub theirs: bool,
}

/// A resolved ask.
#[derive(Clone, Debug)]
pub struct Want {
    /// Of which workload.
    pub name: WorkloadName,
    /// The workload's number.
    pub workload: usize,
    /// How much.
    pub requests: Requests,
    /// How much of each resource, by its number; what is not asked for is left out.
    pub needs: Vec<(usize, u64)>,
    /// The same without the address.
    pub takes: std::sync::Arc<[(usize, u64)]>,
    /// Its class of demand, if that has a price.
    pub priced: Option<usize>,
    /// Where it may go.
    pub placement: Placement,
    /// Its image.
    pub image: Option<ImageDigest>,
    /// Over what replicas spread if they can.
    pub spread: Domain,
    /// Over what they must be even, and how much they may differ.
    pub even: Vec<(Domain, u32)>,
    /// Whom it must be near.
    pub near: Vec<Tie>,
    /// Whom it must be apart from, by its own wish or by theirs.
    pub apart: Vec<Tie>,
    /// Whom it is rather near (positive) or rather apart from (negative).
    pub lean: Vec<(Tie, i64)>,
}

impl Want {
    /// Says whether an ask is this one.
    pub(super) fn is(
        &self,
        requests: &Requests,
        placement: &Placement,
        image: Option<&ImageDigest>,
    ) -> bool {
        &self.requests == requests && self.image.as_ref() == image && &self.placement == placement
    }

    /// The most replicas of this workload that a node may have before this one comes, where a
    /// constraint on nodes says so.
    pub(super) fn most_on_node(&self, floors: &Floors) -> Option<u32> {
        let apart =
            self.apart.iter().any(|tie| tie.over == Domain::Node && tie.other == self.workload);
        let even = self.even.iter().zip(&floors.0).filter(|((over, _), _)| *over == Domain::Node);
        let even = even.map(|((_, skew), least)| (least + skew).saturating_sub(1));
        even.chain(apart.then_some(0)).min()
    }
}

/// The number of replicas in the emptiest domain, for each of a want's `even`.
#[derive(Clone, Debug, Default)]
pub struct Floors(pub Vec<u32>);

/// The labels that a placement looks at; nodes that differ in another one are not told apart.
pub(super) fn labels(placement: &Placement) -> Vec<&str> {
    let Placement {
        spread,
        require,
        rules,
        prefer,
        even,
        near,
        apart,
        tolerate: _,
        at: _,
        held: _,
        every_node: _,
        priority: _,
        keep: _,
    } = placement;
    let over = even.iter().map(|even| &even.over);
    let over = over.chain(near.iter().chain(apart).map(|relation| &relation.over));
    let over = over.filter_map(|over| match over {
        Over::Node => None,
        Over::Label(label) => Some(label.as_str()),
    });
    let required = require.keys().map(String::as_str);
    let ruled = rules.iter().chain(prefer.iter().map(|wish| &wish.rule)).map(|rule| rule.label());
    spread.iter().map(String::as_str).chain(required).chain(ruled).chain(over).collect()
}
