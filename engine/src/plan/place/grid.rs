//! The nodes of one class by their free share of CPU and of memory, in cells.

use super::bits::ones;
use super::price::even;

/// Steps that a node's CPU is divided into.
pub const CPU_STEPS: u64 = 64;
/// Steps that a node's memory is divided into; more, since requests of it are less round.
pub const MEMORY_STEPS: u64 = 128;
/// How many cells a grid has: a level is from 0 (nothing free) to its steps (all free).
pub const CELLS: usize = (CPU_STEPS as usize + 1) * (MEMORY_STEPS as usize + 1);

/// A cell: a free share of CPU and one of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell(u16);

impl Cell {
    /// Finds the cell of a node by what is free and what there is of CPU and memory.
    pub fn of(free: [u64; 2], room: [u64; 2]) -> Self {
        let level = |free: u64, room: u64, steps: u64| match room {
            0 => 0,
            _ => (free.min(room).saturating_mul(steps) / room).min(steps),
        };
        Self::at([level(free[0], room[0], CPU_STEPS), level(free[1], room[1], MEMORY_STEPS)])
    }

    /// Names the cell of two levels.
    pub fn at(levels: [u64; 2]) -> Self {
        let number = levels[0] * (MEMORY_STEPS + 1) + levels[1];
        Self(u16::try_from(number).unwrap_or(u16::MAX))
    }

    /// The cell of a number below [`CELLS`].
    pub fn numbered(number: usize) -> Self {
        Self(u16::try_from(number).unwrap_or(u16::MAX))
    }

    /// The levels of CPU and memory.
    pub fn levels(self) -> [u64; 2] {
        let number = u64::from(self.0);
        [number / (MEMORY_STEPS + 1), number % (MEMORY_STEPS + 1)]
    }

    /// The cell's number, below [`CELLS`].
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// The nodes of a class, each in its cell.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    words: usize,
    lanes: Vec<Lane>,
    /// The lanes with a node in them, the emptiest cell first.
    order: Vec<(u32, u16)>,
    /// Lanes without a node, for cells that get one.
    spare: Vec<u16>,
    /// Where in `lanes` a cell is, plus one; 0 for a cell without a node.
    lane_of: Vec<u16>,
    /// Which cell a node is in.
    cell_of: Vec<Cell>,
}

/// The nodes of one cell.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Which cell.
    pub cell: Cell,
    /// How many nodes.
    pub count: u32,
    bits: Vec<u64>,
}

impl Grid {
    /// Makes a grid of nodes, each with its cell, in the order of their names.
    pub fn new(cells: Vec<Cell>) -> Self {
        let mut grid = Self {
            words: cells.len().div_ceil(64),
            lane_of: vec![0; CELLS],
            cell_of: cells,
            ..Self::default()
        };
        for node in 0..grid.cell_of.len() {
            grid.enter(node, grid.cell_of[node]);
        }
        grid
    }

    /// Moves a node to its new cell.
    pub fn shift(&mut self, node: usize, cell: Cell) {
        let old = self.cell_of[node];
        if old == cell {
            return;
        }
        if let Some(number) = self.lane_of[old.number()].checked_sub(1) {
            let lane = &mut self.lanes[usize::from(number)];
            lane.bits[node / 64] &= !(1 << (node % 64));
            lane.count -= 1;
            if lane.count == 0 {
                self.lane_of[old.number()] = 0;
                self.spare.push(number);
                if let Ok(at) = self.order.binary_search(&(even(old), number)) {
                    self.order.remove(at);
                }
            }
        }
        self.cell_of[node] = cell;
        self.enter(node, cell);
    }

    fn enter(&mut self, node: usize, cell: Cell) {
        let lane = match self.lane_of[cell.number()].checked_sub(1) {
            Some(lane) => usize::from(lane),
            None => self.open(cell),
        };
        let lane = &mut self.lanes[lane];
        lane.bits[node / 64] |= 1 << (node % 64);
        lane.count += 1;
    }

    /// Finds a lane for a cell: one that has become empty, or a new one.
    fn open(&mut self, cell: Cell) -> usize {
        let number = match self.spare.pop() {
            Some(number) => {
                self.lanes[usize::from(number)].cell = cell;
                number
            }
            None => {
                self.lanes.push(Lane { cell, count: 0, bits: vec![0; self.words] });
                u16::try_from(self.lanes.len() - 1).unwrap_or(u16::MAX)
            }
        };
        self.lane_of[cell.number()] = number.saturating_add(1);
        let entry = (even(cell), number);
        let at = self.order.partition_point(|other| *other < entry);
        self.order.insert(at, entry);
        usize::from(number)
    }

    /// The cell that a node is in.
    pub fn cell_of(&self, node: usize) -> Cell {
        self.cell_of[node]
    }

    /// Finds the emptiest cell with a node in it and at least these levels, from the `from`-th on:
    /// its rank, its lane, and where to go on from.
    pub fn emptiest(&self, from: usize, least: [u64; 2]) -> Option<(u32, usize, usize)> {
        let rest = self.order.get(from..)?.iter().enumerate();
        let mut lanes =
            rest.map(|(step, (rank, lane))| (*rank, usize::from(*lane), from + step + 1));
        lanes.find(|(_, lane, _)| {
            let levels = self.lanes[*lane].cell.levels();
            levels[0] >= least[0] && levels[1] >= least[1]
        })
    }

    /// The emptiest cell with a node in it: its rank, its lane, and which it is.
    pub fn top(&self) -> Option<(u32, u16, Cell)> {
        let (rank, lane) = *self.order.first()?;
        Some((rank, lane, self.lanes[usize::from(lane)].cell))
    }

    /// The first node in the emptiest cell, or in one that is as good; 0 without nodes.
    pub fn first_of_top(&self) -> usize {
        let Some((rank, _)) = self.order.first() else { return 0 };
        let lanes = self.order.iter().take_while(|(other, _)| other == rank);
        let first = lanes.filter_map(|(_, lane)| self.lanes[usize::from(*lane)].members().next());
        first.min().unwrap_or(0)
    }

    /// Lists the cells; some may be empty.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }
}

impl Lane {
    /// Lists the nodes of the cell.
    pub fn members(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.bits.iter().enumerate();
        words.flat_map(|(index, word)| ones(*word).map(move |bit| index * 64 + bit))
    }

    /// Finds the first node of the cell that a mask lets through and that passes a test.
    pub fn first(
        &self,
        mask: impl Fn(usize) -> u64,
        mut passes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        for (index, word) in self.bits.iter().enumerate() {
            if *word == 0 {
                continue;
            }
            let found = ones(word & mask(index)).map(|bit| index * 64 + bit).find(|n| passes(*n));
            if found.is_some() {
                return found;
            }
        }
        None
    }
}
