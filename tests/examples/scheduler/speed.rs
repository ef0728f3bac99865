//! How fast a replica is placed: without constraints, with each hard one, and in large fleets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use berth_engine::plan::graph::{Even, Over, Placement, Relation};
use berth_engine::plan::names::{NodeName, WorkloadName};
use berth_engine::plan::observation::Requests;
use berth_engine::plan::place::want::Ticket;
use berth_engine::plan::place::{Ask, Fleet, Slot, naive};
use berth_tests::fleets::{Dice, node, ranges, size};

/// This thread's time on a CPU, so that what else the machine does is left out.
struct Cpu(Duration);

impl Cpu {
    fn now() -> Self {
        // The kernel counts up to the last tick or switch: this is a switch.
        std::thread::yield_now();
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        Self(Duration::from_nanos(nanos))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0 - self.0
    }
}

/// The pods of DESIGN's Azure-like mix, in quarters of a GiB, and how often of 10,000.
const MIX: [(u64, u64, u64); 6] =
    [(1, 7, 4770), (2, 14, 2485), (4, 28, 1088), (8, 56, 1056), (8, 224, 385), (1, 3, 206)];

fn over(label: &str) -> Over {
    if label == "node" { Over::Node } else { Over::Label(label.to_owned()) }
}

/// A fleet of so many nodes in three zones and forty racks: sixteen cores and 64 GiB each.
fn fleet(nodes: u32) -> Fleet {
    let mut fleet = Fleet::default();
    for number in 0..nodes {
        let mut slot = Slot::plain(size(32, 128), ranges(number));
        slot.labels.insert("zone".to_owned(), format!("z{}", number % 3));
        slot.labels.insert("rack".to_owned(), format!("r{}", number % 40));
        fleet.add(node(number), slot);
    }
    fleet
}

/// Workloads whose replicas are of the mix, scaled down so that they fit.
struct Load {
    tickets: Vec<Ticket>,
    /// Which workload's turn it is.
    order: Vec<usize>,
}

fn load(
    fleet: &mut Fleet,
    workloads: u64,
    replicas: usize,
    place: &dyn Fn(u64) -> Placement,
) -> Load {
    let mut dice = Dice::new(7);
    let none = BTreeMap::new();
    let names: Vec<_> =
        (0..workloads).map(|number| WorkloadName::new(format!("w{number}"))).collect();
    let places: Vec<_> = (0..workloads).map(place).collect();
    for (name, placement) in names.iter().zip(&places) {
        fleet.learn(name, placement, None);
    }
    let mut tickets = Vec::new();
    for (workload, placement) in names.iter().zip(&places) {
        let mut throw = dice.below(9990);
        let mut shape = MIX[0];
        for item in MIX {
            if throw < item.2 {
                shape = item;
                break;
            }
            throw -= item.2;
        }
        let requests = Requests {
            cpu_millis: shape.0 * 500,
            memory_bytes: shape.1 << 27,
            ..Requests::default()
        };
        let (requests, image, stay) = (&requests, None, None);
        let ask =
            Ask { workload, requests, volumes_bytes: 0, placement, image, stay, credit: &none };
        tickets.push(fleet.ticket(&ask));
    }
    let order = (0..replicas).map(|_| dice.below(workloads) as usize).collect();
    Load { tickets, order }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn none(_: u64) -> Placement {
    Placement::default()
}

fn apart(number: u64) -> Placement {
    let relation = |workload: u64, over: Over| Relation {
        workload: WorkloadName::new(format!("w{workload}")),
        over,
        weight: None,
    };
    Placement {
        apart: vec![relation(number, Over::Node), relation(number ^ 1, Over::Node)],
        ..Placement::default()
    }
}

fn even(_: u64) -> Placement {
    Placement { even: vec![Even { over: over("zone"), skew: 1 }], ..Placement::default() }
}

fn even_racks(_: u64) -> Placement {
    Placement { even: vec![Even { over: over("rack"), skew: 1 }], ..Placement::default() }
}

fn near(number: u64) -> Placement {
    let other = WorkloadName::new(format!("w{}", number ^ 1));
    let near = vec![Relation { workload: other, over: over("zone"), weight: Some(10) }];
    Placement { near, ..Placement::default() }
}

fn near_node(number: u64) -> Placement {
    let other = WorkloadName::new(format!("w{}", number ^ 1));
    let near = vec![Relation { workload: other, over: Over::Node, weight: Some(10) }];
    Placement { near, ..Placement::default() }
}

/// The constraints of the issue, each on every workload.
const KINDS: [(&str, &dyn Fn(u64) -> Placement); 6] = [
    ("plain", &none),
    ("required anti-affinity (itself and another, by node)", &apart),
    ("required spread over 3 zones, skew 1", &even),
    ("required spread over 40 racks, skew 1", &even_racks),
    ("preferred affinity by zone", &near),
    ("preferred affinity by node", &near_node),
];

/// One constraint's placements again and again, without a scan beside them: for a profiler.
pub(crate) fn again(name: &str) {
    let base = fleet(5_000);
    if let Some((name, place)) = KINDS.iter().find(|(kind, _)| kind.contains(name)) {
        let mut times = Vec::new();
        for _ in 0..40 {
            let mut fleet = base.clone();
            let load = load(&mut fleet, 200, 50_000, *place);
            fleet.place(load.tickets[0]);
            let began = Cpu::now();
            load.order.iter().for_each(|w| {
                fleet.place(load.tickets[*w]);
            });
            times.push(began.elapsed());
        }
        println!("{name}: {:.0} placements/s", 50_000.0 / median(times).as_secs_f64());
    } else {
        let (mut fleet, ticket) = full(&base);
        preempts(&mut fleet, ticket);
        let mut times = Vec::new();
        for _ in 0..20 {
            let mut fleet = fleet.clone();
            let began = Cpu::now();
            (0..5_000).for_each(|_| assert!(preempts(&mut fleet, ticket), "somebody yields"));
            times.push(began.elapsed());
        }
        println!("preemption: {:.0} placements/s", 5_000.0 / median(times).as_secs_f64());
    }
}

/// 5,000 nodes and 50,000 pods.
pub(crate) fn constraints() {
    println!("## 5,000 nodes, 50,000 pods of 200 workloads, one core\n");
    println!("| constraint | placements/s | times plain | naive/s | times naive |");
    println!("|---|---|---|---|---|");
    let base = fleet(5_000);
    let mut plain = None;
    for (name, place) in KINDS {
        let mut placed = 0;
        let times = (0..5).map(|_| {
            let mut fleet = base.clone();
            let load = load(&mut fleet, 200, 50_000, place);
            fleet.place(load.tickets[0]);
            let began = Cpu::now();
            placed = load.order.iter().filter(|w| fleet.place(load.tickets[**w]).is_some()).count();
            began.elapsed()
        });
        let took = median(times.collect());
        let rate = 50_000.0 / took.as_secs_f64();
        let plain = *plain.get_or_insert(rate);
        // The naive scan is slow: a part of the same stream, from a half-full fleet.
        let mut fleet = base.clone();
        let load = load(&mut fleet, 200, 50_000, place);
        load.order[..25_000].iter().for_each(|w| {
            fleet.place(load.tickets[*w]);
        });
        let sample = &load.order[25_000..25_400];
        let began = Cpu::now();
        for workload in sample {
            if let Some(node) = naive::search(&fleet, load.tickets[*workload]) {
                fleet.settle(load.tickets[*workload], node);
            }
        }
        let naive = sample.len() as f64 / began.elapsed().as_secs_f64();
        println!(
            "| {name} ({placed} placed) | {rate:.0} | {:.2} | {naive:.0} | {:.0} |",
            plain / rate,
            rate / naive
        );
    }
    preemption(&base, plain.unwrap_or(1.0));
    println!();
}

/// A full fleet, and replicas of a higher priority to each of which somebody yields.
fn preemption(base: &Fleet, plain: f64) {
    let (mut placed, mut naive) = (0, 0.0);
    let times = (0..5).map(|_| {
        let (mut fleet, ticket) = full(base);
        let began = Cpu::now();
        naive = 400.0;
        for _ in 0..400 {
            std::hint::black_box(naive::search(&fleet, ticket));
        }
        naive /= began.elapsed().as_secs_f64();
        fleet.preempt(ticket);
        fleet.place(ticket);
        let began = Cpu::now();
        placed = (0..5_000).filter(|_| preempts(&mut fleet, ticket)).count();
        began.elapsed()
    });
    let took = median(times.collect());
    let rate = 5_000.0 / took.as_secs_f64();
    println!(
        "| preemption in a full fleet ({placed} of 5000 placed) | {rate:.0} | {:.2} | {naive:.0}, the search alone | {:.0} |",
        plain / rate,
        rate / naive
    );
}

/// A full fleet, and a replica's ask that others yield to.
fn full(base: &Fleet) -> (Fleet, Ticket) {
    let mut fleet = base.clone();
    let low = load(&mut fleet, 200, 200_000, &none);
    for workload in &low.order {
        fleet.place(low.tickets[*workload]);
    }
    let placement = Placement { priority: 10, ..Placement::default() };
    let requests = Requests { cpu_millis: 1000, memory_bytes: 3584 << 20, ..Requests::default() };
    let urgent = WorkloadName::new("urgent");
    fleet.learn(&urgent, &placement, None);
    let ask = Ask {
        workload: &urgent,
        requests: &requests,
        volumes_bytes: 0,
        placement: &placement,
        image: None,
        stay: None,
        credit: &BTreeMap::new(),
    };
    let ticket = fleet.ticket(&ask);
    while fleet.place(ticket).is_some() {}
    (fleet, ticket)
}

fn preempts(fleet: &mut Fleet, ticket: Ticket) -> bool {
    fleet.place(ticket).is_some()
        || (fleet.preempt(ticket).is_some() && fleet.place(ticket).is_some())
}

/// 10,000 nodes and 1,000,000 replicas; then one more.
pub(crate) fn large() {
    println!("## 10,000 nodes, 1,000,000 replicas of 10,000 workloads, one core\n");
    let mut base = Fleet::default();
    for number in 0..10_000 {
        let mut slot = Slot::plain(size(256, 1024), ranges(number));
        slot.labels.insert("zone".to_owned(), format!("z{}", number % 3));
        base.add(node(number), slot);
    }
    let spread = |_| Placement { spread: Some("zone".to_owned()), ..Placement::default() };
    for (name, place) in
        [("plain", &none as &dyn Fn(u64) -> Placement), ("spread over zones", &spread)]
    {
        let mut fleet = base.clone();
        let load = load(&mut fleet, 10_000, 1_000_000, place);
        let began = Cpu::now();
        let placed = load.order.iter().filter(|w| fleet.place(load.tickets[**w]).is_some()).count();
        let took = began.elapsed();
        let one: Vec<Duration> = (0..1001)
            .map(|number| {
                let began = Instant::now();
                fleet.place(load.tickets[number * 7 % load.tickets.len()]);
                began.elapsed()
            })
            .collect();
        println!(
            "- {name}: {placed} placed in {:.2} s; one more, median of 1001: {:.1} µs",
            took.as_secs_f64(),
            median(one).as_secs_f64() * 1e6
        );
        let workload = WorkloadName::new("w0");
        let credit: BTreeMap<NodeName, Requests> = BTreeMap::new();
        let requests = Requests { cpu_millis: 500, ..Requests::default() };
        let placement = place(0);
        let ask = Ask {
            workload: &workload,
            requests: &requests,
            volumes_bytes: 0,
            placement: &placement,
            image: None,
            stay: None,
            credit: &credit,
        };
        let one: Vec<Duration> = (0..101)
            .map(|_| {
                let began = Instant::now();
                let place = fleet.choose(&ask).expect("room");
                fleet.count(&place.node, &workload, &requests, place.addresses.0);
                began.elapsed()
            })
            .collect();
        println!(
            "  one more by the planner's interface, with its reason, median of 101: {:.1} µs",
            median(one).as_secs_f64() * 1e6
        );
    }
    println!();
}
