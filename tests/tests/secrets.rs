//! Secrets in plans: what a plan has of them, and what it says of nodes that cannot keep them.

use std::collections::BTreeMap;

use berth_engine::plan::body::{Blocked, Goal, PlanBody};
use berth_engine::plan::content::AtRest;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::names::ContentDigest;
use berth_engine::plan::observation::NodeView;
use berth_engine::plan::planner::EVERYTHING;
use berth_engine::plan::secret;
use berth_engine::run::observe::survey;
use berth_tests::drive::simulate;
use berth_tests::project::{ROLLING, fleet, image, node, secret_file, web, with, world};

/// A service with a secret.
fn shop(at_rest: AtRest) -> Graph {
    let mut workload = web(image('a'), 2, ROLLING);
    let mut graph = fleet(3);
    let file = secret_file(&mut graph.contents, at_rest, "3f2a91cc");
    workload.template.files.insert("/run/secrets/db".to_owned(), file);
    with(graph, "web", workload)
}

/// A plan on nodes of which the second one cannot seal.
fn plan(graph: &Graph) -> PlanBody {
    simulate(async {
        let twin = world(graph);
        let mut seen = survey(&twin, graph).await.expect("a survey");
        let Some(NodeView::Seen(second)) = seen.observation.nodes.get_mut(&node(2)) else {
            panic!("it was seen");
        };
        second.facts.cannot_seal = true;
        seen.plan(graph, "program", Goal::Converge, EVERYTHING, 0).expect("a plan")
    })
}

#[test]
fn a_plan_has_what_is_encrypted_and_the_name() {
    let body = plan(&shop(AtRest::Memory));
    let sealed = ContentDigest::sealed("3f2a91cc");
    assert_eq!(secret::needed(&body), BTreeMap::from([(&sealed, "db")]));
    assert_eq!(body.contents.get(&sealed).map(|text| &**text), Some("sealed"));
    assert_eq!(body.blocked, []);
}

#[test]
fn a_node_that_cannot_seal_is_said_before_anything_is_done() {
    let body = plan(&shop(AtRest::Sealed));
    let [Blocked::NodeLacks { node: lacks, missing }] = &body.blocked[..] else {
        panic!("{:?}", body.blocked);
    };
    assert_eq!(*lacks, node(2));
    assert!(missing[0].1.contains("at_rest: memory"), "{missing:?}");
}
