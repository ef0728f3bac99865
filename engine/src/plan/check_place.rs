//! The checker's judgement of placement: every created pod against every constraint of its
//! workload.
//!
//! It shares no code with the filters, the index or the counters: it takes the graph, what was
//! seen and what the ledger remembers, makes a flat list of who will be where, and holds each
//! created pod against it, with plain loops. Replicas count by ordinal: a pod and the one that
//! takes its place are one.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, NodePort, Protocol};
use super::body::{Goal, PlanBody, Step, StepId, Work};
use super::canon::template_digest;
use super::check::Violation;
use super::graph::{Effect, Graph, Intake, Node, Over, Placement, Quota, Rule};
use super::names::{NodeName, PodId, WorkloadName};
use super::observation::Observation;

/// A replica in its final place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Replica {
    workload: WorkloadName,
    ordinal: u32,
    node: NodeName,
}

/// Judges what new pods are counted as: what their workload asks for, and the overhead, added here.
fn counted(body: &PlanBody, graph: &Graph, violations: &mut Vec<Violation>) {
    for step in &body.steps {
        let Work::Act(Action::EnsurePod { pod }) = &step.work else { continue };
        let Some(workload) = graph.workloads.get(&pod.workload) else { continue };
        let template = &workload.template;
        if pod.digest != template_digest(template) {
            continue;
        }
        let counted = pod.requests();
        let known = [
            (
                "cpu",
                counted.cpu_millis,
                template.resources.cpu_millis,
                template.overhead.cpu_millis,
            ),
            (
                "memory",
                counted.memory_bytes,
                template.resources.memory_bytes,
                template.overhead.memory_bytes,
            ),
        ];
        for (what, counted, asks, overhead) in known {
            if u128::from(counted) < u128::from(asks) + u128::from(overhead) {
                violations.push(Violation::Misplaced {
                    pod: pod.id.clone(),
                    node: step.node.clone(),
                    why: format!("{what}: {counted} is counted, not {asks} and {overhead}"),
                });
            }
        }
    }
}

/// Judges where the plan's new pods go. What was there before and stays is not judged.
pub(super) fn placement(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    violations: &mut Vec<Violation>,
) {
    if body.goal == Goal::Destroy {
        return;
    }
    counted(body, graph, violations);
    let created: Vec<(&NodeName, &PodId, &WorkloadName)> = body
        .steps
        .iter()
        .filter_map(|step| match &step.work {
            Work::Act(Action::EnsurePod { pod }) => Some((&step.node, &pod.id, &pod.workload)),
            Work::Act(_) | Work::AwaitReady { .. } | Work::AwaitDrained { .. } => None,
        })
        .collect();
    let replicas = replicas(body);
    let before = before(observation);
    for (on, id, name) in created {
        let (Some(node), Some(workload)) = (graph.nodes.get(on), graph.workloads.get(name)) else {
            continue;
        };
        let placement = &workload.placement;
        let mut wrong = |why: String| {
            violations.push(Violation::Misplaced { pod: id.clone(), node: on.clone(), why });
        };
        on_the_node(placement, on, node, &mut wrong);
        let others: Vec<&Replica> =
            replicas.iter().filter(|r| !(&r.workload == name && r.ordinal == id.ordinal)).collect();
        let here = |over: &Over| domain(graph, over, on);
        for apart in placement.apart.iter().filter(|apart| apart.weight.is_none()) {
            let there = here(&apart.over);
            let together = others.iter().any(|other| {
                other.workload == apart.workload
                    && there.is_some()
                    && domain(graph, &apart.over, &other.node) == there
            });
            if together {
                wrong(format!("it is not apart from {}", apart.workload));
            }
        }
        for (other_name, other) in &graph.workloads {
            let shuns = other.placement.apart.iter();
            for apart in shuns.filter(|a| a.weight.is_none() && &a.workload == name) {
                let there = here(&apart.over);
                let together = others.iter().any(|replica| {
                    &replica.workload == other_name
                        && there.is_some()
                        && domain(graph, &apart.over, &replica.node) == there
                });
                if together {
                    wrong(format!("{other_name} is not apart from it"));
                }
            }
        }
        for near in placement.near.iter().filter(|near| near.weight.is_none()) {
            let there = here(&near.over);
            let by = others.iter().copied().chain(&before).any(|other| {
                other.workload == near.workload
                    && there.is_some()
                    && domain(graph, &near.over, &other.node) == there
            });
            // The first of a workload that is near itself, or of two that are near each other,
            // has nobody to be near.
            let mutual = graph.workloads.get(&near.workload).is_some_and(|other| {
                other.placement.near.iter().any(|n| n.weight.is_none() && &n.workload == name)
            });
            if there.is_none() || (!by && &near.workload != name && !mutual) {
                wrong(format!("{} is not near it", near.workload));
            }
        }
        let fleet = Seen { graph, observation, before: &before };
        even(&fleet, placement, name, on, &others, &mut wrong);
    }
    ports(body, graph, observation, violations);
    quota(body, graph, observation, violations);
}

/// Judges ports of nodes: a new pod has those that its workload asks for; when it comes, whoever
/// had one of them on the node is gone, by a step that it waits for; and in the end each has one
/// holder.
fn ports(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    violations: &mut Vec<Violation>,
) {
    for step in &body.steps {
        let Work::Act(Action::EnsurePod { pod }) = &step.work else { continue };
        let mut wrong = |why: String| {
            let (pod, node) = (pod.id.clone(), step.node.clone());
            violations.push(Violation::Misplaced { pod, node, why });
        };
        let own = graph.workloads.get(&pod.workload);
        if let Some(workload) = own.filter(|w| template_digest(&w.template) == pod.digest) {
            let asked: BTreeMap<NodePort, u16> = workload
                .ports
                .iter()
                .filter_map(|p| {
                    let protocol = p.protocol;
                    Some((NodePort { port: p.host?, protocol }, p.container))
                })
                .collect();
            if asked != pod.publish {
                wrong("it does not publish the ports that the text says".to_owned());
            }
        }
        if pod.publish.is_empty() {
            continue;
        }
        let before = done_before(body, step);
        for port in pod.publish.keys() {
            if !pod.requests().ports.contains(port) {
                wrong(format!("port {port} is not counted"));
            }
            if graph
                .nodes
                .get(&step.node)
                .is_some_and(|node| port.protocol == Protocol::Tcp && node.port == port.port)
            {
                wrong(format!("port {port} is the node's SSH server's"));
            }
            if let Some(seen) = observation.seen(&step.node) {
                for (by, asks) in &seen.spec.others {
                    if asks.ports.contains(port) {
                        wrong(format!("port {port} is held by {by}"));
                    }
                }
                let there = seen.spec.pods.iter().filter(|(id, p)| {
                    p.requests.ports.contains(port) && **id != pod.id && !before.contains(id)
                });
                for (other, _) in there {
                    wrong(format!("port {port} is held by {other} when it comes"));
                }
            }
            let later = body.expected.iter().find(|(id, placed)| {
                placed.requests.ports.contains(port) && placed.node == step.node && **id != pod.id
            });
            if let Some((other, _)) = later {
                wrong(format!("port {port} is held by {other} in the end"));
            }
        }
    }
}

/// The pods that are removed by steps that must be done before a step.
fn done_before<'a>(body: &'a PlanBody, step: &Step) -> BTreeSet<&'a PodId> {
    let by_id: BTreeMap<StepId, &Step> = body.steps.iter().map(|step| (step.id, step)).collect();
    let mut known: BTreeSet<StepId> = BTreeSet::new();
    let mut left: Vec<StepId> = step.after.clone();
    let mut removed = BTreeSet::new();
    while let Some(id) = left.pop() {
        let Some(step) = by_id.get(&id).filter(|_| known.insert(id)) else { continue };
        left.extend(&step.after);
        if let Work::Act(Action::RemovePod { pod, .. }) = &step.work {
            removed.insert(pod);
        }
    }
    removed
}

/// Where every replica is when all is done; of one that is in two places, where its latest pod is.
fn replicas(body: &PlanBody) -> Vec<Replica> {
    let mut latest: BTreeMap<(WorkloadName, u32), (u64, NodeName)> = BTreeMap::new();
    for (id, placed) in &body.expected {
        let key = (placed.workload.clone(), id.ordinal);
        let entry = latest.entry(key).or_insert_with(|| (id.generation, placed.node.clone()));
        if id.generation > entry.0 {
            *entry = (id.generation, placed.node.clone());
        }
    }
    let replica = |((workload, ordinal), (_, node))| Replica { workload, ordinal, node };
    latest.into_iter().map(replica).collect()
}

/// Where replicas were seen.
fn before(observation: &Observation) -> Vec<Replica> {
    let mut replicas = BTreeSet::new();
    for node in observation.nodes.keys() {
        for (id, pod) in observation.seen(node).iter().flat_map(|seen| &seen.spec.pods) {
            let (workload, ordinal) = (pod.workload.clone(), id.ordinal);
            replicas.insert(Replica { workload, ordinal, node: node.clone() });
        }
    }
    replicas.into_iter().collect()
}

/// What was there when the plan was made.
struct Seen<'a> {
    graph: &'a Graph,
    observation: &'a Observation,
    before: &'a [Replica],
}

/// What the text alone says of the node and the workload.
fn on_the_node(
    placement: &Placement,
    name: &NodeName,
    node: &Node,
    wrong: &mut impl FnMut(String),
) {
    if node.intake != Intake::Open {
        wrong("the node takes nothing new".to_owned());
    }
    for (key, value) in &placement.require {
        if node.labels.get(key) != Some(value) {
            wrong(format!("label {key} is not {value}"));
        }
    }
    for rule in &placement.rules {
        let value = |key: &String| node.labels.get(key);
        let number = |key: &String| value(key).and_then(|text| text.parse::<i64>().ok());
        let holds = match rule {
            Rule::In(key, any) => matches!(value(key), Some(value) if any.contains(value)),
            Rule::NotIn(key, none) => !matches!(value(key), Some(value) if none.contains(value)),
            Rule::Exists(key) => value(key).is_some(),
            Rule::Missing(key) => value(key).is_none(),
            Rule::Above(key, least) => matches!(number(key), Some(number) if number > *least),
            Rule::Below(key, most) => matches!(number(key), Some(number) if number < *most),
        };
        if !holds {
            wrong("a rule about labels does not hold".to_owned());
        }
    }
    for taint in &node.taints {
        let borne = placement.tolerate.iter().any(|toleration| {
            let same = toleration.value.is_none() || toleration.value == taint.value;
            toleration.key == taint.key && same
        });
        if taint.effect != Effect::Discourage && !borne {
            wrong(format!("taint {} is not tolerated", taint.key));
        }
    }
    if !placement.at.is_empty() && !placement.at.contains(name) {
        wrong("it may only be on other nodes".to_owned());
    }
}

/// The domain that a node is in: its name, or a label's value.
fn domain<'a>(graph: &'a Graph, over: &Over, node: &'a NodeName) -> Option<&'a str> {
    match over {
        Over::Node => Some(node.as_str()),
        Over::Label(key) => graph.nodes.get(node)?.labels.get(key).map(String::as_str),
    }
}

/// When all is done, a domain that got a new replica has at most the skew more than the emptiest
/// that could have taken it. What leaves later in the same plan may have filled the emptiest while
/// this one was placed, so it counts there.
fn even(
    seen: &Seen<'_>,
    placement: &Placement,
    name: &WorkloadName,
    on: &NodeName,
    others: &[&Replica],
    wrong: &mut impl FnMut(String),
) {
    let Seen { graph, observation, before } = seen;
    for even in &placement.even {
        let Some(here) = domain(graph, &even.over, on) else {
            wrong("it is in no domain to be even over".to_owned());
            continue;
        };
        let mut least: BTreeMap<&str, u32> = BTreeMap::new();
        for (candidate, node) in &graph.nodes {
            let mut fits = observation.seen(candidate).is_some();
            on_the_node(placement, candidate, node, &mut |_| fits = false);
            if let Some(domain) = domain(graph, &even.over, candidate).filter(|_| fits) {
                least.entry(domain).or_default();
            }
        }
        let mut has = 0_u32;
        let own = others.iter().filter(|r| &r.workload == name);
        for node in own.clone().map(|replica| &replica.node).chain([on]) {
            let there = domain(graph, &even.over, node);
            has += u32::from(there == Some(here));
            if let Some(count) = there.and_then(|domain| least.get_mut(domain)) {
                *count += 1;
            }
        }
        let gone = before.iter().filter(|r| &r.workload == name && !own.clone().any(|o| *o == *r));
        for replica in gone {
            let there = domain(graph, &even.over, &replica.node);
            if let Some(count) = there.and_then(|domain| least.get_mut(domain)) {
                *count += 1;
            }
        }
        let least = least.values().min().copied().unwrap_or(0);
        if has > least.saturating_add(even.skew.max(1)) {
            wrong(format!("its domain has {has}, the emptiest {least}"));
        }
    }
}

/// What all pods ask for in the end, against the quota.
fn quota(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    violations: &mut Vec<Violation>,
) {
    let Some(Quota { cpu_millis, memory_bytes, disk_bytes, named }) = &graph.quota else { return };
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut before: BTreeMap<&str, u64> = BTreeMap::new();
    let add = |sums: &mut BTreeMap<&str, u64>, requests: &super::observation::Requests| {
        for (key, amount) in [
            ("cpu", requests.cpu_millis),
            ("memory", requests.memory_bytes),
            ("disk", requests.disk_bytes),
        ] {
            let sum = sums.entry(key).or_default();
            *sum = sum.saturating_add(amount);
        }
    };
    body.expected.values().for_each(|placed| add(&mut sums, &placed.requests));
    let seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
    seen.flat_map(|seen| seen.spec.pods.values()).for_each(|pod| add(&mut before, &pod.requests));
    let mut limits: Vec<(&str, u64, u64, u64)> = Vec::new();
    for (key, limit) in [("cpu", cpu_millis), ("memory", memory_bytes), ("disk", disk_bytes)] {
        let of = |sums: &BTreeMap<&str, u64>| sums.get(key).copied().unwrap_or(0);
        limits.extend(limit.map(|limit| (key, limit, of(&sums), of(&before))));
    }
    for (name, limit) in named {
        let of = |placed: &super::body::Placed| placed.requests.named.get(name).copied();
        let sum = body.expected.values().filter_map(of).fold(0, u64::saturating_add);
        limits.push((name, *limit, sum, 0));
    }
    // A quota that was lowered below what runs stops growth, and takes nothing away.
    let names: BTreeSet<String> = limits
        .into_iter()
        .filter(|(_, limit, sum, before)| sum > limit && sum > before)
        .map(|(name, ..)| name.to_owned())
        .collect();
    violations.extend(names.into_iter().map(|name| Violation::OverQuota { name }));
}
