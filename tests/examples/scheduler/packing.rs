//! How densely nodes are filled: arrivals of DESIGN's VM mix, one by one, onto nodes of one shape,
//! as many as it takes; against the configuration linear program's bound, beside the usual packers.
//!
//! The bound is the program over all ways of filling a node (Gilmore and Gomory, 1961), solved by
//! column generation: a revised simplex over six rows, and an exact knapsack in two dimensions to
//! find the next column. Its value is the dual's, divided by the dearest way of filling a node, so
//! that it is a lower bound whatever the rounding.

use std::collections::BTreeMap;

use berth_engine::plan::graph::{Fill, Placement};
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::observation::Requests;
use berth_engine::plan::place::price::Foresight;
use berth_engine::plan::place::{Ask, Fleet, Slot};
use berth_tests::fleets::{Dice, node, ranges};

/// Cores, quarters of a GiB, share of 10,000.
const MIX: [(usize, usize, u64); 6] =
    [(1, 7, 4770), (2, 14, 2485), (4, 28, 1088), (8, 56, 1056), (8, 224, 385), (1, 3, 206)];
/// Cores and quarters of a GiB.
const SHAPES: [(usize, usize); 4] = [(32, 512), (48, 512), (40, 360), (24, 256)];
const ARRIVALS: usize = 50_000;
/// Arrivals come in batches of one shape: up to so many, of 1,000.
const BATCHES: [(u64, u64); 8] =
    [(572, 1), (752, 2), (882, 5), (936, 10), (970, 20), (991, 50), (996, 100), (1000, 1404)];

/// Which shape comes next, and where each batch ends.
fn arrivals(seed: u64, batches: bool) -> (Vec<usize>, Vec<usize>) {
    let mut dice = Dice::new(seed);
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    while all.len() < ARRIVALS {
        let mut throw = dice.below(9990);
        let mut item = 0;
        while throw >= MIX[item].2 {
            throw -= MIX[item].2;
            item += 1;
        }
        let mut count = 1;
        if batches {
            let throw = dice.below(1000);
            let at = BATCHES.iter().position(|(up_to, _)| throw < *up_to).unwrap_or(0);
            let least = if at == 0 { 1 } else { BATCHES[at - 1].1 + 1 };
            count = least + dice.below(BATCHES[at].1 - least + 1);
        }
        all.extend((0..count).map(|_| item));
        ends.push(all.len().min(ARRIVALS));
    }
    all.truncate(ARRIVALS);
    (all, ends)
}

/// Prints the tables.
pub(crate) fn packing() {
    for (title, batches) in [("arrivals one by one", false), ("arrivals in batches", true)] {
        println!("## Packing, {ARRIVALS} {title}: nodes above the configuration program's bound\n");
        println!(
            "| node | bound | first fit | best fit | least allocated | cosine | Berth, dense | Berth, dense, told what remains |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for shape in SHAPES {
            let mut cells = [0.0; 6];
            let mut bounds = 0.0;
            const SEEDS: u64 = 3;
            for seed in 1..=SEEDS {
                let (all, ends) = arrivals(seed, batches);
                let mut demand = [0.0; 6];
                all.iter().for_each(|item| demand[*item] += 1.0);
                let bound = bound(shape, &demand);
                bounds += bound / SEEDS as f64;
                let nodes = [
                    first_fit(shape, &all),
                    packer(shape, &all, |free, _| -(full(shape, free))),
                    packer(shape, &all, |free, _| full(shape, free)),
                    packer(shape, &all, |free, item| -cosine(shape, free, item)),
                    ours(shape, &all, &Demand::SoFar, &ends),
                    ours(shape, &all, &Demand::Known, &ends),
                ];
                for (cell, nodes) in cells.iter_mut().zip(nodes) {
                    *cell += (nodes as f64 / bound - 1.0) * 100.0 / SEEDS as f64;
                }
            }
            let cells: Vec<_> = cells.iter().map(|gap| format!("{gap:+.2}%")).collect();
            println!("| {}c/{} GiB | {bounds:.1} | {} |", shape.0, shape.1 / 4, cells.join(" | "));
        }
        println!();
    }
}

fn full(shape: (usize, usize), free: (usize, usize)) -> f64 {
    -(free.0 as f64 / shape.0 as f64 + free.1 as f64 / shape.1 as f64)
}

fn cosine(shape: (usize, usize), free: (usize, usize), item: usize) -> f64 {
    let (a, b) = (free.0 as f64 / shape.0 as f64, free.1 as f64 / shape.1 as f64);
    let (c, d) = (MIX[item].0 as f64 / shape.0 as f64, MIX[item].1 as f64 / shape.1 as f64);
    (a * c + b * d) / ((a * a + b * b).sqrt() * (c * c + d * d).sqrt())
}

fn first_fit(shape: (usize, usize), all: &[usize]) -> usize {
    let mut nodes: Vec<(usize, usize)> = Vec::new();
    for item in all {
        let (cpu, memory, _) = MIX[*item];
        match nodes.iter_mut().find(|free| free.0 >= cpu && free.1 >= memory) {
            Some(free) => *free = (free.0 - cpu, free.1 - memory),
            None => nodes.push((shape.0 - cpu, shape.1 - memory)),
        }
    }
    nodes.len()
}

/// Begins a node only where none that is begun fits; of those, takes the one of the least score.
fn packer(
    shape: (usize, usize),
    all: &[usize],
    score: impl Fn((usize, usize), usize) -> f64,
) -> usize {
    let mut begun: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut nodes = 0;
    for item in all {
        let (cpu, memory, _) = MIX[*item];
        let fits = begun.keys().filter(|free| free.0 >= cpu && free.1 >= memory);
        let best = fits.min_by(|a, b| score(**a, *item).total_cmp(&score(**b, *item))).copied();
        let free = match best {
            Some(free) => {
                if let Some(count) = begun.get_mut(&free) {
                    *count -= 1;
                }
                begun.retain(|_, count| *count > 0);
                free
            }
            None => {
                nodes += 1;
                shape
            }
        };
        *begun.entry((free.0 - cpu, free.1 - memory)).or_default() += 1;
    }
    nodes
}

/// What placement knows of the demand.
enum Demand {
    /// What has come so far, and the whole of the batch that is being placed: a service's replicas are
    /// in the text together. Looked at again whenever it has grown by an eighth.
    SoFar,
    /// All that is still to come, looked at again every 2,000 arrivals: in a project, all services
    /// are in the text.
    Known,
}

/// Berth's own placement, through the interface that the planner uses, on more nodes than needed.
fn ours(shape: (usize, usize), all: &[usize], known: &Demand, ends: &[usize]) -> usize {
    let gib = |quarters: usize| (quarters as u64) << 28;
    let size = |cpu: usize, memory: usize| Requests {
        cpu_millis: cpu as u64 * 1000,
        memory_bytes: gib(memory),
        ..Requests::default()
    };
    let requests = MIX.map(|(cpu, memory, _)| size(cpu, memory));
    let demand = |all: &[usize]| -> Vec<(Requests, u64)> {
        let count = |item| all.iter().filter(|other| **other == item).count() as u64;
        requests.iter().enumerate().map(|(item, r)| (r.clone(), count(item))).collect()
    };
    // More than it takes; what counts is how many are begun.
    let most = all.len() / 6;
    let mut fleet = Fleet::default();
    fleet.set_fill(Fill::Dense);
    for number in 0..most as u32 {
        fleet.add(node(number), Slot::plain(size(shape.0, shape.1), ranges(number)));
    }
    let placement = Placement::default();
    let credit = BTreeMap::new();
    let mut begun = vec![false; most];
    let mut next = 16;
    let mut ends = ends.iter().copied().peekable();
    for (number, item) in all.iter().enumerate() {
        while ends.next_if(|end| *end <= number).is_some() {}
        let batch_ends = ends.peek().copied().unwrap_or(all.len());
        match known {
            Demand::SoFar if batch_ends >= next => {
                fleet.set_demand(demand(&all[..batch_ends]), Foresight::Likely);
                next = batch_ends + (batch_ends / 8).max(16);
            }
            Demand::Known if number % 2000 == 0 => {
                fleet.set_demand(demand(&all[number..]), Foresight::Certain);
            }
            Demand::SoFar | Demand::Known => {}
        }
        // Each is a workload by itself, so that none is kept apart from its like.
        let workload = WorkloadName::new(format!("vm{number}"));
        let ask = Ask {
            workload: &workload,
            requests: &requests[*item],
            volumes_bytes: 0,
            placement: &placement,
            image: None,
            stay: None,
            credit: &credit,
        };
        let ticket = fleet.ticket(&ask);
        if let Some(node) = fleet.place(ticket) {
            begun[node] = true;
        }
    }
    begun.iter().filter(|begun| **begun).count()
}

/// The worth of every remainder at these prices, and the first item of the dearest way.
fn knapsack(shape: (usize, usize), prices: &[f64; 6]) -> (Vec<f64>, Vec<usize>) {
    let (width, height) = (shape.0 + 1, shape.1 + 1);
    let mut worth = vec![0.0; width * height];
    let mut first = vec![usize::MAX; width * height];
    for cpu in 0..width {
        for memory in 0..height {
            for (item, (c, m, _)) in MIX.iter().enumerate() {
                if *c <= cpu && *m <= memory {
                    let with = prices[item] + worth[(cpu - c) * height + memory - m];
                    if with > worth[cpu * height + memory] + 1e-12 {
                        worth[cpu * height + memory] = with;
                        first[cpu * height + memory] = item;
                    }
                }
            }
        }
    }
    (worth, first)
}

fn bound(shape: (usize, usize), demand: &[f64; 6]) -> f64 {
    let alone = |item: usize| (shape.0 / MIX[item].0).min(shape.1 / MIX[item].1) as f64;
    let mut columns: Vec<[f64; 6]> = (0..6)
        .map(|item| {
            let mut column = [0.0; 6];
            column[item] = alone(item);
            column
        })
        .collect();
    let mut best: f64 = 0.0;
    for _ in 0..500 {
        let inverse = invert(&columns);
        let prices: [f64; 6] =
            std::array::from_fn(|item| (0..6).map(|row| inverse[row][item]).sum::<f64>().max(0.0));
        let (worth, first) = knapsack(shape, &prices);
        let dearest = worth[worth.len() - 1];
        let dual: f64 = prices.iter().zip(demand).map(|(price, count)| price * count).sum();
        best = best.max(dual / dearest.max(1e-12));
        if dearest <= 1.0 + 1e-9 {
            break;
        }
        let mut column = [0.0; 6];
        let (mut cpu, mut memory) = shape;
        while let Some(item) = Some(first[cpu * (shape.1 + 1) + memory]).filter(|item| *item < 6) {
            column[item] += 1.0;
            cpu -= MIX[item].0;
            memory -= MIX[item].1;
        }
        let times = |row: &[f64; 6], column: &[f64; 6]| -> f64 {
            row.iter().zip(column).map(|(a, b)| a * b).sum()
        };
        let leaves = (0..6).filter(|row| times(&inverse[*row], &column) > 1e-9).min_by(|a, b| {
            let ratio = |row: usize| times(&inverse[row], demand) / times(&inverse[row], &column);
            ratio(*a).total_cmp(&ratio(*b))
        });
        let Some(leaves) = leaves else { break };
        columns[leaves] = column;
    }
    best
}

/// Inverts the matrix of these columns.
fn invert(columns: &[[f64; 6]]) -> [[f64; 6]; 6] {
    let mut rows: [[f64; 12]; 6] = std::array::from_fn(|row| {
        std::array::from_fn(|at| if at < 6 { columns[at][row] } else { f64::from(at == row + 6) })
    });
    for pivot in 0..6 {
        let largest =
            (pivot..6).max_by(|a, b| rows[*a][pivot].abs().total_cmp(&rows[*b][pivot].abs()));
        rows.swap(pivot, largest.unwrap_or(pivot));
        let by = rows[pivot][pivot];
        rows[pivot].iter_mut().for_each(|value| *value /= by);
        let by_row = rows[pivot];
        for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let by = row[pivot];
            row.iter_mut().zip(by_row).for_each(|(value, above)| *value -= by * above);
        }
    }
    std::array::from_fn(|row| std::array::from_fn(|at| rows[row][at + 6]))
}
