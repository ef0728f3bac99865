//! The picture of a fleet: a well-formed document, with everybody in it, the same every time.

use berth_engine::plan::body::Goal;
use berth_engine::plan::capacity::{capacity, svg};
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_tests::drive::{plan, simulate};
use berth_tests::project::{ROLLING, fleet, image, web, with, world};

/// The names of a document's elements as they open, if each is closed where it has to be and text
/// and attributes hold nothing that would have to be escaped.
fn elements(document: &str) -> Option<Vec<String>> {
    let (mut open, mut found): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = document;
    while let Some((text, tail)) = rest.split_once('<') {
        let entities = ["amp;", "lt;", "gt;", "quot;"];
        let bare = |part: &str| !entities.iter().any(|entity| part.starts_with(entity));
        if text.split('&').skip(1).any(bare) {
            return None;
        }
        let (tag, after) = tail.split_once('>')?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            (open.pop() == Some(name)).then_some(())?;
            continue;
        }
        let (tag, alone) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        (attributes.matches('"').count() % 2 == 0 && !attributes.contains('&')).then_some(())?;
        found.push(name.to_owned());
        if !alone {
            open.push(name);
        }
    }
    (open.is_empty() && rest.trim().is_empty()).then_some(found)
}

#[test]
fn the_picture_is_well_formed_and_repeats() {
    let odd = r#"web["<a> & b"]"#;
    let graph = with(fleet(7), odd, web(image('a'), 9, ROLLING));
    let twin = world(&graph);
    let draw = || {
        let (survey, body) = simulate(plan(&twin, &graph, Goal::Converge));
        let inputs = Inputs {
            graph: &graph,
            program: "program",
            observation: &survey.observation,
            head: &survey.ledger.head,
            goal: Goal::Converge,
            only: EVERYTHING,
            now_ms: 1,
        };
        svg(&capacity(&inputs, &body))
    };
    let picture = draw();
    assert_eq!(picture, draw());
    let found = elements(&picture).unwrap_or_else(|| panic!("not well-formed: {picture}"));
    assert_eq!(found.iter().filter(|name| *name == "g").count(), 7, "a group a node");
    let name = WorkloadName::new(odd).as_str().replace('&', "&amp;").replace('<', "&lt;");
    assert!(picture.contains(&name.replace('"', "&quot;")), "{picture}");
}
