//! The checker sees what jobs are promised: a sound plan with one, spoilt, is turned down for that.

use std::collections::BTreeMap;

use berth_engine::plan::body::{Gate, Goal, PlanBody, Work};
use berth_engine::plan::check::{Violation, check};
use berth_engine::plan::graph::Graph;
use berth_engine::plan::ledger::Head;
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::overrides::Restart;
use berth_tests::drive::{plan, simulate, turn};
use berth_tests::finds;
use berth_tests::planted::unwait;
use berth_tests::project::{ROLLING, fleet, image, job, web, with, world};

fn shop(letter: char) -> Graph {
    let mut service = web(image(letter), 2, ROLLING);
    service.after.insert(WorkloadName::new("migrate"));
    with(with(fleet(3), "web", service), "migrate", job(image(letter), 2, 1))
}

/// What is found in the plan of a job's next text and of the service after it, once it was spoilt.
fn spoilt(spoil: impl FnOnce(&mut PlanBody, &mut Head)) -> Vec<Violation> {
    simulate(async {
        let (before, graph) = (shop('a'), shop('b'));
        let twin = world(&before);
        turn(&twin, &before, Goal::Converge).await.applied.expect("work").expect("applied");
        let (mut seen, mut body) = plan(&twin, &graph, Goal::Converge).await;
        spoil(&mut body, &mut seen.ledger.head);
        check(&body, &graph, &seen.observation, &seen.ledger.head)
    })
}

#[test]
fn a_sound_plan_passes() {
    assert_eq!(spoilt(|_, _| {}), []);
}

#[test]
fn what_is_after_a_job_waits_for_all_of_it() {
    let ends = |work: &Work| matches!(work, Work::Ask(Gate::Ended { .. }));
    finds!(spoilt(|body, _| unwait(body, ends)), Violation::BeforeJob { .. });
    let first =
        |work: &Work| matches!(work, Work::Ask(Gate::Ended { pod, .. }) if pod.ordinal == 0);
    finds!(spoilt(|body, _| unwait(body, first)), Violation::BeforeJob { .. });
}

#[test]
fn what_is_done_is_not_done_again() {
    let name = WorkloadName::new("migrate");
    let done = |head: &mut Head| {
        head.reached.insert(WorkloadName::new("migrate"), shop('b').workloads[&name].clone());
    };
    finds!(spoilt(|_, head| done(head)), Violation::RunsAgain { .. });
    // Unless somebody asks for it.
    let asked = spoilt(|_, head| {
        done(head);
        let up_to = BTreeMap::from([("migrate-0".to_owned(), 1), ("migrate-1".to_owned(), 1)]);
        let restart = Restart { who: "ana@desk".to_owned(), why: String::new(), up_to };
        head.restarts.insert(WorkloadName::new("migrate"), restart);
    });
    assert!(!asked.iter().any(|one| matches!(one, Violation::RunsAgain { .. })), "{asked:?}");
}
