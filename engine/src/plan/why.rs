//! Why a replica is where it is, and why not elsewhere: every node's score or failing constraints,
//! and the smallest mends.
//!
//! Computed when asked, against what will be there once the plan is carried out, with the replica
//! itself taken out. What was decided stays: a node that would be better now is told, not taken.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::body::{Placed, PlanBody, Rejection};
use super::graph::Workload;
use super::moved;
use super::names::{NodeName, PodId, WorkloadName};
use super::observation::Requests;
use super::overrides;
use super::place::{Ask, Fleet, mend};
use super::planner::{self, Inputs};
use super::render::rejection;
use super::volume::{self, Asks};
use super::world::World;

/// How many mends are told.
const MENDS: usize = 3;
/// With more groups of nodes than this, they are told by kind.
const MOST_GROUPS: usize = 8;

/// What was asked for is not there.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// The text is not `web[1]`.
    #[error("`{0}` is not a replica: write a service and a number, such as `web[1]`")]
    NotAReplica(String),
    /// There is no such service.
    #[error("there is no service `{0}`")]
    NoService(WorkloadName),
    /// There are fewer replicas.
    #[error("{workload} has {replicas} replicas, and they count from 0")]
    NoReplica {
        /// Of which service.
        workload: WorkloadName,
        /// How many there are.
        replicas: u32,
    },
    /// There is no such node.
    #[error("there is no node `{0}`")]
    NoNode(NodeName),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// Which service.
    pub workload: WorkloadName,
    /// Which replica.
    pub ordinal: u32,
    /// Where it is, or will be.
    pub on: Option<NodeName>,
    /// Nodes that would take it, the best first, each with what its score is made of.
    pub would: Vec<(NodeName, String)>,
    /// Nodes that would not, each with every failing constraint.
    pub rejected: BTreeMap<NodeName, Vec<Rejection>>,
    /// The smallest changes that would help, each of them tried.
    pub mends: Vec<String>,
}

/// Reads `web[1]`: the last bracket is the replica's number.
///
/// # Errors
/// If it is something else.
pub fn replica(text: &str) -> Result<(WorkloadName, u32), WhyError> {
    let parts = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
    let parts = parts.and_then(|(name, number)| Some((name, number.parse().ok()?)));
    let (name, number) = parts.ok_or_else(|| WhyError::NotAReplica(text.to_owned()))?;
    Ok((WorkloadName::new(name), number))
}

/// Answers for one replica; `node` narrows the mends to one node.
///
/// # Errors
/// If there is no such replica or node.
pub fn why(
    inputs: &Inputs<'_>,
    body: &PlanBody,
    (name, ordinal): (&WorkloadName, u32),
    node: Option<&NodeName>,
) -> Result<Why, WhyError> {
    let view = moved::view(inputs.graph, inputs.observation, inputs.head, inputs.goal);
    let graph = overrides::in_force(&view.graph, &view.head.overrides, inputs.now_ms);
    let (observation, head) = (&*view.observation, &*view.head);
    let inputs = &Inputs { graph: &graph, observation, head, ..*inputs };
    let workload = inputs.graph.workloads.get(name);
    let workload = workload.ok_or_else(|| WhyError::NoService(name.clone()))?;
    let is_there =
        |(id, placed): (&PodId, &Placed)| &placed.workload == name && id.ordinal == ordinal;
    if ordinal >= workload.replicas && !body.expected.iter().any(is_there) {
        let replicas = workload.replicas;
        return Err(WhyError::NoReplica { workload: name.clone(), replicas });
    }
    if let Some(node) = node.filter(|node| !inputs.graph.nodes.contains_key(*node)) {
        return Err(WhyError::NoNode(node.clone()));
    }
    let mut fleet = settled(inputs, body);
    let mine = body
        .expected
        .iter()
        .filter(|(id, placed)| &placed.workload == name && id.ordinal == ordinal);
    let mine = mine.max_by_key(|(id, _)| id.generation);
    if let Some((_, Placed { node, requests, ip4, .. })) = mine {
        fleet.remove(node, name, requests, Some(*ip4));
    }
    let credit = BTreeMap::new();
    let asks = volume::asks(workload, ordinal, &inputs.graph.volumes, &fleet);
    let ask = ask(name, workload, &asks, &credit);
    let mut would = Vec::new();
    let mut rejected = BTreeMap::new();
    for (node, verdict) in fleet.judge(&ask) {
        match verdict {
            Ok((score, words)) => would.push((score, node, words)),
            Err(rejections) => {
                rejected.insert(node, rejections);
            }
        }
    }
    would.sort();
    let mends = match node {
        Some(node) => mend::mend_of(&fleet, &ask, node).into_iter().collect(),
        None if rejected.is_empty() => Vec::new(),
        None => mend::mends(&fleet, &ask, MENDS),
    };
    let homes = volume::homes(inputs.graph, inputs.observation, inputs.head);
    let barred = volume::barred(workload, ordinal, &homes);
    let barred = barred.map(|id| format!("volume {id} is lost, or there twice: nothing mounts it"));
    Ok(Why {
        workload: name.clone(),
        ordinal,
        on: mine.map(|(_, placed)| placed.node.clone()),
        would: would.into_iter().map(|(_, node, words)| (node, words)).collect(),
        rejected,
        mends: barred.into_iter().chain(mends.iter().map(ToString::to_string)).collect(),
    })
}

/// The fleet as it will be once the plan is carried out.
pub fn settled(inputs: &Inputs<'_>, body: &PlanBody) -> Fleet {
    let nobody = World::without_pods(inputs.graph, inputs.observation, inputs.head);
    let mut fleet = planner::fleet(inputs, &nobody, &body.claims, &inputs.graph.workloads);
    volume::lay_new(&mut fleet, &body.steps, &nobody.volumes);
    let mut expected: Vec<(&PodId, &Placed)> = body.expected.iter().collect();
    expected.sort_by_key(|(id, _)| (&id.workload, id.ordinal));
    for (_, Placed { node, workload, requests, ip4, .. }) in expected {
        fleet.count(node, workload, requests, *ip4);
    }
    fleet
}

/// What a replica of a workload asks for, by what its volumes add to that.
pub fn ask<'a>(
    name: &'a WorkloadName,
    workload: &'a Workload,
    asks: &'a Asks,
    credit: &'a BTreeMap<NodeName, Requests>,
) -> Ask<'a> {
    Ask {
        workload: name,
        requests: &asks.requests,
        volumes_bytes: asks.volumes_bytes,
        placement: asks.tied.as_ref().unwrap_or(&workload.placement),
        image: Some(&workload.template.image),
        stay: None,
        credit,
    }
}

/// The answer in words; about one node if one is named.
pub fn text(why: &Why, node: Option<&NodeName>) -> String {
    let Why { workload, ordinal, on, would, rejected, mends } = why;
    let mut out = String::new();
    let replica = format!("{workload}[{ordinal}]");
    let _ = match on {
        Some(on) => writeln!(out, "{replica} is on {on}"),
        None => writeln!(out, "{replica} has no place"),
    };
    for (place, (name, words)) in would.iter().enumerate() {
        if node.is_some_and(|node| node != name) || (node.is_none() && place >= MOST_GROUPS) {
            continue;
        }
        let rank =
            if place == 0 { "the best now".to_owned() } else { format!("number {}", place + 1) };
        let _ = writeln!(out, "  {name} takes it, {rank}: {words}");
    }
    if node.is_none() && would.len() > MOST_GROUPS {
        let _ = writeln!(out, "  and {} more nodes would take it", would.len() - MOST_GROUPS);
    }
    let shown: BTreeMap<_, _> = rejected
        .iter()
        .filter(|(name, _)| node.is_none_or(|node| node == *name))
        .map(|(name, rejections)| (name.clone(), rejections.clone()))
        .collect();
    for line in grouped(&shown) {
        let _ = writeln!(out, "  {line}");
    }
    for mend in mends {
        let _ = writeln!(out, "{mend}");
    }
    out
}

/// Every failing constraint of every node: nodes that say the same on one line; and where those
/// are many, by the kinds of constraint, with one of the nodes as an example.
pub fn grouped(rejected: &BTreeMap<NodeName, Vec<Rejection>>) -> Vec<String> {
    let exact = |list: &[Rejection]| list.iter().map(rejection).collect::<Vec<_>>().join("; ");
    let kinds = |list: &[Rejection]| list.iter().map(kind).collect::<Vec<_>>().join(", ");
    let groups = by(rejected, &exact);
    if groups.len() <= MOST_GROUPS {
        return groups
            .into_iter()
            .map(|(words, nodes)| format!("{}: {words}", names(&nodes)))
            .collect();
    }
    let groups = by(rejected, &kinds);
    let line = |(kinds, nodes): (String, Vec<&NodeName>)| {
        let example = nodes.first().map(|node| format!("{node}: {}", exact(&rejected[*node])));
        format!("{} nodes: {kinds} ({})", nodes.len(), example.unwrap_or_default())
    };
    groups.into_iter().map(line).collect()
}

fn by<'a>(
    rejected: &'a BTreeMap<NodeName, Vec<Rejection>>,
    words: &dyn Fn(&[Rejection]) -> String,
) -> Vec<(String, Vec<&'a NodeName>)> {
    let mut groups: Vec<(String, Vec<&NodeName>)> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (node, list) in rejected {
        let words = words(list);
        let group = *known.entry(words.clone()).or_insert_with(|| {
            groups.push((words, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(node);
    }
    groups
}

fn names(nodes: &[&NodeName]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<_> = nodes.iter().take(SHOWN).map(ToString::to_string).collect();
    match nodes.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A constraint's kind in a word or two.
fn kind(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Unknown => "not reachable".to_owned(),
        Rejection::Cpu { .. } => "too little CPU".to_owned(),
        Rejection::Memory { .. } => "too little memory".to_owned(),
        Rejection::Resource { name, .. } => format!("too little {name}"),
        Rejection::Label { key, .. } => format!("label {key}"),
        Rejection::Rule { rule, .. } => format!("label {}", rule.label()),
        Rejection::Addresses => "no pod address".to_owned(),
        Rejection::Closed { drained: true } => "drained".to_owned(),
        Rejection::Closed { drained: false } => "cordoned".to_owned(),
        Rejection::Taint { taint } => format!("taint {}", taint.key),
        Rejection::Elsewhere { .. } => "not one of the named nodes".to_owned(),
        Rejection::Volume { .. } => "not where its volume is".to_owned(),
        Rejection::Port { port, .. } => format!("port {port}"),
        Rejection::Skew { .. } => "uneven".to_owned(),
        Rejection::NotNear { workload, .. } => format!("not near {workload}"),
        Rejection::NotApart { workload, .. } => format!("not apart from {workload}"),
        Rejection::Quota { name, .. } => format!("quota of {name}"),
    }
}
