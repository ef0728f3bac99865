//! What a node's remaining room is worth.
//!
//! Filled evenly, the emptiest cell is the best. Filled densely, the best cell is the one where
//! the replica destroys least of what the room could still hold. What it could hold is priced by
//! what the whole fleet asks for: prices such that no way of filling a node is worth more than one
//! node, and the fleet's demand is worth as many nodes as it needs. Those are the duals of the
//! configuration linear program (Gilmore and Gomory, 1961); they are found by fictitious play in
//! integers: fill a node in the dearest way, make what it holds too much of cheaper and the rest
//! dearer, and again.

use std::collections::BTreeMap;

use super::grid::{CELLS, CPU_STEPS, Cell, MEMORY_STEPS};
use crate::plan::observation::Requests;

/// What a whole node is worth.
const NODE: i64 = 1 << 30;
/// Classes of demand that are priced, the largest first.
const MOST_CLASSES: usize = 16;
/// Rounds of fictitious play.
const ROUNDS: i64 = 200;
/// The finest division of a node's CPU and of its memory.
const FINEST: [u64; 2] = [96, 512];
/// A loss is counted in these, so that prices need not be exact.
const GRAIN: i64 = NODE / 100;
/// What is better lost than a node begun.
const BEGIN: i64 = NODE / 10;

/// How much of the nodes that are begun may be kept for what may never come, in 65536ths of a
/// hundredth of a node: three hundredths.
const MOST_KEPT: u64 = 3 << 16;

/// How good an emptier cell is: less is better.
pub fn even(cell: Cell) -> u32 {
    let [cpu, memory] = cell.levels();
    let memory = memory / (MEMORY_STEPS / CPU_STEPS);
    let rank = (CPU_STEPS - cpu.min(memory)) * 256 + (2 * CPU_STEPS - cpu - memory);
    u32::try_from(rank).unwrap_or(u32::MAX)
}

/// How good a fuller cell is, for what has no price.
fn full(cell: Cell) -> u32 {
    let [cpu, memory] = cell.levels();
    let memory = memory / (MEMORY_STEPS / CPU_STEPS);
    u32::try_from(cpu.min(memory) * 256 + cpu + memory).unwrap_or(u32::MAX)
}

/// How cells are compared for one ask on nodes of one capacity.
#[derive(Clone, Copy, Debug)]
pub enum Ranker<'a> {
    /// The emptiest first.
    Even,
    /// The fullest first.
    Full,
    /// As computed, by the cell's number.
    Table(&'a [u32]),
}

impl Ranker<'_> {
    /// How good a cell is: less is better.
    pub fn rank(self, cell: Cell) -> u32 {
        match self {
            Self::Even => even(cell),
            Self::Full => full(cell),
            Self::Table(table) => table.get(cell.number()).copied().unwrap_or(u32::MAX),
        }
    }
}

/// How much is known of what is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foresight {
    /// It is taken to be like what is there: not much room is kept for it.
    #[default]
    Likely,
    /// It is certain: room is kept for all of it.
    Certain,
}

/// What nodes of one capacity can hold, priced.
#[derive(Clone, Debug, Default)]
struct Tables {
    /// What a cell's room is worth, in 65536ths of a node.
    worth: Vec<u32>,
    /// For each class of demand, how good each cell is.
    free: Vec<Vec<u32>>,
    /// The same where no more nodes are to be begun for what would be lost on those that are.
    bound: Vec<Vec<u32>>,
}

/// How much of the nodes that are begun is kept for later, for nodes of one capacity.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// How many nodes are begun.
    begun: u64,
    /// What their room is worth, in 65536ths of a node.
    worth: u64,
}

/// Prices by capacity of node.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    /// What is asked for, and how often; the largest demand first.
    demand: Vec<([u64; 2], u64)>,
    tables: BTreeMap<[u64; 2], Tables>,
    foresight: Foresight,
}

impl Prices {
    /// Takes what the fleet asks for, class by class.
    pub fn new(demand: Vec<(Requests, u64)>, foresight: Foresight) -> Self {
        let mut classes: BTreeMap<[u64; 2], u64> = BTreeMap::new();
        for (requests, count) in demand {
            let shape = shape(&requests);
            if shape != [0, 0] {
                let sum = classes.entry(shape).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        let mut demand: Vec<_> = classes.into_iter().collect();
        let most = |of: usize| demand.iter().map(|(shape, _)| shape[of]).max().unwrap_or(0).max(1);
        let most = [most(0), most(1)];
        let weight = |(shape, count): &([u64; 2], u64)| {
            let share = |of: usize| u128::from(shape[of]) * 1000 / u128::from(most[of]);
            (share(0) + share(1)) * u128::from(*count)
        };
        demand.sort_by_key(|class| (std::cmp::Reverse(weight(class)), class.0));
        demand.truncate(MOST_CLASSES);
        Self { demand, tables: BTreeMap::new(), foresight }
    }

    /// The number of a class of demand.
    pub fn class_of(&self, requests: &Requests) -> Option<usize> {
        let shape = shape(requests);
        self.demand.iter().position(|(other, _)| *other == shape)
    }

    /// Prices what nodes of a capacity can hold.
    pub fn prepare(&mut self, room: [u64; 2]) {
        if self.demand.is_empty() || self.tables.contains_key(&room) {
            return;
        }
        let worth = Worth::of(room, &self.demand);
        let cells = || (0..CELLS).map(Cell::numbered);
        let classes = || 0..self.demand.len();
        let table = |class: usize, bound: bool| -> Vec<u32> {
            cells().map(|cell| worth.rank(class, cell, bound)).collect()
        };
        let tables = Tables {
            worth: cells().map(|cell| worth.of_cell(cell)).collect(),
            free: classes().map(|class| table(class, false)).collect(),
            bound: classes().map(|class| table(class, true)).collect(),
        };
        self.tables.insert(room, tables);
    }

    /// Counts a node of a capacity that was in one cell and is in another.
    pub fn keep(&self, kept: &mut Kept, room: [u64; 2], before: Option<Cell>, after: Cell) {
        let Some(tables) = self.tables.get(&room) else { return };
        let begun = |cell: &Cell| cell.levels() != [CPU_STEPS, MEMORY_STEPS];
        let worth = |cell: Cell| u64::from(tables.worth.get(cell.number()).copied().unwrap_or(0));
        if let Some(before) = before.filter(begun) {
            kept.begun -= 1;
            kept.worth -= worth(before);
        }
        if begun(&after) {
            kept.begun += 1;
            kept.worth += worth(after);
        }
    }

    /// How cells of nodes of a capacity are compared for a class of demand.
    pub fn ranker(&self, class: Option<usize>, room: [u64; 2], kept: Kept) -> Ranker<'_> {
        let table = class.zip(self.tables.get(&room)).and_then(|(class, tables)| {
            let bound = match self.foresight {
                Foresight::Likely => kept.worth * 100 > kept.begun * MOST_KEPT,
                Foresight::Certain => false,
            };
            if bound { tables.bound.get(class) } else { tables.free.get(class) }
        });
        table.map_or(Ranker::Full, |table| Ranker::Table(table))
    }
}

fn shape(requests: &Requests) -> [u64; 2] {
    [requests.cpu_millis, requests.memory_bytes]
}

/// A class in units of a lattice, and its price; nothing if a node cannot hold it.
type Item = Option<([usize; 2], i64)>;

/// What every remainder of a node of one capacity is worth, in units of a lattice.
struct Worth {
    /// How large a unit is.
    unit: [u64; 2],
    /// The node, in units.
    size: [usize; 2],
    room: [u64; 2],
    /// The classes.
    items: Vec<Item>,
    /// The worth of so many units of CPU and of memory.
    value: Vec<i64>,
}

impl Worth {
    fn of(room: [u64; 2], demand: &[([u64; 2], u64)]) -> Self {
        let unit = [0, 1].map(|of| {
            let all = demand.iter().map(|(shape, _)| shape[of]).fold(room[of], gcd);
            all.max(room[of].div_ceil(FINEST[of])).max(1)
        });
        let units = |shape: [u64; 2], up: bool| {
            [0, 1].map(|of| {
                let units = if up { shape[of].div_ceil(unit[of]) } else { shape[of] / unit[of] };
                usize::try_from(units).unwrap_or(usize::MAX)
            })
        };
        let size = units(room, false);
        let mut worth = Self { unit, size, room, items: Vec::new(), value: Vec::new() };
        for (shape, _) in demand {
            let item = units(*shape, true);
            let fits = item[0] <= size[0] && item[1] <= size[1];
            let times = |of: usize| size[of].checked_div(item[of]).unwrap_or(usize::MAX);
            let most = i64::try_from(times(0).min(times(1)).max(1)).unwrap_or(1);
            worth.items.push(fits.then_some((item, NODE / most)));
        }
        worth.play(demand);
        worth
    }

    /// Finds the prices.
    fn play(&mut self, demand: &[([u64; 2], u64)]) {
        let mut best: Option<(i128, Vec<Item>)> = None;
        for round in 0..ROUNDS {
            let held = self.fill();
            let dearest = self.value.last().copied().unwrap_or(0).max(1);
            for (_, price) in self.items.iter_mut().flatten() {
                *price = (i128::from(*price) * i128::from(NODE) / i128::from(dearest)) as i64;
            }
            let worth = |items: &[Item]| -> i128 {
                let prices = items.iter().zip(demand).filter_map(|(item, (_, count))| {
                    item.map(|(_, price)| i128::from(price) * i128::from(*count))
                });
                prices.sum()
            };
            let now = worth(&self.items);
            if best.as_ref().is_none_or(|(before, _)| now > *before) {
                best = Some((now, self.items.clone()));
            }
            // How many nodes there would be, times what each holds, against what is asked for:
            // all in parts of the whole demand, scaled.
            let gap: Vec<i128> = demand
                .iter()
                .zip(&held)
                .map(|((_, count), held)| {
                    i128::from(*count) * i128::from(NODE) - now * i128::from(*held)
                })
                .collect();
            let all = gap.iter().map(|gap| gap.abs()).sum::<i128>().max(1);
            for (item, gap) in self.items.iter_mut().zip(gap) {
                let Some((_, price)) = item else { continue };
                // Twice the share of the gap, less and less as rounds go by; never below a
                // twentieth.
                let step = gap * i128::from(NODE) * 16 / all / i128::from(8 + round);
                let factor = (i128::from(NODE) + step).max(i128::from(NODE / 20));
                *price = (i128::from(*price) * factor / i128::from(NODE)) as i64;
            }
        }
        if let Some((_, items)) = best {
            self.items = items;
        }
        self.fill();
    }

    /// Computes the worth of every remainder, and what the dearest node holds.
    fn fill(&mut self) -> Vec<u64> {
        let [width, height] = [self.size[0] + 1, self.size[1] + 1];
        let mut value = vec![0_i64; width * height];
        let mut choice = vec![u8::MAX; width * height];
        let items: Vec<(usize, [usize; 2], i64)> = self
            .items
            .iter()
            .enumerate()
            .filter_map(|(number, item)| item.map(|(size, price)| (number, size, price)))
            .filter(|(_, size, _)| size[0] + size[1] > 0)
            .collect();
        for cpu in 0..width {
            for memory in 0..height {
                let at = cpu * height + memory;
                for (number, [c, m], price) in &items {
                    if *c <= cpu && *m <= memory {
                        let worth = price + value[(cpu - c) * height + memory - m];
                        if worth > value[at] {
                            value[at] = worth;
                            choice[at] = u8::try_from(*number).unwrap_or(u8::MAX);
                        }
                    }
                }
            }
        }
        let mut held = vec![0; self.items.len()];
        let (mut cpu, mut memory) = (width - 1, height - 1);
        while let Some(Some(([c, m], _))) =
            self.items.get(usize::from(choice[cpu * height + memory]))
        {
            held[usize::from(choice[cpu * height + memory])] += 1;
            cpu -= c;
            memory -= m;
        }
        self.value = value;
        held
    }

    fn at(&self, cpu: usize, memory: usize) -> i64 {
        self.value.get(cpu * (self.size[1] + 1) + memory).copied().unwrap_or(0)
    }

    /// The most that is free in a cell, in units: that is what the cell stands for.
    fn units(&self, cell: Cell) -> [usize; 2] {
        let steps = [CPU_STEPS, MEMORY_STEPS];
        let levels = cell.levels();
        [0, 1].map(|of| {
            let most = (u128::from(levels[of] + 1) * u128::from(self.room[of])).saturating_sub(1)
                / u128::from(steps[of]);
            let most = most.min(u128::from(self.room[of])) / u128::from(self.unit[of]);
            usize::try_from(most).unwrap_or(usize::MAX).min(self.size[of])
        })
    }

    fn of_cell(&self, cell: Cell) -> u32 {
        let units = self.units(cell);
        u32::try_from(self.at(units[0], units[1]).max(0) / (NODE >> 16)).unwrap_or(u32::MAX)
    }

    /// How good a cell is for a class: what is lost there beyond the class's own price; then what
    /// is left there. If no more nodes are to be begun, the nodes where more is lost than by
    /// beginning one come all the same before it, the fullest first.
    fn rank(&self, class: usize, cell: Cell, bound: bool) -> u32 {
        let Some(Some((item, price))) = self.items.get(class) else { return full(cell) };
        let units = self.units(cell);
        if item[0] > units[0] || item[1] > units[1] {
            return u32::MAX - 1;
        }
        let grains = |units: [usize; 2], more: i64| -> u32 {
            let before = self.at(units[0], units[1]);
            let after = self.at(units[0] - item[0], units[1] - item[1]);
            let lost = (before - after - price + more).max(0) / GRAIN;
            u32::try_from(lost).unwrap_or(u32::MAX).min(2000)
        };
        let begun = cell.levels() != [CPU_STEPS, MEMORY_STEPS];
        let new = grains(self.size, BEGIN);
        let grains = if begun { grains(units, 0) } else { new };
        if bound && begun && grains > new {
            return 2001 * (1 << 19) + full(cell);
        }
        if bound && !begun {
            return u32::MAX - 2;
        }
        let before = self.at(units[0], units[1]);
        let left = u32::try_from(before.max(0) / (NODE >> 16)).unwrap_or(u32::MAX).min(1 << 18);
        grains * (1 << 19) + left
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
