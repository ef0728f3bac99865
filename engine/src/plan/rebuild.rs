//! What a ledger would say, from the nodes alone: for when it is lost with every copy.
//!
//! Pods' labels say what runs, where, and under which generation; networks and tables say which addresses
//! are claimed; volumes' notes say whose data is where. What only the ledger knew is named, so that a
//! person can say it again: decisions, what stands in place of a release that was turned down, and what a
//! workload was whose pods are not what the text says.

use std::collections::{BTreeMap, BTreeSet};

use super::body::Goal;
use super::canon::template_digest;
use super::content::Contents;
use super::graph::{Graph, Workload};
use super::ledger::{Claims, Head, LOST_GENERATIONS, NodeAddresses, Remembered};
use super::moved;
use super::names::WorkloadName;
use super::observation::{NodeView, Observation};
use super::peers::NODE_PREFIX4;
use super::world::{State, World};

/// The head that the nodes speak for, and what they cannot say, one line each.
pub fn head(graph: &Graph, observation: &Observation) -> (Head, Vec<String>) {
    let mut head = Head { claims: claims(graph, observation), ..Head::default() };
    let mut unknown = Vec::new();
    for (node, view) in &observation.nodes {
        match view {
            NodeView::Seen(seen) => {
                for (id, pod) in &seen.spec.pods {
                    head.revision = head.revision.max(pod.revision);
                    let highest = head.generations.entry(id.replica()).or_default();
                    *highest = (*highest).max(id.generation);
                }
                for id in seen.spec.volumes.keys() {
                    let home = Remembered { node: node.clone(), unsure: false };
                    head.volumes.insert(id.clone(), home);
                }
            }
            NodeView::Unknown { why, .. } => {
                unknown
                    .push(format!("{node} does not answer ({why}): what runs there is not known"));
            }
        }
    }
    let highest = head.generations.values().copied().max().unwrap_or(0);
    // Each keeper that was lost raised them, and what was made then may be gone without a trace.
    let epochs = observation.marks().map(|mark| mark.epoch).max().unwrap_or(0);
    head.least_generation = highest + LOST_GENERATIONS * (epochs + 1);
    // Volumes are called what their folders are; services that nodes call otherwise still are renamed by the next plan.
    let known = head.clone();
    let view = moved::view(graph, observation, &known, Goal::Destroy);
    head.stored.clone_from(&view.stored);
    let graph = &*view.graph;
    let world = World::of(graph, observation, &known);
    for (id, here) in &world.pods {
        if here.state == State::Running && here.led || here.state == State::Done {
            head.proven.insert(id.clone());
        }
        head.placed.insert(id.clone(), here.placed.clone());
    }
    let workloads: BTreeSet<&WorkloadName> =
        world.pods.values().map(|here| &here.placed.workload).collect();
    for name in workloads {
        let Some(text) = graph.workloads.get(name) else {
            unknown.push(format!("service/{name} runs and is not in the text: it will be removed"));
            continue;
        };
        let digest = template_digest(&text.template);
        let pods = || world.pods.iter().filter(|(_, here)| &here.placed.workload == name);
        let ended: BTreeSet<u32> = pods()
            .filter(|(_, here)| here.state == State::Done && here.placed.digest == digest)
            .map(|(id, _)| id.ordinal)
            .collect();
        let reach = |head: &mut Head, name: &WorkloadName, text: &Workload| {
            head.reached.insert(name.clone(), text.clone());
            let contents =
                Contents::gather(text.template.contents(), &graph.contents, &head.contents);
            head.contents.extend(&contents);
        };
        if text.once.is_some() {
            if (0..text.replicas).all(|ordinal| ended.contains(&ordinal)) {
                reach(&mut head, name, text);
            }
        } else if pods().all(|(_, here)| here.placed.digest == digest) {
            reach(&mut head, name, text);
        } else {
            unknown.push(format!(
                "service/{name} runs something else than the text says: if its next rollout fails, it cannot be put back"
            ));
        }
    }
    for (name, _) in graph.workloads.iter().filter(|(_, text)| text.once.is_some()) {
        if !head.reached.contains_key(name) {
            unknown.push(format!(
                "job/{name}: no node says that it is done, so that it runs again with the next apply"
            ));
        }
    }
    unknown.push(
        "decisions (cordon, drain, pause, scale, rollback) and releases that were turned down"
            .to_owned(),
    );
    (head, unknown)
}

fn claims(graph: &Graph, observation: &Observation) -> Claims {
    let mut claims = Claims::default();
    let pods = u32::from(graph.pools.pods4.network());
    let endpoints = u32::from(graph.pools.endpoints4.network());
    let mut addresses: BTreeMap<WorkloadName, u32> = BTreeMap::new();
    for node in observation.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        if let Some(network) = &seen.spec.network {
            let offset = u32::from(network.range4.network()).wrapping_sub(pods);
            claims.ranges.insert(node.clone(), offset >> (32 - NODE_PREFIX4));
        }
        for (name, endpoint) in &seen.spec.endpoints {
            let index = u32::from(endpoint.address4).wrapping_sub(endpoints);
            addresses.insert(name.clone(), index);
        }
        let (address4, address6) = (seen.facts.address4, seen.facts.address6);
        let machine_id = seen.facts.machine_id.clone();
        claims.nodes.insert(node.clone(), NodeAddresses { machine_id, address4, address6 });
    }
    claims.endpoints = addresses;
    claims
}
