//! The fleet sorted for the search that does not look at every node: classes, cells, sets of nodes,
//! and what is decided once for an ask. The search itself is in [`search`].

mod open;
mod search;
mod sets;

use std::collections::BTreeMap;

use self::open::Open;
use self::search::{Buffers, Candidate, Entry};
use super::bits::Bits;
use super::filter::At;
use super::fleet::{CPU, Fleet, MEMORY};
use super::grid::{Cell, Grid};
use super::preempt::{Change, Yielding, Yields};
use super::score::{self, Common};
use super::want::{Domain, Floors, Ticket, Tie};
use crate::plan::graph::{Intake, Taint};
use crate::plan::names::ImageDigest;
use crate::plan::observation::Pressure;

/// How many of the nodes where something left last are remembered.
const MOST_EASED: usize = 256;

/// A class with so many nodes is a small one.
const SMALL: usize = 512;

/// The fleet by node class and cell, and who is where.
///
/// A node has a position: classes follow each other, each begins at a multiple of 64, and in a
/// class positions are in the order of nodes, so that a class's nodes are whole words of any set.
#[derive(Clone, Debug, Default)]
pub struct Index {
    classes: Vec<NodeClass>,
    /// The best that each class can offer whom nothing else holds back.
    tops: Vec<Top>,
    position: Vec<usize>,
    class_of: Vec<usize>,
    /// Which nodes have at least one, two, … replicas, by workload; made when first asked for.
    holders: Vec<Option<Vec<Bits>>>,
    images: BTreeMap<ImageDigest, Bits>,
    plans: Vec<Option<Plan>>,
    eased: Eased,
    /// What nodes could yield; made when first asked for.
    yields: Option<Yields>,
    entries: Vec<Entry>,
    buffers: Buffers,
    tied: Vec<Candidate>,
}

/// Where something was taken away, which may make a node fit again.
#[derive(Clone, Debug, Default)]
struct Eased {
    /// How often so far.
    count: u64,
    /// The latest nodes, at most [`MOST_EASED`].
    latest: Vec<usize>,
}

impl Eased {
    fn push(&mut self, node: usize) {
        if self.latest.len() == MOST_EASED {
            self.latest.clear();
        }
        self.latest.push(node);
        self.count += 1;
    }

    /// The nodes where something left after a count; nothing if they are not remembered any more.
    fn since(&self, count: u64) -> Option<&[usize]> {
        let missed = usize::try_from(self.count - count).ok()?;
        self.latest.get(self.latest.len().checked_sub(missed)?..)
    }
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

/// A class's emptiest cell, beside those of the other classes, so that many are looked over quickly.
#[derive(Clone, Copy, Debug)]
struct Top {
    pressure: Pressure,
    /// The cell's rank; the highest there is for a class of which no cell has a node.
    rank: u32,
    lane: u16,
    cell: Cell,
    /// No node of the cells of that rank is before this one.
    first: usize,
}

impl Top {
    fn of(pressure: Pressure, nodes: &[usize], grid: &Grid) -> Self {
        let (rank, lane, cell) = grid.top().unwrap_or((u32::MAX, 0, Cell::numbered(0)));
        // In a large class, of which there are few, finding the first one costs more than it saves.
        let first = if nodes.len() <= SMALL { grid.first_of_top() } else { 0 };
        let first = nodes.get(first).copied().unwrap_or(usize::MAX);
        Self { pressure, rank, lane, cell, first }
    }
}

/// What is decided once for an ask.
#[derive(Clone, Debug, Default)]
struct Plan {
    /// The classes that may take it, the best first by what of their score does not change.
    classes: Vec<Suited>,
    /// The nodes that it names, if it does.
    at: Option<Bits>,
    /// Whether counters of a domain decide or weigh something.
    domains: bool,
    /// Where evenness over labels is all that looks at domains: the value of each of an ask's
    /// labels for each of the classes, so that a class costs a look at a counter.
    values: Option<Vec<usize>>,
    /// The same where it is even over one label.
    open: Option<Open>,
    /// Whether nothing but room, evenness over labels and replicas on the node tells nodes of
    /// equally good classes apart.
    simple: bool,
    /// While nothing was taken away since, no node with fewer replicas fits.
    level: (u64, u32),
    /// Whether a node that does not take it will do so only after something has left that node.
    alone: bool,
    /// The count of what was taken away when no node took it.
    failed: Option<u64>,
}

/// A class that may take a replica.
#[derive(Clone, Copy, Debug)]
struct Suited {
    class: usize,
    /// What of its score does not change while replicas are placed.
    common: Common,
    /// The levels of a cell with enough room.
    least: [u64; 2],
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
            index.tops.push(Top::of(pressure, &nodes, &grid));
            index.classes.push(NodeClass { word, nodes, pressure, grid });
            word += words;
        }
        index
    }

    /// A node is in another cell now.
    pub(super) fn shifted(&mut self, fleet: &Fleet, node: usize) {
        let cell = fleet.cell(node);
        let class = &mut self.classes[self.class_of[node]];
        let before = class.grid.cell_of(self.position[node] - class.word * 64);
        class.grid.shift(self.position[node] - class.word * 64, cell);
        self.tops[self.class_of[node]] = Top::of(class.pressure, &class.nodes, &class.grid);
        let (before, after) = (before.levels(), cell.levels());
        if after[0] > before[0] || after[1] > before[1] {
            self.eased.push(node);
        }
    }

    /// What could yield on a node has changed, or what is free there.
    pub(super) fn yields_change(&mut self, fleet: &Fleet, node: usize, change: Change<'_>) {
        let Some(yields) = &mut self.yields else { return };
        let class = self.class_of[node];
        let local = self.position[node] - self.classes[class].word * 64;
        yields.refresh(fleet, node, (class, local), change);
    }

    /// A node has one replica of a workload more or fewer.
    pub(super) fn told(&mut self, node: usize, workload: usize, before: u32, after: u32) {
        if after < before {
            self.eased.push(node);
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
        let Some(Some(plan)) = self.plans.get_mut(ticket.0) else { return Floors::default() };
        if let (Some(open), [(over, skew)]) = (&mut plan.open, want.even.as_slice()) {
            let changes = fleet.tally(want.workload).changes;
            open.refresh(fleet.counts_of(want.workload, *over), changes, *skew);
            return Floors(vec![open.least()]);
        }
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
                let classes = plan.classes.iter().map(|one| self.classes[one.class].nodes[0]);
                let classes = classes.filter(|node| fleet.has_domain(over, *node));
                classes.map(|node| fleet.replicas_in(want.workload, over, node)).min()
            }
            Domain::Node => {
                let levels = self.levels(want.workload);
                let all = |at_least: usize| {
                    plan.classes.iter().all(|one| {
                        let class = &self.classes[one.class];
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
        let among = plan.classes.iter().map(|one| (one.class, classes[one.class].nodes.as_slice()));
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
        let at = want.placement.names_nodes().then(|| {
            let mut bits = Bits::default();
            for node in 0..fleet.len() {
                if want.placement.leaves_open(fleet.name_at(node)) {
                    bits.insert(self.position[node]);
                }
            }
            bits
        });
        let allowed = |node: &usize| at.as_ref().is_none_or(|at| at.contains(self.position[*node]));
        let floors = Floors::default();
        let asks = |resource: usize| want.needs.iter().find(|n| n.0 == resource).map_or(0, |n| n.1);
        let cell_needs = [asks(CPU), asks(MEMORY)];
        let classes = self.classes.iter().enumerate().filter(|(_, class)| {
            fleet.class_passes(class.nodes[0], want) && class.nodes.iter().any(allowed)
        });
        let classes = classes.map(|(number, class)| {
            let node = class.nodes[0];
            let at = At { fleet, node, want, floors: &floors, credit: None };
            let common = score::common(&at);
            let least = Cell::of(cell_needs, fleet.room_of(node)).levels();
            Suited { class: number, common, least }
        });
        let key = |over: Domain| over != Domain::Node;
        let ties = want.near.iter().chain(&want.apart).chain(want.lean.iter().map(|(tie, _)| tie));
        let domains = key(want.spread)
            || want.even.iter().any(|(over, _)| key(*over))
            || ties.clone().any(|tie| key(tie.over));
        let mut classes: Vec<Suited> = classes.collect();
        classes.sort_by_key(|one| (one.common, one.class));
        // Counters by value are kept for every label that an ask is even over.
        let only_even = !key(want.spread)
            && want.even.iter().all(|(over, _)| key(*over))
            && !ties.clone().any(|tie| key(tie.over))
            && !want.even.is_empty();
        let values: Option<Vec<usize>> = only_even.then(|| {
            let of = |class: usize| {
                let node = self.classes[class].nodes[0];
                want.even.iter().map(move |(over, _)| fleet.value_at(*over, node))
            };
            classes.iter().flat_map(|one| of(one.class)).collect()
        });
        let alone = want.near.is_empty()
            && want.even.is_empty()
            && !want.apart.iter().any(|tie| key(tie.over));
        let foreign = |tie: &Tie| tie.other != want.workload;
        let simple = at.is_none()
            && (!domains || values.is_some())
            && want.image.is_none()
            && want.lean.is_empty()
            && want.near.is_empty()
            && !want.apart.iter().any(foreign)
            && fleet.is_filled_evenly();
        let (level, at, failed) = ((0, 0), at.clone(), None);
        let open = values.as_ref().filter(|_| want.even.len() == 1).map(|values| Open::of(values));
        let plan = Plan { classes, at, domains, values, open, simple, level, alone, failed };
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
}

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
