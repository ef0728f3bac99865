//! Simulation: the real planner, executor and ledger on the twin, with faults at every call.
//!
//! Checked after every write by the twin itself: no traffic to a pod that is not ready, no fewer
//! replicas than promised, no generation that goes back. Checked after every history: the next
//! engine gets there, nothing is doubled or lost, and a further plan is empty.

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::names::{ImageDigest, WorkloadName};
use berth_engine::run::twin::{Behaviour, Fault, Twin};
use berth_tests::drive::{apply, plan, simulate, turn};
use berth_tests::project::{ROLLING, fleet, image, web, with, world};

fn shop(image: ImageDigest) -> Graph {
    with(fleet(3), "web", web(image, 3, ROLLING))
}

/// Turns until there is nothing to do, as a new engine on the same world.
async fn settle(twin: &Twin, graph: &Graph) -> Result<usize, String> {
    for turns in 0..6 {
        let engine = twin.another_engine();
        let turn = turn(&engine, graph, Goal::Converge).await;
        if turn.body.is_empty() {
            return Ok(turns);
        }
    }
    let (_, body) = plan(twin, graph, Goal::Converge).await;
    Err(format!("never settles: {:?}", body.steps))
}

/// From one release to another with one fault; the world must end with three of `ends`.
async fn one_fault(
    from: &Graph,
    to: &Graph,
    ends: &ImageDigest,
    at: u64,
    fault: Fault,
) -> Result<bool, String> {
    let twin = world(from);
    twin.world().set_behaviour(&image('f'), Behaviour::NeverReady);
    turn(&twin, from, Goal::Converge).await;
    twin.world().set_floor(&WorkloadName::new("web"), 3);
    let engine = twin.another_engine();
    let (survey, body) = plan(&engine, to, Goal::Converge).await;
    let before = twin.world().calls();
    twin.world().fault_in(at, fault);
    let hit = tokio::select! {
        _ = apply(&engine, to, &survey, &body) => twin.world().calls() - before > at,
        () = engine.killed() => true,
    };
    twin.world().clear_faults();
    settle(&twin, to).await?;
    let violations = twin.world().take_violations();
    if !violations.is_empty() {
        return Err(violations.join("; "));
    }
    let (survey, _) = plan(&twin, to, Goal::Converge).await;
    let pods: Vec<_> = from
        .nodes
        .keys()
        .filter_map(|node| survey.observation.seen(node))
        .flat_map(|seen| seen.spec.pods.values())
        .collect();
    let right = pods.iter().filter(|pod| &pod.image == ends).count();
    if right != 3 || pods.len() != 3 {
        return Err(format!("{right} of 3 right, {} in all", pods.len()));
    }
    Ok(hit)
}

const FAULTS: [Fault; 5] = [
    Fault::Refused,
    Fault::AnswerLost,
    Fault::SessionEnds,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

#[test]
fn one_fault_at_every_call_of_a_rolling_update() {
    every_call(&shop(image('a')), &shop(image('b')), &image('b'));
}

#[test]
fn one_fault_at_every_call_of_an_undo() {
    every_call(&shop(image('a')), &shop(image('f')), &image('a'));
}

fn every_call(from: &Graph, to: &Graph, ends: &ImageDigest) {
    let mut histories = 0;
    for fault in FAULTS {
        for at in 0.. {
            match simulate(one_fault(from, to, ends, at, fault)) {
                Ok(true) => histories += 1,
                Ok(false) => break,
                Err(problem) => panic!("{fault:?} at call {at}: {problem}"),
            }
        }
    }
    println!("{histories} histories");
    assert!(histories > 100, "only {histories} histories");
}
