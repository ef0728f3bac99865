//! The desired graph: what the text says should be, in a few primitives.
//!
//! The graph holds no address of a network, no commit and no time: it is a function of the text
//! and of `berth.lock` alone. [`PodTemplate`]s are compared by digest (see [`super::canon`]).

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::action::{ImageSource, Protocol};
use super::names::{ImageDigest, NodeName, Tenant, WorkloadName};
use super::observation::Requests;

/// A whole project in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Whose it is.
    pub tenant: Tenant,
    /// The node that keeps the ledger.
    pub keeper: NodeName,
    /// Address pools.
    pub pools: Pools,
    /// The fleet.
    pub nodes: BTreeMap<NodeName, Node>,
    /// What should run.
    pub workloads: BTreeMap<WorkloadName, Workload>,
}

/// Address pools, shared by the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    /// Pods' IPv4 addresses; each node takes a /24 of it.
    pub pods4: Ipv4Net,
    /// Pods' IPv6 addresses; each node takes a /64 of it.
    pub pods6: Ipv6Net,
    /// Endpoints' IPv4 addresses.
    pub endpoints4: Ipv4Net,
    /// Endpoints' IPv6 addresses.
    pub endpoints6: Ipv6Net,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// A host name or an address.
    pub host: String,
    /// The login.
    pub user: String,
    /// sshd's port.
    pub port: u16,
    /// The one private key to offer; the agent's and the usual files otherwise.
    pub identity: Option<String>,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// Overrides what the node itself says that it has.
    pub capacity: Option<Requests>,
    /// Kept free for the system.
    pub reserve: Requests,
}

/// Something that should run, some number of times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// What each replica is.
    pub template: PodTemplate,
    /// How many.
    pub replicas: u32,
    /// Ports of the endpoint in front of it; no endpoint if empty.
    pub ports: Vec<Port>,
    /// When a replica counts as ready; at once when running, if absent.
    pub health: Option<Probe>,
    /// How a change reaches the replicas.
    pub rollout: Rollout,
    /// Where replicas may go.
    pub placement: Placement,
}

/// What a replica is made from. A change of any field replaces the replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTemplate {
    /// The image, pinned.
    pub image: ImageDigest,
    /// Where the image's bytes are. Not part of the digest.
    pub source: ImageSource,
    /// Replaces the image's entrypoint.
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    pub args: Vec<String>,
    /// Added to the image's environment.
    pub env: BTreeMap<String, String>,
    /// Requests, which are also the limits.
    pub resources: Requests,
    /// How long it may take to end by itself, in milliseconds.
    pub grace_ms: u64,
}

/// A port of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// For people and names.
    pub name: Option<String>,
    /// In the pod.
    pub container: u16,
    /// At the endpoint.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// How a replica is asked whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Over what.
    pub kind: ProbeKind,
    /// The port in the pod.
    pub port: u16,
    /// Pause between two, in milliseconds.
    pub every_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// Successes in a row that make it ready.
    pub pass_after: u32,
    /// Failures in a row that make it not ready.
    pub fail_after: u32,
}

/// What a probe speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// GET of a path; 200 to 399 is ready.
    Http {
        /// Begins with a slash.
        path: String,
    },
    /// A connection that is accepted.
    Tcp,
}

/// How a change reaches the replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// In which order.
    pub strategy: Strategy,
    /// How long a replica may take to get ready, in milliseconds.
    pub deadline_ms: u64,
    /// What happens when one does not.
    pub on_fail: OnFail,
}

/// In which order replicas are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A few at a time: at most `surge` more than wanted, at most `unavailable` fewer.
    Rolling {
        /// Replicas above the number wanted.
        surge: u32,
        /// Replicas below the number wanted.
        unavailable: u32,
    },
    /// All stop, then all start.
    Recreate,
}

/// What happens when a gate fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    /// The waves done go back, and a pin keeps it so until the text changes.
    Rollback,
    /// Everything stays as it is, for a person to look at.
    Stop,
}

/// Where replicas may go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Spread evenly over the values of this node label; over nodes if absent.
    pub spread: Option<String>,
    /// Labels that a node must have.
    pub require: BTreeMap<String, String>,
}
