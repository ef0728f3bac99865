//! Address claims: every node's range, every endpoint's address. What is claimed stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::plan::body::{Blocked, PlanBody};
use crate::plan::graph::{Graph, Workload};
use crate::plan::ledger::Claims;
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::peers;

/// Gives every node its range and every endpoint its address; what is claimed stays.
pub(super) fn claim(graph: &Graph, wanted: &BTreeMap<WorkloadName, Workload>, body: &mut PlanBody) {
    let claims = &mut body.claims;
    claims.nodes.retain(|node, _| graph.nodes.contains_key(node));
    claims.ranges.retain(|node, _| graph.nodes.contains_key(node));
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
    let with_ports = wanted.iter().filter(|(_, workload)| !workload.ports.is_empty());
    let taken: BTreeSet<u32> = claims.endpoints.values().copied().collect();
    let mut free = (1..).filter(|index| !taken.contains(index));
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
    let pool4 = graph.pools.endpoints4;
    let address4 = Ipv4Addr::from(u32::from(pool4.network()).checked_add(index)?);
    let pool6 = u128::from(graph.pools.endpoints6.network());
    let address6 = Ipv6Addr::from(pool6.checked_add(u128::from(index))?);
    (pool4.contains(&address4) && address4 != pool4.broadcast()).then_some((address4, address6))
}
