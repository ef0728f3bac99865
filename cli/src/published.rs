//! A plan as other programs read it: `berth plan --json` and `--ndjson`.
//!
//! `docs/schemas/berth.plan-1.schema.json` describes every name here. Names are added under the same
//! schema; none is taken away or changes its meaning. This module prints nothing and decides nothing.

use std::collections::BTreeSet;

use berth_engine::plan::after::After;
use berth_engine::plan::body::{Blocked, FieldChange, Goal, PlanBody, StepId, Verb};
use berth_engine::plan::names::{NodeName, WorkloadName};
use berth_engine::plan::observation::{NodeView, Observation};
use berth_engine::plan::overrides::Counting;
use berth_engine::plan::render::Places;
use serde::Serialize;

/// The schema's name.
const SCHEMA: &str = "berth.plan-1";

/// What stands above a plan's body.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Head {
    schema: &'static str,
    digest: String,
    commit: Option<String>,
    who: String,
    made_at_ms: u64,
    goal: Goal,
    revision: u64,
    /// Whether it answers a question (`--without`, `--add`, `--scale`), so that it cannot be applied.
    what_if: bool,
    observed: Observed,
    /// Where the text sets what changes, by resource and field.
    places: Places,
}

/// Which nodes answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Observed {
    nodes: Vec<NodeName>,
    unreachable: Vec<Unreachable>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unreachable {
    node: NodeName,
    why: String,
}

/// How many of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    add: usize,
    change: usize,
    heal: usize,
    destroy: usize,
    held: usize,
    released: usize,
    paused: usize,
    stopped: usize,
    waits: usize,
    kept: usize,
    moved: usize,
    blocked: usize,
    deferred: usize,
    steps: usize,
    nodes: usize,
}

/// What `plan --exit-code` ends with for this plan.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ends {
    code: u8,
    means: Meaning,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Meaning {
    NothingToDo,
    SomethingToDo,
    BlockedOrDeferred,
}

/// The whole document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    #[serde(flatten)]
    head: Head,
    counts: Counts,
    exit: Ends,
    body: &'a PlanBody,
}

/// The document in pieces, a line each.
#[derive(Debug, Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    Head(Box<Head>),
    Override {
        #[serde(rename = "override")]
        standing: &'a Counting,
    },
    Change {
        resource: &'a str,
        verb: &'static str,
        fields: &'a [FieldChange],
        causes: &'a [String],
    },
    Step {
        id: StepId,
        node: &'a NodeName,
        service: Option<&'a WorkloadName>,
        wave: Option<u32>,
        title: String,
        after: &'a After,
    },
    Blocked {
        reason: &'a Blocked,
    },
    Deferred {
        words: &'a str,
    },
    Summary {
        counts: Counts,
        exit: Ends,
    },
}

/// From where and by whom a plan is.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) places: Places,
    pub(crate) commit: Option<String>,
    pub(crate) who: String,
    pub(crate) what_if: bool,
}

/// Puts a plan into its published form.
pub(crate) fn document<'a>(
    body: &'a PlanBody,
    observation: &Observation,
    origin: Origin,
) -> Document<'a> {
    let head = head(body, observation, origin);
    Document { head, counts: counts(body), exit: ends(body), body }
}

/// Takes a document apart into its lines: the head first, the summary last.
pub(crate) fn lines<'a>(document: &Document<'a>) -> Vec<Line<'a>> {
    let body = document.body;
    let mut lines = vec![Line::Head(Box::new(document.head.clone()))];
    lines.extend(body.overrides.iter().map(|standing| Line::Override { standing }));
    lines.extend(body.changes.iter().map(|change| Line::Change {
        resource: &change.resource,
        verb: word(&change.verb),
        fields: &change.fields,
        causes: &change.causes,
    }));
    lines.extend(body.steps.iter().map(|step| Line::Step {
        id: step.id,
        node: &step.node,
        service: step.branch.as_ref(),
        wave: step.wave,
        title: step.work.title(&step.node),
        after: &step.after,
    }));
    lines.extend(body.blocked.iter().map(|reason| Line::Blocked { reason }));
    lines.extend(body.deferred.iter().map(|words| Line::Deferred { words }));
    lines.push(Line::Summary { counts: document.counts.clone(), exit: document.exit });
    lines
}

fn head(body: &PlanBody, observation: &Observation, origin: Origin) -> Head {
    let Origin { places, commit, who, what_if } = origin;
    let mut observed = Observed { nodes: Vec::new(), unreachable: Vec::new() };
    for (node, view) in &observation.nodes {
        match view {
            NodeView::Seen(_) => observed.nodes.push(node.clone()),
            NodeView::Unknown { why, silent: _ } => {
                observed.unreachable.push(Unreachable { node: node.clone(), why: why.clone() });
            }
        }
    }
    Head {
        schema: SCHEMA,
        digest: body.digest(),
        commit,
        who,
        made_at_ms: body.now_ms,
        goal: body.goal,
        revision: body.revision,
        what_if,
        observed,
        places,
    }
}

fn counts(body: &PlanBody) -> Counts {
    let nodes: BTreeSet<_> = body.steps.iter().map(|step| &step.node).collect();
    let mut counts = Counts {
        blocked: body.blocked.len(),
        deferred: body.deferred.len(),
        steps: body.steps.len(),
        nodes: nodes.len(),
        ..Counts::default()
    };
    for change in &body.changes {
        let count = match &change.verb {
            Verb::Add => &mut counts.add,
            Verb::Change => &mut counts.change,
            Verb::Heal => &mut counts.heal,
            Verb::Destroy => &mut counts.destroy,
            Verb::Held(_) => &mut counts.held,
            Verb::Released(_) => &mut counts.released,
            Verb::Paused(_) => &mut counts.paused,
            Verb::Stopped => &mut counts.stopped,
            Verb::Waits => &mut counts.waits,
            Verb::Kept => &mut counts.kept,
            Verb::Moved => &mut counts.moved,
        };
        *count += 1;
    }
    counts
}

fn word(verb: &Verb) -> &'static str {
    match verb {
        Verb::Add => "add",
        Verb::Change => "change",
        Verb::Heal => "heal",
        Verb::Destroy => "destroy",
        Verb::Held(_) => "held",
        Verb::Released(_) => "released",
        Verb::Paused(_) => "paused",
        Verb::Stopped => "stopped",
        Verb::Waits => "waits",
        Verb::Kept => "kept",
        Verb::Moved => "moved",
    }
}

fn ends(body: &PlanBody) -> Ends {
    if !body.blocked.is_empty() || !body.deferred.is_empty() {
        Ends { code: 3, means: Meaning::BlockedOrDeferred }
    } else if body.is_empty() {
        Ends { code: 0, means: Meaning::NothingToDo }
    } else {
        Ends { code: 2, means: Meaning::SomethingToDo }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use berth_engine::plan::body::{Blocked, Change, Goal, PlanBody, Verb};
    use berth_engine::plan::graph::{CanaryStep, Strategy};
    use berth_engine::plan::observation::{NodeView, Observation};
    use berth_engine::run::observe::Survey;
    use std::collections::BTreeMap;

    use berth_engine::plan::render::Places;
    use berth_tests::{drive, project};
    use serde_json::{Value, json};

    use super::{Origin, document, lines};

    /// What a value has against a schema. Stricter than JSON Schema: where `properties` stand, a name
    /// that is not among them is a finding.
    pub(crate) fn judge(
        root: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) {
        if let Some(name) = schema["$ref"].as_str() {
            let target = root.pointer(name.trim_start_matches('#'));
            let target = target.unwrap_or_else(|| panic!("{at}: no {name} in the schema"));
            return judge(root, target, value, at, found);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &&Value| {
                let mut against = Vec::new();
                judge(root, choice, value, at, &mut against);
                against.is_empty()
            };
            if choices.iter().filter(fits).count() != 1 {
                found.push(format!("{at}: is not one of its choices: {value}"));
            }
            return;
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let may = match &schema["type"] {
            Value::String(one) => one == kind,
            Value::Array(many) => many.iter().any(|one| one == kind),
            _ => true,
        };
        let is = schema.get("const").is_none_or(|one| one == value);
        let among = schema["enum"].as_array().is_none_or(|all| all.contains(value));
        if !may || !is || !among {
            found.push(format!("{at}: {value} is not what the schema says"));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                found.push(format!("{at}.{name}: is missing"));
            }
        }
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(of) = schema.get("items") {
                judge(root, of, item, &format!("{at}[{number}]"), found);
            }
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            match (&schema["properties"][name], schema.get("additionalProperties")) {
                (Value::Null, Some(of)) => judge(root, of, field, &at, found),
                (Value::Null, None) if schema.get("properties").is_some() => {
                    found.push(format!("{at}: is not described"));
                }
                (Value::Null, None) => {}
                (of, _) => judge(root, of, field, &at, found),
            }
        }
    }

    fn fits(body: &PlanBody, observation: &Observation) -> Value {
        let schema = include_str!("../../docs/schemas/berth.plan-1.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("a schema");
        let places = Places::from([("service/web".to_owned(), BTreeMap::new())]);
        let origin = Origin { places, commit: None, who: "ana@desk".to_owned(), what_if: false };
        let document = document(body, observation, origin);
        let mut found = Vec::new();
        let whole = serde_json::to_value(&document).expect("JSON");
        judge(&schema, &schema, &whole, "plan", &mut found);
        for line in lines(&document) {
            let line = serde_json::to_value(&line).expect("JSON");
            judge(&schema, &schema["$defs"]["line"], &line, "line", &mut found);
        }
        assert!(found.is_empty(), "{found:#?}");
        whole
    }

    fn planned(memory_bytes: u64) -> (Survey, PlanBody) {
        let mut web = project::web(project::image('a'), 2, project::ROLLING);
        web.template.resources.memory_bytes = memory_bytes;
        let graph = project::with(project::fleet(2), "web", web);
        drive::simulate(async {
            let twin = project::world(&graph);
            drive::plan(&twin, &graph, Goal::Converge).await
        })
    }

    #[test]
    fn a_first_plan_is_as_its_schema_says() {
        let (seen, body) = planned(64 << 20);
        let whole = fits(&body, &seen.observation);
        assert_eq!(whole["exit"], json!({ "code": 2, "means": "something_to_do" }));
        assert!(whole["counts"]["steps"].as_u64() > Some(0));
        assert_eq!(whole["digest"], json!(body.digest()));
    }

    #[test]
    fn a_canary_is_as_its_schema_says() {
        let step = |weight| CanaryStep { weight, bake_ms: 60_000 };
        let canary = Strategy::Canary { steps: vec![step(1000), step(5000)], surge: 1 };
        let of = |image, strategy| {
            project::with(
                project::fleet(2),
                "web",
                project::web(project::image(image), 2, strategy),
            )
        };
        let (before, graph) = (of('a', project::ROLLING), of('b', canary));
        let (seen, body) = drive::simulate(async {
            let twin = project::world(&before);
            drive::turn(&twin, &before, Goal::Converge).await;
            drive::plan(&twin, &graph, Goal::Converge).await
        });
        let whole = fits(&body, &seen.observation);
        let wave = |number: usize| &whole["body"]["branches"]["web"]["waves"][number];
        assert_eq!(wave(0)["share"], json!(1000));
        assert_eq!(wave(1)["bake"]["for_ms"], json!(60_000));
    }

    #[test]
    fn what_is_blocked_or_unreachable_is_as_its_schema_says() {
        let (mut seen, body) = planned(1 << 50);
        let unknown = NodeView::Unknown { why: "tcp: no route".to_owned(), silent: true };
        seen.observation.nodes.insert(project::node(2), unknown);
        let whole = fits(&body, &seen.observation);
        assert_eq!(whole["exit"], json!({ "code": 3, "means": "blocked_or_deferred" }));
        assert_eq!(whole["observed"]["unreachable"][0]["node"], json!("n[2]"));
    }

    #[test]
    fn every_reason_is_as_its_schema_says() {
        let (seen, mut body) = planned(64 << 20);
        let reasons = [
            json!({ "blocked": "no_room", "workload": "web", "ordinal": 0, "nodes": {}, "mend": "more memory" }),
            json!({ "blocked": "node_lacks", "node": "n1", "missing": [["nft", "apt install nftables"]] }),
            json!({ "blocked": "pool_used_up", "pool": "pods", "by": "n1" }),
            json!({ "blocked": "node_left", "node": "n1", "what": ["web-0.g1"] }),
            json!({ "blocked": "other_machine", "node": "n1", "known": "a", "found": "b" }),
            json!({ "blocked": "other_fleet", "node": "n1", "owner": "berth.shop.default" }),
            json!({ "blocked": "other_pools", "node": "n1", "owner": "berth.shop.default" }),
            json!({ "blocked": "volume_lost", "volume": "data", "node": "n1" }),
            json!({ "blocked": "volume_twice", "volume": "data", "nodes": ["n1", "n2"] }),
            json!({ "blocked": "volume_too_large", "volume": "data", "node": "n1", "size_bytes": 2, "over_bytes": 1 }),
            json!({ "blocked": "protected", "resource": "service/web" }),
            json!({ "blocked": "moved", "resource": "service/web", "from": "service/www" }),
            json!({ "blocked": "name_taken", "volume": "data", "by": "old" }),
            json!({ "blocked": "volume_elsewhere", "volume": "data", "is": "n1", "wants": "n2" }),
            json!({ "blocked": "revoked", "resource": "service/web", "secret": "db" }),
        ];
        let read = |reason| serde_json::from_value(reason).expect("a reason");
        body.blocked = reasons.into_iter().map(read).collect();
        // Who adds one adds it above, and to the schema.
        let number = |reason: &Blocked| match reason {
            Blocked::NoRoom { .. } => 0,
            Blocked::NodeLacks { .. } => 1,
            Blocked::PoolUsedUp { .. } => 2,
            Blocked::NodeLeft { .. } => 3,
            Blocked::OtherMachine { .. } => 4,
            Blocked::OtherFleet { .. } => 5,
            Blocked::OtherPools { .. } => 6,
            Blocked::VolumeLost { .. } => 7,
            Blocked::VolumeTwice { .. } => 8,
            Blocked::VolumeTooLarge { .. } => 9,
            Blocked::Protected { .. } => 10,
            Blocked::Moved { .. } => 11,
            Blocked::NameTaken { .. } => 12,
            Blocked::VolumeElsewhere { .. } => 13,
            Blocked::Revoked { .. } => 14,
        };
        assert!(body.blocked.iter().map(number).eq(0..15));
        fits(&body, &seen.observation);
    }

    #[test]
    fn every_verb_is_as_its_schema_says() {
        let (seen, mut body) = planned(64 << 20);
        let pin = json!({ "rejected": "0".repeat(64), "stands": null, "why": "the gate", "revision": 1, "at_ms": 1 });
        let verbs = [
            json!("heal"),
            json!("destroy"),
            json!("kept"),
            json!("moved"),
            json!("stopped"),
            json!("waits"),
            json!({ "held": pin }),
            json!({ "released": pin }),
        ];
        body.changes.extend(verbs.into_iter().map(|verb| Change {
            resource: "service/other".to_owned(),
            verb: serde_json::from_value::<Verb>(verb).expect("a verb"),
            fields: Vec::new(),
            causes: vec!["the pin".to_owned()],
        }));
        let whole = fits(&body, &seen.observation);
        assert_eq!(whole["counts"]["held"], json!(1));
    }
}
