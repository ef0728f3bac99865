//! Lowering of placement: where replicas may go, who yields, what nodes offer.
//!
//! A mistake here is one that no observation could mend: a service that is not in the text, a label
//! that no node has and that replicas must be even over, a limit below what is asked for.

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Program, Resource, Value};

use super::container::At;
use super::{Lowering, list, list_of, number, origin, services, strings, text};
use crate::plan::graph::{
    Effect, Even, Fill, Intake, Limits, Node, Over, Overcommit, Placement, Preference, Quota,
    Relation, Rule, Taint, Toleration, Workload,
};
use crate::plan::names::{NodeName, WorkloadName};

impl Lowering<'_> {
    pub(super) fn placement(&mut self, resource: &Resource) -> Placement {
        let value = resource.value();
        let place = value.get("place");
        let field = |name: &str| place.and_then(|place| place.get(name));
        let all = |name: &str| list_of(field(name));
        let mut placement = Placement {
            spread: place.and_then(|place| text(place, "spread")),
            require: strings(field("on")),
            rules: all("require").iter().filter_map(rule).collect(),
            prefer: all("prefer").iter().filter_map(preference).collect(),
            even: all("even").iter().map(even).collect(),
            near: all("near").iter().map(relation).collect(),
            apart: all("apart").iter().map(relation).collect(),
            tolerate: all("tolerate").iter().map(toleration).collect(),
            at: all("at").iter().filter_map(node).collect(),
            held: BTreeMap::new(),
            every_node: matches!(value.get("every_node"), Some(Value::Bool(true))),
            priority: number(value, "priority").unwrap_or(0),
            keep: number(value, "keep"),
        };
        for (index, rule) in placement.rules.iter().enumerate() {
            if matches!(rule, Rule::In(_, values) if values.is_empty()) {
                self.report(
                    "E0542",
                    origin(resource, &format!("place.require.{index}")),
                    "this rule can never hold: it allows no value",
                    "name the values that will do, or take the rule away",
                );
            }
        }
        if placement.every_node {
            if number::<u32>(value, "replicas").is_some_and(|replicas| replicas != 1) {
                self.report(
                    "E0541",
                    origin(resource, "replicas"),
                    "a service on every node has as many replicas as it has nodes",
                    "leave `replicas` out, or `every_node`",
                );
            }
            if value.get("scale").is_some() {
                self.report(
                    "E0541",
                    origin(resource, "scale"),
                    "a service on every node has as many replicas as it has nodes",
                    "leave `scale` out, or `every_node`",
                );
            }
            let workload = WorkloadName::new(&*resource.name);
            placement.apart.push(Relation { workload, over: Over::Node, weight: None });
        }
        placement
    }

    pub(super) fn limits(&mut self, at: &At<'_>) -> Limits {
        let amount = |record: &str, field: &str| match at
            .value
            .get(record)
            .and_then(|record| record.get(field))
        {
            Some(Value::Cpu(amount) | Value::Bytes(amount)) => Some(*amount),
            Some(_) | None => None,
        };
        for field in ["cpu", "memory"] {
            let asks = amount("resources", field).unwrap_or(0);
            if amount("limits", field).is_some_and(|limit| limit != 0 && limit < asks) {
                self.report(
                    "E0544",
                    at.origin(&format!("limits.{field}")),
                    format!("this limit of {field} is lower than what is asked for"),
                    "raise it, or ask for less in `resources`; 0 is no limit",
                );
            }
        }
        Limits { cpu_millis: amount("limits", "cpu"), memory_bytes: amount("limits", "memory") }
    }

    /// Reads pieces of what the user names, each a number that is not negative.
    pub(super) fn pieces(&mut self, at: &At<'_>, path: &str) -> BTreeMap<String, u64> {
        let found = path.split('.').try_fold(at.value, |value, field| value.get(field));
        if let Some(Value::Map(entries)) = found {
            let negative = |value: &Value| matches!(value, Value::Int(number) if *number < 0);
            for (name, _) in entries.iter().filter(|(_, value)| negative(value)) {
                self.report(
                    "E0543",
                    at.origin(&format!("{path}.{name}")),
                    format!("a number of pieces of `{name}` is not negative"),
                    "write 0 or more",
                );
            }
        }
        pieces(found)
    }

    /// Checks what needs the other services and the nodes, and counts those of `every_node`.
    pub(super) fn settle(
        &mut self,
        program: &Program,
        nodes: &BTreeMap<NodeName, Node>,
        workloads: &mut BTreeMap<WorkloadName, Workload>,
    ) {
        let known: BTreeSet<WorkloadName> =
            services(program).map(|service| WorkloadName::new(&*service.name)).collect();
        for resource in super::workloads(program) {
            let name = WorkloadName::new(&*resource.name);
            let Some(workload) = workloads.get_mut(&name) else { continue };
            let Placement { even, near, apart, .. } = &workload.placement;
            for (list, relations) in [("near", near), ("apart", apart)] {
                for (index, relation) in relations.iter().enumerate() {
                    if !known.contains(&relation.workload) {
                        self.report(
                            "E0540",
                            origin(resource, &format!("place.{list}.{index}")),
                            format!("there is no service `{}`", relation.workload),
                            "name a service of this project, as the text does: `web`, `web[1]`",
                        );
                    }
                }
            }
            let required = |list: &'static str, over: Vec<(usize, &Over)>| {
                over.into_iter()
                    .filter_map(move |(index, over)| match over {
                        Over::Node => None,
                        Over::Label(label) => {
                            Some((format!("place.{list}.{index}"), label.clone()))
                        }
                    })
                    .collect::<Vec<_>>()
            };
            let near = near.iter().enumerate().filter(|(_, near)| near.weight.is_none());
            let labels = required("even", even.iter().map(|even| &even.over).enumerate().collect());
            let near = required("near", near.map(|(index, near)| (index, &near.over)).collect());
            for (path, label) in labels.into_iter().chain(near) {
                if !nodes.values().any(|node| node.labels.contains_key(&label)) {
                    self.report(
                        "E0545",
                        origin(resource, &path),
                        format!("no node has a label `{label}`, so nothing can be placed by it"),
                        "label the nodes, or write \"node\" for each node by itself",
                    );
                }
            }
        }
    }
}

pub(super) fn taint(value: &Value) -> Taint {
    let effect = match value.get("effect") {
        Some(Value::Case { name, fields: _ }) if &**name == "discourage" => Effect::Discourage,
        Some(Value::Case { name, fields: _ }) if &**name == "evict" => Effect::Evict,
        Some(_) | None => Effect::Refuse,
    };
    Taint { key: text(value, "key").unwrap_or_default(), value: text(value, "value"), effect }
}

pub(super) fn intake(value: Option<&Value>) -> Intake {
    match value {
        Some(Value::Case { name, fields: _ }) if &**name == "cordoned" => Intake::Cordoned,
        Some(Value::Case { name, fields: _ }) if &**name == "drained" => Intake::Drained,
        Some(Value::Case { name, fields: _ }) if &**name == "retired" => Intake::Retired,
        Some(_) | None => Intake::Open,
    }
}

pub(super) fn overcommit(value: Option<&Value>) -> Overcommit {
    let share = |field: &str| match value.and_then(|value| value.get(field)) {
        Some(Value::Percent(hundredths)) => *hundredths,
        Some(_) | None => 10_000,
    };
    Overcommit { cpu: share("cpu"), memory: share("memory") }
}

pub(super) fn fill(value: Option<&Value>) -> Fill {
    match value {
        Some(Value::Case { name, fields: _ }) if &**name == "dense" => Fill::Dense,
        Some(_) | None => Fill::Even,
    }
}

pub(super) fn quota(value: &Value) -> Quota {
    let amount = |field: &str| match value.get(field) {
        Some(Value::Cpu(amount) | Value::Bytes(amount)) => Some(*amount),
        Some(_) | None => None,
    };
    Quota {
        cpu_millis: amount("cpu"),
        memory_bytes: amount("memory"),
        disk_bytes: amount("disk"),
        named: pieces(value.get("named")),
    }
}

pub(super) fn pieces(value: Option<&Value>) -> BTreeMap<String, u64> {
    let Some(Value::Map(entries)) = value else { return BTreeMap::new() };
    let piece = |(name, value): (&std::sync::Arc<str>, &Value)| match value {
        Value::Int(number) => Some((name.to_string(), u64::try_from(*number).unwrap_or(0))),
        _ => None,
    };
    entries.iter().filter_map(piece).collect()
}

fn rule(value: &Value) -> Option<Rule> {
    let Value::Case { name, fields: _ } = value else { return None };
    let label = text(value, "label")?;
    let values = || list(value.get("values")).into_iter().collect();
    Some(match &**name {
        "one_of" => Rule::In(label, values()),
        "none_of" => Rule::NotIn(label, values()),
        "exists" => Rule::Exists(label),
        "missing" => Rule::Missing(label),
        "above" => Rule::Above(label, number(value, "number")?),
        _ => Rule::Below(label, number(value, "number")?),
    })
}

fn preference(value: &Value) -> Option<Preference> {
    let weight = number(value, "weight").unwrap_or(1);
    Some(Preference { rule: rule(value.get("rule")?)?, weight })
}

fn over(value: &Value) -> Over {
    match text(value, "over") {
        Some(label) if label != "node" => Over::Label(label),
        Some(_) | None => Over::Node,
    }
}

fn even(value: &Value) -> Even {
    Even { over: over(value), skew: number(value, "skew").unwrap_or(1) }
}

fn relation(value: &Value) -> Relation {
    Relation {
        workload: WorkloadName::new(text(value, "service").unwrap_or_default()),
        over: over(value),
        weight: number(value, "weight"),
    }
}

fn toleration(value: &Value) -> Toleration {
    Toleration { key: text(value, "key").unwrap_or_default(), value: text(value, "value") }
}

fn node(value: &Value) -> Option<NodeName> {
    match value {
        Value::Ref { kind: _, name } => Some(NodeName::new(&**name)),
        _ => None,
    }
}
