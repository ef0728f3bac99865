//! The nodes as each other's next hops: one list for the whole fleet, said once.
//!
//! Every node's network has routes to all others. Said by each node, that is the square of the
//! fleet; so a plan's claims say it once, and a node's network names the list by its digest. The
//! list holds the node itself as well, so that it is the same for all.

use super::action::{Peer, PeerList};
use super::body::{PlanBody, Work};
use super::canon::digest_of;
use super::ledger::Claims;
use super::names::NodeName;

/// Prefix length of a node's slice of the IPv4 pod pool.
pub const NODE_PREFIX4: u8 = 24;
/// Prefix length of a node's slice of the IPv6 pod pool.
pub const NODE_PREFIX6: u8 = 64;

/// Computes a node's slices of the pod pools; `None` if it has claimed none or the pools have no
/// such slice.
pub fn ranges(
    claims: &Claims,
    (pool4, pool6): (ipnet::Ipv4Net, ipnet::Ipv6Net),
    name: &NodeName,
) -> Option<(ipnet::Ipv4Net, ipnet::Ipv6Net)> {
    slice(*claims.ranges.get(name)?, (pool4, pool6))
}

/// Computes one slice of the pod pools, counted from 0; `None` if they have no such slice.
pub fn slice(
    index: u32,
    (pool4, pool6): (ipnet::Ipv4Net, ipnet::Ipv6Net),
) -> Option<(ipnet::Ipv4Net, ipnet::Ipv6Net)> {
    let most = |prefix: u8, pool: u8| 1_u64 << prefix.saturating_sub(pool).min(32);
    if pool4.prefix_len() > NODE_PREFIX4
        || pool6.prefix_len() > NODE_PREFIX6
        || u64::from(index) >= most(NODE_PREFIX4, pool4.prefix_len())
        || u64::from(index) >= most(NODE_PREFIX6, pool6.prefix_len())
    {
        return None;
    }
    // Counted rather than walked to: with many nodes, walking to each is quadratic.
    let base4 =
        u32::from(pool4.network()).checked_add(index.checked_mul(1 << (32 - NODE_PREFIX4))?)?;
    let base6 = u128::from(pool6.network()) + (u128::from(index) << (128 - NODE_PREFIX6));
    let range4 = ipnet::Ipv4Net::new(base4.into(), NODE_PREFIX4).ok()?;
    let range6 = ipnet::Ipv6Net::new(base6.into(), NODE_PREFIX6).ok()?;
    Some((range4, range6))
}

/// Lists every node that has a range and was seen once, in the order of names.
pub fn peers(claims: &Claims, pools: (ipnet::Ipv4Net, ipnet::Ipv6Net)) -> Vec<Peer> {
    let peer = |node: &NodeName| {
        let known = claims.nodes.get(node)?;
        let (range4, range6) = ranges(claims, pools, node)?;
        Some(Peer {
            node: node.clone(),
            address4: known.address4,
            address6: known.address6,
            range4,
            range6,
        })
    };
    claims.nodes.keys().filter_map(peer).collect()
}

/// Names a list by its digest.
pub fn named(peers: &[Peer]) -> PeerList {
    PeerList::Digest(digest_of("berth-peers/1", &peers))
}

impl PlanBody {
    /// Lists what the networks of this plan name by digest; empty if it sets up none.
    pub fn peers(&self) -> Vec<Peer> {
        let network = self.steps.iter().find_map(|step| match &step.work {
            Work::Act(super::action::Action::EnsureNetwork { network }) => Some(network),
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => None,
        });
        match network {
            Some(network) => peers(&self.claims, (network.pods4, network.pods6)),
            None => Vec::new(),
        }
    }
}
