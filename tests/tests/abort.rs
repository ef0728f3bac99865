//! A rollout that somebody else asks to be taken back, in the midst of it.

use std::time::Duration;

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::{Graph, OnFail, Strategy};
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::names::WorkloadName;
use berth_engine::run::apply::Applied;
use berth_engine::run::twin::{Behaviour, Twin};
use berth_tests::drive::{apply, plan, simulate, turn};
use berth_tests::history::{ask, canary, shop_by};
use berth_tests::project::{ROLLING, image, world};

const BEN: &str = "ben@laptop";

async fn started(graph: &Graph) -> Twin {
    let twin = world(graph);
    let turn = turn(&twin, graph, Goal::Converge).await;
    assert!(turn.applied.is_some_and(|applied| applied.is_ok()));
    twin
}

/// Applies a text, and asks for it to be taken back after a while.
async fn aborted(twin: &Twin, graph: &Graph, after: Duration) -> Applied {
    let (seen, body) = plan(twin, graph, Goal::Converge).await;
    let asks = async {
        tokio::time::sleep(after).await;
        ask(twin, graph, BEN, "too slow").await;
    };
    let (applied, ()) = tokio::join!(apply(twin, graph, &seen, &body), asks);
    applied.expect("an outcome")
}

fn images(twin: &Twin) -> Vec<String> {
    let world = twin.world();
    world.running().into_iter().map(|(_, pod)| format!("{pod}")).collect()
}

#[test]
fn a_canary_is_taken_back_while_it_is_watched_and_is_held() {
    simulate(async {
        let of = |letter| shop_by(image(letter), canary(&[1000, 5000], 600_000));
        let twin = started(&of('a')).await;
        let began = tokio::time::Instant::now();
        let applied = aborted(&twin, &of('b'), Duration::from_secs(60)).await;
        let Outcome::Reverted { workloads } = &applied.outcome else { panic!("{applied:?}") };
        let why = &workloads[&WorkloadName::new("web")];
        assert_eq!(why, "asked for by ben@laptop: too slow");
        // The word is heard within seconds, not when the ten minutes are over.
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
        assert_eq!(images(&twin), ["web-0.g1", "web-1.g1", "web-2.g1"]);
        let (seen, again) = plan(&twin, &of('b'), Goal::Converge).await;
        assert!(again.is_empty(), "{again:?}");
        let pin = &seen.ledger.head.pins[&WorkloadName::new("web")];
        assert_eq!((pin.who.as_deref(), pin.why.as_str()), (Some(BEN), "too slow"));
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn nobody_waits_for_a_replica_that_is_not_wanted_any_more() {
    simulate(async {
        let of = |letter| {
            let mut graph = shop_by(image(letter), ROLLING);
            let web = graph.workloads.get_mut(&WorkloadName::new("web")).expect("it");
            web.rollout.deadline_ms = 3_600_000;
            graph
        };
        let twin = started(&of('a')).await;
        twin.world().set_behaviour(&image('f'), Behaviour::NeverReady);
        let began = tokio::time::Instant::now();
        let applied = aborted(&twin, &of('f'), Duration::from_secs(10)).await;
        assert!(matches!(applied.outcome, Outcome::Reverted { .. }), "{applied:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(images(&twin), ["web-0.g1", "web-1.g1", "web-2.g1"]);
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

/// Where a text wants failures to stay for a person to look at, it stops.
#[test]
fn what_is_not_undone_stops_where_it_is() {
    simulate(async {
        let of = |letter| {
            let mut graph = shop_by(image(letter), canary(&[1000], 600_000));
            let web = graph.workloads.get_mut(&WorkloadName::new("web")).expect("it");
            web.rollout.on_fail = OnFail::Stop;
            graph
        };
        let twin = started(&of('a')).await;
        let applied = aborted(&twin, &of('b'), Duration::from_secs(30)).await;
        let Outcome::Partial { problems } = &applied.outcome else { panic!("{applied:?}") };
        assert!(problems.iter().any(|p| p.contains("asked for by ben@laptop")), "{problems:?}");
        assert_eq!(images(&twin).len(), 4, "{:?}", images(&twin));
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

/// A word for an apply that has ended means no other one.
#[test]
fn a_word_of_yesterday_is_none() {
    simulate(async {
        let of = |letter| shop_by(image(letter), canary(&[1000], 60_000));
        let twin = started(&of('a')).await;
        let (seen, body) = plan(&twin, &of('b'), Goal::Converge).await;
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(ask(&twin, &of('b'), BEN, "too slow").await);
        };
        // The engine is gone before it looks.
        let graph = of('b');
        let stopped = apply(&twin, &graph, &seen, &body);
        let stopped = tokio::time::timeout(Duration::from_millis(1500), stopped);
        assert!(tokio::join!(stopped, late).0.is_err());
        let turn = turn(&twin, &of('b'), Goal::Converge).await;
        let applied = turn.applied.expect("an apply").expect("an outcome");
        assert_eq!(applied.outcome, Outcome::Done);
        assert_eq!(images(&twin).len(), 3);
    });
}

/// At whatever moment the word comes: the one release or the other, whole, and nobody noticed.
#[test]
fn every_moment_is_one_to_turn_back_or_to_go_on_at() {
    let strategies = [
        ROLLING,
        canary(&[1000, 5000], 4000),
        Strategy::BlueGreen,
        Strategy::Ordered,
        Strategy::Recreate,
        Strategy::Rolling { surge: 0, unavailable: 1 },
    ];
    let (mut back, mut forth) = (0, 0);
    for strategy in strategies {
        for after_ms in (0..16_000).step_by(250) {
            simulate(async {
                let of = |letter| shop_by(image(letter), strategy.clone());
                let twin = started(&of('a')).await;
                let applied = aborted(&twin, &of('b'), Duration::from_millis(after_ms)).await;
                let words = format!("{strategy:?} after {after_ms} ms: {applied:?}");
                let right = match &applied.outcome {
                    Outcome::Reverted { .. } => 'a',
                    Outcome::Done => 'b',
                    Outcome::Partial { .. } => panic!("{words}"),
                };
                *(if right == 'a' { &mut back } else { &mut forth }) += 1;
                let (seen, again) = plan(&twin, &of('b'), Goal::Converge).await;
                assert!(again.is_empty(), "{words}");
                let pods = of('b').nodes.into_keys().flat_map(|node| {
                    let seen = seen.observation.seen(&node).expect("it answers");
                    seen.spec.pods.values().map(|pod| pod.image.clone()).collect::<Vec<_>>()
                });
                assert_eq!(pods.collect::<Vec<_>>(), vec![image(right); 3], "{words}");
                assert_eq!(twin.world().take_violations(), Vec::<String>::new(), "{words}");
            });
        }
    }
    assert!(back >= 100 && forth >= 20, "{back} back, {forth} forth");
}
