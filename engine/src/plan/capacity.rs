//! Capacity: how many more fit, what the fleet survives, what is in pieces, what to add.
//!
//! Nothing is estimated: headroom is found by placing until nothing fits, survival by placing anew
//! what was on the lost nodes, and the shape to add by adding it and doing that again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::action::Action;
use super::body::{Placed, PlanBody, Work};
use super::change::bytes;
use super::graph::Workload;
use super::moved;
use super::names::{NodeName, PodId, WorkloadName};
use super::observation::Requests;
use super::overrides;
use super::place::Fleet;
use super::planner::Inputs;
use super::volume::{self, Asks};
use super::whatif::Suppose;
use super::why::{ask, settled};

/// More headroom than this is told as "at least".
const MOST_HEADROOM: u32 = 10_000;
/// So many pairs of nodes are tried for the loss of both.
const MOST_PAIRS: usize = 5_000;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Every node, with what there is and what is asked for.
    pub nodes: BTreeMap<NodeName, Load>,
    /// How many more replicas of each service fit, one service at a time.
    pub headroom: BTreeMap<WorkloadName, u32>,
    /// Whether all replicas find a place when any one node is lost.
    pub one: Survival,
    /// The same for any two.
    pub two: Survival,
    /// Free room that no service's replica can use, in thousandths of all that is free.
    pub stranded: Stranded,
    /// The smallest node, of the shapes in the fleet, with which the loss of any one is survived;
    /// absent if it is survived already, or none does.
    pub add: Option<Requests>,
}

/// What lies on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// What may be promised.
    pub room: Requests,
    /// What is asked for.
    pub used: Requests,
    /// Its replicas, by service.
    pub replicas: BTreeMap<WorkloadName, u32>,
}

/// What happens when nodes are lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Survival {
    /// How many losses were tried.
    pub tried: usize,
    /// Of how many there are.
    pub of: usize,
    /// The losses that are not survived, each with the services that lack a place, and how many.
    pub fatal: Vec<(Vec<NodeName>, BTreeMap<WorkloadName, u32>)>,
}

/// Free room that nothing can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stranded {
    /// Of CPU.
    pub cpu_permille: u32,
    /// Of memory.
    pub memory_permille: u32,
}

/// Looks at the fleet as it will be once a plan is carried out.
pub fn capacity(inputs: &Inputs<'_>, body: &PlanBody) -> Capacity {
    let view = moved::view(inputs.graph, inputs.observation, inputs.head, inputs.goal);
    let graph = overrides::in_force(&view.graph, &view.head.overrides, inputs.now_ms);
    let (observation, head) = (&*view.observation, &*view.head);
    let inputs = &Inputs { graph: &graph, observation, head, ..*inputs };
    let fleet = settled(inputs, body);
    let workloads = &inputs.graph.workloads;
    let nodes = loads(&fleet, inputs, body);
    let headroom: BTreeMap<_, _> = workloads
        .iter()
        .map(|(name, workload)| (name.clone(), fits(inputs, &fleet, name, workload)))
        .collect();
    let one = survival(inputs, body, &fleet, &singles(inputs));
    let add = if one.fatal.is_empty() { None } else { shape_to_add(inputs, body) };
    let two = survival(inputs, body, &fleet, &pairs(inputs));
    Capacity { stranded: stranded(&fleet, &nodes, workloads), nodes, headroom, one, two, add }
}

fn loads(fleet: &Fleet, inputs: &Inputs<'_>, body: &PlanBody) -> BTreeMap<NodeName, Load> {
    let mut nodes: BTreeMap<NodeName, Load> = BTreeMap::new();
    for (name, slot) in fleet.nodes() {
        let mut used = Requests::default();
        let seen = inputs.observation.seen(name);
        if let Some(seen) = seen {
            let volumes = seen.spec.volumes.values().map(|volume| volume.size_bytes);
            let disk = volumes.fold(seen.spec.volumes_of_others_bytes, u64::saturating_add);
            used.add(&Requests { disk_bytes: disk, ..Requests::default() });
        }
        seen.iter().flat_map(|seen| seen.spec.others.values()).for_each(|other| used.add(other));
        let load = Load { room: slot.room.clone(), used, replicas: BTreeMap::new() };
        nodes.insert(name.clone(), load);
    }
    for step in &body.steps {
        let Work::Act(Action::EnsureVolume { volume, spec, .. }) = &step.work else { continue };
        let seen = inputs.observation.seen(&step.node);
        if seen.is_none_or(|seen| !seen.spec.volumes.contains_key(volume))
            && let Some(load) = nodes.get_mut(&step.node)
        {
            load.used.add(&Requests { disk_bytes: spec.size_bytes, ..Requests::default() });
        }
    }
    // What runs to its end has done so by then.
    for Placed { node, workload, requests, .. } in body.expected.values().filter(|at| !at.ends) {
        if let Some(load) = nodes.get_mut(node) {
            load.used.add(requests);
            *load.replicas.entry(workload.clone()).or_default() += 1;
        }
    }
    nodes
}

fn fits(inputs: &Inputs<'_>, fleet: &Fleet, name: &WorkloadName, workload: &Workload) -> u32 {
    let mut fleet = fleet.clone();
    let credit = BTreeMap::new();
    let volumes = &inputs.graph.volumes;
    let mounts = &workload.template.mounts;
    let asks = volume::asks(workload, workload.replicas, volumes, &fleet);
    let mut ticket = fleet.ticket(&ask(name, workload, &asks, &credit));
    for count in 0..MOST_HEADROOM {
        let ordinal = workload.replicas.saturating_add(count);
        // Each replica may have volumes of its own.
        if count > 0 && !mounts.is_empty() {
            let asks = volume::asks(workload, ordinal, volumes, &fleet);
            ticket = fleet.ticket(&ask(name, workload, &asks, &credit));
        }
        let Some(node) = fleet.place(ticket) else { return count };
        if let Some(node) = fleet.name(node).cloned() {
            mounts.values().for_each(|mount| fleet.house(&mount.id(ordinal), &node, true));
        }
    }
    MOST_HEADROOM
}

fn singles(inputs: &Inputs<'_>) -> Vec<Vec<NodeName>> {
    inputs.graph.nodes.keys().map(|node| vec![node.clone()]).collect()
}

fn pairs(inputs: &Inputs<'_>) -> Vec<Vec<NodeName>> {
    let nodes: Vec<_> = inputs.graph.nodes.keys().collect();
    let pair = |(index, first): (usize, &&NodeName)| {
        let first = (*first).clone();
        nodes[index + 1..]
            .iter()
            .map(move |second| vec![first.clone(), (*second).clone()])
            .collect::<Vec<_>>()
    };
    nodes.iter().enumerate().flat_map(pair).collect()
}

/// Places anew what was on the nodes that are lost, the important first.
fn survival(
    inputs: &Inputs<'_>,
    body: &PlanBody,
    fleet: &Fleet,
    losses: &[Vec<NodeName>],
) -> Survival {
    let mut fatal = Vec::new();
    for lost in losses.iter().take(MOST_PAIRS) {
        let homeless = homeless(inputs, body, fleet, lost);
        if !homeless.is_empty() {
            fatal.push((lost.clone(), homeless));
        }
    }
    Survival { tried: losses.len().min(MOST_PAIRS), of: losses.len(), fatal }
}

fn homeless(
    inputs: &Inputs<'_>,
    body: &PlanBody,
    fleet: &Fleet,
    lost: &[NodeName],
) -> BTreeMap<WorkloadName, u32> {
    let workloads = &inputs.graph.workloads;
    let mut fleet = fleet.clone();
    for node in lost {
        fleet.alter(node, |slot| slot.reachable = false);
    }
    let mut gone: Vec<(&PodId, &Placed)> =
        body.expected.iter().filter(|(_, placed)| lost.contains(&placed.node)).collect();
    for (_, Placed { node, workload, requests, ip4, .. }) in &gone {
        fleet.remove(node, workload, requests, Some(*ip4));
    }
    let priority = |name| workloads.get(name).map_or(0, |w: &Workload| w.placement.priority);
    gone.sort_by_key(|(id, placed)| (std::cmp::Reverse(priority(&placed.workload)), *id));
    let mut homeless = BTreeMap::new();
    let credit = BTreeMap::new();
    for (id, placed) in gone {
        let name = &placed.workload;
        let Some(workload) = workloads.get(name) else { continue };
        // One on every node has nobody to stand in for it.
        if workload.placement.every_node {
            continue;
        }
        let asks = volume::asks(workload, id.ordinal, &inputs.graph.volumes, &fleet);
        let ticket = fleet.ticket(&ask(name, workload, &asks, &credit));
        if fleet.place(ticket).is_none() {
            *homeless.entry(name.clone()).or_default() += 1;
        }
    }
    homeless
}

/// Of the shapes in the fleet, the smallest that makes it survive the loss of any one node.
fn shape_to_add(inputs: &Inputs<'_>, body: &PlanBody) -> Option<Requests> {
    let Inputs { graph, observation, .. } = *inputs;
    let shapes: BTreeSet<(u64, u64)> = graph
        .nodes
        .iter()
        .filter_map(|(name, node)| {
            let found = observation.seen(name)?.facts.has();
            let shape = node.capacity.as_ref().unwrap_or(&found);
            Some((shape.cpu_millis, shape.memory_bytes))
        })
        .collect();
    shapes.into_iter().find_map(|(cpu_millis, memory_bytes)| {
        let shape = Requests { cpu_millis, memory_bytes, ..Requests::default() };
        let suppose = Suppose { add: vec![(shape.clone(), 1)], ..Suppose::default() };
        let (graph, observation) = suppose.apply(graph, observation).ok()?;
        let inputs = Inputs { graph: &graph, observation: &observation, ..*inputs };
        let mut claims = body.clone();
        let more = graph.nodes.keys().filter(|node| !body.claims.ranges.contains_key(*node));
        let free = claims.claims.ranges.values().max().map_or(0, |highest| highest + 1);
        let ranges: Vec<_> = more.cloned().zip(free..).collect();
        claims.claims.ranges.extend(ranges);
        let fleet = settled(&inputs, &claims);
        let survives = survival(&inputs, body, &fleet, &singles(&inputs)).fatal.is_empty();
        survives.then_some(shape)
    })
}

/// What is free where the service that asks for least does not fit.
fn stranded(
    fleet: &Fleet,
    nodes: &BTreeMap<NodeName, Load>,
    workloads: &BTreeMap<WorkloadName, Workload>,
) -> Stranded {
    let credit = BTreeMap::new();
    let mut usable: BTreeSet<NodeName> = BTreeSet::new();
    for (name, workload) in workloads {
        // Whether it fits is asked of room alone: a constraint may change, a remainder does not.
        let asks = Asks {
            requests: workload.template.asks(),
            volumes_bytes: 0,
            tied: Some(super::graph::Placement::default()),
        };
        let asked = ask(name, workload, &asks, &credit);
        let judged = fleet.clone().judge(&asked);
        usable.extend(judged.into_iter().filter(|(_, v)| v.is_ok()).map(|(node, _)| node));
    }
    let share = |of: &dyn Fn(&Requests) -> u64| {
        let free = |load: &Load| u128::from(of(&load.room).saturating_sub(of(&load.used)));
        let all: u128 = nodes.values().map(free).sum();
        let lost: u128 =
            nodes.iter().filter(|(node, _)| !usable.contains(*node)).map(|(_, l)| free(l)).sum();
        u32::try_from(lost * 1000 / all.max(1)).unwrap_or(1000)
    };
    Stranded {
        cpu_permille: share(&|requests| requests.cpu_millis),
        memory_permille: share(&|requests| requests.memory_bytes),
    }
}

/// The answer in words, with a bar for each node.
pub fn text(capacity: &Capacity) -> String {
    let Capacity { nodes, headroom, one, two, stranded, add } = capacity;
    let mut out = String::new();
    let width = nodes.keys().map(|node| node.as_str().chars().count()).max().unwrap_or(0);
    for (node, load) in nodes {
        let Load { room, used, replicas } = load;
        let replicas: Vec<_> =
            replicas.iter().map(|(name, count)| format!("{name}×{count}")).collect();
        let _ = writeln!(
            out,
            "{node:width$}  cpu {} {}/{}m  memory {} {}/{}  {}",
            bar(used.cpu_millis, room.cpu_millis),
            used.cpu_millis,
            room.cpu_millis,
            bar(used.memory_bytes, room.memory_bytes),
            bytes(used.memory_bytes),
            bytes(room.memory_bytes),
            replicas.join(" ")
        );
    }
    for (name, count) in headroom {
        let least = if *count == MOST_HEADROOM { "at least " } else { "" };
        let _ = writeln!(out, "room for {least}{count} more of {name}");
    }
    loss(&mut out, "any one node", one);
    loss(&mut out, "any two nodes", two);
    if let Some(add) = add {
        let _ = writeln!(
            out,
            "one more node of {}m CPU and {} of memory, and the loss of any one is survived",
            add.cpu_millis,
            bytes(add.memory_bytes)
        );
    }
    let Stranded { cpu_permille, memory_permille } = stranded;
    let _ = writeln!(
        out,
        "in pieces too small for any service: {}.{}% of the free CPU, {}.{}% of the free memory",
        cpu_permille / 10,
        cpu_permille % 10,
        memory_permille / 10,
        memory_permille % 10
    );
    out
}

fn loss(out: &mut String, what: &str, survival: &Survival) {
    const SHOWN: usize = 3;
    let Survival { tried, of, fatal } = survival;
    if *of == 0 {
        return;
    }
    let tried = if tried == of { String::new() } else { format!(" ({tried} of {of} tried)") };
    if fatal.is_empty() {
        let _ = writeln!(out, "survives the loss of {what}: yes{tried}");
        return;
    }
    let _ = writeln!(out, "survives the loss of {what}: no, not of {}{tried}", fatal.len());
    for (nodes, homeless) in fatal.iter().take(SHOWN) {
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        let lack: Vec<_> =
            homeless.iter().map(|(name, count)| format!("{count} of {name}")).collect();
        let _ = writeln!(out, "  {}: no place for {}", nodes.join(" and "), lack.join(", "));
    }
    if fatal.len() > SHOWN {
        let _ = writeln!(out, "  and {} more", fatal.len() - SHOWN);
    }
}

/// Ten places, a tenth each.
fn bar(used: u64, room: u64) -> String {
    let tenths = (u128::from(used) * 10).div_ceil(u128::from(room.max(1))).min(10);
    (0..10).map(|place| if place < tenths { '█' } else { '·' }).collect()
}

/// A picture: a box a node, as wide as its CPU and as high as its memory are used.
pub fn svg(capacity: &Capacity) -> String {
    const BOX: u64 = 120;
    const STEP: u64 = 150;
    const ACROSS: u64 = 6;
    let count = capacity.nodes.len() as u64;
    let rows = count.div_ceil(ACROSS);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"11\">\n",
        ACROSS.min(count) * STEP,
        rows * STEP
    );
    for (number, (node, load)) in (0_u64..).zip(&capacity.nodes) {
        let (left, top) = (number % ACROSS * STEP + 10, number / ACROSS * STEP + 20);
        let scale = |used: u64, room: u64| {
            u64::try_from(u128::from(used) * u128::from(BOX) / u128::from(room.max(1)))
                .unwrap_or(BOX)
                .min(BOX)
        };
        let width = scale(load.used.cpu_millis, load.room.cpu_millis);
        let height = scale(load.used.memory_bytes, load.room.memory_bytes);
        let replicas: Vec<_> = load
            .replicas
            .iter()
            .map(|(name, count)| format!("{} ×{count}", escape(name.as_str())))
            .collect();
        let _ = writeln!(
            out,
            "<g><title>{node}: {}</title><text x=\"{left}\" y=\"{}\">{node}</text>\
<rect x=\"{left}\" y=\"{top}\" width=\"{BOX}\" height=\"{BOX}\" fill=\"none\" stroke=\"#444\"/>\
<rect x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{height}\" fill=\"#4a90d9\" fill-opacity=\"0.6\"/></g>",
            replicas.join(", "),
            top - 5,
            top + BOX - height,
            node = escape(node.as_str()),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
