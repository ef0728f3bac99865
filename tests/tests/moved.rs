//! What is renamed in the text goes on as it is, under its new name.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::action::Action;
use berth_engine::plan::body::{Goal, PlanBody, Work};
use berth_engine::plan::drift::{self, Kind};
use berth_engine::plan::graph::{Graph, Mount, Volume};
use berth_engine::plan::ledger::{Entry, Outcome};
use berth_engine::plan::names::{NodeName, PodId, VolumeId, VolumeName, WorkloadName};
use berth_engine::plan::observation::{Observation, OnDelete, VolumeSpec};
use berth_engine::plan::overrides::Override;
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_engine::plan::{rebuild, render};
use berth_engine::run::record;
use berth_engine::run::twin::{Behaviour, Twin};
use berth_tests::drive::{apply_struck, plan, simulate, turn};
use berth_tests::history::{FAULTS, OTHER_FAULTS, settle};
use berth_tests::project::{ROLLING, fleet, image, node, web, with, world};

fn name(name: &str) -> WorkloadName {
    WorkloadName::new(name)
}

fn shop() -> Graph {
    with(fleet(3), "web", web(image('a'), 3, ROLLING))
}

/// The same text, in which a service has another name, and says so.
fn renamed(mut graph: Graph, old: &str, new: &str) -> Graph {
    let workload = graph.workloads.remove(&name(old)).expect("a service");
    graph.workloads.insert(name(new), workload);
    graph.moved.workloads = BTreeMap::from([(name(new), name(old))]);
    graph
}

/// The same with a volume.
fn recalled(mut graph: Graph, old: &str, new: &str) -> Graph {
    let (old, new) = (VolumeName::new(old), VolumeName::new(new));
    let volume = graph.volumes.remove(&old).expect("a volume");
    graph.volumes.insert(new.clone(), volume);
    let mounts = graph.workloads.values_mut().flat_map(|w| w.template.mounts.values_mut());
    mounts.filter(|mount| mount.volume == old).for_each(|mount| mount.volume = new.clone());
    graph.moved.volumes = BTreeMap::from([(new, old)]);
    graph
}

fn with_data(mut graph: Graph, each_replica: bool) -> Graph {
    let volume = VolumeName::new("data");
    let spec = VolumeSpec { on_delete: OnDelete::Destroy, ..VolumeSpec::default() };
    graph.volumes.insert(volume.clone(), Volume { on: None, each_replica, spec });
    let workload = graph.workloads.values_mut().next().expect("a service");
    workload.template.mounts.insert("/data".to_owned(), Mount { volume, each_replica });
    graph
}

fn seen(observation: &Observation) -> impl Iterator<Item = (&NodeName, &PodId, &WorkloadName)> {
    observation.nodes.keys().filter_map(|node| Some((node, observation.seen(node)?))).flat_map(
        |(node, seen)| seen.spec.pods.iter().map(move |(id, pod)| (node, id, &pod.workload)),
    )
}

async fn observed(twin: &Twin, graph: &Graph) -> Observation {
    plan(twin, graph, Goal::Converge).await.0.observation
}

/// The addresses of an endpoint, on every node that has one.
fn addresses(observation: &Observation, workload: &str) -> Vec<String> {
    let seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
    let tables = seen.filter_map(|seen| seen.spec.endpoints.get(&name(workload)));
    tables.map(|table| format!("{} {:?}", table.address4, table.backends)).collect()
}

fn only_renames(body: &PlanBody) -> bool {
    body.steps.iter().all(|step| {
        matches!(step.work, Work::Act(Action::RenamePod { .. } | Action::RenameEndpoint { .. }))
    })
}

#[test]
fn a_service_is_renamed_and_nothing_is_made_anew() {
    simulate(async {
        let twin = world(&shop());
        settle(&twin, &shop(), None).await.expect("settled");
        let before = observed(&twin, &shop()).await;
        let after = renamed(shop(), "web", "api");
        let first = turn(&twin, &after, Goal::Converge).await;
        let text = render::text(&first.body, &first.survey.observation);
        assert!(only_renames(&first.body) && first.body.steps.len() == 6, "{text}");
        assert!(
            text.contains("> service/api  was service/web\n    its 3 pods go on as they are"),
            "{text}"
        );
        assert_eq!(first.applied.expect("applied").expect("done").outcome, Outcome::Done);
        let now = observed(&twin, &after).await;
        let same = |all: &Observation| -> BTreeSet<(NodeName, PodId)> {
            seen(all).map(|(node, id, _)| (node.clone(), id.clone())).collect()
        };
        assert_eq!(same(&before), same(&now));
        assert!(seen(&now).all(|(_, _, workload)| *workload == name("api")));
        assert_eq!(addresses(&before, "web"), addresses(&now, "api"));
        assert_eq!(addresses(&now, "web"), Vec::<String>::new());
        // The next release is one of the new name, under the old one's next generation.
        let next = renamed(with(fleet(3), "web", web(image('b'), 3, ROLLING)), "web", "api");
        turn(&twin, &next, Goal::Converge).await;
        let now = observed(&twin, &next).await;
        let ids: Vec<String> = seen(&now).map(|(_, id, _)| id.to_string()).collect();
        assert!(ids.len() == 3 && ids.iter().all(|id| id.starts_with("api-")), "{ids:?}");
        assert!(ids.iter().all(|id| !id.ends_with(".g1")), "{ids:?}");
        // And the text needs to say it no more.
        let mut bare = next.clone();
        bare.moved = Default::default();
        assert!(plan(&twin, &bare, Goal::Converge).await.1.is_empty());
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn what_was_decided_of_it_goes_with_it() {
    simulate(async {
        let twin = world(&shop());
        settle(&twin, &shop(), None).await.expect("settled");
        // A bad release that was turned down, and a pause.
        twin.world().set_behaviour(&image('f'), Behaviour::NeverReady);
        let bad = with(fleet(3), "web", web(image('f'), 3, ROLLING));
        turn(&twin, &bad, Goal::Converge).await;
        let what = Override::Pause { workload: name("web") };
        let entry = Entry::Override { what, why: "lunch".to_owned(), until_ms: None };
        let (survey, _) = plan(&twin, &bad, Goal::Converge).await;
        let lines = record::lines(&survey.ledger, 1, "ana", vec![entry]);
        record::record(&twin, &bad, &survey, &lines).await.expect("recorded");
        let after = renamed(bad, "web", "api");
        turn(&twin, &after, Goal::Converge).await;
        let (survey, body) = plan(&twin, &after, Goal::Converge).await;
        let head = &survey.ledger.head;
        assert!(body.is_empty(), "{}", render::text(&body, &survey.observation));
        assert!(head.pins.contains_key(&name("api")) && head.pins.len() == 1);
        assert!(
            matches!(&head.overrides[0].what, Override::Pause { workload } if *workload == name("api"))
        );
        assert!(head.reached.contains_key(&name("api")) && head.reached.len() == 1);
    });
}

/// Each fault at each call of the apply that renames: the same pods run in the end, all under the new name.
#[test]
fn one_fault_at_every_call_of_a_rename() {
    let faults = FAULTS.into_iter().chain(OTHER_FAULTS.map(|(_, other)| other));
    let mut histories = 0;
    for fault in faults {
        for at in 0.. {
            let hit = simulate(async {
                let (from, to) = (with_data(shop(), true), with_data(shop(), true));
                let to = recalled(renamed(to, "web", "api"), "data", "files");
                let twin = world(&from);
                turn(&twin, &from, Goal::Converge).await;
                let before = observed(&twin, &from).await;
                let engine = twin.another_engine();
                let (survey, body) = plan(&engine, &to, Goal::Converge).await;
                let what = (&to, &survey, &body);
                let hit = apply_struck(&twin, &engine, what, (at, fault)).await;
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                settle(&twin, &to, None).await.expect("settled");
                let now = observed(&twin, &to).await;
                let same = |all: &Observation| -> BTreeSet<PodId> {
                    seen(all).map(|(_, id, _)| id.clone()).collect()
                };
                assert_eq!(same(&before), same(&now), "{fault:?} at {at}");
                assert!(seen(&now).all(|(_, _, workload)| *workload == name("api")));
                assert_eq!(addresses(&now, "api").len(), 3, "{fault:?} at {at}");
                assert!(addresses(&now, "web").is_empty());
                assert_eq!(twin.world().take_violations(), Vec::<String>::new());
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
fn a_volume_is_renamed_and_its_data_stays_where_it_is() {
    for each_replica in [false, true] {
        simulate(async {
            let before = with_data(shop(), each_replica);
            let twin = world(&before);
            settle(&twin, &before, None).await.expect("settled");
            let folders = |all: &Observation| -> Vec<VolumeId> {
                let seen = all.nodes.keys().filter_map(|node| all.seen(node));
                seen.flat_map(|seen| seen.spec.volumes.keys().cloned()).collect()
            };
            let were = folders(&observed(&twin, &before).await);
            let after = recalled(before.clone(), "data", "files");
            let (survey, body) = plan(&twin, &after, Goal::Converge).await;
            let text = render::text(&body, &survey.observation);
            let notes = |step: &berth_engine::plan::body::Step| {
                matches!(step.work, Work::Act(Action::EnsureVolume { .. }))
            };
            assert!(body.steps.iter().all(notes), "{text}");
            assert!(text.contains("~ volume/files") && text.contains("called files"), "{text}");
            // It is not drift.
            let inputs = Inputs {
                graph: &after,
                program: "program",
                observation: &survey.observation,
                head: &survey.ledger.head,
                goal: Goal::Converge,
                only: EVERYTHING,
                now_ms: 1,
            };
            let findings = drift::drift(&inputs);
            assert!(findings.iter().all(|one| one.kind != Kind::External), "{findings:?}");
            settle(&twin, &after, None).await.expect("settled");
            assert_eq!(folders(&observed(&twin, &after).await), were);
            // The text needs to say it no more; nor does the ledger have to be there.
            let mut bare = after.clone();
            bare.moved = Default::default();
            let (survey, body) = plan(&twin, &bare, Goal::Converge).await;
            assert!(body.is_empty(), "{}", render::text(&body, &survey.observation));
            let (head, _) = rebuild::head(&bare, &survey.observation);
            let observation = &survey.observation;
            let inputs = Inputs { head: &head, graph: &bare, observation, ..inputs };
            let again = berth_engine::plan::planner::plan(&inputs);
            assert!(again.steps.is_empty(), "{}", render::text(&again, &survey.observation));
            // And back, and there again.
            for (old, new) in [("files", "data"), ("data", "files")] {
                let mut again = recalled(bare.clone(), "files", new);
                again.moved.volumes =
                    BTreeMap::from([(VolumeName::new(new), VolumeName::new(old))]);
                let back = turn(&twin, &again, Goal::Converge).await;
                assert!(back.body.steps.iter().all(notes) && !back.body.steps.is_empty());
                assert!(plan(&twin, &again, Goal::Converge).await.1.is_empty());
                again.moved = Default::default();
                assert!(plan(&twin, &again, Goal::Converge).await.1.is_empty());
            }
            // Its folder's name cannot be another's.
            let mut other = bare.clone();
            let spec = VolumeSpec::default();
            other.volumes.insert(VolumeName::new("data"), Volume { on: None, each_replica, spec });
            let (survey, body) = plan(&twin, &other, Goal::Converge).await;
            let text = render::text(&body, &survey.observation);
            assert!(
                text.contains("volume/data  BLOCKED") && text.contains("data of files"),
                "{text}"
            );
            assert_eq!(twin.world().take_violations(), Vec::<String>::new());
        });
    }
}

#[test]
fn a_node_that_was_away_is_told_later() {
    simulate(async {
        let twin = world(&shop());
        settle(&twin, &shop(), None).await.expect("settled");
        twin.world().set_cut(&node(3), true);
        let after = renamed(shop(), "web", "api");
        turn(&twin, &after, Goal::Converge).await;
        // Renamed again, and no word of it in the text any more.
        let mut last = renamed(after, "api", "www");
        turn(&twin, &last, Goal::Converge).await;
        last.moved = Default::default();
        assert!(plan(&twin, &last, Goal::Converge).await.1.is_empty());
        twin.world().set_cut(&node(3), false);
        let back = turn(&twin, &last, Goal::Converge).await;
        let text = render::text(&back.body, &back.survey.observation);
        let makes = |work: &Work| {
            matches!(work, Work::Act(Action::EnsurePod { .. } | Action::RemovePod { .. }))
        };
        assert!(!back.body.steps.iter().any(|step| makes(&step.work)), "{text}");
        assert!(text.contains("> service/www  was service/web"), "{text}");
        let now = observed(&twin, &last).await;
        assert!(seen(&now).all(|(_, _, workload)| *workload == name("www")));
        assert_eq!(seen(&now).count(), 3);
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn what_cannot_be_is_said() {
    simulate(async {
        let both = with(shop(), "api", web(image('a'), 1, ROLLING));
        let twin = world(&both);
        settle(&twin, &both, None).await.expect("settled");
        let mut graph = with(fleet(3), "api", web(image('a'), 1, ROLLING));
        graph.moved.workloads.insert(name("api"), name("web"));
        let (survey, body) = plan(&twin, &graph, Goal::Converge).await;
        let text = render::text(&body, &survey.observation);
        assert!(
            text.contains("service/api  BLOCKED: `moved_from` says that it was service/web"),
            "{text}"
        );
        // Where there is nothing to move, nothing is said of it.
        let twin = world(&graph);
        settle(&twin, &graph, None).await.expect("settled");
        assert!(plan(&twin, &graph, Goal::Converge).await.1.is_empty());
        // All of it goes under the names that it has.
        let after = renamed(graph, "api", "www");
        let end = turn(&twin, &after, Goal::Destroy).await;
        assert_eq!(end.applied.expect("applied").expect("done").outcome, Outcome::Done);
        let now = observed(&twin, &after).await;
        assert_eq!(seen(&now).count() + addresses(&now, "api").len(), 0);
    });
}
