//! How long a whole plan takes, with its checks, as a curve over fleets that are fresh.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use berth_engine::plan::body::Goal;
use berth_engine::plan::check;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::ledger::Head;
use berth_engine::plan::names::{NodeName, WorkloadName};
use berth_engine::plan::observation::{
    Facts, NodeObservation, NodeSpec, NodeStatus, NodeView, Observation, Requests,
};
use berth_engine::plan::planner::{self, EVERYTHING, Inputs};
use berth_tests::project::{self, ROLLING, image, web};

/// A node with nothing of ours on it.
fn seen(number: usize) -> NodeObservation {
    let number = u32::try_from(number).expect("few nodes");
    NodeObservation {
        facts: Facts {
            machine_id: format!("{number:032x}"),
            address4: Some(std::net::Ipv4Addr::from((172 << 24) + (16 << 16) + number)),
            address6: None,
            cpu_millis: 64_000,
            memory_bytes: 256 << 30,
            disk_bytes: 0,
            arch: "amd64".to_owned(),
            os: "Debian".to_owned(),
            containerd: "1.7.24".to_owned(),
            missing: Vec::new(),
            cannot_seal: false,
        },
        spec: NodeSpec::default(),
        status: NodeStatus::default(),
        ledger: None,
    }
}

/// So many nodes, and services of a hundred replicas without ports, a hundred a node.
fn project(nodes: usize, replicas: usize) -> (Graph, Observation) {
    let mut graph = project::fleet(u32::try_from(nodes).expect("few nodes"));
    graph.pools.pods4 = "10.0.0.0/8".parse().expect("a pool");
    graph.pools.endpoints4 = "192.168.0.0/16".parse().expect("a pool");
    for number in 0..replicas / 100 {
        let mut workload = web(image('a'), 100, ROLLING);
        workload.ports.clear();
        workload.health = None;
        let memory_bytes = (64 + number as u64 % 7) << 20;
        workload.template.resources =
            Requests { cpu_millis: 100, memory_bytes, ..Requests::default() };
        graph.workloads.insert(WorkloadName::new(format!("w{number:05}")), workload);
    }
    let view =
        |(number, name): (usize, &NodeName)| (name.clone(), NodeView::Seen(Box::new(seen(number))));
    let nodes: BTreeMap<_, _> = graph.nodes.keys().enumerate().map(view).collect();
    (graph, Observation { nodes, ..Observation::default() })
}

/// Nodes and replicas of each point of the curve.
const SIZES: [(usize, usize); 6] = [
    (30, 2_000),
    (100, 7_000),
    (300, 20_000),
    (1_000, 70_000),
    (3_000, 200_000),
    (10_000, 1_000_000),
];

/// Prints the curve; `MOST=10000` bounds the number of nodes. Each size has a process of its own, so
/// that the most memory that it ever had is its own.
pub(crate) fn plans() {
    let most = std::env::var("MOST").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    println!("## A whole fresh plan: everything placed, every step, and the checker\n");
    println!(
        "| nodes | replicas | steps | plan | checker | peak: inputs | with the plan | with the checker |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let program = std::env::current_exe().expect("this program");
    for (nodes, _) in SIZES.into_iter().filter(|(nodes, _)| *nodes <= most) {
        let done = Command::new(&program).args(["plans", &nodes.to_string()]).status();
        assert!(done.expect("a process").success(), "{nodes} nodes");
    }
    println!();
}

/// Prints the row of one size, by its number of nodes.
pub(crate) fn row(nodes: &str) {
    let known = SIZES.into_iter().find(|(known, _)| known.to_string() == nodes);
    let (nodes, replicas) = known.expect("a number of nodes of the curve");
    let (graph, observation) = project(nodes, replicas);
    let inputs_mib = peak_mib();
    let head = Head::default();
    let inputs = Inputs {
        graph: &graph,
        program: "bench",
        observation: &observation,
        head: &head,
        goal: Goal::Converge,
        only: EVERYTHING,
        now_ms: 0,
    };
    let began = Instant::now();
    let body = planner::plan(&inputs);
    let planned = began.elapsed();
    let plan_mib = peak_mib();
    assert!(body.blocked.is_empty(), "{:?}", body.blocked.first());
    let began = Instant::now();
    let violations = check::check(&body, &graph, &observation, &head);
    let checked = began.elapsed();
    assert!(violations.is_empty(), "{:?}", violations.first());
    println!(
        "| {nodes} | {replicas} | {} | {:.3} s | {:.3} s | {inputs_mib} MiB | {plan_mib} MiB | {} MiB |",
        body.steps.len(),
        planned.as_secs_f64(),
        checked.as_secs_f64(),
        peak_mib()
    );
}

/// The most memory that this process has had, as the kernel counts it.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib.div_ceil(1024))
}
