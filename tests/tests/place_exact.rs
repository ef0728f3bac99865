//! Whole plans of small fleets against a full search that shares nothing with placement: a plan
//! has a place for everybody exactly when there is one.

use std::collections::BTreeMap;

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::{Even, Graph, Over, Relation};
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::observation::Requests;
use berth_tests::drive::{plan, simulate};
use berth_tests::fleets::Dice;
use berth_tests::project::{ROLLING, fleet, image, node, web, world};

/// How many random instances are looked at.
fn instances() -> u64 {
    std::env::var("INSTANCES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// A workload: its CPU, how many replicas, whether they are apart from each other by node and
/// even over zones, and whether they are apart from those of the workload before it.
#[derive(Clone, Copy, Debug)]
struct Job {
    cpu: u64,
    replicas: u32,
    apart: bool,
    even: bool,
    shuns: bool,
}

/// A small fleet: nodes, each with CPU and a zone.
#[derive(Debug)]
struct Small {
    nodes: Vec<(u64, u64)>,
    jobs: Vec<Job>,
}

fn random(seed: u64) -> Small {
    let mut dice = Dice::new(seed ^ 0xe8ac);
    let nodes = (0..2 + dice.below(3)).map(|_| (2 + dice.below(5), dice.below(2))).collect();
    let mut job = |number: u64| Job {
        cpu: 1 + dice.below(3),
        replicas: 1 + dice.below(3) as u32,
        apart: dice.one_in(3),
        even: dice.one_in(3),
        shuns: number > 0 && dice.one_in(6),
    };
    let jobs = (0..1 + seed % 3).map(&mut job).collect();
    Small { nodes, jobs }
}

/// Whether all can be placed at all, by trying everything.
fn exact(small: &Small) -> bool {
    let each = |(job, one): (usize, &Job)| (0..one.replicas).map(move |_| job);
    let replicas: Vec<usize> = small.jobs.iter().enumerate().flat_map(each).collect();
    let mut left: Vec<u64> = small.nodes.iter().map(|(cpu, _)| *cpu).collect();
    let mut on = vec![vec![0_u32; small.nodes.len()]; small.jobs.len()];
    descend(small, &replicas, 0, &mut left, &mut on)
}

fn descend(
    small: &Small,
    replicas: &[usize],
    first: usize,
    left: &mut Vec<u64>,
    on: &mut Vec<Vec<u32>>,
) -> bool {
    let Some((&job, rest)) = replicas.split_first() else {
        return small.jobs.iter().zip(on.iter()).all(|(job, on)| !job.even || is_even(small, on));
    };
    let Job { cpu, apart, shuns, .. } = small.jobs[job];
    // Replicas of one workload are alike: each comes no earlier than the one before it.
    for node in first..small.nodes.len() {
        let near = (apart && on[job][node] > 0) || (shuns && on[job - 1][node] > 0);
        if left[node] < cpu || near {
            continue;
        }
        left[node] -= cpu;
        on[job][node] += 1;
        let next = if rest.first() == Some(&job) { node } else { 0 };
        let found = descend(small, rest, next, left, on);
        left[node] += cpu;
        on[job][node] -= 1;
        if found {
            return true;
        }
    }
    false
}

fn is_even(small: &Small, on: &[u32]) -> bool {
    let mut zones: BTreeMap<u64, u32> = BTreeMap::new();
    for ((_, zone), count) in small.nodes.iter().zip(on) {
        *zones.entry(*zone).or_default() += count;
    }
    let (least, most) = (zones.values().min(), zones.values().max());
    most.zip(least).is_none_or(|(most, least)| most - least <= 1)
}

fn graph(small: &Small) -> Graph {
    let mut graph = fleet(small.nodes.len() as u32);
    for (number, (cpu, zone)) in (1..).zip(&small.nodes) {
        let there = graph.nodes.get_mut(&node(number)).expect("a node");
        there.labels = BTreeMap::from([("zone".to_owned(), zone.to_string())]);
        let cpu_millis = cpu * 1000;
        there.capacity =
            Some(Requests { cpu_millis, memory_bytes: 64 << 30, ..Requests::default() });
    }
    let name = |number: usize| WorkloadName::new(format!("w{number}"));
    for (number, job) in small.jobs.iter().enumerate() {
        let Job { cpu, replicas, apart, even, shuns } = *job;
        let mut workload = web(image('a'), replicas, ROLLING);
        workload.template.resources = Requests { cpu_millis: cpu * 1000, ..Requests::default() };
        let mut from = |other: usize| {
            let workload_name = name(other);
            let relation = Relation { workload: workload_name, over: Over::Node, weight: None };
            workload.placement.apart.push(relation);
        };
        if apart {
            from(number);
        }
        if shuns {
            from(number - 1);
        }
        if even {
            let over = Over::Label("zone".to_owned());
            workload.placement.even.push(Even { over, skew: 1 });
        }
        graph.workloads.insert(name(number), workload);
    }
    graph
}

#[test]
fn everybody_has_a_place_exactly_when_there_is_one() {
    let (mut possible, mut impossible) = (0, 0);
    for seed in 0..instances() {
        let small = random(seed);
        let graph = graph(&small);
        let twin = world(&graph);
        let (_, body) = simulate(plan(&twin, &graph, Goal::Converge));
        let expected = exact(&small);
        assert_eq!(body.blocked.is_empty(), expected, "seed {seed}: {small:?}: {:?}", body.blocked);
        if expected { possible += 1 } else { impossible += 1 }
    }
    assert!(possible > 100 && impossible > 100, "{possible} possible, {impossible} impossible");
}
