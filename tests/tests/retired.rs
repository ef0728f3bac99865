//! Servers that are to leave alive: emptied by one apply, and left by the next.

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::{Graph, Intake, Mount, Volume};
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::names::VolumeName;
use berth_engine::plan::observation::{NodeSpec, VolumeSpec};
use berth_engine::plan::render;
use berth_engine::run::twin::Twin;
use berth_tests::drive::{plan, simulate, turn};
use berth_tests::project::{ROLLING, fleet, image, node, web, with, world};

fn shop() -> Graph {
    with(fleet(3), "web", web(image('a'), 3, ROLLING))
}

fn retire(mut graph: Graph, number: u32) -> Graph {
    graph.nodes.get_mut(&node(number)).expect("a node").intake = Intake::Retired;
    graph
}

/// Applies until there is nothing to do; how often there was.
async fn settle(twin: &Twin, graph: &Graph) -> usize {
    for times in 0..6 {
        match turn(twin, graph, Goal::Converge).await.applied {
            None => return times,
            Some(applied) => assert_eq!(applied.expect("applied").outcome, Outcome::Done),
        }
    }
    panic!("it does not settle");
}

#[test]
fn a_retired_node_is_emptied_and_then_left() {
    simulate(async {
        let twin = world(&shop());
        settle(&twin, &shop()).await;
        let graph = retire(shop(), 3);
        let first = turn(&twin, &graph, Goal::Converge).await;
        let removes = render::text(&first.body, &first.survey.observation);
        assert!(!removes.contains("remove network"), "{removes}");
        let (seen, body) = plan(&twin, &graph, Goal::Converge).await;
        let here = seen.observation.seen(&node(3)).expect("n3");
        assert!(
            here.spec.pods.is_empty()
                && here.spec.network.is_some()
                && !here.spec.endpoints.is_empty()
        );
        let text = render::text(&body, &seen.observation);
        assert!(
            text.contains("node/n[3]  remove endpoint web, remove image a00000000, remove berth"),
            "{text}"
        );
        assert!(text.contains("remove network"), "{text}");
        assert_eq!(settle(&twin, &graph).await, 1);
        let (seen, _) = plan(&twin, &graph, Goal::Converge).await;
        let here = seen.observation.seen(&node(3)).expect("n3");
        assert_eq!((&here.spec, &here.ledger), (&NodeSpec::default(), &None));
        let others = [1, 2].map(|n| seen.observation.seen(&node(n)).expect("one").spec.pods.len());
        assert_eq!(others.iter().sum::<usize>(), 3);
        // Then it leaves the text, and nothing is said of it.
        let mut gone = graph.clone();
        gone.nodes.remove(&node(3));
        let (_, body) = plan(&twin, &gone, Goal::Converge).await;
        assert!(body.blocked.is_empty() && body.deferred.is_empty(), "{body:?}");
        // Or it stays, and takes replicas again.
        settle(&twin, &shop()).await;
        let (seen, _) = plan(&twin, &shop(), Goal::Converge).await;
        assert!(seen.observation.seen(&node(3)).expect("n3").spec.network.is_some());
        assert_eq!(twin.world().take_violations(), Vec::<String>::new());
    });
}

#[test]
fn what_keeps_a_retired_node_is_said() {
    simulate(async {
        let mut graph = shop();
        let workload = graph.workloads.values_mut().next().expect("web");
        let volume = VolumeName::new("data");
        let mount = Mount { volume: volume.clone(), each_replica: true };
        workload.template.mounts.insert("/data".to_owned(), mount);
        let spec = VolumeSpec::default();
        graph.volumes.insert(volume, Volume { on: None, each_replica: true, spec });
        let twin = world(&graph);
        settle(&twin, &graph).await;
        graph.workloads.clear();
        graph.volumes.clear();
        let graph = retire(retire(graph, 1), 3);
        settle(&twin, &graph).await;
        let (seen, body) = plan(&twin, &graph, Goal::Converge).await;
        assert!(body.is_empty());
        let said = body.deferred.join("\n");
        assert!(said.contains("n[1] is retired and keeps the ledger"), "{said}");
        assert!(said.contains("n[3] is retired, and the data of data-"), "{said}");
        assert!(seen.observation.seen(&node(3)).expect("n3").spec.network.is_some());
    });
}
