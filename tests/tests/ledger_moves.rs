//! The ledger's copies, and its way to another keeper: moved, taken over, rebuilt, folded.

use std::collections::BTreeSet;

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::ledger::{self, Entry, Head};
use berth_engine::plan::names::NodeName;
use berth_engine::run::apply::ApplyError;
use berth_engine::run::fold::{fold, folded};
use berth_engine::run::host::{Host as _, HostError, LockClaim};
use berth_engine::run::ledger::LedgerFault;
use berth_engine::run::observe::survey;
use berth_engine::run::relocate::{MoveError, Source, Wish, relocate};
use berth_engine::run::twin::{Fault, Twin};
use berth_tests::drive::{apply, plan, simulate, turn};
use berth_tests::history::FAULTS;
use berth_tests::planted::Engine;
use berth_tests::project::{ROLLING, fleet, image, node, web, with, world};

/// A shop on so many nodes whose ledger is the first one's.
fn shop(nodes: u32, letter: char) -> Graph {
    with(fleet(nodes), "web", web(image(letter), 3, ROLLING))
}

fn kept_by(graph: &Graph, number: u32) -> Graph {
    Graph { keeper: node(number), ..graph.clone() }
}

fn wish() -> Wish {
    Wish { who: "ana@desk".to_owned(), at_ms: 1, ..Wish::default() }
}

fn take_over() -> Wish {
    Wish { take_over: true, ..wish() }
}

async fn applied(twin: &Twin, graph: &Graph) {
    turn(twin, graph, Goal::Converge).await.applied.expect("work").expect("an outcome");
}

/// A shop that was applied once.
async fn running(nodes: u32) -> (Graph, Twin) {
    let graph = shop(nodes, 'a');
    let twin = world(&graph);
    applied(&twin, &graph).await;
    (graph, twin)
}

async fn is_settled(twin: &Twin, graph: &Graph) -> bool {
    plan(twin, graph, Goal::Converge).await.1.is_empty()
}

#[test]
fn two_nodes_have_copies() {
    simulate(async {
        let (_, twin) = running(4).await;
        let ledgers = twin.world().ledgers();
        assert_eq!(ledgers.keys().cloned().collect::<Vec<_>>(), [node(1), node(2), node(3)]);
        assert_eq!(ledgers.values().collect::<BTreeSet<_>>().len(), 1, "all alike");
        // Who is cut off has the next node stand in, and is brought up to date when it is there again.
        twin.world().set_cut(&node(2), true);
        applied(&twin, &shop(4, 'b')).await;
        let ledgers = twin.world().ledgers();
        assert_eq!(ledgers[&node(4)], ledgers[&node(1)]);
        assert!(ledgers[&node(2)].len() < ledgers[&node(1)].len());
        twin.world().set_cut(&node(2), false);
        applied(&twin, &shop(4, 'c')).await;
        let ledgers = twin.world().ledgers();
        assert_eq!(ledgers[&node(2)], ledgers[&node(1)]);
    });
}

#[test]
fn a_tenant_that_leaves_takes_the_copies_along() {
    simulate(async {
        let (graph, twin) = running(4).await;
        let gone = turn(&twin, &graph, Goal::Destroy).await;
        gone.applied.expect("work").expect("an outcome");
        assert!(twin.world().is_clean());
    });
}

#[test]
fn another_keeper_in_the_text_is_refused_until_the_ledger_is_moved() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let moved = kept_by(&graph, 2);
        let fault = survey(&twin, &moved).await.expect_err("the ledger is elsewhere");
        let (named, keeper) = (node(2), node(1));
        assert_eq!(fault, LedgerFault::Elsewhere { named, keeper, epoch: 0 });
        let came = relocate(&twin, &moved, &wish()).await.expect("a move");
        assert_eq!(came.from, Source::Keeper(node(1)));
        assert!(is_settled(&twin, &moved).await);
        // Who follows the old keeper still is told, and fenced off.
        let fault = survey(&twin, &graph).await.expect_err("the ledger is elsewhere");
        let (named, keeper) = (node(1), node(2));
        assert_eq!(fault, LedgerFault::Elsewhere { named, keeper, epoch: 1 });
        applied(&twin, &kept_by(&shop(3, 'b'), 2)).await;
        assert!(is_settled(&twin, &kept_by(&shop(3, 'b'), 2)).await);
        let again = relocate(&twin, &moved, &wish()).await;
        assert!(matches!(again, Err(MoveError::Here(_))), "{again:?}");
    });
}

/// A saved plan of before the move does nothing after it.
#[test]
fn a_plan_of_before_a_move_is_refused() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let next = shop(3, 'b');
        let (seen, body) = plan(&twin, &next, Goal::Converge).await;
        relocate(&twin, &kept_by(&graph, 3), &wish()).await.expect("a move");
        let late = apply(&twin, &next, &seen, &body).await.expect_err("a refusal");
        assert!(late.to_string().contains("n[3] as the ledger's keeper, in epoch 1"), "{late}");
    });
}

/// Whatever happens at a call of a move, saying it again ends it, and nothing is lost.
#[test]
fn a_move_that_is_interrupted_goes_on() {
    for fault in FAULTS {
        for at in 0..40 {
            simulate(async {
                let (graph, twin) = running(3).await;
                let before = survey(&twin, &graph).await.expect("a ledger").ledger.head;
                let moved = kept_by(&graph, 2);
                let (engine, wish) = (twin.another_engine(), wish());
                twin.world().fault_in(at, fault);
                tokio::select! {
                    biased;
                    _ = relocate(&engine, &moved, &wish) => {}
                    () = engine.killed() => {}
                }
                twin.world().clear_faults();
                let again = relocate(&twin, &moved, &wish).await;
                assert!(matches!(again, Ok(_) | Err(MoveError::Here(_))), "{fault:?} at {at}");
                let seen = survey(&twin, &moved).await.expect("a ledger");
                for name in moved.nodes.keys() {
                    let mark = seen.observation.seen(name).and_then(|seen| seen.ledger.as_ref());
                    let mark = mark.expect("a mark");
                    assert_eq!(
                        (&mark.keeper, mark.epoch),
                        (&node(2), 1),
                        "{name}, {fault:?} at {at}"
                    );
                }
                let after = seen.ledger.head;
                assert_eq!(
                    (after.revision, after.epoch),
                    (before.revision, 1),
                    "{fault:?} at {at}"
                );
                assert_eq!(after.least_generation, 0);
                assert!(is_settled(&twin, &moved).await, "{fault:?} at {at}");
            });
        }
    }
}

/// The text goes back to the old keeper, or on to a third one, after a move to the second was cut off anywhere.
#[test]
fn a_move_that_is_interrupted_is_taken_back() {
    for (fault, then) in FAULTS.into_iter().flat_map(|fault| [(fault, 1), (fault, 3)]) {
        for at in 0..40 {
            simulate(async {
                let (graph, twin) = running(3).await;
                let (engine, moved, wish) = (twin.another_engine(), kept_by(&graph, 2), wish());
                twin.world().fault_in(at, fault);
                tokio::select! {
                    biased;
                    _ = relocate(&engine, &moved, &wish) => {}
                    () = engine.killed() => {}
                }
                twin.world().clear_faults();
                let words = format!("{fault:?} at {at}, then n[{then}]");
                let back = kept_by(&graph, then);
                let again = relocate(&twin, &back, &wish).await;
                assert!(matches!(again, Ok(_) | Err(MoveError::Here(_))), "{words}: {again:?}");
                let seen = survey(&twin, &back).await.expect("a ledger");
                assert_eq!(seen.ledger.head.least_generation, 0, "{words}");
                assert!(is_settled(&twin, &back).await, "{words}");
                for other in [1, 2, 3].into_iter().filter(|other| *other != then) {
                    let fault = survey(&twin, &kept_by(&graph, other)).await.expect_err("moved");
                    assert!(matches!(fault, LedgerFault::Elsewhere { .. }), "{words}: {fault}");
                }
            });
        }
    }
}

/// Who was about to keep the ledger may keep it, so it has to answer before anybody else does.
#[test]
fn a_move_is_not_taken_back_behind_the_back_of_who_may_keep_it() {
    simulate(async {
        // Its last line says where it goes, and nothing else is done.
        let mut at = 0;
        let (graph, twin) = loop {
            let (graph, twin) = running(3).await;
            let (engine, moved, wish) = (twin.another_engine(), kept_by(&graph, 2), wish());
            twin.world().fault_in(at, Fault::KilledBefore);
            tokio::select! {
                biased;
                _ = relocate(&engine, &moved, &wish) => {}
                () = engine.killed() => {}
            }
            twin.world().clear_faults();
            if survey(&twin, &graph).await.is_err() {
                break (graph, twin);
            }
            at += 1;
        };
        twin.world().set_cut(&node(2), true);
        for keeper in [1, 3] {
            let fault = relocate(&twin, &kept_by(&graph, keeper), &wish()).await;
            let Err(MoveError::KeeperLost { keeper: lost, why }) = fault else {
                panic!("{fault:?}")
            };
            assert!(lost == node(2) && why.contains("was about to keep it"), "{why}");
        }
        // Most of the fleet may go on without it.
        relocate(&twin, &graph, &take_over()).await.expect("a take-over");
        assert!(survey(&twin, &graph).await.is_ok());
    });
}

#[test]
fn a_lost_keeper_is_taken_over() {
    simulate(async {
        let (graph, twin) = running(3).await;
        twin.world().set_cut(&node(1), true);
        let moved = kept_by(&graph, 2);
        let fault = relocate(&twin, &moved, &wish()).await.expect_err("the keeper is silent");
        assert!(matches!(fault, MoveError::KeeperLost { .. }), "{fault}");
        let came = relocate(&twin, &moved, &take_over()).await.expect("a take-over");
        assert_eq!(came.from, Source::Copy(node(2)));
        assert_eq!(came.untold, ["n[1] did not answer"]);
        // What it is not sure to know the generations of goes on far above.
        applied(&twin, &kept_by(&shop(3, 'b'), 2)).await;
        let pods = twin.world().running();
        let generations: BTreeSet<u64> =
            pods.iter().filter(|(at, _)| *at != node(1)).map(|(_, pod)| pod.generation).collect();
        assert!(generations.iter().all(|generation| *generation > 1000), "{generations:?}");
        // The old keeper comes back, with an engine that follows it.
        twin.world().set_cut(&node(1), false);
        let fault = survey(&twin, &graph).await.expect_err("the ledger is elsewhere");
        assert!(matches!(fault, LedgerFault::Elsewhere { epoch: 1, .. }), "{fault}");
        applied(&twin, &kept_by(&shop(3, 'b'), 2)).await;
        let ledgers = twin.world().ledgers();
        assert_eq!(ledgers[&node(1)], ledgers[&node(2)], "the old keeper has a copy now");
    });
}

#[test]
fn most_of_the_fleet_has_to_agree_to_a_take_over() {
    simulate(async {
        let (graph, twin) = running(4).await;
        twin.world().set_cut(&node(1), true);
        twin.world().set_cut(&node(3), true);
        let moved = kept_by(&graph, 2);
        let few = relocate(&twin, &moved, &take_over()).await.expect_err("too few");
        assert!(matches!(few, MoveError::TooFew { answer: 2, of: 4 }), "{few}");
        let wish = Wish { fenced: BTreeSet::from([node(1)]), ..take_over() };
        relocate(&twin, &moved, &wish).await.expect("a take-over");
        assert!(survey(&twin, &moved).await.is_ok());
    });
}

#[test]
fn nothing_is_taken_over_from_a_keeper_that_answers() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let there = relocate(&twin, &kept_by(&graph, 2), &take_over()).await.expect_err("there");
        assert!(matches!(there, MoveError::KeeperThere(_)), "{there}");
    });
}

/// Two engines take over for two keepers at once: one of them does, and the other is told.
#[test]
fn two_take_overs_at_once_leave_one_keeper() {
    simulate(async {
        let (graph, twin) = running(3).await;
        twin.world().set_cut(&node(1), true);
        let (first, second) = (twin.another_engine(), twin.another_engine());
        let (two, three) = (kept_by(&graph, 2), kept_by(&graph, 3));
        let wish = take_over();
        let (left, right) =
            tokio::join!(relocate(&first, &two, &wish), relocate(&second, &three, &wish));
        assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
        let keeper = if left.is_ok() { two } else { three };
        assert!(survey(&twin, &keeper).await.is_ok());
    });
}

/// A keeper with a new disk is noticed, whatever the text says, and gets its ledger back from a copy.
#[test]
fn a_keeper_that_lost_its_disk_is_not_believed() {
    simulate(async {
        let (_, twin) = running(3).await;
        applied(&twin, &shop(3, 'b')).await;
        let graph = shop(3, 'b');
        twin.world().lose_ledger(&node(1));
        let fault = survey(&twin, &graph).await.expect_err("lost lines");
        assert!(matches!(fault, LedgerFault::Behind { has: 0, .. }), "{fault}");
        relocate(&twin, &graph, &take_over()).await.expect("the copy");
        assert!(is_settled(&twin, &graph).await);
    });
}

/// After the first apply no node has been told how many lines there are, but copies show that there are some.
#[test]
fn a_first_ledger_that_is_lost_is_noticed_too() {
    simulate(async {
        let (graph, twin) = running(3).await;
        twin.world().lose_ledger(&node(1));
        let fault = survey(&twin, &graph).await.expect_err("lost lines");
        assert!(matches!(fault, LedgerFault::Behind { has: 0, .. }), "{fault}");
        relocate(&twin, &graph, &take_over()).await.expect("the copy");
        assert!(is_settled(&twin, &graph).await);
    });
}

/// A first apply that is killed before its first line leaves nothing behind that another keeper could lack.
#[test]
fn a_first_apply_that_was_killed_binds_nobody_to_its_keeper() {
    for at in 0..12 {
        simulate(async {
            let graph = shop(3, 'a');
            let twin = world(&graph);
            let engine = twin.another_engine();
            twin.world().fault_in(at, Fault::KilledAfter);
            tokio::select! {
                biased;
                _ = turn(&engine, &graph, Goal::Converge) => {}
                () = engine.killed() => {}
            }
            twin.world().clear_faults();
            let moved = kept_by(&graph, 2);
            if survey(&twin, &moved).await.is_err() {
                relocate(&twin, &moved, &wish()).await.expect("a move");
            }
            applied(&twin, &moved).await;
            assert!(is_settled(&twin, &moved).await, "killed after call {at}");
        });
    }
}

/// The keeper has left the text: its ledger is taken over as if it were lost.
#[test]
fn a_keeper_that_left_the_text_is_taken_over() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let mut without = kept_by(&graph, 2);
        without.nodes.remove(&node(1));
        let fault = survey(&twin, &without).await.expect_err("the ledger is elsewhere");
        assert!(matches!(fault, LedgerFault::Elsewhere { .. }), "{fault}");
        let fault = relocate(&twin, &without, &wish()).await.expect_err("its keeper has left");
        assert!(matches!(fault, MoveError::KeeperLost { .. }), "{fault}");
        relocate(&twin, &without, &take_over()).await.expect("a take-over");
        assert!(survey(&twin, &without).await.is_ok());
    });
}

#[test]
fn a_ledger_that_is_lost_everywhere_is_rebuilt_from_the_nodes() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let before = survey(&twin, &graph).await.expect("a ledger").ledger.head;
        (1..=3).for_each(|number| twin.world().lose_ledger(&node(number)));
        let none = relocate(&twin, &graph, &take_over()).await.expect_err("no copy");
        assert!(matches!(none, MoveError::NoCopy), "{none}");
        twin.world().set_cut(&node(3), true);
        let rebuild = Wish { rebuild: true, ..wish() };
        let unknown = relocate(&twin, &graph, &rebuild).await.expect_err("nobody knows");
        assert!(matches!(unknown, MoveError::Unknown(_)), "{unknown}");
        // Nor is it a first apply: what runs says that there was a ledger.
        let fault = survey(&twin, &graph).await.expect_err("no ledger");
        assert_eq!(fault, LedgerFault::Gone { node: node(1) });
        twin.world().set_cut(&node(3), false);
        let came = relocate(&twin, &graph, &rebuild).await.expect("a rebuilt ledger");
        assert!(matches!(came.from, Source::Nodes(_)), "{:?}", came.from);
        let after = came.ledger.head;
        assert_eq!(after.claims, before.claims);
        assert_eq!(after.placed, before.placed);
        assert_eq!(after.reached, before.reached);
        assert_eq!(after.proven, before.proven);
        assert_eq!(after.volumes, before.volumes);
        assert!(is_settled(&twin, &graph).await);
        applied(&twin, &shop(3, 'b')).await;
        assert!(twin.world().take_violations().is_empty());
    });
}

#[test]
fn a_first_apply_needs_most_of_the_nodes() {
    simulate(async {
        let graph = shop(3, 'a');
        let twin = world(&graph);
        twin.world().set_cut(&node(2), true);
        assert!(survey(&twin, &graph).await.is_ok());
        twin.world().set_cut(&node(3), true);
        let fault = survey(&twin, &graph).await.expect_err("too few");
        assert_eq!(fault, LedgerFault::Unseen { seen: 1, of: 3 });
    });
}

#[test]
fn a_folded_ledger_comes_to_the_same() {
    simulate(async {
        let twin = world(&shop(4, 'a'));
        for letter in ['a', 'b', 'c', 'a', 'b'] {
            applied(&twin, &shop(4, letter)).await;
        }
        let graph = shop(4, 'b');
        let seen = survey(&twin, &graph).await.expect("a ledger");
        let came = fold(&twin, &graph, &seen, 2, (1, "ana@desk")).await.expect("folded");
        assert_eq!(came.lines, 6, "six lines of three revisions gave way to one");
        assert!(came.after < came.before);
        let ledgers = twin.world().ledgers();
        assert_eq!(ledgers.values().collect::<BTreeSet<_>>().len(), 1, "the copies too");
        let after = survey(&twin, &graph).await.expect("a ledger");
        assert_eq!(after.ledger.head, seen.ledger.head);
        assert!(matches!(after.ledger.lines[0].entry, Entry::Snapshot { .. }));
        assert!(is_settled(&twin, &graph).await);
        applied(&twin, &shop(4, 'c')).await;
        assert!(is_settled(&twin, &shop(4, 'c')).await);
        // Nothing more to fold, and nothing is written for that.
        let now = survey(&twin, &graph).await.expect("a ledger").ledger;
        assert_eq!(folded(&now, 100, 1, "ana@desk"), None);
    });
}

/// Any change to a folded ledger is noticed, as in one that was not.
#[test]
fn a_damaged_snapshot_is_noticed() {
    let bytes = simulate(async {
        let twin = world(&shop(3, 'a'));
        applied(&twin, &shop(3, 'a')).await;
        applied(&twin, &shop(3, 'b')).await;
        let ledger = survey(&twin, &shop(3, 'b')).await.expect("a ledger").ledger;
        let lines = folded(&ledger, 1, 1, "ana@desk").expect("something to fold");
        lines.iter().flat_map(ledger::Line::bytes).collect::<Vec<u8>>()
    });
    let sound = ledger::parse(&bytes).expect("a sound ledger");
    for at in (0..bytes.len()).step_by(7) {
        for bit in [0, 5] {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            if let Ok(read) = ledger::parse(&bad) {
                let shorter = read.torn && read.lines.len() < sound.lines.len();
                assert!(shorter || read == sound, "byte {at} bit {bit}");
            }
        }
    }
    // A snapshot stands first, or not at all.
    let mut twice = bytes.clone();
    twice.extend_from_slice(&bytes);
    assert!(ledger::parse(&twice).is_err());
}

/// A fence that a node holds is a refusal with both sides named.
#[test]
fn a_node_names_the_keeper_that_it_knows() {
    simulate(async {
        let (graph, twin) = running(3).await;
        relocate(&twin, &kept_by(&graph, 2), &wish()).await.expect("a move");
        let seen = survey(&twin, &kept_by(&graph, 2)).await.expect("a ledger");
        let head = Head { epoch: 0, ..seen.ledger.head };
        let claim = LockClaim::new(("raj@desk", 1), "a test", &graph, &head);
        let refused = twin.lock(&node(3), &claim).await;
        let (at, keeper): (NodeName, NodeName) = (node(3), node(2));
        let fence = HostError::Fenced { node: at, ours: 0, theirs: 1, keeper };
        assert_eq!(refused, Err(fence));
        // A fault of the old epoch's engine leaves no lock behind.
        twin.world().fault_in(0, Fault::AnswerLost);
        assert!(survey(&twin, &kept_by(&graph, 2)).await.is_ok());
    });
}

/// What a newer Berth wrote is not taken for damage, and nothing takes its place.
#[test]
fn a_newer_ledger_is_not_replaced() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let known = format!("\"v\":{}", ledger::LEDGER_VERSION);
        let ledgers = twin.world().ledgers();
        for (node, bytes) in ledgers {
            let newer = String::from_utf8(bytes).expect("text").replace(&known, "\"v\":99");
            twin.world().set_ledger(&node, newer.as_bytes());
        }
        let before = twin.world().ledgers();
        for keeper in [1, 2] {
            for wish in [take_over(), Wish { rebuild: true, ..take_over() }] {
                let graph = kept_by(&graph, keeper);
                let newer = relocate(&twin, &graph, &wish).await.expect_err("a newer ledger");
                assert!(newer.to_string().contains("use a newer Berth"), "{newer}");
            }
        }
        // Nor if the keeper is lost, and only the copies are newer.
        twin.world().set_cut(&node(1), true);
        let newer = relocate(&twin, &kept_by(&graph, 2), &take_over()).await.expect_err("newer");
        assert!(newer.to_string().contains("use a newer Berth"), "{newer}");
        assert_eq!(twin.world().ledgers(), before);
    });
}

/// A copy that is known to lack lines goes on only if everybody says what runs there; then it is believed.
#[test]
fn a_copy_that_lacks_lines_needs_every_node() {
    simulate(async {
        let (graph, twin) = running(3).await;
        let early = twin.world().ledgers();
        applied(&twin, &shop(3, 'b')).await;
        applied(&twin, &shop(3, 'c')).await;
        for node in [node(2), node(3)] {
            twin.world().set_ledger(&node, &early[&node]);
        }
        twin.world().set_cut(&node(1), true);
        let moved = kept_by(&shop(3, 'c'), 2);
        let unknown = relocate(&twin, &moved, &take_over()).await.expect_err("lines are missing");
        assert!(matches!(unknown, MoveError::Unknown(_)), "{unknown}");
        let wish = Wish { fenced: BTreeSet::from([node(1)]), ..take_over() };
        relocate(&twin, &moved, &wish).await.expect("a take-over");
        survey(&twin, &moved).await.expect("a ledger that is believed");
        // What it has is the least from now on.
        twin.world().lose_ledger(&node(2));
        let fault = survey(&twin, &moved).await.expect_err("lost lines");
        assert!(matches!(fault, LedgerFault::Behind { has: 0, known: 2.., .. }), "{fault}");
        // The same of what is given.
        let (graph, twin) = (graph, running(3).await.1);
        let given = ledger::parse(&twin.world().ledgers()[&node(1)]).expect("a ledger");
        applied(&twin, &shop(3, 'b')).await;
        applied(&twin, &shop(3, 'c')).await;
        for node in [node(1), node(2)] {
            twin.world().set_ledger(&node, &[]);
        }
        twin.world().set_cut(&node(3), true);
        let wish = Wish { given: Some(given), ..take_over() };
        let unknown = relocate(&twin, &graph, &wish).await.expect_err("lines are missing");
        assert!(matches!(unknown, MoveError::Unknown(_)), "{unknown}");
    });
}

/// Somebody writes between the reading of the ledger and that of the nodes: nothing is lost by that.
#[test]
fn a_ledger_that_was_read_too_early_is_read_again() {
    simulate(async {
        let (_, twin) = running(3).await;
        applied(&twin, &shop(3, 'b')).await;
        // The nodes know all lines but those of the last apply.
        let (graph, engine) = (shop(3, 'c'), Engine::new(twin.another_engine(), None));
        let (seen, body) = plan(&twin, &graph, Goal::Converge).await;
        let early = Twin::another_engine(&twin);
        let claim = LockClaim::new(("ana@desk", 1), "a test", &graph, &seen.ledger.head);
        early.lock(&node(2), &claim).await.expect("a lock");
        early.unlock(&node(2)).await;
        engine.reads_late_once();
        let seen = survey(&engine, &graph).await.expect("a ledger");
        assert_eq!(seen.ledger.head.hash, body.parent);
    });
}

/// Where no copy can be written nothing is begun, and it is said why.
#[test]
fn without_a_copy_nothing_is_begun() {
    simulate(async {
        let (_, twin) = running(3).await;
        let graph = shop(3, 'a');
        let (seen, mut body) = plan(&twin, &shop(3, 'b'), Goal::Converge).await;
        let other = twin.another_engine();
        let claim = LockClaim::new(("raj@desk", 1), "a test", &graph, &seen.ledger.head);
        for number in [2, 3] {
            other.lock(&node(number), &claim).await.expect("a lock");
        }
        // A plan for the keeper alone.
        body.steps.clear();
        body.branches.clear();
        let refused = apply(&twin, &graph, &seen, &body).await.expect_err("no copy");
        let ApplyError::Uncopied { behind } = refused else { panic!("{refused}") };
        assert_eq!(behind.len(), 2);
        assert!(behind[0].contains("n[2] is locked by raj@desk"), "{behind:?}");
        let now = survey(&twin, &graph).await.expect("a ledger").ledger.head;
        assert_eq!(now.hash, seen.ledger.head.hash, "nothing was begun");
    });
}
