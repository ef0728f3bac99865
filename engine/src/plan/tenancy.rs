//! Whose a fleet is, where several environments and projects are on the same nodes.
//!
//! What belongs to a node as a whole (its network with its slice of the pod pools, and the reflexes) has one
//! owner: the tenant that set it up, as the node's network says, for as long as anything of that tenant is there.
//! Every other tenant takes it as it is, and claims what is left: endpoint addresses that no node has of
//! another tenant. When the owner is gone from a node, whoever plans next takes it over.
//!
//! A node that the fleet's owner has not set up is none that others can use yet: they plan as if it did not
//! answer. Nodes of two owners make no fleet, since pods of one would not reach those of the other.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::body::{Blocked, Goal};
use super::graph::{Graph, Pools};
use super::names::NodeName;
use super::observation::{NodeSpec, NodeView, Observation};
use super::peers::slice;

/// Whose a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold<'a> {
    /// Ours: our plans set it up.
    Ours,
    /// Nobody has set it up.
    Nobodys,
    /// Another tenant's, by its namespace.
    Others(&'a str),
}

/// Says whose a node is, for the tenant of a namespace.
pub fn hold<'a>(spec: &'a NodeSpec, own: &str) -> Hold<'a> {
    let Some(network) = &spec.network else { return Hold::Nobodys };
    match &network.owner {
        Some(owner) if owner == own => Hold::Ours,
        Some(owner) if spec.tenants.contains(owner) => Hold::Others(owner),
        // The owner is gone.
        Some(_) => Hold::Ours,
        // Of before a network said whose it is.
        None => match spec.tenants.first() {
            Some(first) if !spec.tenant || &**first < own => Hold::Others(first),
            Some(_) | None => Hold::Ours,
        },
    }
}

/// What a tenant sees of a fleet.
pub struct View<'a> {
    /// The nodes that it can plan on, and the others as if they did not answer.
    pub observation: Cow<'a, Observation>,
    /// Whose the fleet is, by its namespace, if it is another tenant's.
    pub owner: Option<String>,
    /// Why nothing can be planned.
    pub blocked: Vec<Blocked>,
}

/// Looks at a fleet as a tenant of it.
pub fn view<'a>(graph: &Graph, observation: &'a Observation, goal: Goal) -> View<'a> {
    let own = graph.tenant.namespace();
    let holds: BTreeMap<&NodeName, Hold<'_>> = graph
        .nodes
        .keys()
        .filter_map(|node| Some((node, hold(&observation.seen(node)?.spec, &own))))
        .collect();
    let mut of_others = holds.iter().filter_map(|(node, hold)| match hold {
        Hold::Others(owner) => Some((*node, *owner)),
        Hold::Ours | Hold::Nobodys => None,
    });
    let mut view =
        View { observation: Cow::Borrowed(observation), owner: None, blocked: Vec::new() };
    let Some((_, owner)) = of_others.next() else { return view };
    view.owner = Some(owner.to_owned());
    match goal {
        Goal::Destroy => return view,
        Goal::Converge => {}
    }
    for (node, hold) in &holds {
        let Some(seen) = observation.seen(node) else { continue };
        let is_ours = match hold {
            Hold::Ours => true,
            Hold::Others(other) => *other != owner,
            Hold::Nobodys => false,
        };
        if is_ours {
            let (node, owner) = ((*node).clone(), owner.to_owned());
            view.blocked.push(Blocked::OtherFleet { node, owner });
        } else if seen.spec.network.as_ref().is_some_and(|n| !is_of(&graph.pools, n)) {
            let (node, owner) = ((*node).clone(), owner.to_owned());
            view.blocked.push(Blocked::OtherPools { node, owner });
        }
        if *hold == Hold::Nobodys && !seen.spec.tenant {
            let why = format!("{owner} owns this fleet, and has not set the server up");
            let unknown = NodeView::Unknown { why, silent: false };
            view.observation.to_mut().nodes.insert((*node).clone(), unknown);
        }
    }
    view
}

fn is_of(pools: &Pools, network: &super::action::NodeNetwork) -> bool {
    let Pools { pods4, pods6, endpoints4, endpoints6 } = pools;
    (&network.pods4, &network.pods6) == (pods4, pods6)
        && (&network.endpoints4, &network.endpoints6) == (endpoints4, endpoints6)
}

/// The slices of the pod pools that nodes have, whatever was claimed for them: those that other tenants set up, and
/// those of ours that nobody else claims.
pub fn slices(
    graph: &Graph,
    observation: &Observation,
    claimed: &BTreeMap<NodeName, u32>,
) -> BTreeMap<NodeName, u32> {
    let own = graph.tenant.namespace();
    let pools = (graph.pools.pods4, graph.pools.pods6);
    let has = |node: &NodeName| {
        let seen = observation.seen(node)?;
        let network = seen.spec.network.as_ref().filter(|network| is_of(&graph.pools, network))?;
        let offset = u32::from(network.range4.network())
            .wrapping_sub(u32::from(graph.pools.pods4.network()));
        let index = offset >> (32 - super::peers::NODE_PREFIX4);
        let is_it = slice(index, pools) == Some((network.range4, network.range6));
        is_it.then(|| (index, hold(&seen.spec, &own)))
    };
    let found: Vec<(&NodeName, u32, Hold<'_>)> = graph
        .nodes
        .keys()
        .filter_map(|node| has(node).map(|(index, hold)| (node, index, hold)))
        .collect();
    let mut slices = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (node, index, hold) in &found {
        let is_others = matches!(hold, Hold::Others(_));
        if (is_others || claimed.get(*node) == Some(index)) && taken.insert(*index) {
            slices.insert((*node).clone(), *index);
        }
    }
    for (node, index, _) in found {
        let is_claimed = claimed.iter().any(|(other, of)| other != node && *of == index);
        if !slices.contains_key(node) && !is_claimed && taken.insert(index) {
            slices.insert(node.clone(), index);
        }
    }
    slices
}

/// The endpoint addresses that other tenants have, on any node.
pub fn endpoints_of_others(observation: &Observation) -> BTreeSet<Ipv4Addr> {
    let seen = observation.nodes.values().filter_map(|view| match view {
        NodeView::Seen(seen) => Some(&seen.spec.endpoints_of_others),
        NodeView::Unknown { .. } => None,
    });
    seen.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::action::{NodeNetwork, PeerList};

    fn spec(owner: Option<&str>, tenants: &[&str]) -> NodeSpec {
        let pools = ("10.88.0.0/16".parse().expect("one"), "fd00:88::/48".parse().expect("one"));
        let (range4, range6) = slice(0, pools).expect("a slice");
        let network = NodeNetwork {
            range4,
            range6,
            pods4: pools.0,
            pods6: pools.1,
            endpoints4: "10.99.0.0/16".parse().expect("a pool"),
            endpoints6: "fd00:99::/64".parse().expect("a pool"),
            peers: PeerList::Listed(Vec::new()),
            owner: owner.map(str::to_owned),
        };
        let tenants = tenants.iter().map(|name| (*name).to_owned()).collect();
        NodeSpec { network: Some(network), tenants, ..NodeSpec::default() }
    }

    #[test]
    fn whose_a_node_is() {
        assert_eq!(hold(&NodeSpec::default(), "b"), Hold::Nobodys);
        assert_eq!(hold(&spec(Some("b"), &["a"]), "b"), Hold::Ours);
        assert_eq!(hold(&spec(Some("a"), &["a", "c"]), "b"), Hold::Others("a"));
        assert_eq!(hold(&spec(Some("gone"), &["c"]), "b"), Hold::Ours);
        // Of before a network said whose it is: the first by name of those that are there.
        assert_eq!(hold(&spec(None, &[]), "b"), Hold::Ours);
        let both = |other| NodeSpec { tenant: true, ..spec(None, &[other]) };
        assert_eq!(hold(&both("a"), "b"), Hold::Others("a"));
        assert_eq!(hold(&both("c"), "b"), Hold::Ours);
        assert_eq!(hold(&spec(None, &["c"]), "b"), Hold::Others("c"));
    }
}
