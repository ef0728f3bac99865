//! Whole plans with random constraints on the twin: the independent checker agrees with every one,
//! what was applied is there, and then there is nothing to do.
//!
//! `FLEETS=100000 cargo nextest run --release place_plans` runs as many as one likes.

use std::collections::BTreeMap;

use berth_engine::plan::action::NodePort;
use berth_engine::plan::body::{Goal, Step, Work};
use berth_engine::plan::graph::{
    Even, Graph, Intake, Mount, Over, Placement, Quota, Relation, Volume, Workload,
};
use berth_engine::plan::names::{VolumeName, WorkloadName};
use berth_engine::plan::observation::{OnDelete, VolumeSpec};
use berth_tests::drive::{plan, simulate, turn};
use berth_tests::fleets::{Dice, random_placement, random_requests, random_slot};
use berth_tests::project::{ROLLING, fleet, image, node, web, world};

fn fleets(usual: u64) -> u64 {
    std::env::var("FLEETS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn random_graph(dice: &mut Dice) -> Graph {
    let nodes = 1 + dice.below(6) as u32;
    let mut graph = fleet(nodes);
    for number in 1..=nodes {
        let slot = random_slot(dice, number);
        let there = graph.nodes.get_mut(&node(number)).expect("a node");
        there.labels = slot.labels;
        there.taints = slot.taints;
        there.intake = slot.intake;
        there.named = slot.room.named;
    }
    if dice.one_in(5) {
        let cpu_millis = Some(500 + dice.below(3000));
        let disk_bytes = dice.one_in(2).then_some(60 << 30);
        graph.quota = Some(Quota { cpu_millis, disk_bytes, ..Quota::default() });
    }
    let workloads = 1 + dice.below(4);
    for number in 0..workloads {
        let mut workload = web(image('a'), 1 + dice.below(4) as u32, ROLLING);
        if dice.one_in(2) {
            workload.ports.clear();
            workload.health = None;
        }
        workload.template.resources = random_requests(dice);
        workload.template.resources.disk_bytes = 0;
        workload.placement = random_placement(dice, nodes, workloads);
        workload.template.resources.ports.clear();
        tied_to_no_node(&mut workload);
        if dice.one_in(3) {
            publish(dice, &mut workload);
        }
        let name = WorkloadName::new(format!("w{number}"));
        if dice.one_in(3) {
            mount(dice, &name, &mut workload, &mut graph.volumes);
        }
        graph.workloads.insert(name, workload);
    }
    graph
}

fn tied_to_no_node(workload: &mut Workload) {
    workload.placement.at = Default::default();
    workload.placement.held = Default::default();
}

/// Has a workload mount a volume of its own, or one that is shared, or none any more.
fn mount(
    dice: &mut Dice,
    name: &WorkloadName,
    workload: &mut Workload,
    volumes: &mut BTreeMap<VolumeName, Volume>,
) {
    workload.template.mounts.clear();
    let each_replica = dice.one_in(2);
    let volume = if each_replica { format!("of_{name}") } else { "shared".to_owned() };
    let volume = VolumeName::new(volume);
    if dice.one_in(4) {
        volumes.remove(&volume);
        return;
    }
    let size_bytes = dice.pick(&[0, 5 << 30, 30 << 30]);
    let on_delete = dice.pick(&[OnDelete::Retain, OnDelete::Destroy]);
    let spec = VolumeSpec { size_bytes, on_delete, ..VolumeSpec::default() };
    volumes.insert(volume.clone(), Volume { on: None, each_replica, spec });
    workload.template.mounts.insert("/data".to_owned(), Mount { volume, each_replica });
}

/// Has a workload with ports take one of its nodes', or another one, or none any more.
fn publish(dice: &mut Dice, workload: &mut Workload) {
    let Some(port) = workload.ports.first_mut() else { return };
    port.host = (!dice.one_in(4)).then(|| 8000 + dice.below(2) as u16);
    let host = port.host.map(|host| NodePort { port: host, protocol: port.protocol });
    workload.template.publish = host.into_iter().map(|host| (host, port.container)).collect();
}

fn change(dice: &mut Dice, graph: &mut Graph) {
    let names: Vec<WorkloadName> = graph.workloads.keys().cloned().collect();
    let name = &names[dice.below(names.len() as u64) as usize];
    let others = names.len() as u64;
    let nodes = graph.nodes.len() as u32;
    let workload = graph.workloads.get_mut(name).expect("a workload");
    match dice.below(8) {
        7 => mount(dice, name, workload, &mut graph.volumes),
        6 => publish(dice, workload),
        0 => {
            workload.template.env.insert("TURN".to_owned(), dice.below(100).to_string());
        }
        1 => workload.replicas = dice.below(5) as u32,
        2 => {
            workload.placement = random_placement(dice, nodes, others);
            tied_to_no_node(workload);
        }
        3 => workload.placement.priority = dice.pick(&[0, 10, 30]),
        4 => {
            let number = 1 + dice.below(u64::from(nodes)) as u32;
            let slot = random_slot(dice, number);
            let there = graph.nodes.get_mut(&node(number)).expect("a node");
            there.intake = slot.intake;
            there.taints = slot.taints;
        }
        _ => workload.template.resources.memory_bytes = dice.pick(&[0, 64 << 20, 1 << 30]),
    }
}

#[test]
fn every_plan_keeps_every_constraint() {
    let (mut clean, mut blocked) = (0, 0);
    for seed in 0..fleets(400) {
        let mut dice = Dice::new(seed ^ 0xb0a7);
        let mut graph = random_graph(&mut dice);
        let twin = world(&graph);
        for node in graph.nodes.keys() {
            twin.world().set_disk(node, dice.pick(&[0, 40 << 30]));
        }
        simulate(async {
            for _ in 0..3 {
                let applied = turn(&twin, &graph, Goal::Converge).await;
                let wrong = twin.world().take_violations();
                assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
                let yielded = !applied.body.deferred.is_empty();
                if !applied.body.blocked.is_empty() {
                    blocked += 1;
                } else if let Some(applied) = applied.applied {
                    applied.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    let (_, again) = plan(&twin, &graph, Goal::Converge).await;
                    // Whoever had to yield waits for room, and a retired node is left by a plan of its own; everything
                    // else has come to rest.
                    let leaves = |step: &Step| {
                        let retired = graph.nodes[&step.node].intake == Intake::Retired;
                        retired && matches!(&step.work, Work::Act(action) if action.removes())
                    };
                    assert!(
                        again.steps.iter().all(leaves) || !again.blocked.is_empty() || yielded,
                        "seed {seed}: {:?} {:?}",
                        again.steps,
                        again.changes
                    );
                    clean += 1;
                }
                change(&mut dice, &mut graph);
            }
        });
    }
    assert!(clean > 0 && blocked > 0, "{clean} came to rest, {blocked} were blocked");
}

/// One more service moves nobody else, whatever the constraints, as long as nobody has to yield.
#[test]
fn one_more_service_moves_nobody() {
    for seed in 0..fleets(200) {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let mut graph = random_graph(&mut dice);
        graph.quota = None;
        let twin = world(&graph);
        simulate(async {
            let applied = turn(&twin, &graph, Goal::Converge).await;
            if applied.applied.is_none() {
                return;
            }
            let mut more = web(image('b'), 2, ROLLING);
            more.placement = Placement {
                even: vec![Even { over: Over::Node, skew: 2 }],
                apart: vec![Relation {
                    workload: WorkloadName::new("w0"),
                    over: Over::Node,
                    weight: Some(5),
                }],
                ..Placement::default()
            };
            graph.workloads.insert(WorkloadName::new("a-new-one"), more);
            let (_, body) = plan(&twin, &graph, Goal::Converge).await;
            let others = body.branches.iter().filter(|(name, _)| name.as_str() != "a-new-one");
            let moved: Vec<_> =
                others.flat_map(|(_, branch)| &branch.waves).flat_map(|wave| &wave.moves).collect();
            assert!(moved.is_empty(), "seed {seed}: {moved:?}");
        });
    }
}
