//! The checker sees: a sound plan of a canary, and one of a blue/green rollout, spoilt in one way at a
//! time, are turned down for that.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_engine::plan::action::{Action, Endpoint};
use berth_engine::plan::body::{Gate, Goal, PlanBody, Step, Work};
use berth_engine::plan::check::{Violation, check};
use berth_engine::plan::graph::{CanaryStep, Check, Graph, Metric, Strategy};
use berth_engine::run::observe::Survey;
use berth_tests::drive::{plan, simulate, turn};
use berth_tests::finds;
use berth_tests::planted::unwait;
use berth_tests::project::{ROLLING, fleet, image, web, with, world};

/// A rollout of another image with checks, by a strategy.
fn rollout(strategy: Strategy) -> (PlanBody, Graph, Survey) {
    simulate(async {
        let before = with(fleet(3), "web", web(image('a'), 4, ROLLING));
        let mut new = web(image('b'), 4, strategy);
        let metric = Metric {
            prometheus: "http://10.0.0.5:9090".to_owned(),
            query: "errors".to_owned(),
            at_least: None,
            at_most: Some("0.01".to_owned()),
        };
        let run = vec!["/check".to_owned()];
        new.rollout.checks = vec![Check::Command { run, timeout_ms: 1000 }, Check::Metric(metric)];
        new.rollout.bake_ms = 60_000;
        let graph = with(fleet(3), "web", new);
        let twin = world(&before);
        turn(&twin, &before, Goal::Converge).await.applied.expect("work").expect("applied");
        let (survey, body) = plan(&twin, &graph, Goal::Converge).await;
        (body, graph, survey)
    })
}

fn canary() -> Strategy {
    let step = |weight, bake_ms| CanaryStep { weight, bake_ms };
    Strategy::Canary { steps: vec![step(1000, 60_000), step(5000, 60_000)], surge: 1 }
}

/// What is found after a plan was spoilt.
fn spoilt(strategy: Strategy, spoil: impl FnOnce(&mut PlanBody)) -> Vec<Violation> {
    let (mut body, graph, survey) = rollout(strategy);
    spoil(&mut body);
    check(&body, &graph, &survey.observation, &survey.ledger.head)
}

fn tables(body: &mut PlanBody, change: impl Fn(u32, &mut Endpoint)) {
    for step in &mut body.steps {
        if let (Some(wave), Work::Act(Action::SwapEndpoint { endpoint, .. })) =
            (step.wave, &mut step.work)
        {
            change(wave, Arc::make_mut(endpoint));
        }
    }
}

fn watches(work: &Work) -> bool {
    matches!(work, Work::Ask(Gate::Steady { .. } | Gate::Metric { .. }))
}

fn asks(work: &Work) -> bool {
    matches!(work, Work::Ask(Gate::Command { .. }))
}

#[test]
fn sound_plans_are_passed() {
    for strategy in [canary(), Strategy::BlueGreen] {
        assert_eq!(spoilt(strategy.clone(), |_| {}), []);
        let (body, _, _) = rollout(strategy);
        let count =
            |which: fn(&Work) -> bool| body.steps.iter().filter(|step| which(&step.work)).count();
        assert!(count(watches) > 1 && count(asks) == 4);
    }
}

#[test]
fn more_than_its_weight() {
    let heavier = |body: &mut PlanBody| {
        tables(body, |_, endpoint| {
            if let Some(split) = &mut endpoint.split {
                split.share += 1;
            }
        });
    };
    finds!(spoilt(canary(), heavier), Violation::MoreThanItsWeight { .. });
    let alike = |body: &mut PlanBody| tables(body, |_, endpoint| endpoint.split = None);
    finds!(spoilt(canary(), alike), Violation::MoreThanItsWeight { .. });
    let another = |body: &mut PlanBody| {
        tables(body, |_, endpoint| {
            let last = endpoint.backends.last().map(|backend| backend.pod.clone());
            if let Some(split) = &mut endpoint.split {
                split.to = last.into_iter().collect::<BTreeSet<_>>();
            }
        });
    };
    finds!(spoilt(canary(), another), Violation::MoreThanItsWeight { .. });
    // A wave that says more than the rollout.
    let said = |body: &mut PlanBody| {
        for wave in body.branches.values_mut().flat_map(|branch| &mut branch.waves) {
            wave.share = wave.share.map(|share| share + 1000);
        }
        tables(body, |_, endpoint| {
            if let Some(split) = &mut endpoint.split {
                split.share += 1000;
            }
        });
    };
    finds!(spoilt(canary(), said), Violation::MoreThanItsWeight { .. });
}

#[test]
fn traffic_before_checks() {
    for strategy in [canary(), Strategy::BlueGreen] {
        let found = spoilt(strategy, |body| unwait(body, asks));
        finds!(found, Violation::TrafficBeforeChecks { .. });
    }
}

#[test]
fn going_on_unwatched() {
    for strategy in [canary(), Strategy::BlueGreen] {
        finds!(
            spoilt(strategy.clone(), |body| unwait(body, watches)),
            Violation::NotWatched { .. }
        );
        let shorter = |body: &mut PlanBody| {
            for Step { work, .. } in &mut body.steps {
                match work {
                    Work::Ask(Gate::Steady { for_ms, .. } | Gate::Metric { for_ms, .. }) => {
                        *for_ms = 1000;
                    }
                    Work::Ask(Gate::Command { .. } | Gate::Ended { .. })
                    | Work::Act(_)
                    | Work::AwaitReady { .. }
                    | Work::AwaitDrained { .. }
                    | Work::Fence { .. } => {}
                }
            }
        };
        finds!(spoilt(strategy, shorter), Violation::NotWatched { .. });
    }
}
