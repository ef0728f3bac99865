//! The search that does not look at every node, and finds the node that
//! [`naive`] finds.
//!
//! Classes that are equally good are searched together: each offers its emptiest cell with enough
//! room, the best cells are looked into, and where nobody in them lets the replica in, each class
//! offers its next. Where sets leave only a few nodes, those are looked at instead.

use super::sets::{Few, Key, MOST_TIES, Sieve};
use super::{Index, NodeClass, Plan, Suited, Top, count};
use crate::plan::observation::Pressure;
use crate::plan::place::bits::Bits;
use crate::plan::place::filter::{self, At, Reach};
use crate::plan::place::fleet::Fleet;
use crate::plan::place::naive;
use crate::plan::place::price::Ranker;
use crate::plan::place::score::{self, Common};
use crate::plan::place::want::{Domain, Floors, Ticket, Want};

/// After a search that found nothing, so few nodes where something left are looked at by themselves.
const FEW_EASED: usize = 16;

/// A class whose domains let the replica in, and one set of weighed ties that a node may fulfil.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    common: Common,
    pub(super) one: Suited,
    pub(super) set: u32,
}

/// A cell to look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    rank: u32,
    class: usize,
    lane: usize,
    /// Which sets of weighed ties count.
    sets: u32,
    /// Where the class's next cell is, if its cells are taken in order.
    next: usize,
    /// The levels of a cell with enough room.
    least: [u64; 2],
}

/// What a search fills and empties, kept for the next one: the cells that classes offer, those of
/// them that are looked into, and the nodes that sets leave, with what decides about them.
pub(super) type Buffers = (Vec<Candidate>, Vec<Candidate>, (Vec<Few>, Vec<Key>));

/// A value with its counters, and an evenness with what the emptiest has.
type Even<'a> = ((&'a usize, &'a Option<&'a [u32]>), (&'a (Domain, u32), &'a u32));

impl Index {
    /// Finds the node that takes a replica, if one does.
    pub(in crate::plan::place) fn search(
        &mut self,
        fleet: &Fleet,
        ticket: Ticket,
    ) -> Option<usize> {
        self.prepare(fleet, ticket);
        if let Some(found) = self.among_eased(fleet, ticket) {
            if found.is_none()
                && let Some(plan) = self.plans[ticket.0].as_mut()
            {
                plan.failed = Some(self.eased.count);
            }
            return found;
        }
        let floors = self.floors(fleet, ticket);
        if let Some((node, level)) = self.at_once(fleet, ticket, &floors) {
            let count = self.eased.count;
            if let Some(plan) = self.plans[ticket.0].as_mut() {
                plan.level = (count, level);
                plan.chose(fleet, fleet.want(ticket), node);
            }
            return Some(node);
        }
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
        let mut buffers = std::mem::take(&mut self.buffers);
        self.enter(fleet, ticket, &floors, &weighed, &mut entries);
        let one = entries.first().map(|e| e.common) == entries.last().map(|e| e.common);
        let one = one && weighed.is_empty();
        let plan = self.plans[ticket.0].as_ref();
        let hint = plan.filter(|plan| one && !plan.domains && plan.level.0 == self.eased.count);
        let first = hint.map_or(0, |plan| plan.level.1);
        let mut found = None;
        let mut rest = entries.as_slice();
        let search = Group::new(self, fleet, want, plan, &floors, &weighed);
        while let (None, Some(entry)) = (found, rest.first()) {
            let size = rest.partition_point(|other| other.common <= entry.common);
            let (group, others) = rest.split_at(size);
            found = search.best(group, first, &mut buffers);
            rest = others;
        }
        let count = self.eased.count;
        if let Some(plan) = self.plans[ticket.0].as_mut() {
            match found {
                Some((node, level)) => {
                    plan.level = (count, level);
                    plan.chose(fleet, want, node);
                }
                None => plan.failed = Some(count).filter(|_| plan.alone),
            }
        }
        self.entries = entries;
        self.buffers = buffers;
        found.map(|(node, _)| node)
    }

    /// Where nothing but room, evenness over labels and the number of replicas tells nodes apart:
    /// the node that takes it, if that is one of the emptiest that each class has. Nothing where
    /// one has to look further.
    fn at_once(&mut self, fleet: &Fleet, ticket: Ticket, floors: &Floors) -> Option<(usize, u32)> {
        let mut tied = std::mem::take(&mut self.tied);
        let found = self.among_tops(fleet, ticket, floors, &mut tied);
        self.tied = tied;
        found
    }

    fn among_tops(
        &self,
        fleet: &Fleet,
        ticket: Ticket,
        floors: &Floors,
        tied: &mut Vec<Candidate>,
    ) -> Option<(usize, u32)> {
        let plan = self.plans.get(ticket.0)?.as_ref().filter(|plan| plan.simple)?;
        let want = fleet.want(ticket);
        tied.clear();
        let mut best = (Pressure::High, u32::MAX);
        let common = {
            let mut offer = |one: &Suited| {
                let Top { pressure, rank, lane, .. } = self.tops[one.class];
                if rank == u32::MAX || (pressure, rank) > best {
                    return;
                }
                if (pressure, rank) < best {
                    best = (pressure, rank);
                    tied.clear();
                }
                let (class, lane, next) = (one.class, usize::from(lane), 1);
                tied.push(Candidate { rank, class, lane, sets: 1, next, least: one.least });
            };
            match (&plan.values, &plan.open) {
                (None, _) => {
                    let common = plan.classes.first()?.common;
                    let group = plan.classes.iter().take_while(|one| one.common == common);
                    group.for_each(&mut offer);
                    common
                }
                (Some(_), Some(open)) => {
                    let mut places = open.places().map(|place| &plan.classes[place]);
                    let first = places.next()?;
                    offer(first);
                    let group = places.take_while(|one| one.common == first.common);
                    group.for_each(&mut offer);
                    first.common
                }
                (Some(_), None) => return None,
            }
        };
        let group = Group::new(self, fleet, want, Some(plan), floors, &[]);
        // A hint is only good where all classes are equally good.
        let one = plan.classes.last().is_some_and(|last| last.common == common);
        let hint = one && !plan.domains && plan.level.0 == self.eased.count;
        let level = if hint { plan.level.1 } else { 0 };
        if level > group.top() {
            return None;
        }
        let pick = group.pick(level, None);
        let mut found: Option<usize> = None;
        let first = |one: &Candidate| self.tops[one.class].first;
        if let Some(at) = (0..tied.len()).min_by_key(|at| first(&tied[*at])) {
            tied.swap(0, at);
        }
        for one in &*tied {
            let levels = self.tops[one.class].cell.levels();
            if levels[0] < one.least[0] || levels[1] < one.least[1] {
                return None;
            }
            if found.is_some_and(|found| found <= first(one)) {
                continue;
            }
            found = group.first_of_rank(*one, pick, found).or(found);
        }
        found.map(|node| (node, level))
    }

    /// Where no node took such a replica before, and few have lost something since: the best of
    /// those few, since no other can take it now. Nothing where that is not so.
    fn among_eased(&self, fleet: &Fleet, ticket: Ticket) -> Option<Option<usize>> {
        let plan = self.plans.get(ticket.0)?.as_ref()?;
        let nodes = self.eased.since(plan.failed?)?;
        if nodes.len() > FEW_EASED {
            return None;
        }
        let (want, floors) = (fleet.want(ticket), Floors::default());
        let at = |node: usize| At { fleet, node, want, floors: &floors, credit: None };
        let takes = |node: &usize| {
            let class = self.class_of[*node];
            plan.classes.iter().any(|one| one.class == class)
                && filter::passes(&at(*node), Reach::Node)
        };
        let mut fit = nodes.iter().copied().filter(takes);
        let Some(first) = fit.next() else { return Some(None) };
        // Where it was made room for, there is just that one node, noted for each thing that left.
        let Some(other) = fit.find(|node| *node != first) else { return Some(Some(first)) };
        let all = [first, other].into_iter().chain(fit);
        Some(all.min_by_key(|node| (score::score(&at(*node)), *node)))
    }

    /// Lists the classes whose domains let the replica in, the best first. With weighed ties over
    /// nodes, once for each set of them that a node may fulfil.
    fn enter(
        &self,
        fleet: &Fleet,
        ticket: Ticket,
        floors: &Floors,
        weighed: &[(usize, i64)],
        entries: &mut Vec<Entry>,
    ) {
        entries.clear();
        let Some(Some(plan)) = self.plans.get(ticket.0) else { return };
        let want = fleet.want(ticket);
        if let Some(values) = &plan.values {
            let counts: Vec<Option<&[u32]>> =
                want.even.iter().map(|(over, _)| fleet.counts_of(want.workload, *over)).collect();
            let lets = |((value, counts), ((_, skew), least)): Even<'_>| {
                *value != 0
                    && count(*counts, *value).saturating_add(1) <= least.saturating_add(*skew)
            };
            for (one, values) in plan.classes.iter().zip(values.chunks(want.even.len())) {
                let limits = want.even.iter().zip(&floors.0);
                if values.iter().zip(&counts).zip(limits).all(lets) {
                    self.each_set(*one, one.common, weighed, entries);
                }
            }
        } else {
            for one in &plan.classes {
                let mut common = one.common;
                if plan.domains {
                    let node = self.classes[one.class].nodes[0];
                    let at = At { fleet, node, want, floors, credit: None };
                    if !filter::passes_domains(&at) {
                        continue;
                    }
                    common = score::common_again(&at, common);
                }
                self.each_set(*one, common, weighed, entries);
            }
        }
        // A plan's classes are in order already, where nothing of their score changes.
        if plan.domains && plan.values.is_none() || !weighed.is_empty() {
            entries.sort_unstable_by_key(|entry| (entry.common, entry.one.class, entry.set));
        }
    }

    fn each_set(
        &self,
        one: Suited,
        common: Common,
        weighed: &[(usize, i64)],
        entries: &mut Vec<Entry>,
    ) {
        for set in 0..1_u32 << weighed.len() {
            let fulfilled = weighed.iter().enumerate().filter(|(tie, _)| set >> tie & 1 == 1);
            let weight: i64 = fulfilled.map(|(_, (_, weight))| *weight).sum();
            let lean = common.lean.saturating_sub(weight);
            entries.push(Entry { common: Common { lean, ..common }, one, set });
        }
    }
}

impl Plan {
    /// Notes where a replica will probably come.
    fn chose(&mut self, fleet: &Fleet, want: &Want, node: usize) {
        if let (Some(open), [(over, _)]) = (&mut self.open, want.even.as_slice()) {
            let counts = fleet.counts_of(want.workload, *over);
            open.chose(fleet.value_at(*over, node), counts);
        }
    }
}

/// The search among classes that are equally good.
pub(super) struct Group<'a> {
    pub(super) index: &'a Index,
    pub(super) fleet: &'a Fleet,
    pub(super) want: &'a Want,
    floors: &'a Floors,
    /// What sets of nodes say beside how many replicas a node has.
    pub(super) sieve: Sieve<'a>,
    sieved: bool,
    /// Which nodes have at least one, two, … replicas.
    levels: &'a [Bits],
}

/// What the nodes of a cell must have to be looked at.
#[derive(Clone, Copy)]
pub(super) struct Pick<'a> {
    /// At least so many replicas, and not one more.
    has: Option<&'a Bits>,
    more: Option<&'a Bits>,
    /// The image, or not.
    image: Option<(&'a Bits, bool)>,
}

impl Pick<'_> {
    pub(super) fn word(self, global: usize) -> u64 {
        let Self { has, more, image } = self;
        let mut mask = has.map_or(u64::MAX, |bits| bits.word(global));
        mask &= !more.map_or(0, |bits| bits.word(global));
        match image {
            Some((bits, true)) => mask & bits.word(global),
            Some((bits, false)) => mask & !bits.word(global),
            None => mask,
        }
    }
}

impl<'a> Group<'a> {
    fn new(
        index: &'a Index,
        fleet: &'a Fleet,
        want: &'a Want,
        plan: Option<&'a Plan>,
        floors: &'a Floors,
        weighed: &[(usize, i64)],
    ) -> Self {
        let sieve = Sieve::new(index, fleet, want, plan, weighed);
        let sieved = !sieve.is_open();
        let levels = index.levels(want.workload);
        Self { index, fleet, want, floors, sieve, sieved, levels }
    }

    /// The node, and how many replicas of the workload it had.
    fn best(
        &self,
        group: &[Entry],
        first: u32,
        (heads, lanes, few): &mut Buffers,
    ) -> Option<(usize, u32)> {
        if let Some(found) = self.among_few(group, few) {
            return found;
        }
        self.offer(group, heads);
        if heads.is_empty() {
            return None;
        }
        let image = self.want.image.as_ref().and_then(|image| self.index.images.get(image));
        for level in first..=self.top() {
            for pressure in [Pressure::Low, Pressure::Some, Pressure::High] {
                for having in [Some(true), Some(false), None] {
                    if having.is_some() != image.is_some() {
                        continue;
                    }
                    let here =
                        |one: &&Candidate| self.index.classes[one.class].pressure == pressure;
                    lanes.clear();
                    lanes.extend(heads.iter().filter(here));
                    if lanes.is_empty() {
                        break;
                    }
                    let pick = self.pick(level, image.zip(having));
                    if let Some(node) = self.among(pick, lanes) {
                        return Some((node, level));
                    }
                }
            }
        }
        None
    }

    /// The most replicas that a node may have.
    pub(super) fn top(&self) -> u32 {
        let top = u32::try_from(self.levels.len()).unwrap_or(u32::MAX);
        self.want.most_on_node(self.floors).map_or(top, |most| most.min(top))
    }

    pub(super) fn pick(&self, level: u32, image: Option<(&'a Bits, bool)>) -> Pick<'a> {
        let level = level as usize;
        let has = level.checked_sub(1).and_then(|above| self.levels.get(above));
        Pick { has, more: self.levels.get(level), image }
    }

    /// The cells that each class of a group offers: its emptiest with enough room or, where nodes
    /// are filled densely, all that have enough.
    fn offer(&self, group: &[Entry], heads: &mut Vec<Candidate>) {
        heads.clear();
        let mut entries = group.iter().peekable();
        while let Some(Entry { one, set, .. }) = entries.next() {
            let Suited { class, least, .. } = *one;
            // The same class comes again for each set of weighed ties that is as good.
            let mut sets = 1_u32 << set;
            while let Some(Entry { set, .. }) = entries.next_if(|other| other.one.class == class) {
                sets |= 1 << set;
            }
            let NodeClass { nodes, grid, .. } = &self.index.classes[class];
            match self.fleet.ranker(self.want, nodes[0]) {
                Ranker::Even => {
                    if let Some((rank, lane, next)) = grid.emptiest(0, least) {
                        heads.push(Candidate { rank, class, lane, sets, next, least });
                    }
                }
                ranker @ (Ranker::Full | Ranker::Table(_)) => {
                    for (lane, here) in grid.lanes().iter().enumerate() {
                        let levels = here.cell.levels();
                        if here.count > 0 && levels[0] >= least[0] && levels[1] >= least[1] {
                            let (rank, next) = (ranker.rank(here.cell), usize::MAX);
                            heads.push(Candidate { rank, class, lane, sets, next, least });
                        }
                    }
                }
            }
        }
    }

    fn among(&self, pick: Pick<'_>, lanes: &mut Vec<Candidate>) -> Option<usize> {
        loop {
            let rank = lanes.iter().map(|lane| lane.rank).min()?;
            let mut found: Option<usize> = None;
            for one in lanes.iter().filter(|one| one.rank == rank) {
                found = self.first_of_rank(*one, pick, found).or(found);
            }
            if found.is_some() {
                return found;
            }
            // On to the next best: each class's next cell, where they come in order.
            lanes.retain_mut(|one| {
                if one.rank != rank {
                    return true;
                }
                match self.index.classes[one.class].grid.emptiest(one.next, one.least) {
                    Some((rank, lane, next)) => {
                        *one = Candidate { rank, lane, next, ..*one };
                        true
                    }
                    None => false,
                }
            });
        }
    }

    /// The first node that lets the replica in, of a class's cells that are equally good; nothing
    /// if none is before the one that is known.
    fn first_of_rank(
        &self,
        mut one: Candidate,
        pick: Pick<'_>,
        known: Option<usize>,
    ) -> Option<usize> {
        let grid = &self.index.classes[one.class].grid;
        let mut found: Option<usize> = None;
        loop {
            found = self.first(&one, pick, found.or(known)).or(found);
            match grid.emptiest(one.next, one.least) {
                Some((rank, lane, next)) if rank == one.rank => {
                    one = Candidate { lane, next, ..one };
                }
                Some(_) | None => return found,
            }
        }
    }

    /// The first node of a cell that lets the replica in, if it is before the one that is known.
    fn first(&self, one: &Candidate, pick: Pick<'_>, known: Option<usize>) -> Option<usize> {
        let NodeClass { word, nodes, grid, .. } = &self.index.classes[one.class];
        let mask = |local: usize| {
            let mask = pick.word(word + local);
            if self.sieved { mask & self.sieve.word(one.sets, word + local) } else { mask }
        };
        // Nodes of a class are in order, so that the first one beyond ends it.
        let beyond = |node: usize| known.is_some_and(|known| known <= node);
        let ends = |local: usize| beyond(nodes[local]) || self.passes(nodes[local]);
        let first = grid.lanes()[one.lane].first(mask, ends).map(|local| nodes[local]);
        first.filter(|node| !beyond(*node))
    }

    pub(super) fn passes(&self, node: usize) -> bool {
        let Self { fleet, want, floors, .. } = *self;
        filter::passes_after_sets(&At { fleet, node, want, floors, credit: None })
    }
}
