//! The first-light story on the twin: create, no-op, roll, bad image, revert, heal, destroy.

use berth_engine::plan::body::{Goal, Verb};
use berth_engine::plan::graph::Strategy;
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::{check, render};
use berth_engine::run::apply::ApplyError;
use berth_engine::run::host::HostError;
use berth_engine::run::twin::Behaviour;
use berth_tests::drive::{apply, plan, simulate, turn};
use berth_tests::project::{ROLLING, fleet, image, node, web, with, world};

#[test]
fn the_whole_story() {
    simulate(async {
        let v1 = with(fleet(3), "web", web(image('a'), 3, ROLLING));
        let v2 = with(fleet(3), "web", web(image('b'), 3, ROLLING));
        let bad = with(fleet(3), "web", web(image('f'), 3, ROLLING));
        let twin = world(&v1);
        twin.world().set_behaviour(&image('f'), Behaviour::NeverReady);

        let first = turn(&twin, &v1, Goal::Converge).await;
        let applied = first.applied.expect("work").expect("applied");
        assert_eq!(applied.outcome, Outcome::Done, "{:?}", applied.report);
        assert_eq!(twin.world().running().len(), 3);
        assert_eq!(
            twin.world()
                .running()
                .iter()
                .map(|(n, _)| n.clone())
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            3,
            "spread over nodes"
        );

        twin.world().set_floor(&WorkloadName::new("web"), 3);
        assert!(turn(&twin, &v1, Goal::Converge).await.applied.is_none(), "a second plan is empty");

        let roll = turn(&twin, &v2, Goal::Converge).await;
        assert_eq!(roll.applied.expect("work").expect("applied").outcome, Outcome::Done);
        assert!(turn(&twin, &v2, Goal::Converge).await.applied.is_none());

        let undone = turn(&twin, &bad, Goal::Converge).await;
        let applied = undone.applied.expect("work").expect("applied");
        assert!(matches!(applied.outcome, Outcome::Reverted { .. }), "{:?}", applied);
        let held = turn(&twin, &bad, Goal::Converge).await;
        assert!(held.applied.is_none(), "it stays undone");
        assert!(matches!(held.body.changes[0].verb, Verb::Held(_)));

        let back = turn(&twin, &v1, Goal::Converge).await;
        assert_eq!(back.applied.expect("work").expect("applied").outcome, Outcome::Done);

        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
        twin.world().set_floor(&WorkloadName::new("web"), 0);
        let (on, pod) = twin.world().running().first().cloned().expect("a pod");
        twin.world().stop_by_hand(&on, &pod);
        let heal = turn(&twin, &v1, Goal::Converge).await;
        assert_eq!(heal.body.changes[0].verb, Verb::Heal);
        assert_eq!(heal.applied.expect("work").expect("applied").outcome, Outcome::Done);

        let end = turn(&twin, &v1, Goal::Destroy).await;
        assert_eq!(end.applied.expect("work").expect("applied").outcome, Outcome::Done);
        assert!(twin.world().is_clean());
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn a_bad_second_wave_takes_the_first_back() {
    simulate(async {
        let v1 = with(fleet(3), "web", web(image('a'), 3, ROLLING));
        let v2 = with(fleet(3), "web", web(image('b'), 3, ROLLING));
        let twin = world(&v1);
        turn(&twin, &v1, Goal::Converge).await;
        twin.world().set_floor(&WorkloadName::new("web"), 3);
        let (survey, body) = plan(&twin, &v2, Goal::Converge).await;
        // The image turns bad once the first wave is through: pods that passed stay ready until
        // the floor's judge looks, so the behaviour is switched by a pod that cannot start.
        let change = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                let swapped = twin.world().running().iter().any(|(_, pod)| pod.generation > 1)
                    && twin.world().running().len() == 3;
                if swapped {
                    twin.world().forbid_start(&image('b'));
                    std::future::pending::<()>().await;
                }
            }
        };
        let applied = tokio::select! {
        biased;
            applied = apply(&twin, &v2, &survey, &body) => applied.expect("applied"),
            () = change => unreachable!(),
        };
        assert!(matches!(applied.outcome, Outcome::Reverted { .. }), "{applied:?}");
        assert_eq!(twin.world().running().len(), 3);
        assert!(turn(&twin, &v2, Goal::Converge).await.applied.is_none(), "held");
        let (_, again) = plan(&twin, &v1, Goal::Converge).await;
        assert_eq!(again.steps, [], "v1 runs again");
        assert_eq!(again.unpinned.len(), 1, "and the pin is lifted, which is recorded");
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

/// The release before does not get ready any more, or cannot even be started: the undo stops there, and
/// says so, and so does whoever applies next.
#[test]
fn an_undo_that_fails_is_not_undone() {
    // One that is never ready is not so to begin with: with the others, it would serve meanwhile.
    let ways = [
        (true, ROLLING),
        (true, Strategy::Ordered),
        (true, Strategy::Recreate),
        (false, Strategy::Recreate),
    ];
    for (forbidden, strategy) in ways {
        simulate(async {
            let v1 = with(fleet(3), "web", web(image('a'), 3, strategy.clone()));
            let bad = with(fleet(3), "web", web(image('f'), 3, strategy.clone()));
            let twin = world(&v1);
            turn(&twin, &v1, Goal::Converge).await.applied.expect("work").expect("applied");
            twin.world().set_behaviour(&image('f'), Behaviour::FallsOver(300, 15_000));
            let (survey, body) = plan(&twin, &bad, Goal::Converge).await;
            let change = async {
                loop {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    if twin.world().running().iter().any(|(_, pod)| pod.generation > 1) {
                        match forbidden {
                            true => twin.world().forbid_start(&image('a')),
                            false => twin.world().set_behaviour(&image('a'), Behaviour::NeverReady),
                        }
                        twin.world().set_behaviour(&image('f'), Behaviour::NeverReady);
                        std::future::pending::<()>().await;
                    }
                }
            };
            let applied = tokio::select! {
                biased;
                applied = apply(&twin, &bad, &survey, &body) => applied.expect("applied"),
                () = change => unreachable!(),
            };
            let again = turn(&twin, &bad, Goal::Converge).await;
            let went_back = matches!(applied.outcome, Outcome::Reverted { .. });
            // A rolling update takes nothing away before its successor is ready.
            assert_eq!(went_back, strategy == ROLLING, "{:?}", applied.outcome);
            if !went_back {
                let Outcome::Partial { problems } = &applied.outcome else {
                    panic!("{:?}", applied.outcome)
                };
                assert!(
                    problems[0].starts_with("web could not go back whole: web-"),
                    "{problems:?}"
                );
                let again = again.applied.expect("work").expect("applied");
                assert!(matches!(again.outcome, Outcome::Partial { .. }), "{:?}", again.outcome);
            }
            assert_eq!(twin.world().take_violations(), Vec::<String>::new());
        });
    }
}

#[test]
fn a_saved_plan_refuses_a_changed_world() {
    simulate(async {
        let v1 = with(fleet(3), "web", web(image('a'), 3, ROLLING));
        let v2 = with(fleet(3), "web", web(image('b'), 3, ROLLING));
        let twin = world(&v1);
        turn(&twin, &v1, Goal::Converge).await;
        let (survey, body) = plan(&twin, &v2, Goal::Converge).await;
        let (on, pod) = twin.world().running().first().cloned().expect("a pod");
        twin.world().stop_by_hand(&on, &pod);
        let Err(ApplyError::Stale { changes }) = apply(&twin, &v2, &survey, &body).await else {
            panic!("a stale plan was applied")
        };
        assert_eq!(changes, [format!("{pod} on {on} does not run any more")]);
        turn(&twin, &v1, Goal::Converge).await;
        let Err(ApplyError::Stale { changes }) = apply(&twin, &v2, &survey, &body).await else {
            panic!("a stale plan was applied")
        };
        assert!(changes.iter().any(|c| c.contains("revision 2")), "{changes:?}");
    });
}

#[test]
fn the_second_engine_is_kept_out() {
    simulate(async {
        let v1 = with(fleet(3), "web", web(image('a'), 3, ROLLING));
        let twin = world(&v1);
        let other = twin.another_engine();
        let (survey, body) = plan(&twin, &v1, Goal::Converge).await;
        let late = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            apply(&other, &v1, &survey, &body).await
        };
        let (first, second) = tokio::join!(apply(&twin, &v1, &survey, &body), late);
        assert_eq!(first.expect("applied").outcome, Outcome::Done);
        let Err(ApplyError::Lock(HostError::Locked { claim, .. })) = second else {
            panic!("both applied")
        };
        assert_eq!(claim.holder, "sim@test");
    });
}

#[test]
fn an_unreachable_node_is_unknown_not_empty() {
    simulate(async {
        let v1 = with(fleet(3), "web", web(image('a'), 3, ROLLING));
        let v2 = with(fleet(3), "web", web(image('b'), 3, ROLLING));
        let twin = world(&v1);
        turn(&twin, &v1, Goal::Converge).await;
        twin.world().set_cut(&node(3), true);
        let around = turn(&twin, &v1, Goal::Converge).await;
        around.applied.expect("the tables lead around it").expect("applied");
        let still = turn(&twin, &v1, Goal::Converge).await;
        assert!(
            still.applied.is_none(),
            "{}",
            render::text(&still.body, &still.survey.observation)
        );
        assert!(!still.body.deferred.is_empty());
        let rolled = turn(&twin, &v2, Goal::Converge).await;
        rolled.applied.expect("work").expect("applied");
        let running = twin.world().running();
        assert_eq!(running.len(), 3, "nothing is doubled: {running:?}");
        twin.world().set_cut(&node(3), false);
        turn(&twin, &v2, Goal::Converge).await.applied.expect("work").expect("applied");
        let (survey, body) = plan(&twin, &v2, Goal::Converge).await;
        assert!(body.is_empty(), "{}", render::text(&body, &survey.observation));
        assert_eq!(check::check(&body, &v2, &survey.observation, &survey.ledger.head), []);
    });
}
