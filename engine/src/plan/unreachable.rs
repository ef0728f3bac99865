//! Nodes that do not answer: since when, and which of their replicas are given up for new ones elsewhere.
//!
//! Unknown is not empty: what the ledger says of a silent node counts as there, and nobody takes its
//! place. There are three ways out. A person says that the node is switched off ([`Override::Fenced`]) and
//! answers for it. Or the text lets a workload's replicas be replaced after a while
//! ([`OnUnreachable::ReplaceAfter`]), and so run twice for as long as the node is only cut off; that is for
//! workloads of which two releases may run side by side. Or it lets the node be switched off after a while
//! ([`OnUnreachable::FenceAfter`]), by a program that the text names: a step of the plan, which counts like a
//! person's word from then on. Nothing that mounts a volume is ever given up: its
//! data is on that node. What is given up stays remembered, and a node that comes back loses it, since of
//! one replica the highest generation wins.
//!
//! Since when a node is silent is told by the ledger: the first apply that finds it so notes it, in its
//! plan, and the first that finds it answering takes the note away. A node counts as silent if nothing
//! answers at its address; one that answers and refuses (a key, a full disk) is no case for this. If half of
//! the nodes or more are silent, it is rather this machine that is cut off: then time alone gives up nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::body::Placed;
use super::change::millis;
use super::graph::{Graph, Node, OnUnreachable, Strategy, Workload};
use super::ledger::Head;
use super::moment::utc;
use super::names::{NodeName, PodId, WorkloadName};
use super::observation::{NodeView, Observation};
use super::overrides::{self, Override, Standing, Subject};
use super::world::{Here, State, World};

/// A pod on a silent node whose replica begins anew elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Where it was.
    pub placed: Placed,
    /// Why, for people: `n2 is silent since 2026-11-27 14:02:10 UTC`.
    pub why: String,
}

/// What is made of the nodes that do not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreachable {
    /// Since when, in milliseconds since 1970, each node is silent that has what may be replaced.
    pub silent: BTreeMap<NodeName, u64>,
    /// What is given up.
    pub given_up: BTreeMap<PodId, GivenUp>,
    /// Nodes that are to be switched off, each with the program that does, and since when it is silent.
    pub fences: BTreeMap<NodeName, (Vec<String>, u64)>,
    /// Nodes that would be, and have no such program.
    pub no_fence: BTreeSet<NodeName>,
    /// Whether something would be given up, and is not: half of the nodes or more are silent, so it may be
    /// this machine that is cut off.
    pub cut_off: bool,
    /// What is given up later, and when, in milliseconds since 1970.
    pub later: BTreeMap<PodId, u64>,
}

/// The decision by which a node is switched off, if it counts at a moment.
pub fn fence<'a>(overrides: &'a [Standing], node: &NodeName, now_ms: u64) -> Option<&'a Standing> {
    let subject = Subject::Fence(node.clone());
    overrides::counting(overrides, now_ms).find(|standing| standing.what.subject() == subject)
}

/// Why a workload's replicas cannot be replaced while the old ones may run, if they cannot.
pub fn bound(workload: &Workload) -> Option<&'static str> {
    let is_fenced = matches!(workload.on_unreachable, OnUnreachable::FenceAfter { .. });
    match workload.rollout.strategy {
        _ if !workload.template.mounts.is_empty() => Some("its data is on one node"),
        _ if workload.placement.every_node => Some("it runs on every node"),
        _ if is_fenced => None,
        Strategy::Recreate => Some("`recreate` says that no two of its releases run at once"),
        Strategy::Ordered => Some("`ordered` says that no two of one replica run at once"),
        Strategy::Rolling { .. } | Strategy::Canary { .. } | Strategy::BlueGreen => None,
    }
}

/// Whether nothing answers at a node's address.
fn is_silent(view: &NodeView) -> bool {
    matches!(view, NodeView::Unknown { silent: true, why: _ })
}

/// What the ledger says of nodes that are silent still: what a plan that is about other services leaves.
pub fn still_silent(observation: &Observation, head: &Head) -> BTreeMap<NodeName, u64> {
    let is_still = |node: &NodeName| observation.nodes.get(node).is_some_and(is_silent);
    let still = head.silent.iter().filter(|(node, _)| is_still(node));
    still.map(|(node, since)| (node.clone(), *since)).collect()
}

/// Looks at what is on nodes that do not answer.
pub fn look(
    wanted: &BTreeMap<WorkloadName, Workload>,
    (nodes, observation, head): (&BTreeMap<NodeName, Node>, &Observation, &Head),
    world: &World,
    now_ms: u64,
) -> Unreachable {
    let mut found = Unreachable::default();
    let is_on = |(node, _): &(&NodeName, &NodeView)| fence(&head.overrides, node, now_ms).is_none();
    let on = || observation.nodes.iter().filter(is_on);
    let cut_off = on().filter(|(_, view)| is_silent(view)).count() * 2 >= on().count();
    let assumed = world.pods.iter().filter(|(_, here)| here.state == State::Assumed);
    let is_still_silent = |node: &NodeName| observation.nodes.get(node).is_some_and(is_silent);
    due_fences(wanted, (nodes, observation, head), assumed.clone(), (cut_off, now_ms), &mut found);
    for (id, here) in assumed {
        let node = here.node();
        let Some(workload) = wanted.get(&here.placed.workload) else { continue };
        if workload.placement.every_node || !workload.template.mounts.is_empty() {
            continue;
        }
        let given_up = |why: String| GivenUp { placed: here.placed.clone(), why };
        if let Some(fence) = fence(&head.overrides, node, now_ms) {
            // What is noted of it stays so, for as long as it is.
            if let Some(since) = head.silent.get(node).filter(|_| is_still_silent(node)) {
                found.silent.insert(node.clone(), *since);
            }
            let why = format!("{node} is switched off, {}", fence.reason());
            found.given_up.insert(id.clone(), given_up(why));
            continue;
        }
        // What leaves a node that is switched off leaves it, whatever the text says of it.
        if let Some((_, since)) = found.fences.get(node) {
            let why = format!("{node} is silent since {}, and is switched off", utc(*since));
            found.given_up.insert(id.clone(), given_up(why));
            continue;
        }
        let is_silent = observation.nodes.get(node).is_some_and(is_silent);
        match workload.on_unreachable {
            OnUnreachable::ReplaceAfter { ms } if is_silent && bound(workload).is_none() => {
                let since = head.silent.get(node).copied().unwrap_or(now_ms);
                found.silent.insert(node.clone(), since);
                let at = since.saturating_add(ms);
                if cut_off {
                    found.cut_off = true;
                } else if now_ms >= at {
                    let why = format!(
                        "{node} is silent since {}, and it is replaced after {}",
                        utc(since),
                        millis(ms)
                    );
                    found.given_up.insert(id.clone(), given_up(why));
                } else {
                    found.later.insert(id.clone(), at);
                }
            }
            OnUnreachable::ReplaceAfter { .. }
            | OnUnreachable::FenceAfter { .. }
            | OnUnreachable::Wait => {}
        }
    }
    found
}

/// Which nodes are switched off by this plan, since what was there is to run elsewhere by now.
fn due_fences<'a>(
    wanted: &BTreeMap<WorkloadName, Workload>,
    (nodes, observation, head): (&BTreeMap<NodeName, Node>, &Observation, &Head),
    assumed: impl Iterator<Item = (&'a PodId, &'a Here)>,
    (cut_off, now_ms): (bool, u64),
    found: &mut Unreachable,
) {
    for (id, here) in assumed {
        let node = here.node();
        let Some(workload) = wanted.get(&here.placed.workload) else { continue };
        let OnUnreachable::FenceAfter { ms } = workload.on_unreachable else { continue };
        let is_silent = observation.nodes.get(node).is_some_and(is_silent);
        if !is_silent || bound(workload).is_some() || fence(&head.overrides, node, now_ms).is_some()
        {
            continue;
        }
        let since = head.silent.get(node).copied().unwrap_or(now_ms);
        found.silent.insert(node.clone(), since);
        let at = since.saturating_add(ms);
        let command = nodes.get(node).map(|node| node.fence.clone()).unwrap_or_default();
        if command.is_empty() {
            found.no_fence.insert(node.clone());
        } else if cut_off {
            found.cut_off = true;
        } else if now_ms >= at {
            found.fences.insert(node.clone(), (command, since));
        } else {
            found.later.insert(id.clone(), at);
        }
    }
}

/// Which nodes are said to be switched off and answer, each with who said so.
pub fn answering<'a>(
    observation: &Observation,
    overrides: &'a [Standing],
    now_ms: u64,
) -> Vec<(&'a NodeName, &'a Standing)> {
    let fenced =
        overrides::counting(overrides, now_ms).filter_map(|standing| match &standing.what {
            Override::Fenced { node, by_plan: _ } => Some((node, standing)),
            Override::Intake { .. } | Override::Pause { .. } | Override::Replicas { .. } => None,
        });
    fenced.filter(|(node, _)| observation.seen(node).is_some()).collect()
}

/// Nodes that the text has no more, with the pods that the ledger says are there and no other node has:
/// nobody can look, and nothing takes their place unasked. (Nothing is ever made in the place of a volume.)
pub fn left_behind(
    graph: &Graph,
    observation: &Observation,
    head: &Head,
) -> BTreeMap<NodeName, BTreeSet<String>> {
    let mut left: BTreeMap<NodeName, BTreeSet<String>> = BTreeMap::new();
    let mut pods = head.may_be_there();
    pods.retain(|_, placed| !graph.nodes.contains_key(&placed.node));
    for (id, placed) in pods {
        let mut seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
        if !seen.any(|seen| seen.spec.pods.contains_key(id)) {
            left.entry(placed.node.clone()).or_default().insert(id.to_string());
        }
    }
    left
}
