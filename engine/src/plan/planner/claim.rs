//! Address claims: every node's range, every endpoint's address. What is claimed stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::plan::body::{Blocked, PlanBody};
use crate::plan::graph::{Graph, Workload};
use crate::plan::ledger::Claims;
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::Observation;
use crate::plan::peers;
use crate::plan::tenancy;

/// Gives every node its range and every endpoint its address; what is claimed stays.
pub(super) fn claim(
    (graph, observation): (&Graph, &Observation),
    wanted: &BTreeMap<WorkloadName, Workload>,
    body: &mut PlanBody,
) {
    let claims = &mut body.claims;
    claims.nodes.retain(|node, _| graph.nodes.contains_key(node));
    claims.ranges.retain(|node, _| graph.nodes.contains_key(node));
    // What a node has stays: others on it may have set it up.
    let slices = tenancy::slices(graph, observation, &claims.ranges);
    let has: BTreeSet<u32> = slices.values().copied().collect();
    claims.ranges.retain(|node, index| slices.contains_key(node) || !has.contains(index));
    claims.ranges.extend(slices);
    let taken: BTreeSet<u32> = claims.ranges.values().copied().collect();
    let mut free = (0..).filter(|index| !taken.contains(index));
    for node in graph.nodes.keys() {
        if !claims.ranges.contains_key(node) {
            claims.ranges.insert(node.clone(), free.next().unwrap_or(u32::MAX));
        }
        if ranges(graph, claims, node).is_none() {
            body.blocked.push(Blocked::PoolUsedUp { pool: "pods".into(), by: node.to_string() });
        }
    }
    let of_others = tenancy::endpoints_of_others(observation);
    if !of_others.is_empty() {
        // One that another tenant has, and no node of ours leads to, was never got.
        let ours: BTreeSet<Ipv4Addr> = observation
            .nodes
            .keys()
            .filter_map(|node| observation.seen(node))
            .flat_map(|seen| seen.spec.endpoints.values().map(|endpoint| endpoint.address4))
            .collect();
        claims.endpoints.retain(|_, index| {
            let address = address(graph, *index);
            address.is_none_or(|address| !of_others.contains(&address) || ours.contains(&address))
        });
    }
    let with_ports = wanted.iter().filter(|(_, workload)| !workload.ports.is_empty());
    let taken: BTreeSet<u32> = claims.endpoints.values().copied().collect();
    let mut free = (1..).filter(|index| {
        let is_others = || address(graph, *index).is_some_and(|ip| of_others.contains(&ip));
        !taken.contains(index) && !is_others()
    });
    for (name, _) in with_ports {
        if !claims.endpoints.contains_key(name) {
            claims.endpoints.insert(name.clone(), free.next().unwrap_or(u32::MAX));
        }
        if addresses(graph, claims, name).is_none() {
            let by = name.to_string();
            body.blocked.push(Blocked::PoolUsedUp { pool: "endpoints".into(), by });
        }
    }
}

/// A node's slices of the graph's pools.
pub(super) fn ranges(
    graph: &Graph,
    claims: &Claims,
    node: &NodeName,
) -> Option<(ipnet::Ipv4Net, ipnet::Ipv6Net)> {
    peers::ranges(claims, (graph.pools.pods4, graph.pools.pods6), node)
}

pub(in crate::plan) fn addresses(
    graph: &Graph,
    claims: &Claims,
    name: &WorkloadName,
) -> Option<(Ipv4Addr, Ipv6Addr)> {
    let index = *claims.endpoints.get(name)?;
    let address4 = address(graph, index)?;
    let pool6 = u128::from(graph.pools.endpoints6.network());
    let address6 = Ipv6Addr::from(pool6.checked_add(u128::from(index))?);
    Some((address4, address6))
}

/// An address of the endpoint pool, counted from 1, if it has so many.
fn address(graph: &Graph, index: u32) -> Option<Ipv4Addr> {
    let pool = graph.pools.endpoints4;
    let address = Ipv4Addr::from(u32::from(pool.network()).checked_add(index)?);
    (pool.contains(&address) && address != pool.broadcast()).then_some(address)
}
