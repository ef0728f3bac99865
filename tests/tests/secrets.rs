//! Secrets in plans: what a plan has of them, and what it says of nodes that cannot keep them.

use std::collections::BTreeMap;

use berth_engine::plan::body::{Blocked, Goal, PlanBody};
use berth_engine::plan::check::{Violation, check};
use berth_engine::plan::content::AtRest;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::names::{ContentDigest, WorkloadName};
use berth_engine::plan::observation::NodeView;
use berth_engine::plan::planner::EVERYTHING;
use berth_engine::plan::render;
use berth_engine::plan::secret;
use berth_engine::run::observe::survey;
use berth_tests::drive::{simulate, turn};
use berth_tests::project::{ROLLING, cron, fleet, image, node, secret_file, web, with, world};

/// A service with a secret.
fn shop(at_rest: AtRest) -> Graph {
    shop_with(at_rest, "3f2a91cc")
}

fn shop_with(at_rest: AtRest, fingerprint: &str) -> Graph {
    let mut workload = web(image('a'), 2, ROLLING);
    let mut graph = fleet(3);
    let file = secret_file(&mut graph.contents, at_rest, fingerprint);
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

/// `BERTH_SAMPLE` names a file to write this ledger to, as one of `tests/cases/ledgers`.
#[test]
fn a_ledger_has_what_is_encrypted_and_no_more() {
    let ledger = simulate(async {
        let mut graph = shop(AtRest::Memory);
        let twin = world(&graph);
        for letter in ['a', 'b'] {
            let web = graph.workloads.get_mut(&WorkloadName::new("web")).expect("the service");
            (web.template.image, web.replicas) = (image(letter), 3);
            // What ledgers have since version 16.
            if letter == 'b' {
                graph = with(graph, "nightly", cron(image('a')));
                graph.revoked = ["0badcafe".to_owned()].into();
            }
            turn(&twin, &graph, Goal::Converge).await;
        }
        twin.world().ledgers()[&node(1)].clone()
    });
    let text = String::from_utf8(ledger.clone()).expect("text");
    assert!(text.contains(r#""sealed:3f2a91cc":"sealed""#) && !text.contains(" holds"), "{text}");
    if let Some(path) = std::env::var_os("BERTH_SAMPLE") {
        std::fs::write(path, ledger).expect("written");
    }
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

#[test]
fn what_was_revoked_comes_back_by_no_later_text() {
    simulate(async {
        let leaked = shop_with(AtRest::Memory, "3f2a91cc");
        let rotated = Graph {
            revoked: ["3f2a91cc".to_owned()].into(),
            ..shop_with(AtRest::Memory, "9c1be07d")
        };
        let twin = world(&leaked);
        turn(&twin, &leaked, Goal::Converge).await;
        let plan = async |graph: &Graph| {
            let seen = survey(&twin, graph).await.expect("a survey");
            let body = seen.plan(graph, "program", Goal::Converge, EVERYTHING, 0).expect("a plan");
            (render::text(&body, &seen.observation), body)
        };
        // Its own undo would bring it back, so there is none.
        let (text, body) = plan(&rotated).await;
        assert_eq!(body.revoked, rotated.revoked);
        assert!(body.branches.values().all(|branch| !branch.undo), "{text}");
        assert!(
            text.contains("nothing goes back if it fails") && text.contains("REVOKED"),
            "{text}"
        );
        turn(&twin, &rotated, Goal::Converge).await;
        let (text, body) = plan(&rotated).await;
        assert!(body.is_empty(), "{text}");
        // The reverted text knows nothing of it, and the ledger does.
        let (text, body) = plan(&leaked).await;
        let back = Blocked::Revoked { resource: "service/web".to_owned(), secret: "db".to_owned() };
        assert_eq!(body.blocked, [back], "{text}");
        assert!(
            text.contains("! service/web  BLOCKED: it would get what the secret db held before")
        );
    });
}

#[test]
fn a_plan_that_brings_it_back_all_the_same_is_turned_down() {
    simulate(async {
        let graph = shop_with(AtRest::Memory, "3f2a91cc");
        let twin = world(&graph);
        let seen = survey(&twin, &graph).await.expect("a survey");
        let body = seen.plan(&graph, "program", Goal::Converge, EVERYTHING, 0).expect("a plan");
        let revoked = Graph { revoked: ["3f2a91cc".to_owned()].into(), ..graph };
        let found = check(&body, &revoked, &seen.observation, &seen.ledger.head);
        assert!(found.iter().any(|one| matches!(one, Violation::Revived { .. })), "{found:?}");
        assert!(found.contains(&Violation::Unsaid), "{found:?}");
    });
}
