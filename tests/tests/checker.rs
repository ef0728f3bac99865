//! The checker sees: a sound plan of a rollout, spoilt in one way at a time, is turned down for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_engine::plan::action::{Action, Backend, PodSpec};
use berth_engine::plan::after::After;
use berth_engine::plan::body::{Goal, PlanBody, Step, StepId, Work};
use berth_engine::plan::check::{Violation, check};
use berth_engine::plan::graph::{
    Effect, Even, Graph, Intake, Over, Placement, Quota, Relation, Taint,
};
use berth_engine::plan::names::{NodeName, PodId, WorkloadName};
use berth_engine::plan::observation::{Observation, Requests};
use berth_engine::run::observe::Survey;
use berth_tests::drive::{plan, simulate, turn};
use berth_tests::finds;
use berth_tests::project::{ROLLING, fleet, image, node, web, with, world};

/// A plan with what it was made from.
struct Case {
    body: PlanBody,
    graph: Graph,
    observation: Observation,
    survey: Survey,
}

/// A rollout of another image, with one replica more than there was.
fn rollout() -> Case {
    simulate(async {
        let before = with(fleet(3), "web", web(image('a'), 3, ROLLING));
        let graph = with(fleet(3), "web", web(image('b'), 4, ROLLING));
        let twin = world(&before);
        turn(&twin, &before, Goal::Converge).await.applied.expect("work").expect("applied");
        let (survey, body) = plan(&twin, &graph, Goal::Converge).await;
        Case { body, graph, observation: survey.observation.clone(), survey }
    })
}

/// What is found after a plan was spoilt.
fn spoilt(spoil: impl FnOnce(&mut Case)) -> Vec<Violation> {
    let mut case = rollout();
    spoil(&mut case);
    check(&case.body, &case.graph, &case.observation, &case.survey.ledger.head)
}

fn placement(spoil: impl FnOnce(&mut Placement)) -> Vec<Violation> {
    spoilt(|case| {
        let web = case.graph.workloads.get_mut(&WorkloadName::new("web")).expect("web");
        spoil(&mut web.placement);
    })
}

fn nodes(case: &mut Case, spoil: impl Fn(&mut berth_engine::plan::graph::Node)) {
    case.graph.nodes.values_mut().for_each(spoil);
}

/// The steps that make a pod, stop one, or make a table say something.
fn steps<'a>(
    body: &'a mut PlanBody,
    which: impl Fn(&Work) -> bool + 'a,
) -> impl Iterator<Item = &'a mut Step> {
    body.steps.iter_mut().filter(move |step| which(&step.work))
}

fn makes(work: &Work) -> bool {
    matches!(work, Work::Act(Action::EnsurePod { .. }))
}

fn stops(work: &Work) -> bool {
    matches!(work, Work::Act(Action::RemovePod { .. }))
}

fn drains(work: &Work) -> bool {
    matches!(work, Work::AwaitDrained { .. })
}

fn tells(work: &Work) -> bool {
    matches!(work, Work::Act(Action::SwapEndpoint { .. }))
}

fn pod(step: &mut Step) -> &mut PodSpec {
    match &mut step.work {
        Work::Act(Action::EnsurePod { pod }) => Arc::make_mut(pod),
        other => panic!("{other:?} makes no pod"),
    }
}

fn backends(step: &mut Step) -> &mut Vec<Backend> {
    match &mut step.work {
        Work::Act(Action::SwapEndpoint { endpoint, .. }) => &mut Arc::make_mut(endpoint).backends,
        other => panic!("{other:?} is no table"),
    }
}

/// A pod that was there, with its addresses.
fn there(case: &Case) -> Backend {
    let seen = case.observation.seen(&node(1)).expect("seen");
    let (id, pod) = seen.spec.pods.first_key_value().expect("a pod");
    Backend { pod: id.clone(), ip4: pod.ip4, ip6: pod.ip6 }
}

#[test]
fn a_sound_plan_is_passed_and_waves_are_waited_for_as_runs() {
    assert_eq!(spoilt(|_| {}), []);
    let case = rollout();
    let many = case.body.steps.iter().flat_map(|step| step.after.runs()).any(|run| run.count() > 2);
    assert!(many, "a pod waits for all tables of the wave before");
    assert_eq!(case.body.steps.iter().filter(|step| stops(&step.work)).count(), 3);
}

#[test]
fn images_come_before_what_needs_them() {
    let freed = |case: &mut Case| {
        steps(&mut case.body, makes).for_each(|step| step.after = After::default());
    };
    finds!(spoilt(freed), Violation::ImageMissing { .. });
    let sidecar = |case: &mut Case| {
        let beside = berth_tests::project::sidecar(image('s'));
        steps(&mut case.body, makes).for_each(|step| pod(step).companions.push(beside.clone()));
    };
    finds!(spoilt(sidecar), Violation::ImageMissing { .. });
    // What an undo would make has its image as well.
    let forgotten = |case: &mut Case| {
        for seen in case.observation.nodes.values_mut() {
            if let berth_engine::plan::observation::NodeView::Seen(seen) = seen {
                seen.spec.images.clear();
            }
        }
    };
    finds!(spoilt(forgotten), Violation::ImageMissing { .. });
}

#[test]
fn traffic_before_a_gate() {
    let freed = |case: &mut Case| {
        steps(&mut case.body, tells).for_each(|step| step.after = After::default());
    };
    finds!(spoilt(freed), Violation::TrafficBeforeGate { .. });
    let gates = |case: &mut Case| {
        let gate = |work: &Work| matches!(work, Work::AwaitReady { .. });
        let ids: BTreeSet<StepId> = steps(&mut case.body, gate).map(|step| step.id).collect();
        let last = *ids.last().expect("gates");
        for step in steps(&mut case.body, tells) {
            let after = step.after.iter().filter(|id| *id != last);
            step.after = After::of(after.collect::<Vec<_>>());
        }
    };
    finds!(spoilt(gates), Violation::TrafficBeforeGate { .. });
}

#[test]
fn a_pod_that_stops_too_early() {
    let at_once = |case: &mut Case| {
        steps(&mut case.body, stops).for_each(|step| step.after = After::default());
    };
    finds!(spoilt(at_once), Violation::NotDrained { .. });
    finds!(spoilt(at_once), Violation::StopWhileServing { .. });
    let before_the_tables = |case: &mut Case| {
        steps(&mut case.body, drains).for_each(|step| step.after = After::default());
    };
    finds!(spoilt(before_the_tables), Violation::StopWhileServing { .. });
    let one_table_later = |case: &mut Case| {
        let backend = there(case);
        let last = steps(&mut case.body, tells).last().expect("tables");
        backends(last).push(backend);
    };
    finds!(spoilt(one_table_later), Violation::StopWhileServing { .. });
    let one_table_forgotten = |case: &mut Case| {
        let (backend, on) = (there(case), node(2));
        for step in steps(&mut case.body, tells).filter(|step| step.node == on) {
            let list = backends(step);
            if !list.contains(&backend) {
                list.push(backend.clone());
            }
        }
    };
    finds!(spoilt(one_table_forgotten), Violation::StopWhileServing { .. });
}

#[test]
fn too_few_that_serve() {
    let nobody = |case: &mut Case| {
        steps(&mut case.body, tells).for_each(|step| backends(step).clear());
    };
    finds!(spoilt(nobody), Violation::BelowFloor { .. });
    let promised = |case: &mut Case| {
        case.body.branches.values_mut().for_each(|branch| branch.floor = 9);
    };
    finds!(spoilt(promised), Violation::BelowFloor { .. });
}

#[test]
fn pods_that_are_not_new_or_not_ours() {
    let old = |case: &mut Case| {
        let first = steps(&mut case.body, makes).next().expect("a pod");
        pod(first).id.generation = 1;
        pod(first).id.ordinal = 0;
    };
    finds!(spoilt(old), Violation::OldGeneration { .. });
    let taken = |case: &mut Case| {
        let address = there(case).ip4;
        pod(steps(&mut case.body, makes).next().expect("a pod")).ip4 = address;
    };
    finds!(spoilt(taken), Violation::AddressInUse { .. });
    let restored = |case: &mut Case| {
        let address = there(case).ip4;
        let branches = case.body.branches.values_mut();
        let moves = branches.flat_map(|branch| &mut branch.waves).flat_map(|w| &mut w.moves);
        let (_, pod) = moves.filter_map(|one| one.restore.as_mut()).next().expect("an undo");
        Arc::make_mut(pod).ip4 = address;
    };
    finds!(spoilt(restored), Violation::AddressInUse { .. });
    let foreign = |case: &mut Case| {
        let first = steps(&mut case.body, stops).next().expect("a pod");
        let Work::Act(Action::RemovePod { pod, .. }) = &mut first.work else { return };
        *pod = PodId { generation: 77, ..pod.clone() };
    };
    finds!(spoilt(foreign), Violation::NotOurs { .. });
}

#[test]
fn steps_out_of_order_or_out_of_place() {
    finds!(spoilt(|case| case.body.steps.swap(0, 1)), Violation::Order(_));
    let ahead = |case: &mut Case| case.body.steps[0].after = After::of([StepId(3)]);
    finds!(spoilt(ahead), Violation::Order(0));
    let nowhere = |case: &mut Case| case.body.steps[0].node = NodeName::new("n[9]");
    finds!(spoilt(nowhere), Violation::UnknownNode { .. });
    let dismantles = |case: &mut Case| {
        let id = case.body.next_step();
        let work = Work::Act(Action::RemoveNetwork);
        let (node, after) = (node(1), After::default());
        case.body.steps.push(Step { id, node, branch: None, wave: None, work, after });
    };
    finds!(spoilt(dismantles), Violation::Dismantles(_));
}

#[test]
fn more_than_there_is() {
    let small = |case: &mut Case| {
        let capacity = Requests { cpu_millis: 150, memory_bytes: 1 << 30, ..Requests::default() };
        nodes(case, |node| node.capacity = Some(capacity.clone()));
    };
    finds!(spoilt(small), Violation::Overcommitted { .. });
    let quota = |case: &mut Case| {
        case.graph.quota = Some(Quota { cpu_millis: Some(350), ..Quota::default() });
    };
    finds!(spoilt(quota), Violation::OverQuota { .. });
    let counted = |case: &mut Case| {
        steps(&mut case.body, makes).for_each(|step| pod(step).memory_bytes = 1);
    };
    finds!(spoilt(counted), Violation::Misplaced { .. });
}

#[test]
fn constraints_of_placement() {
    let zone = || Over::Label("zone".to_owned());
    let to = |workload: &str, over: Over| Relation {
        workload: WorkloadName::new(workload),
        over,
        weight: None,
    };
    finds!(placement(|p| p.apart.push(to("web", zone()))), Violation::Misplaced { .. });
    finds!(placement(|p| p.near.push(to("ghost", Over::Node))), Violation::Misplaced { .. });
    let at = BTreeSet::from([node(9)]);
    finds!(placement(|p| p.at = at.clone()), Violation::Misplaced { .. });
    let label = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
    finds!(placement(|p| p.require = label.clone()), Violation::Misplaced { .. });
    let nowhere = Even { over: Over::Label("rack".to_owned()), skew: 1 };
    finds!(placement(|p| p.even.push(nowhere.clone())), Violation::Misplaced { .. });
    // Three in one zone, one in the other.
    finds!(placement(|p| p.even.push(Even { over: zone(), skew: 1 })), Violation::Misplaced { .. });
    assert_eq!(placement(|p| p.even.push(Even { over: zone(), skew: 2 })), []);
    let closed = |case: &mut Case| nodes(case, |node| node.intake = Intake::Cordoned);
    finds!(spoilt(closed), Violation::Misplaced { .. });
    let tainted = |case: &mut Case| {
        let taint = Taint { key: "gpu".to_owned(), value: None, effect: Effect::Refuse };
        nodes(case, |node| node.taints = vec![taint.clone()]);
    };
    finds!(spoilt(tainted), Violation::Misplaced { .. });
    // All in one domain: the others are empty.
    let crowded = |case: &mut Case| {
        for placed in case.body.expected.values_mut() {
            placed.node = node(1);
        }
        steps(&mut case.body, makes).for_each(|step| step.node = node(1));
        let web = case.graph.workloads.get_mut(&WorkloadName::new("web")).expect("web");
        web.placement.even.push(Even { over: Over::Node, skew: 1 });
    };
    finds!(spoilt(crowded), Violation::Misplaced { .. });
    let shunned = |case: &mut Case| {
        let mut other = web(image('c'), 0, ROLLING);
        other.placement.apart.push(to("web", Over::Node));
        let placed = case.body.expected.first_key_value().expect("a pod").1.clone();
        let id = PodId { workload: "db".to_owned(), ordinal: 0, generation: 1 };
        let placed =
            berth_engine::plan::body::Placed { workload: WorkloadName::new("db"), ..placed };
        case.body.expected.insert(id, placed);
        case.graph.workloads.insert(WorkloadName::new("db"), other);
    };
    finds!(spoilt(shunned), Violation::Misplaced { .. });
}
