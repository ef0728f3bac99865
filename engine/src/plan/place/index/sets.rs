//! Sets of nodes that say who may take a replica, combined word by word; and the search among the
//! nodes that are left where these are few.

use super::search::{Entry, Group};
use super::{Index, NodeClass, Plan};
use crate::plan::observation::Pressure;
use crate::plan::place::bits::{Bits, NONE, ones};
use crate::plan::place::fleet::Fleet;
use crate::plan::place::want::{Domain, Want};

/// The most weighed ties over nodes that the index splits by; with more, every node is looked at.
pub(super) const MOST_TIES: usize = 3;
/// With so few nodes to choose from, each of them is looked at, without going by cells.
const FEW: u32 = 256;

/// With so few nodes that hold a workload, they are gone through one by one, not word by word.
const LISTED: usize = 64;

/// What decides among nodes: how many replicas they have, pressure, whether the image is lacking,
/// the cell's rank, and the node.
pub(super) type Key = (u32, Pressure, bool, u32, usize);

/// The nodes of a word of a class that sets leave: the class, which of its words, and the bits.
pub(super) type Few = (usize, usize, u64);

/// Who is let in by sets, whatever they have of the workload itself.
#[derive(Default)]
pub(super) struct Sieve<'a> {
    /// A node must be in all of these, and in none of those.
    all: Vec<&'a Bits>,
    none: Vec<&'a Bits>,
    /// Whom the replica must be near on the node.
    near: Vec<usize>,
    /// Who fulfils each of the weighed ties, and whom those are to.
    ties: Vec<(&'a Bits, usize)>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(
        index: &'a Index,
        fleet: &Fleet,
        want: &Want,
        plan: Option<&'a Plan>,
        weighed: &[(usize, i64)],
    ) -> Self {
        let mut sieve = Self::default();
        sieve.all.extend(plan.and_then(|plan| plan.at.as_ref()));
        let holding = |workload: usize| index.levels(workload).first();
        let over_nodes = |tie: &&super::Tie| tie.over == Domain::Node;
        for tie in want.apart.iter().filter(over_nodes) {
            if tie.other != want.workload {
                sieve.none.extend(holding(tie.other));
            }
        }
        for tie in want.near.iter().filter(over_nodes) {
            if !fleet.begins(want.workload, tie.other) {
                sieve.near.push(tie.other);
                sieve.all.push(holding(tie.other).unwrap_or(&NONE));
            }
        }
        let tie = |other: usize| (holding(other).unwrap_or(&NONE), other);
        sieve.ties.extend(weighed.iter().map(|(other, _)| tie(*other)));
        sieve
    }

    /// Says whether every node passes.
    pub(super) fn is_open(&self) -> bool {
        self.all.is_empty() && self.none.is_empty() && self.ties.is_empty()
    }

    /// The nodes of a word that pass, and fulfil exactly one of some sets of weighed ties.
    pub(super) fn word(&self, sets: u32, global: usize) -> u64 {
        let mask = self.base(global);
        if self.ties.is_empty() {
            return mask;
        }
        let each = (0..1_u32 << self.ties.len()).filter(|set| sets >> set & 1 == 1);
        mask & each.fold(0, |any, set| any | self.exactly(set, global))
    }

    fn base(&self, global: usize) -> u64 {
        let mask = self.all.iter().fold(u64::MAX, |mask, bits| mask & bits.word(global));
        self.none.iter().fold(mask, |mask, bits| mask & !bits.word(global))
    }

    /// The nodes that fulfil exactly one set of weighed ties.
    fn exactly(&self, set: u32, global: usize) -> u64 {
        self.ties.iter().enumerate().fold(u64::MAX, |mask, (tie, (bits, _))| {
            let word = bits.word(global);
            mask & if set >> tie & 1 == 1 { word } else { !word }
        })
    }
}

impl Group<'_> {
    /// Where sets leave only a few nodes, the best of them, with how many replicas it had; nothing
    /// where they leave more.
    pub(super) fn among_few(
        &self,
        group: &[Entry],
        (few, keys): &mut (Vec<Few>, Vec<Key>),
    ) -> Option<Option<(usize, u32)>> {
        if self.sieve.all.is_empty() && group.iter().all(|entry| entry.set == 0) {
            return None;
        }
        few.clear();
        keys.clear();
        if !self.listed(group, keys) {
            if !self.few(group, few) {
                return None;
            }
            self.best_of(few, keys);
        }
        // Nearly always the best lets the replica in, so that sorting them would be a waste.
        let place = |key: &Key| (key.4, key.0);
        let best = keys.iter().min();
        if best.is_none_or(|best| self.passes(best.4)) {
            return Some(best.map(place));
        }
        if !few.is_empty() {
            keys.clear();
            for level in 0..=self.top() {
                keys.extend(few.iter().flat_map(|few| self.keys(few, level)));
            }
        }
        keys.sort_unstable();
        Some(keys.iter().find(|key| self.passes(key.4)).map(place))
    }

    /// Lists all nodes that sets leave, if they are among those that hold one workload, and these
    /// are very few.
    fn listed(&self, group: &[Entry], keys: &mut Vec<Key>) -> bool {
        let Self { index, fleet, want, .. } = *self;
        let Some(set) = group.first().map(|entry| entry.set) else { return false };
        if group.iter().any(|entry| entry.set != set) {
            return false;
        }
        let ties = self.sieve.ties.iter().enumerate().filter(|(tie, _)| set >> tie & 1 == 1);
        let others = self.sieve.near.iter().copied().chain(ties.map(|(_, (_, other))| *other));
        let lists = others.map(|other| &fleet.tally(other).on);
        let Some(list) = lists.min_by_key(|list| list.len()).filter(|l| l.len() <= LISTED) else {
            return false;
        };
        let (own, top) = (&fleet.tally(want.workload).on, self.top());
        for &node in list.keys() {
            let position = index.position[node];
            let (global, bit) = (position / 64, position % 64);
            let mask = self.sieve.base(global) & self.sieve.exactly(set, global);
            let class = index.class_of[node];
            // Of one group and one set, each class is there once, in order.
            let here = group.binary_search_by_key(&class, |entry| entry.one.class).is_ok();
            if mask >> bit & 1 == 0 || !here {
                continue;
            }
            let level = own.get(&node).copied().unwrap_or(0);
            if level <= top {
                keys.push(self.key(level, class, position - index.classes[class].word * 64));
            }
        }
        true
    }

    /// Finds the words that sets leave something of; says whether that is little.
    fn few(&self, group: &[Entry], few: &mut Vec<Few>) -> bool {
        let mut nodes = 0;
        for Entry { one, set, .. } in group {
            let class = &self.index.classes[one.class];
            for local in 0..class.nodes.len().div_ceil(64) {
                let global = class.word + local;
                let mask = self.sieve.base(global) & self.sieve.exactly(*set, global);
                if mask != 0 {
                    let mask = mask & class.whole(local);
                    nodes += mask.count_ones();
                    few.push((one.class, local, mask));
                }
            }
            if nodes > FEW {
                return false;
            }
        }
        true
    }

    /// Lists the best node of each word, where that may be the best of all.
    fn best_of(&self, few: &[Few], keys: &mut Vec<Key>) {
        let mut most = self.top();
        for few in few {
            let found = (0..=most).find_map(|level| self.keys(few, level).min());
            if let Some(key) = found {
                most = key.0;
                keys.push(key);
            }
        }
    }

    /// The nodes of a word with so many replicas, each with what decides among them.
    fn keys(&self, &(class, local, mask): &Few, level: u32) -> impl Iterator<Item = Key> {
        let global = self.index.classes[class].word + local;
        let here = mask & self.pick(level, None).word(global);
        ones(here).map(move |bit| self.key(level, class, local * 64 + bit))
    }

    /// What decides about a node: how many replicas it has, and its class and place there.
    fn key(&self, level: u32, class: usize, local: usize) -> Key {
        let Self { index, fleet, want, .. } = *self;
        let NodeClass { nodes, grid, pressure, word } = &index.classes[class];
        let image = want.image.as_ref().and_then(|image| index.images.get(image));
        let lacking = image.is_some_and(|image| !image.contains(word * 64 + local));
        let rank = fleet.ranker(want, nodes[0]).rank(grid.cell_of(local));
        (level, *pressure, lacking, rank, nodes[local])
    }
}
