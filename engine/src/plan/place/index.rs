//! The search that does not look at every node, and finds the node that [`super::naive`] finds.

use std::collections::BTreeMap;

use super::bits::{Bits, ones};
use super::filter::{self, At};
use super::fleet::{CPU, Fleet, MEMORY};
use super::grid::{Cell, Grid};
use super::naive;
use super::preempt::{Yielding, Yields};
use super::price::Ranker;
use super::score::{self, Common};
use super::want::{Domain, Floors, Ticket, Want};
use crate::plan::graph::{Intake, Taint};
use crate::plan::names::ImageDigest;
use crate::plan::observation::Pressure;

/// The most weighed ties over nodes that the index splits by; with more, every node is looked at.
const MOST_TIES: usize = 3;
/// With so few nodes to choose from, each of them is looked at, without going by cells.
const FEW: u32 = 256;

/// The fleet by node class and cell, and who is where.
///
/// A node has a position: classes follow each other, each begins at a multiple of 64, and in a
/// class positions are in the order of nodes, so that a class's nodes are whole words of any set.
#[derive(Clone, Debug, Default)]
pub struct Index {
    classes: Vec<NodeClass>,
    position: Vec<usize>,
    class_of: Vec<usize>,
    /// Which nodes have at least one, two, … replicas, by workload; made when first asked for.
    holders: Vec<Option<Vec<Bits>>>,
    images: BTreeMap<ImageDigest, Bits>,
    plans: Vec<Option<Plan>>,
    /// Rises when something is taken away, which may make a node fit again.
    eased: u64,
    /// What nodes could yield; made when first asked for.
    yields: Option<Yields>,
    entries: Vec<(Common, usize, u32)>,
    lanes: Vec<Candidate>,
}

/// A cell to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    class: usize,
    lane: usize,
    /// Which sets of weighed ties count.
    sets: u32,
    /// Where the class's next cell is, if its cells are taken in order.
    next: usize,
}

/// Nodes that no constraint tells apart, but for what lies on them.
#[derive(Clone, Debug)]
struct NodeClass {
    /// Its first word in every set of positions.
    word: usize,
    nodes: Vec<usize>,
    pressure: Pressure,
    grid: Grid,
}

/// What is decided once for an ask.
#[derive(Clone, Debug, Default)]
struct Plan {
    /// The classes that may take it, with what of their score does not change.
    classes: Vec<(usize, Common)>,
    /// The nodes that it names, if it does.
    at: Option<Bits>,
    /// Whether counters of a domain decide or weigh something.
    domains: bool,
    /// Where evenness over labels is all that looks at domains: the value of each of an ask's
    /// labels for each of the classes, so that a class costs a look at a counter.
    values: Option<Vec<usize>>,
    /// While nothing was taken away since, no node with fewer replicas fits.
    level: (u64, u32),
}

/// What tells classes apart.
type Likeness<'a> = (Vec<usize>, &'a [Taint], Intake, bool, Pressure, &'a [u64]);

impl Index {
    /// Sorts a fleet's nodes into classes and cells.
    pub(super) fn of(fleet: &Fleet) -> Self {
        let mut alike: BTreeMap<Likeness<'_>, Vec<usize>> = BTreeMap::new();
        for node in 0..fleet.len() {
            let slot = fleet.slot_at(node);
            let likeness = (
                fleet.values(node).collect(),
                slot.taints.as_slice(),
                slot.intake,
                slot.reachable,
                slot.pressure,
                fleet.rooms(node),
            );
            alike.entry(likeness).or_default().push(node);
        }
        let mut index = Self {
            position: vec![0; fleet.len()],
            class_of: vec![0; fleet.len()],
            ..Self::default()
        };
        let mut word = 0;
        for ((_, _, _, _, pressure, _), nodes) in alike {
            for (local, node) in nodes.iter().enumerate() {
                index.position[*node] = word * 64 + local;
                index.class_of[*node] = index.classes.len();
                for image in &fleet.slot_at(*node).images {
                    let bits = index.images.entry(image.clone()).or_default();
                    bits.insert(word * 64 + local);
                }
            }
            let grid = Grid::new(nodes.iter().map(|node| fleet.cell(*node)).collect());
            let words = nodes.len().div_ceil(64);
            index.classes.push(NodeClass { word, nodes, pressure, grid });
            word += words;
        }
        index
    }

    /// A node is in another cell now.
    pub(super) fn shifted(&mut self, fleet: &Fleet, node: usize) {
        let cell = fleet.cell(node);
        if let Some(yields) = &mut self.yields {
            let class = self.class_of[node];
            let local = self.position[node] - self.classes[class].word * 64;
            yields.refresh(fleet, node, class, local);
        }
        let class = &mut self.classes[self.class_of[node]];
        let before = class.grid.cell_of(self.position[node] - class.word * 64);
        class.grid.shift(self.position[node] - class.word * 64, cell);
        let (before, after) = (before.levels(), cell.levels());
        if after[0] > before[0] || after[1] > before[1] {
            self.eased += 1;
        }
    }

    /// A node has one replica of a workload more or fewer.
    pub(super) fn told(&mut self, node: usize, workload: usize, before: u32, after: u32) {
        if after < before {
            self.eased += 1;
        }
        let Some(Some(levels)) = self.holders.get_mut(workload) else { return };
        let level = before.max(after) as usize - 1;
        if level >= levels.len() {
            levels.resize(level + 1, Bits::default());
        }
        let position = self.position[node];
        if after > before {
            levels[level].insert(position);
        } else {
            levels[level].remove(position);
        }
    }

    /// The number of replicas in the emptiest domain, for each of an ask's `even`.
    pub(super) fn floors(&mut self, fleet: &Fleet, ticket: Ticket) -> Floors {
        let want = fleet.want(ticket);
        if want.even.is_empty() {
            return Floors::default();
        }
        self.prepare(fleet, ticket);
        let Some(Some(plan)) = self.plans.get(ticket.0) else { return Floors::default() };
        if let Some(values) = &plan.values {
            let least = |(at, (over, _)): (usize, &(Domain, u32))| {
                let counts = fleet.counts_of(want.workload, *over);
                let values = values.iter().skip(at).step_by(want.even.len());
                values.filter(|value| **value != 0).map(|value| count(counts, *value)).min()
            };
            let each = want.even.iter().enumerate();
            return Floors(each.map(|even| least(even).unwrap_or(0)).collect());
        }
        let least = |over: Domain| match over {
            Domain::Key(_) => {
                let classes = plan.classes.iter().map(|(class, _)| self.classes[*class].nodes[0]);
                let classes = classes.filter(|node| fleet.has_domain(over, *node));
                classes.map(|node| fleet.replicas_in(want.workload, over, node)).min()
            }
            Domain::Node => {
                let levels = self.levels(want.workload);
                let all = |at_least: usize| {
                    plan.classes.iter().all(|(class, _)| {
                        let class = &self.classes[*class];
                        (0..class.nodes.len().div_ceil(64)).all(|word| {
                            let global = class.word + word;
                            let allowed = plan.at.as_ref().map_or(u64::MAX, |at| at.word(global));
                            let held = levels.get(at_least - 1).map_or(0, |bits| bits.word(global));
                            class.whole(word) & allowed & !held == 0
                        })
                    })
                };
                let least = (1..=levels.len()).take_while(|at_least| all(*at_least)).count();
                Some(u32::try_from(least).unwrap_or(u32::MAX))
            }
        };
        Floors(want.even.iter().map(|(over, _)| least(*over).unwrap_or(0)).collect())
    }

    /// Finds who would yield to a replica that no node takes.
    pub(super) fn preempt(&mut self, fleet: &Fleet, ticket: Ticket) -> Option<Yielding> {
        self.prepare(fleet, ticket);
        let floors = self.floors(fleet, ticket);
        let want = fleet.want(ticket);
        let classes = &self.classes;
        let yields = self.yields.get_or_insert_with(|| {
            Yields::of(fleet, classes.iter().map(|class| class.nodes.as_slice()))
        });
        let plan = self.plans.get(ticket.0)?.as_ref()?;
        let among =
            plan.classes.iter().map(|(class, _)| (*class, classes[*class].nodes.as_slice()));
        yields.search(fleet, want, &floors, among)
    }

    /// A pod of a priority comes: if it is the first of it, what nodes could yield is counted anew.
    pub(super) fn comes(&mut self, priority: i32) {
        self.yields.take_if(|yields| !yields.knows(priority));
    }

    fn levels(&self, workload: usize) -> &[Bits] {
        match self.holders.get(workload) {
            Some(Some(levels)) => levels,
            Some(None) | None => &[],
        }
    }

    fn prepare(&mut self, fleet: &Fleet, ticket: Ticket) {
        let want = fleet.want(ticket);
        if self.plans.len() <= ticket.0 {
            self.plans.resize(ticket.0 + 1, None);
        }
        if self.plans[ticket.0].is_some() {
            return;
        }
        let at = (!want.placement.at.is_empty()).then(|| {
            let mut bits = Bits::default();
            for node in 0..fleet.len() {
                if want.placement.at.contains(fleet.name_at(node)) {
                    bits.insert(self.position[node]);
                }
            }
            bits
        });
        let allowed = |node: &usize| at.as_ref().is_none_or(|at| at.contains(self.position[*node]));
        let floors = Floors::default();
        let classes = self.classes.iter().enumerate().filter(|(_, class)| {
            fleet.class_passes(class.nodes[0], want) && class.nodes.iter().any(allowed)
        });
        let classes = classes.map(|(number, class)| {
            let node = class.nodes[0];
            let at = At { fleet, node, want, floors: &floors, credit: None };
            (number, score::common(&at))
        });
        let key = |over: Domain| over != Domain::Node;
        let ties = want.near.iter().chain(&want.apart).chain(want.lean.iter().map(|(tie, _)| tie));
        let domains = key(want.spread)
            || want.even.iter().any(|(over, _)| key(*over))
            || ties.clone().any(|tie| key(tie.over));
        let classes: Vec<(usize, Common)> = classes.collect();
        // Counters by value are kept for every label that an ask is even over.
        let only_even = !key(want.spread)
            && want.even.iter().all(|(over, _)| key(*over))
            && !ties.clone().any(|tie| key(tie.over))
            && !want.even.is_empty();
        let values = only_even.then(|| {
            let of = |class: usize| {
                let node = self.classes[class].nodes[0];
                want.even.iter().map(move |(over, _)| fleet.value_at(*over, node))
            };
            classes.iter().flat_map(|(class, _)| of(*class)).collect()
        });
        let plan = Plan { classes, at: at.clone(), domains, values, level: (0, 0) };
        self.plans[ticket.0] = Some(plan);
        let others = ties.filter(|tie| tie.over == Domain::Node).map(|tie| tie.other);
        for workload in others.chain([want.workload]) {
            if self.holders.len() <= workload {
                self.holders.resize(workload + 1, None);
            }
            if self.holders[workload].is_none() {
                let mut levels: Vec<Bits> = Vec::new();
                for (node, count) in &fleet.tally(workload).on {
                    let count = *count as usize;
                    levels.resize(levels.len().max(count), Bits::default());
                    levels[..count].iter_mut().for_each(|bits| bits.insert(self.position[*node]));
                }
                self.holders[workload] = Some(levels);
            }
        }
    }

    /// Finds the node that takes a replica, if one does.
    pub(super) fn search(&mut self, fleet: &Fleet, ticket: Ticket) -> Option<usize> {
        self.prepare(fleet, ticket);
        let floors = self.floors(fleet, ticket);
        let want = fleet.want(ticket);
        let weighed: Vec<(usize, i64)> = want
            .lean
            .iter()
            .filter(|(tie, _)| tie.over == Domain::Node)
            .map(|(tie, weight)| (tie.other, *weight))
            .collect();
        if weighed.len() > MOST_TIES {
            return naive::search(fleet, ticket);
        }
        let mut entries = std::mem::take(&mut self.entries);
        let mut lanes = std::mem::take(&mut self.lanes);
        self.enter(fleet, ticket, &floors, &weighed, &mut entries);
        let one = entries.first().map(|e| e.0) == entries.last().map(|e| e.0) && weighed.is_empty();
        let plan = self.plans[ticket.0].as_ref();
        let hint = plan.filter(|plan| one && !plan.domains && plan.level.0 == self.eased);
        let first = hint.map_or(0, |plan| plan.level.1);
        let mut found = None;
        let mut rest = entries.as_slice();
        while let (None, Some((common, ..))) = (found, rest.first()) {
            let size = rest.partition_point(|(other, ..)| other <= common);
            let (group, others) = rest.split_at(size);
            let search =
                Group { index: self, fleet, want, plan, floors: &floors, weighed: &weighed };
            found = search.best(group, first, &mut lanes);
            rest = others;
        }
        if let (Some((_, level)), Some(plan)) = (found, self.plans[ticket.0].as_mut()) {
            plan.level = (self.eased, level);
        }
        (self.entries, self.lanes) = (entries, lanes);
        found.map(|(node, _)| node)
    }

    /// Lists the classes whose domains let the replica in, the best first. With weighed ties over
    /// nodes, once for each set of them that a node may fulfil.
    fn enter(
        &self,
        fleet: &Fleet,
        ticket: Ticket,
        floors: &Floors,
        weighed: &[(usize, i64)],
        entries: &mut Vec<(Common, usize, u32)>,
    ) {
        entries.clear();
        let Some(Some(plan)) = self.plans.get(ticket.0) else { return };
        let want = fleet.want(ticket);
        let counts: Vec<Option<&[u32]>> = match &plan.values {
            Some(_) => {
                want.even.iter().map(|(over, _)| fleet.counts_of(want.workload, *over)).collect()
            }
            None => Vec::new(),
        };
        for (place, &(class, fixed)) in plan.classes.iter().enumerate() {
            let common = if let Some(values) = &plan.values {
                let width = want.even.len();
                let values = &values[place * width..(place + 1) * width];
                let lets = |((value, counts), ((_, skew), least)): Even<'_>| {
                    *value != 0
                        && count(*counts, *value).saturating_add(1) <= least.saturating_add(*skew)
                };
                if !values.iter().zip(&counts).zip(want.even.iter().zip(&floors.0)).all(lets) {
                    continue;
                }
                fixed
            } else if plan.domains {
                let node = self.classes[class].nodes[0];
                let at = At { fleet, node, want, floors, credit: None };
                if !filter::passes_domains(&at) {
                    continue;
                }
                score::common_again(&at, fixed)
            } else {
                fixed
            };
            for set in 0..1_u32 << weighed.len() {
                let fulfilled = weighed.iter().enumerate().filter(|(tie, _)| set >> tie & 1 == 1);
                let weight: i64 = fulfilled.map(|(_, (_, weight))| *weight).sum();
                let lean = common.lean.saturating_sub(weight);
                entries.push((Common { lean, ..common }, class, set));
            }
        }
        entries.sort_unstable();
    }
}

/// A value with its counters, and an evenness with what the emptiest has.
type Even<'a> = ((&'a usize, &'a Option<&'a [u32]>), (&'a (Domain, u32), &'a u32));

fn count(counts: Option<&[u32]>, value: usize) -> u32 {
    counts.and_then(|counts| counts.get(value)).copied().unwrap_or(0)
}

impl NodeClass {
    /// The bits of a word that stand for a node.
    fn whole(&self, word: usize) -> u64 {
        match self.nodes.len() - word * 64 {
            0..64 => (1 << (self.nodes.len() - word * 64)) - 1,
            _ => u64::MAX,
        }
    }
}

/// The levels that a cell needs, kept from one class to the next of the same capacity.
#[derive(Default)]
struct Least(Option<([u64; 2], [u64; 2])>);

impl Least {
    fn of(&mut self, needs: [u64; 2], room: [u64; 2]) -> [u64; 2] {
        match self.0 {
            Some((before, least)) if before == room => least,
            Some(_) | None => {
                let least = Cell::of(needs, room).levels();
                self.0 = Some((room, least));
                least
            }
        }
    }
}

/// The search among classes that are equally good.
struct Group<'a> {
    index: &'a Index,
    fleet: &'a Fleet,
    want: &'a Want,
    plan: Option<&'a Plan>,
    floors: &'a Floors,
    weighed: &'a [(usize, i64)],
}

impl Group<'_> {
    /// The node, and how many replicas of the workload it had.
    fn best(
        &self,
        group: &[(Common, usize, u32)],
        first: u32,
        lanes: &mut Vec<Candidate>,
    ) -> Option<(usize, u32)> {
        if let Some(found) = self.among_few(group) {
            return found;
        }
        if !self.has_cell(group) {
            return None;
        }
        let levels = self.index.levels(self.want.workload);
        let top = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        let top = self.want.most_on_node(self.floors).map_or(top, |most| most.min(top));
        let image = self.want.image.as_ref().and_then(|image| self.index.images.get(image));
        for level in first..=top {
            for pressure in [Pressure::Low, Pressure::Some, Pressure::High] {
                let here = |entry: &&(Common, usize, u32)| {
                    self.index.classes[entry.1].pressure == pressure
                };
                if !group.iter().any(|entry| here(&entry)) {
                    continue;
                }
                for having in [Some(true), Some(false), None] {
                    if having.is_some() != image.is_some() {
                        continue;
                    }
                    let part = image.zip(having);
                    let found = self.among(group.iter().filter(here), level, part, lanes);
                    if let Some(node) = found {
                        return Some((node, level));
                    }
                }
            }
        }
        None
    }

    /// Whether there is a cell with enough room in it at all, however many replicas are there.
    fn has_cell(&self, group: &[(Common, usize, u32)]) -> bool {
        let needs = self.needs();
        let mut likely = Least::default();
        group.iter().any(|(_, class, _)| {
            let NodeClass { nodes, grid, .. } = &self.index.classes[*class];
            let least = likely.of(needs, self.fleet.room_of(nodes[0]));
            grid.emptiest(0, least).is_some()
        })
    }

    /// The CPU and the memory that are asked for.
    fn needs(&self) -> [u64; 2] {
        let asks =
            |resource: usize| self.want.needs.iter().find(|n| n.0 == resource).map_or(0, |n| n.1);
        [asks(CPU), asks(MEMORY)]
    }

    fn among<'e>(
        &self,
        entries: impl Iterator<Item = &'e (Common, usize, u32)>,
        level: u32,
        image: Option<(&Bits, bool)>,
        lanes: &mut Vec<Candidate>,
    ) -> Option<usize> {
        let (fleet, want) = (self.fleet, self.want);
        let needs = self.needs();
        let mut likely = Least::default();
        lanes.clear();
        let mut entries = entries.peekable();
        while let Some((_, class, set)) = entries.next() {
            // The same class comes again for each set of weighed ties that is as good.
            let mut sets = 1_u32 << set;
            while let Some((_, _, set)) = entries.next_if(|(_, other, _)| other == class) {
                sets |= 1 << set;
            }
            let NodeClass { nodes, grid, .. } = &self.index.classes[*class];
            let least = likely.of(needs, fleet.room_of(nodes[0]));
            let ranker = fleet.ranker(want, nodes[0]);
            if let Ranker::Even = ranker {
                if let Some((rank, lane, next)) = grid.emptiest(0, least) {
                    lanes.push(Candidate { rank, class: *class, lane, sets, next });
                }
                continue;
            }
            for (lane, here) in grid.lanes().iter().enumerate() {
                let levels = here.cell.levels();
                if here.count > 0 && levels[0] >= least[0] && levels[1] >= least[1] {
                    let rank = ranker.rank(here.cell);
                    lanes.push(Candidate { rank, class: *class, lane, sets, next: usize::MAX });
                }
            }
        }
        loop {
            let rank = lanes.iter().map(|lane| lane.rank).min()?;
            let mut found: Option<usize> = None;
            for one in lanes.iter().filter(|one| one.rank == rank) {
                let node = self.first(one.class, one.lane, level, image, one.sets);
                found = found.into_iter().chain(node).min();
            }
            if found.is_some() {
                return found;
            }
            // On to the next best: each class's next cell, where they come in order.
            lanes.retain_mut(|one| {
                if one.rank != rank {
                    return true;
                }
                let NodeClass { nodes, grid, .. } = &self.index.classes[one.class];
                let least = Cell::of(needs, fleet.room_of(nodes[0])).levels();
                match grid.emptiest(one.next, least) {
                    Some((rank, lane, next)) => {
                        *one = Candidate { rank, lane, next, ..*one };
                        true
                    }
                    None => false,
                }
            });
        }
    }

    /// The first node of a cell that lets the replica in.
    fn first(
        &self,
        class: usize,
        lane: usize,
        level: u32,
        image: Option<(&Bits, bool)>,
        sets: u32,
    ) -> Option<usize> {
        let index = self.index;
        let NodeClass { word, nodes, grid, .. } = &index.classes[class];
        let own = index.levels(self.want.workload);
        let level = level as usize;
        let mask = |local: usize| {
            let global = word + local;
            let mut mask = self.allowed(sets, global);
            if level > 0 {
                mask &= own.get(level - 1).map_or(0, |bits| bits.word(global));
            }
            mask &= !own.get(level).map_or(0, |bits| bits.word(global));
            if let Some((bits, having)) = image {
                mask &= if having { bits.word(global) } else { !bits.word(global) };
            }
            mask
        };
        let passes = |local: usize| self.passes(nodes[local]);
        grid.lanes()[lane].first(mask, passes).map(|local| nodes[local])
    }

    fn passes(&self, node: usize) -> bool {
        let Self { fleet, want, floors, .. } = *self;
        filter::passes_after_sets(&At { fleet, node, want, floors, credit: None })
    }

    /// The nodes of a word that every set lets through, whatever they have of the workload itself.
    fn allowed(&self, sets: u32, global: usize) -> u64 {
        let named = self.plan.and_then(|plan| plan.at.as_ref());
        let mut mask = named.map_or(u64::MAX, |at| at.word(global));
        for tie in &self.want.apart {
            if tie.over == Domain::Node && tie.other != self.want.workload {
                mask &= !self.holding(tie.other, global);
            }
        }
        for tie in &self.want.near {
            if tie.over == Domain::Node && !self.fleet.begins(self.want.workload, tie.other) {
                mask &= self.holding(tie.other, global);
            }
        }
        if !self.weighed.is_empty() {
            mask &= self.fulfilling(sets, global);
        }
        mask
    }

    /// Where sets leave only a few nodes, the best of them; nothing where they leave more.
    fn among_few(&self, group: &[(Common, usize, u32)]) -> Option<Option<(usize, u32)>> {
        let Self { index, fleet, want, floors, .. } = *self;
        let near = want.near.iter().any(|tie| tie.over == Domain::Node);
        let named = self.plan.is_some_and(|plan| plan.at.is_some());
        if !near && !named && group.iter().all(|(_, _, set)| *set == 0) {
            return None;
        }
        let mut few = Vec::new();
        for (_, class, set) in group {
            let NodeClass { word, nodes, .. } = &index.classes[*class];
            for local in 0..nodes.len().div_ceil(64) {
                let mask =
                    self.allowed(1 << set, word + local) & index.classes[*class].whole(local);
                if few.len() as u32 + mask.count_ones() > FEW {
                    return None;
                }
                few.extend(ones(mask).map(|bit| nodes[local * 64 + bit]));
            }
        }
        let most = want.most_on_node(floors);
        let key = |node: usize| {
            let at = At { fleet, node, want, floors, credit: None };
            (score::of_node(&at), node)
        };
        let mut keyed: Vec<_> = few.into_iter().map(key).collect();
        keyed.retain(|((on_node, ..), _)| most.is_none_or(|most| *on_node <= i64::from(most)));
        keyed.sort_unstable();
        let found = keyed.into_iter().find(|(_, node)| self.passes(*node));
        let level = |on_node: i64| u32::try_from(on_node).unwrap_or(u32::MAX);
        Some(found.map(|((on_node, ..), node)| (node, level(on_node))))
    }

    fn holding(&self, workload: usize, word: usize) -> u64 {
        self.index.levels(workload).first().map_or(0, |bits| bits.word(word))
    }

    /// The nodes that fulfil exactly one of the sets of weighed ties.
    fn fulfilling(&self, sets: u32, word: usize) -> u64 {
        let all = (0..1_u32 << self.weighed.len()).filter(|set| sets >> set & 1 == 1);
        all.fold(0, |mask, set| {
            let ties = self.weighed.iter().enumerate();
            mask | ties.fold(u64::MAX, |one, (tie, (other, _))| {
                let holding = self.holding(*other, word);
                one & if set >> tie & 1 == 1 { holding } else { !holding }
            })
        })
    }
}
