//! Simulation: the real planner, executor and ledger on the twin, with faults at every call.
//!
//! Checked after every write by the twin itself: no traffic to a pod that is not ready, no fewer
//! replicas than promised, no generation that goes back. Checked after every history: the next
//! engine gets there, nothing is doubled or lost, and a further plan is empty.
//!
//! A failure of the random histories prints its seed; `BERTH_SEED=177 BERTH_HISTORIES=1` tells it.

use std::collections::BTreeSet;

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::{Graph, Strategy};
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::names::{ImageDigest, WorkloadName};
use berth_engine::plan::render;
use berth_engine::run::clock::{Clock as _, SimulatedClock};
use berth_engine::run::twin::{Behaviour, Fault, Twin};
use berth_tests::drive::{apply, apply_by, plan, simulate, turn};
use berth_tests::history::{Ended, FAULTS, canary, duel, history, one_fault, shop_by};
use berth_tests::planted::{Bug, Engine};
use berth_tests::project::{ROLLING, fleet, image, web, with, world};

fn shop(image: ImageDigest) -> Graph {
    with(fleet(3), "web", web(image, 3, ROLLING))
}

#[test]
fn one_fault_at_every_call_of_a_rolling_update() {
    every_call(&shop(image('a')), &shop(image('b')), &image('b'));
}

#[test]
fn one_fault_at_every_call_of_an_undo() {
    every_call(&shop(image('a')), &shop(image('f')), &image('a'));
}

#[test]
fn one_fault_at_every_call_of_a_canary() {
    every_call(&shop(image('a')), &shop_by(image('b'), canary(&[1000], 3000)), &image('b'));
}

#[test]
fn one_fault_at_every_call_of_a_canary_that_falls_over() {
    every_call(&shop(image('a')), &shop_by(image('e'), canary(&[1000], 30_000)), &image('a'));
}

#[test]
fn one_fault_at_every_call_of_a_blue_green_rollout() {
    every_call(&shop(image('a')), &shop_by(image('b'), Strategy::BlueGreen), &image('b'));
}

/// One bad release after the other, an engine killed at each call of each: as soon as an engine says that it
/// is done, or has gone back, there is nothing left of either.
#[test]
fn an_engine_that_goes_back_leaves_nothing_of_earlier_ones() {
    let bad = |letter| shop(image(letter));
    let (good, releases) = (shop(image('a')), [bad('f'), bad('g')]);
    let killed = async |twin: &Twin, graph: &Graph, at: u64, fault: Fault| {
        let engine = Engine::new(twin.another_engine(), None);
        let (survey, body) = plan(&engine, graph, Goal::Converge).await;
        let before = twin.world().calls();
        twin.world().fault_in(at, fault);
        let hit = tokio::select! {
            biased;
            _ = apply(&engine, graph, &survey, &body) => twin.world().calls() - before > at,
            () = engine.killed() => true,
        };
        twin.world().clear_faults();
        for _ in 0..20 {
            let Some(applied) = turn(twin, graph, Goal::Converge).await.applied else { break };
            let outcome = applied.map(|applied| applied.outcome);
            if matches!(outcome, Ok(Outcome::Done | Outcome::Reverted { .. })) {
                break;
            }
        }
        let pods: Vec<_> = twin.world().running().into_iter().map(|(_, pod)| pod).collect();
        let replicas: BTreeSet<u32> = pods.iter().map(|pod| pod.ordinal).collect();
        assert!(pods.len() == 3 && replicas.len() == 3, "killed at {at}: {pods:?}");
        hit
    };
    for first in 0.. {
        let mut more = false;
        for second in (0..).step_by(3) {
            let (hit, again) = simulate(async {
                let twin = world(&good);
                for letter in ['f', 'g'] {
                    twin.world().set_behaviour(&image(letter), Behaviour::NeverReady);
                }
                turn(&twin, &good, Goal::Converge).await;
                let hit = killed(&twin, &releases[0], first, Fault::KilledHalfway).await;
                (hit, killed(&twin, &releases[1], second, Fault::KilledHalfway).await)
            });
            more = hit;
            if !again {
                break;
            }
        }
        if !more {
            break;
        }
    }
}

fn every_call(from: &Graph, to: &Graph, ends: &ImageDigest) {
    let mut histories = 0;
    for fault in FAULTS {
        for at in 0.. {
            match simulate(one_fault((from, to), ends, at, fault, None)) {
                Ok(true) => histories += 1,
                Ok(false) => break,
                Err(problem) => panic!("{fault:?} at call {at}: {problem}"),
            }
        }
    }
    assert!(histories > 100, "only {histories} histories");
}

/// A watch whose probes get no answer ends, though the node answers all the while.
#[test]
fn a_watch_without_answers_ends() {
    let graph = shop_by(image('b'), ROLLING);
    let ended = simulate(async {
        let engine = Engine::new(world(&graph), Some(Bug::ProbesAreLostLater));
        let hour = std::time::Duration::from_secs(3600);
        tokio::time::timeout(hour, turn(&engine, &graph, Goal::Converge)).await
    });
    let applied = ended.expect("an end").applied.expect("work").expect("an outcome");
    assert!(matches!(applied.outcome, Outcome::Partial { .. }), "{:?}", applied.outcome);
}

/// Whatever waits counts the time that passes, not the time of day: a clock that is set neither ends a wait nor
/// prolongs it.
#[test]
fn a_clock_that_is_set_changes_no_wait() {
    let hour = 3_600_000;
    let years = 10 * 365 * 24 * hour;
    for by in [0, hour, -hour, years, -years] {
        for after in [0, 300, 2500, 11_000] {
            let ended = |letter: char, strategy: Strategy, behaviour: Behaviour| {
                let (from, to) = (shop(image('a')), shop_by(image(letter), strategy));
                simulate(async move {
                    let twin = world(&from);
                    twin.world().set_behaviour(&image(letter), behaviour);
                    turn(&twin, &from, Goal::Converge).await;
                    let (survey, body) = plan(&twin, &to, Goal::Converge).await;
                    let clock = SimulatedClock::starting_at(1_700_000_000_000);
                    let clock = clock.set_after(after, by);
                    let applied = apply_by(&clock, &twin, &to, &survey, &body).await;
                    (applied.expect("an outcome").outcome, clock.passed_ms())
                })
            };
            // Slow, and within its deadline; watched for as long as is said; never ready, and given up in time.
            let (slow, _) = ended('b', ROLLING, Behaviour::ReadyAfter(9000));
            assert_eq!(slow, Outcome::Done, "set by {by} ms after {after} ms");
            let (watched, took) = ended('b', canary(&[1000], 30_000), Behaviour::ReadyAfter(100));
            assert_eq!(watched, Outcome::Done, "set by {by} ms after {after} ms");
            assert!((30_000..90_000).contains(&took), "{took} ms, set by {by} ms after {after} ms");
            let (bad, took) = ended('f', ROLLING, Behaviour::NeverReady);
            assert!(matches!(bad, Outcome::Reverted { .. }), "{bad:?}");
            assert!(took < 120_000, "{took} ms, set by {by} ms after {after} ms");
        }
    }
}

/// An engine is stopped at a call; another takes over meanwhile, and the first wakes up.
async fn overtaken(at: u64) -> Result<bool, String> {
    let (v1, v2, v3) = (shop(image('a')), shop(image('b')), shop(image('c')));
    let twin = world(&v1);
    turn(&twin, &v1, Goal::Converge).await;
    twin.world().set_floor(&WorkloadName::new("web"), 3);
    let (first, second) = (twin.another_engine(), twin.another_engine());
    let (survey, body) = plan(&first, &v2, Goal::Converge).await;
    let before = twin.world().calls();
    twin.world().fault_in(at, Fault::Paused);
    let taking_over = async {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        turn(&second, &v3, Goal::Converge).await
    };
    let (slept, taken) = tokio::join!(
        async {
            let applied = apply(&first, &v2, &survey, &body).await;
            (applied, twin.world().calls())
        },
        taking_over
    );
    let violations = twin.world().take_violations();
    if !violations.is_empty() {
        return Err(format!("{:?}: {}", slept.0, violations.join("; ")));
    }
    let (survey, after) = plan(&twin, &v3, Goal::Converge).await;
    if !after.is_empty() {
        return Err(format!(
            "{:?}, then {:?}: not what the second engine made:\n{}",
            taken.applied.map(|applied| applied.map(|applied| applied.outcome)),
            slept.0.map(|applied| applied.outcome),
            render::text(&after, &survey.observation)
        ));
    }
    Ok(slept.1 - before > at)
}

#[test]
fn a_stopped_engine_does_nothing_after_another_took_over() {
    for at in 0.. {
        match simulate(overtaken(at)) {
            Ok(true) => {}
            Ok(false) => break,
            Err(problem) => panic!("stopped at call {at}: {problem}"),
        }
    }
}

#[test]
fn a_history_is_the_same_each_time() {
    for seed in 0..30 {
        assert_eq!(simulate(history(seed, None)), simulate(history(seed, None)), "seed {seed}");
    }
}

/// Seeds that once ended wrong, kept: ports that went and came back, two undos in one apply; a volume
/// that an apply removed before it was killed; a pod that was stopped by hand and counted as available;
/// a pod and its volume that killed applies had made on a node that was cut off then; a release that was
/// accepted though the engine was killed while it was watched; a table of a node that was away, with the
/// weights of a canary that is over; a release changed while it had no replicas; ports that went and came
/// back in the midst of a canary; a blue/green rollout whose old replicas had never stood; replicas that stopped though others had no
/// place; two of one replica that counted as two; a pod that an apply forgot which was killed in turn; one
/// that served, and left for another that was only assumed to be there; the undo of a canary that went on
/// after its engine was stopped; a pod whose start nobody saw the end of, on a node that was cut off then; a ledger that was lost with all its
/// copies while a node was away, and begun anew as if it were the first; a replica that
/// was given up, and no more when the text gave it a volume, so that the one in its place was forgotten; a
/// ledger whose very first line was torn; two engines that waited for themselves; five undos that took away, as never done, what had served: a pod
/// that was stopped by hand, one of a canary, one that was killed while its tables were held; one that was stopped by hand while its
/// containerd did not answer, three times; a release that was accepted unwatched while its containerd did not answer;
/// a move of the ledger that was cut off and could not be taken back, twice; an undo that took away who still served,
/// since a rollout of another kind had made the tables, twice; a canary without any old replica but those that were too many,
/// twice; traffic to one whose removal nobody saw the end of; traffic given back by a plan that does nothing; a
/// rollback while paused that was watched for ever; blue/green rollouts gone over, with new replicas that nobody sees, three
/// times; and four of renames: a retired node, a name that was given back, a
/// table of a ledger that was lost, one that was made without its ports.
const PINNED: [u64; 56] = [
    177, 415, 720, 805, 1041, 59, 2804, 1944, 50158, 52874, 70061, 80146, 81496, 4842, 14702,
    19869, 1002052, 1014346, 1019425, 203861, 103718, 1553, 502945, 504187, 13798, 17288, 1133,
    4601, 14521, 8591, 13613, 5560, 8076, 15780, 14839, 156998, 32003, 46721, 132557, 275735,
    411024, 434689, 454776, 226251, 479150, 331410, 414329, 419902, 521926, 619896, 632613, 677141,
    798483, 809172, 9650, 16130,
];

/// How many random histories a run takes; more by `BERTH_HISTORIES`. With thousands, nearly every fault has
/// to have met nearly every kind of call.
#[test]
#[expect(clippy::print_stderr, reason = "numbers for docs/simulation.md")]
fn random_histories() {
    let count = std::env::var("BERTH_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let first = std::env::var("BERTH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let pinned = PINNED.into_iter().filter(|_| count > 1);
    let seeds: Vec<u64> = (first..first + count).chain(pinned).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<_> = std::thread::scope(|scope| {
        let part = |thread: usize| {
            let seeds = seeds.iter().copied().skip(thread).step_by(threads);
            scope.spawn(move || seeds.map(|seed| (seed, told(seed))).collect::<Vec<_>>())
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("a thread")).collect()
    });
    let (mut failed, mut met, mut calls) = (Vec::new(), BTreeSet::new(), 0);
    for (seed, told) in parts {
        match told {
            Ok(ended) => {
                met.extend(ended.met);
                calls += ended.calls;
            }
            Err(why) => failed.push(format!("seed {seed}: {why}")),
        }
    }
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    let kinds: BTreeSet<&str> = met.iter().map(|(what, _)| *what).collect();
    let pairs = kinds.iter().flat_map(|what| FAULTS.map(|fault| (*what, Some(fault))));
    let missed: Vec<_> = pairs.filter(|pair| !met.contains(pair)).collect();
    let all = kinds.len() * FAULTS.len();
    if count >= 6000 {
        let hit = all - missed.len();
        eprintln!("{count} histories, {calls} calls, {hit} of {all} pairs of call and fault");
        assert!(missed.len() * 20 <= all, "faults that never met: {missed:?}");
    }
}

/// Seeds of two engines at once that once ended wrong, kept: an engine that had slept wrote under a lock that another of
/// its steps had taken to see whether it still might; one that was dead took a lock.
const PINNED_DUELS: [u64; 14] =
    [1119, 1906, 1978, 2254, 2342, 2555, 2899, 3467, 4207, 4408, 4744, 5485, 5529, 5703];

/// Two engines with texts of their own at once: a twentieth as many.
#[test]
#[expect(clippy::print_stderr, reason = "numbers for docs/simulation.md")]
fn two_engines_at_once() {
    let count = std::env::var("BERTH_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let first = std::env::var("BERTH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (mut failed, mut calls) = (Vec::new(), 0);
    let pinned = PINNED_DUELS.into_iter().filter(|_| count > 1);
    for seed in (first..first + u64::max(count / 20, 1)).chain(pinned) {
        let told = std::panic::catch_unwind(|| simulate(duel(seed, None)));
        match told.unwrap_or_else(|_| Err("panicked, as above".to_owned())) {
            Ok(ended) => calls += ended.calls,
            Err(why) => failed.push(format!("seed {seed}: {why}")),
        }
    }
    assert!(failed.is_empty(), "{} wrong:\n{}", failed.len(), failed.join("\n"));
    eprintln!("{calls} calls");
}

/// A history, though it panic.
fn told(seed: u64) -> Result<Ended, String> {
    let told = std::panic::catch_unwind(|| simulate(history(seed, None)));
    told.unwrap_or_else(|_| Err("panicked, as above".to_owned()))
}
