//! The checker sees what would be done to data: a sound plan of services with volumes, spoilt in one way at
//! a time, is turned down for that.

use std::sync::Arc;

use berth_engine::plan::action::{Action, PodSpec};
use berth_engine::plan::after::After;
use berth_engine::plan::body::{Goal, PlanBody, Step, Work};
use berth_engine::plan::check::{Violation, check};
use berth_engine::plan::graph::{Graph, Mount, Volume, Workload};
use berth_engine::plan::ledger::{Head, Remembered};
use berth_engine::plan::names::{NodeName, VolumeId, VolumeName, WorkloadName};
use berth_engine::plan::observation::{NodeView, Observation, OnDelete, VolumeSpec};
use berth_tests::drive::{plan, simulate, turn};
use berth_tests::finds;
use berth_tests::project::{ROLLING, fleet, image, node, web, with, world};

struct Case {
    body: PlanBody,
    graph: Graph,
    observation: Observation,
    head: Head,
}

/// A service whose replicas each have a volume, and one that a worker has.
fn text(letter: char, replicas: u32, worker: bool) -> Graph {
    let spec =
        VolumeSpec { on_delete: OnDelete::Destroy, size_bytes: 1 << 30, ..VolumeSpec::default() };
    let mount = |workload: &mut Workload, volume: &str, each_replica: bool| {
        let volume = VolumeName::new(volume);
        workload.template.mounts.insert("/data".to_owned(), Mount { volume, each_replica });
    };
    let mut service = web(image(letter), replicas, ROLLING);
    mount(&mut service, "data", true);
    let mut graph = with(fleet(3), "web", service);
    let own = Volume { on: None, each_replica: true, spec: spec.clone() };
    graph.volumes.insert(VolumeName::new("data"), own);
    if worker {
        let mut service = web(image('a'), 1, ROLLING);
        mount(&mut service, "files", false);
        graph = with(graph, "worker", service);
        let shared = Volume { on: None, each_replica: false, spec };
        graph.volumes.insert(VolumeName::new("files"), shared);
    }
    graph
}

/// A release, one replica more, and a worker that goes with its volume.
fn release() -> Case {
    simulate(async {
        let (before, graph) = (text('a', 2, true), text('b', 3, false));
        let twin = world(&before);
        turn(&twin, &before, Goal::Converge).await.applied.expect("work").expect("applied");
        let (survey, body) = plan(&twin, &graph, Goal::Converge).await;
        let head = survey.ledger.head.clone();
        Case { body, graph, observation: survey.observation, head }
    })
}

fn spoilt(spoil: impl FnOnce(&mut Case)) -> Vec<Violation> {
    let mut case = release();
    spoil(&mut case);
    check(&case.body, &case.graph, &case.observation, &case.head)
}

fn steps(body: &mut PlanBody, which: fn(&Action) -> bool) -> impl Iterator<Item = &mut Step> {
    body.steps
        .iter_mut()
        .filter(move |step| matches!(&step.work, Work::Act(action) if which(action)))
}

fn starts(action: &Action) -> bool {
    matches!(action, Action::EnsurePod { .. })
}

fn makes(action: &Action) -> bool {
    matches!(action, Action::EnsureVolume { .. })
}

fn removes(action: &Action) -> bool {
    matches!(action, Action::RemoveVolume { .. })
}

fn pod(step: &mut Step) -> &mut PodSpec {
    match &mut step.work {
        Work::Act(Action::EnsurePod { pod }) => Arc::make_mut(pod),
        other => panic!("{other:?} makes no pod"),
    }
}

fn seen<'a>(
    case: &'a mut Case,
    node: &NodeName,
) -> &'a mut berth_engine::plan::observation::NodeObservation {
    match case.observation.nodes.get_mut(node) {
        Some(NodeView::Seen(seen)) => seen,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_plan_is_passed() {
    assert_eq!(spoilt(|_| {}), []);
    let mut case = release();
    let kinds: [fn(&Action) -> bool; 3] = [starts, makes, removes];
    assert_eq!(kinds.map(|kind| steps(&mut case.body, kind).count()), [3, 1, 1]);
}

#[test]
fn a_volume_that_is_not_there() {
    let forgotten =
        spoilt(|case| steps(&mut case.body, starts).for_each(|step| step.after = After::default()));
    finds!(forgotten, Violation::VolumeMissing { .. });
    let wrong_node = spoilt(|case| {
        let volume = steps(&mut case.body, makes).next().expect("one");
        volume.node = node(if volume.node == node(1) { 2 } else { 1 });
    });
    finds!(wrong_node, Violation::VolumeMissing { .. });
    let other = spoilt(|case| {
        steps(&mut case.body, starts).for_each(|step| pod(step).mounts.clear());
    });
    finds!(other, Violation::Misplaced { .. });
}

#[test]
fn a_volume_that_would_be_there_twice() {
    finds!(
        spoilt(|case| {
            let made = steps(&mut case.body, makes).next().expect("one").node.clone();
            let other =
                case.graph.nodes.keys().find(|name| **name != made).expect("another").clone();
            let spec = VolumeSpec::default();
            seen(case, &other).spec.volumes.insert(VolumeId::new("data-2"), spec);
        }),
        Violation::VolumeMadeAgain { .. }
    );
    finds!(
        spoilt(|case| {
            let remembered = Remembered { node: node(1), unsure: false };
            case.head.volumes.insert(VolumeId::new("data-2"), remembered);
        }),
        Violation::VolumeMadeAgain { .. }
    );
}

#[test]
fn two_pods_of_one_replica() {
    finds!(
        spoilt(|case| {
            for step in steps(&mut case.body, starts) {
                step.after = After::default();
            }
        }),
        Violation::VolumeShared { .. }
    );
    finds!(
        spoilt(|case| {
            let branch = case.body.branches.get_mut(&WorkloadName::new("web")).expect("web");
            for one in branch.waves.iter_mut().flat_map(|wave| &mut wave.moves) {
                one.start_first = true;
            }
        }),
        Violation::VolumeShared { .. }
    );
}

#[test]
fn data_that_is_taken() {
    let retained = spoilt(|case| {
        for name in case.graph.nodes.keys().cloned().collect::<Vec<_>>() {
            for noted in seen(case, &name).spec.volumes.values_mut() {
                noted.on_delete = OnDelete::Retain;
            }
        }
    });
    finds!(retained, Violation::VolumeTaken { .. });
    let in_text = spoilt(|case| case.graph.volumes = text('a', 2, true).volumes);
    finds!(in_text, Violation::VolumeTaken { .. });
    let too_early = spoilt(|case| {
        steps(&mut case.body, removes).for_each(|step| step.after = After::default());
    });
    finds!(too_early, Violation::VolumeTaken { .. });
    let of_a_replica = spoilt(|case| {
        for step in steps(&mut case.body, removes) {
            if let Work::Act(Action::RemoveVolume { volume, .. }) = &mut step.work {
                *volume = VolumeId::new("data-0");
            }
        }
    });
    finds!(of_a_replica, Violation::VolumeTaken { .. });
}

#[test]
fn a_volume_that_does_not_fit() {
    finds!(
        spoilt(|case| {
            for name in case.graph.nodes.keys().cloned().collect::<Vec<_>>() {
                seen(case, &name).facts.disk_bytes = 1 << 29;
            }
        }),
        Violation::VolumeTooLarge { .. }
    );
}

/// What was applied as protected goes: the worker, and the data that only it had.
#[test]
fn what_is_protected_does_not_go() {
    let worker = |case: &mut Case| {
        let worker = WorkloadName::new("worker");
        case.head.reached.get_mut(&worker).expect("the worker").protect = true;
    };
    finds!(spoilt(worker), Violation::Unprotected(_));
    let files = |case: &mut Case| {
        let views = case.observation.nodes.values_mut();
        let seen = views.filter_map(|view| match view {
            NodeView::Seen(seen) => Some(seen),
            NodeView::Unknown { .. } => None,
        });
        let notes = seen.flat_map(|seen| seen.spec.volumes.iter_mut());
        let notes = notes.filter(|(id, _)| id.as_str().starts_with("files"));
        notes.for_each(|(_, note)| note.protect = true);
    };
    finds!(spoilt(files), Violation::Unprotected(_));
}
