//! Nodes that do not answer: what is waited for, what is replaced, and what becomes of it when they come back.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_engine::plan::body::{Blocked, Goal, PlanBody, Work};
use berth_engine::plan::check::{Violation, check};
use berth_engine::plan::graph::{Graph, Mount, OnUnreachable, Strategy, Volume, Workload};
use berth_engine::plan::ledger::Entry;
use berth_engine::plan::names::{NodeName, VolumeName, WorkloadName};
use berth_engine::plan::observation::VolumeSpec;
use berth_engine::plan::overrides::{Override, Subject};
use berth_engine::plan::render;
use berth_engine::plan::whatif::Suppose;
use berth_engine::run::observe::survey;
use berth_engine::run::record;
use berth_engine::run::twin::{Fault, Twin};
use berth_tests::drive::{apply, apply_struck, plan_at, simulate, turn_at};
use berth_tests::history::{FAULTS, OTHER_FAULTS, canary};
use berth_tests::project::{ROLLING, fleet, image, web, with, world};

/// A moment, in milliseconds since 1970.
const T0: u64 = 1_790_000_000_000;
const MINUTE: u64 = 60_000;

fn node(number: u32) -> NodeName {
    NodeName::new(format!("n[{number}]"))
}

fn shop(on_unreachable: OnUnreachable) -> Graph {
    let workload = Workload { on_unreachable, ..web(image('a'), 3, ROLLING) };
    with(fleet(3), "web", workload)
}

fn after_5m() -> Graph {
    shop(OnUnreachable::ReplaceAfter { ms: 5 * MINUTE })
}

async fn started(graph: &Graph) -> Twin {
    let twin = world(graph);
    let turn = turn_at(&twin, graph, Goal::Converge, T0).await;
    assert!(turn.applied.is_some_and(|applied| applied.is_ok()));
    twin
}

/// Which nodes run a replica, in order, each as often as it does.
fn homes(twin: &Twin) -> Vec<String> {
    let running = twin.world().running();
    running.into_iter().map(|(node, pod)| format!("{pod}@{node}")).collect()
}

async fn decided(twin: &Twin, graph: &Graph, entry: Entry) {
    let seen = survey(twin, graph).await.expect("a ledger");
    let lines = record::lines(&seen.ledger, T0, "sim@test", vec![entry]);
    record::record(twin, graph, &seen, &lines).await.expect("is written");
}

async fn fenced(twin: &Twin, graph: &Graph, number: u32) {
    let what = Override::Fenced { node: node(number), by_plan: false };
    let entry = Entry::Override { what, why: "no power".to_owned(), until_ms: None };
    decided(twin, graph, entry).await;
}

fn words(body: &PlanBody) -> String {
    body.deferred.join("\n")
}

#[test]
fn a_replica_is_waited_for_unless_the_text_says_else() {
    simulate(async {
        let graph = shop(OnUnreachable::Wait);
        let twin = started(&graph).await;
        twin.world().set_cut(&node(3), true);
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        let (_, body) = plan_at(&twin, &graph, Goal::Converge, T0 + 1000 * MINUTE).await;
        assert!(body.is_empty(), "{}", words(&body));
    });
}

#[test]
fn a_replica_is_replaced_when_its_time_has_come_and_loses_when_it_comes_back() {
    simulate(async {
        let graph = after_5m();
        let twin = started(&graph).await;
        twin.world().let_double(&WorkloadName::new("web"));
        twin.world().set_cut(&node(3), true);
        let noted = turn_at(&twin, &graph, Goal::Converge, T0).await;
        assert!(
            words(&noted.body).contains("is replaced at 2026-09-21 14:18:20"),
            "{}",
            words(&noted.body)
        );
        // Whoever applies later counts from what the first one noted.
        let (_, early) = plan_at(&twin, &graph, Goal::Converge, T0 + 5 * MINUTE - 1).await;
        assert!(early.is_empty(), "{}", words(&early));
        let turn = turn_at(&twin, &graph, Goal::Converge, T0 + 5 * MINUTE).await;
        assert!(
            words(&turn.body).contains("web-2.g1 is given up: n[3] is silent since"),
            "{}",
            words(&turn.body)
        );
        let causes: Vec<_> = turn.body.changes.iter().flat_map(|change| &change.causes).collect();
        assert!(causes.iter().any(|cause| cause.contains("web-2.g1 was on n[3]")), "{causes:?}");
        let all = homes(&twin);
        assert_eq!(all.iter().filter(|pod| !pod.ends_with("n[3]")).count(), 3, "{all:?}");
        let (_, again) = plan_at(&twin, &graph, Goal::Converge, T0 + 6 * MINUTE).await;
        assert!(again.is_empty(), "{}", words(&again));
        // It comes back: the older of the two goes, and the note too.
        twin.world().set_cut(&node(3), false);
        turn_at(&twin, &graph, Goal::Converge, T0 + 7 * MINUTE).await;
        let (seen, settled) = plan_at(&twin, &graph, Goal::Converge, T0 + 8 * MINUTE).await;
        assert!(settled.is_empty(), "{}", render::text(&settled, &seen.observation));
        assert!(settled.deferred.is_empty(), "{}", words(&settled));
        assert!(seen.ledger.head.silent.is_empty());
        let all = homes(&twin);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(!all.iter().any(|pod| pod.starts_with("web-2.g1@")), "{all:?}");
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn a_node_that_answers_for_a_moment_is_waited_for_anew() {
    simulate(async {
        let graph = after_5m();
        let twin = started(&graph).await;
        twin.world().set_cut(&node(3), true);
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        twin.world().set_cut(&node(3), false);
        turn_at(&twin, &graph, Goal::Converge, T0 + MINUTE).await;
        twin.world().set_cut(&node(3), true);
        turn_at(&twin, &graph, Goal::Converge, T0 + 6 * MINUTE).await;
        assert_eq!(homes(&twin).len(), 3);
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

/// An engine is stopped while a canary takes half of the traffic, and the next one comes while containerd restarts where both
/// releases are.
#[test]
fn a_canary_that_nobody_watched_to_its_end_is_not_reached() {
    for later in 0..8 {
        simulate(async {
            let on = |letter| {
                let mut workload = web(image(letter), 1, canary(&[5000], MINUTE));
                workload.placement.at = BTreeSet::from([node(2)]);
                with(fleet(3), "web", workload)
            };
            let twin = started(&on('a')).await;
            let (seen, body) = plan_at(&twin, &on('b'), Goal::Converge, T0).await;
            let halfway = Duration::from_millis(MINUTE / 2);
            let stopped = tokio::time::timeout(halfway, apply(&twin, &on('b'), &seen, &body)).await;
            assert!(stopped.is_err(), "{stopped:?}");
            assert_eq!(homes(&twin).len(), 2, "{:?}", homes(&twin));
            let began = tokio::time::Instant::now();
            twin.world().fault_in(later, Fault::ContainerdRestarts);
            turn_at(&twin, &on('b'), Goal::Converge, T0 + MINUTE).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            turn_at(&twin, &on('b'), Goal::Converge, T0 + 2 * MINUTE).await;
            assert!(
                began.elapsed() >= Duration::from_millis(MINUTE),
                "{later}: {:?}",
                began.elapsed()
            );
            assert_eq!(homes(&twin), ["web-0.g2@n[2]"], "{later}");
            assert_eq!(twin.world().take_violations(), Vec::<String>::new(), "{later}");
        });
    }
}

#[test]
fn a_machine_that_sees_less_than_half_replaces_nothing() {
    simulate(async {
        let graph = shop(OnUnreachable::ReplaceAfter { ms: 0 });
        let twin = started(&graph).await;
        twin.world().set_cut(&node(2), true);
        twin.world().set_cut(&node(3), true);
        let turn = turn_at(&twin, &graph, Goal::Converge, T0 + MINUTE).await;
        assert!(words(&turn.body).contains("it may be this machine"), "{}", words(&turn.body));
        assert_eq!(homes(&twin).len(), 3);
        // A person who knows better says so.
        (2..=3).for_each(|number| twin.world().set_power(&node(number), false));
        fenced(&twin, &graph, 2).await;
        fenced(&twin, &graph, 3).await;
        turn_at(&twin, &graph, Goal::Converge, T0 + 2 * MINUTE).await;
        assert_eq!(homes(&twin).len(), 3, "{:?}", homes(&twin));
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn a_plan_about_another_service_forgets_no_silence_and_gives_nothing_up() {
    simulate(async {
        let graph = with(after_5m(), "api", web(image('b'), 1, ROLLING));
        let twin = started(&graph).await;
        twin.world().set_cut(&node(3), true);
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        let seen = survey(&twin, &graph).await.expect("a ledger");
        let only = [WorkloadName::new("api")].into();
        let now_ms = T0 + 5 * MINUTE;
        let body = seen.plan(&graph, "program", Goal::Converge, &only, now_ms).expect("a plan");
        assert_eq!(body.silent, None);
        assert!(!words(&body).contains("given up"), "{}", words(&body));
    });
}

#[test]
fn a_node_that_refuses_is_not_silent() {
    simulate(async {
        let graph = shop(OnUnreachable::ReplaceAfter { ms: 0 });
        let twin = started(&graph).await;
        let mut seen = survey(&twin, &graph).await.expect("a ledger");
        let refuses = berth_engine::plan::observation::NodeView::Unknown {
            why: "the key is not accepted".to_owned(),
            silent: false,
        };
        seen.observation.nodes.insert(node(3), refuses);
        let body = berth_tests::drive::agreed_at(&seen, &graph, Goal::Converge, T0);
        assert!(body.silent.is_none(), "{:?}", body.silent);
        assert!(!words(&body).contains("given up"), "{}", words(&body));
    });
}

#[test]
fn a_fence_gives_up_what_has_no_data_and_leaves_what_has() {
    simulate(async {
        let mut database = web(image('b'), 1, Strategy::Recreate);
        let mount = Mount { volume: VolumeName::new("data"), each_replica: false };
        database.template.mounts.insert("/data".to_owned(), mount);
        let mut graph = with(shop(OnUnreachable::Wait), "db", database);
        let spec = VolumeSpec::default();
        let volume = Volume { on: Some(node(3)), each_replica: false, spec };
        graph.volumes.insert(VolumeName::new("data"), volume);
        let twin = started(&graph).await;
        twin.world().set_power(&node(3), false);
        let before = homes(&twin);
        turn_at(&twin, &graph, Goal::Converge, T0 + MINUTE).await;
        assert_eq!(homes(&twin), before, "nobody has said anything");
        fenced(&twin, &graph, 3).await;
        let turn = turn_at(&twin, &graph, Goal::Converge, T0 + 2 * MINUTE).await;
        assert!(
            words(&turn.body).contains("n[3] is switched off, by sim@test"),
            "{}",
            words(&turn.body)
        );
        assert!(
            words(&turn.body).contains("db-0.g1 on n[3] takes no traffic"),
            "{}",
            words(&turn.body)
        );
        assert_eq!(homes(&twin).len(), 3, "{:?}", homes(&twin));
        twin.world().set_power(&node(3), true);
        let turn = turn_at(&twin, &graph, Goal::Converge, T0 + 3 * MINUTE).await;
        assert!(words(&turn.body).contains("`berth unfence n[3]`"), "{}", words(&turn.body));
        assert_eq!(homes(&twin).len(), 4, "{:?}", homes(&twin));
        decided(&twin, &graph, Entry::Lift { subject: Subject::Fence(node(3)) }).await;
        let (_, settled) = plan_at(&twin, &graph, Goal::Converge, T0 + 4 * MINUTE).await;
        assert!(settled.is_empty() && settled.deferred.is_empty(), "{}", words(&settled));
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn the_checker_turns_down_a_replica_that_may_be_there() {
    simulate(async {
        let graph = after_5m();
        let twin = started(&graph).await;
        twin.world().set_cut(&node(3), true);
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        let (seen, body) = plan_at(&twin, &graph, Goal::Converge, T0 + 5 * MINUTE).await;
        let judge = |body: &PlanBody, graph: &Graph| {
            let violations = check(body, graph, &seen.observation, &seen.ledger.head);
            violations.iter().any(|v| matches!(v, Violation::Doubled { .. }))
        };
        assert!(!judge(&body, &graph));
        assert!(judge(&PlanBody { now_ms: body.now_ms - 1, ..body.clone() }, &graph));
        assert!(judge(&body, &shop(OnUnreachable::Wait)));
        assert!(judge(&body, &shop(OnUnreachable::ReplaceAfter { ms: 6 * MINUTE })));
    });
}

/// A text in which a singleton starts elsewhere once its node is switched off, and every node can be.
fn fenced_after_1m() -> Graph {
    let on_unreachable = OnUnreachable::FenceAfter { ms: MINUTE };
    let single = Workload { on_unreachable, ..web(image('a'), 1, Strategy::Recreate) };
    let mut graph = with(fleet(3), "db", single);
    for (name, node) in &mut graph.nodes {
        node.fence = vec!["power-off".to_owned(), name.to_string()];
    }
    graph
}

#[test]
fn a_silent_node_is_switched_off_before_anything_takes_its_place() {
    simulate(async {
        let mut graph = fenced_after_1m();
        // Not on the keeper, without which there is no ledger.
        graph.workloads.values_mut().for_each(|w| {
            w.placement.at = [node(2), node(3)].into();
        });
        let twin = started(&graph).await;
        let home = twin.world().running().first().expect("one runs").0.clone();
        twin.world().set_cut(&home, true);
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        let (_, early) = plan_at(&twin, &graph, Goal::Converge, T0 + MINUTE - 1).await;
        assert!(early.is_empty(), "{}", words(&early));
        let (seen, body) = plan_at(&twin, &graph, Goal::Converge, T0 + MINUTE).await;
        let text = render::text(&body, &seen.observation);
        assert!(
            text.contains(&format!("! node/{home}  FENCED, irreversible: `power-off {home}`")),
            "{text}"
        );
        // It still runs there, cut off.
        assert_eq!(homes(&twin).len(), 1);
        apply(&twin, &graph, &seen, &body).await.expect("applied");
        let all = homes(&twin);
        assert!(all.len() == 1 && !all[0].ends_with(&home.to_string()), "{all:?}");
        let (seen, again) = plan_at(&twin, &graph, Goal::Converge, T0 + 2 * MINUTE).await;
        assert!(again.is_empty(), "{}", render::text(&again, &seen.observation));
        let told = format!("{:?}", seen.ledger.head.overrides);
        assert!(told.contains("power-off") && told.contains("Fenced"), "{told}");
        // Somebody switches it on again: what it had goes.
        twin.world().set_power(&home, true);
        let back = turn_at(&twin, &graph, Goal::Converge, T0 + 3 * MINUTE).await;
        assert!(back.body.unfenced.contains(&home), "{}", words(&back.body));
        assert_eq!(homes(&twin).len(), 1, "{:?}", homes(&twin));
        // And if it is silent again, it is switched off again.
        let at = twin.world().running().first().expect("one runs").0.clone();
        twin.world().set_cut(&at, true);
        turn_at(&twin, &graph, Goal::Converge, T0 + 4 * MINUTE).await;
        turn_at(&twin, &graph, Goal::Converge, T0 + 5 * MINUTE).await;
        let all = homes(&twin);
        assert!(all.len() == 1 && all[0].ends_with(&home.to_string()), "{all:?}");
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn what_may_be_this_machine_s_fault_switches_nothing_off() {
    simulate(async {
        let mut graph = fenced_after_1m();
        graph.workloads.values_mut().for_each(|w| w.replicas = 3);
        let twin = started(&graph).await;
        [2, 3].iter().for_each(|number| twin.world().set_cut(&node(*number), true));
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        let (_, body) = plan_at(&twin, &graph, Goal::Converge, T0 + 9 * MINUTE).await;
        assert!(
            body.is_empty() && words(&body).contains("this machine that is cut off"),
            "{}",
            words(&body)
        );
        // Nor is a node that does not say how.
        twin.world().set_cut(&node(2), false);
        graph.nodes.get_mut(&node(3)).expect("a node").fence.clear();
        turn_at(&twin, &graph, Goal::Converge, T0 + 9 * MINUTE).await;
        let (_, body) = plan_at(&twin, &graph, Goal::Converge, T0 + 19 * MINUTE).await;
        assert!(words(&body).contains("the text has no `fence` for it"), "{}", words(&body));
        let fences =
            |body: &PlanBody| body.steps.iter().any(|s| matches!(s.work, Work::Fence { .. }));
        assert!(!fences(&body));
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn one_fault_at_every_call_of_a_fence() {
    let faults = FAULTS.into_iter().chain(OTHER_FAULTS.map(|(_, other)| other));
    let mut histories = 0;
    for fault in faults {
        for at in 0.. {
            let hit = simulate(async {
                let mut graph = fenced_after_1m();
                graph.workloads.values_mut().for_each(|w| w.replicas = 3);
                let twin = started(&graph).await;
                twin.world().set_cut(&node(2), true);
                turn_at(&twin, &graph, Goal::Converge, T0).await;
                let engine = twin.another_engine();
                let (seen, body) = plan_at(&engine, &graph, Goal::Converge, T0 + MINUTE).await;
                let what = (&graph, &seen, &body);
                let hit = apply_struck(&twin, &engine, what, (at, fault)).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
                for turn in 2..6 {
                    turn_at(&twin.another_engine(), &graph, Goal::Converge, T0 + turn * MINUTE)
                        .await;
                }
                // On nodes that are on.
                assert_eq!(homes(&twin).len(), 3, "{fault:?} at {at}: {:?}", homes(&twin));
                let left = twin.world().take_violations();
                assert_eq!(left, Vec::<String>::new(), "{fault:?} at {at}");
                hit
            });
            if !hit {
                break;
            }
            histories += 1;
        }
    }
    assert!(histories > 150, "only {histories}");
}

#[test]
fn the_checker_turns_down_a_fence_that_is_not_due() {
    simulate(async {
        let mut graph = fenced_after_1m();
        graph.workloads.values_mut().for_each(|w| w.replicas = 3);
        let twin = started(&graph).await;
        twin.world().set_cut(&node(3), true);
        turn_at(&twin, &graph, Goal::Converge, T0).await;
        let (seen, body) = plan_at(&twin, &graph, Goal::Converge, T0 + MINUTE).await;
        let judge = |body: &PlanBody, graph: &Graph| {
            let violations = check(body, graph, &seen.observation, &seen.ledger.head);
            violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(judge(&body, &graph), "");
        let early = PlanBody { now_ms: body.now_ms - 1, ..body.clone() };
        assert!(judge(&early, &graph).contains("switched off"), "{}", judge(&early, &graph));
        let mut other = graph.clone();
        other.nodes.get_mut(&node(3)).expect("a node").fence = vec!["rm".to_owned()];
        assert!(judge(&body, &other).contains("switched off"));
        // What runs in its place has to wait for it.
        let mut hasty = body.clone();
        for step in &mut hasty.steps {
            step.after = Default::default();
        }
        assert!(judge(&hasty, &graph).contains("may run on n[3]"), "{}", judge(&hasty, &graph));
    });
}

#[test]
fn one_fault_at_every_call_of_a_replacement() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::AnswerLost, Fault::SessionEnds] {
        for at in 0.. {
            let hit = simulate(async {
                let graph = after_5m();
                let twin = started(&graph).await;
                twin.world().let_double(&WorkloadName::new("web"));
                twin.world().set_cut(&node(2), true);
                turn_at(&twin, &graph, Goal::Converge, T0).await;
                let engine = twin.another_engine();
                let (seen, body) = plan_at(&engine, &graph, Goal::Converge, T0 + 5 * MINUTE).await;
                let what = (&graph, &seen, &body);
                let hit = apply_struck(&twin, &engine, what, (at, fault)).await;
                for turn in 6..9 {
                    turn_at(&twin.another_engine(), &graph, Goal::Converge, T0 + turn * MINUTE)
                        .await;
                }
                let live = homes(&twin).into_iter().filter(|pod| !pod.ends_with("n[2]"));
                assert_eq!(live.count(), 3, "{fault:?} at {at}");
                twin.world().set_cut(&node(2), false);
                for turn in 9..12 {
                    turn_at(&twin.another_engine(), &graph, Goal::Converge, T0 + turn * MINUTE)
                        .await;
                }
                assert_eq!(homes(&twin).len(), 3, "{fault:?} at {at}: {:?}", homes(&twin));
                assert_eq!(
                    twin.world().take_violations(),
                    Vec::<String>::new(),
                    "{fault:?} at {at}"
                );
                hit
            });
            if !hit {
                break;
            }
        }
    }
}

#[test]
fn a_node_leaves_the_text_only_when_nothing_is_left_there() {
    simulate(async {
        let graph = shop(OnUnreachable::Wait);
        let twin = started(&graph).await;
        let mut without = graph.clone();
        without.nodes.remove(&node(3));
        let (_, body) = plan_at(&twin, &without, Goal::Converge, T0).await;
        let left = body.blocked.iter().any(|blocked| {
            matches!(blocked, Blocked::NodeLeft { node: left, what } if *left == node(3) && what.contains("web-2.g1"))
        });
        assert!(left && body.steps.is_empty(), "{:?}", body.blocked);
        // It is gone for good, by a person's word.
        twin.world().set_power(&node(3), false);
        let entry = Entry::Forget { node: node(3), why: "sold".to_owned() };
        decided(&twin, &without, entry).await;
        turn_at(&twin, &without, Goal::Converge, T0).await;
        let (seen, body) = plan_at(&twin, &without, Goal::Converge, T0).await;
        assert!(body.is_empty() && body.blocked.is_empty(), "{:?}", body.blocked);
        assert!(!seen.ledger.head.claims.nodes.contains_key(&node(3)));
        assert_eq!(homes(&twin).len(), 3, "{:?}", homes(&twin));
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn a_node_that_is_only_supposed_to_be_gone_blocks_nothing() {
    simulate(async {
        let graph = shop(OnUnreachable::Wait);
        let twin = started(&graph).await;
        let mut seen = survey(&twin, &graph).await.expect("a ledger");
        let suppose = Suppose { without: vec![node(3)], ..Suppose::default() };
        let (graph, observation) = suppose.apply(&graph, &seen.observation).expect("three nodes");
        seen.observation = observation;
        suppose.forget(&mut seen.ledger.head);
        let body = berth_tests::drive::agreed_at(&seen, &graph, Goal::Converge, T0);
        assert!(body.blocked.is_empty(), "{:?}", body.blocked);
        assert!(!body.steps.is_empty());
    });
}
