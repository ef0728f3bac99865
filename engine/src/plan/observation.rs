//! What was seen on the nodes: Spec (what engines wrote), Facts (slow), Status (volatile).
//!
//! An observation is stale by the time it is read. A plan's preconditions cover the Spec and
//! Facts that it read; the executor takes the locks and observes again before it writes.
//! A node that could not be reached is [`NodeView::Unknown`], which is not empty: what was known
//! to be there still counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::action::{Endpoint, NodeNetwork, NodePort, Reflex};
use super::ledger::Mark;
use super::names::{ImageDigest, NodeName, PodId, SpecDigest, VolumeId, VolumeName, WorkloadName};

/// Every node of the fleet, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// One view a node of the graph.
    pub nodes: BTreeMap<NodeName, NodeView>,
    /// What nodes remember of our tenant's ledger that could not be read otherwise. No plan depends on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<NodeName, Mark>,
}

/// A node seen, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeView {
    /// The node answered.
    Seen(Box<NodeObservation>),
    /// The node could not be read.
    Unknown {
        /// Why, for people.
        why: String,
        /// Whether nothing at all answered at its address. If something did, what runs there is
        /// taken to go on serving: the fault may be this engine's own.
        silent: bool,
    },
}

/// One node that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// What rarely changes.
    pub facts: Facts,
    /// What engines wrote.
    pub spec: NodeSpec,
    /// What changes by itself.
    pub status: NodeStatus,
    /// What it remembers of our tenant's ledger. No plan depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Mark>,
}

/// What rarely changes on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `/etc/machine-id`: the same address with another id is another machine.
    pub machine_id: String,
    /// The IPv4 address that our connection reached, or the first global one.
    pub address4: Option<Ipv4Addr>,
    /// A global or unique-local IPv6 address of the same interface, if it has one.
    pub address6: Option<Ipv6Addr>,
    /// CPU in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Bytes of the file system where containerd keeps its data; 0 if not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_bytes: u64,
    /// As OCI names it: `amd64`, `arm64`.
    pub arch: String,
    /// The distribution, for people: `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// containerd's version.
    pub containerd: String,
    /// Requirements that the node lacks, each with the command that mends it.
    pub missing: Vec<Missing>,
    /// Whether it has nothing to keep secrets sealed with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cannot_seal: bool,
}

/// A requirement that a node lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    /// What: `nft`, `CNI plugin bridge`.
    pub what: String,
    /// A command that mends it.
    pub mend: String,
}

/// What engines wrote on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// The node's network, if Berth has set it.
    pub network: Option<NodeNetwork>,
    /// Installed reflexes and their versions.
    pub reflexes: BTreeMap<Reflex, u32>,
    /// Whether our tenant's namespace and folders are there.
    pub tenant: bool,
    /// Whether only a part of them is: what is left of a removal that was cut off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tenant_remains: bool,
    /// Our tenant's pods, whatever their state.
    pub pods: BTreeMap<PodId, PodSeen>,
    /// Our tenant's endpoints, as their files and tables say.
    pub endpoints: BTreeMap<WorkloadName, Endpoint>,
    /// Our tenant's images that are complete and unpacked.
    pub images: BTreeSet<ImageDigest>,
    /// Other tenants that have anything on this node, by namespace.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tenants: BTreeSet<String>,
    /// The IPv4 addresses of their endpoints.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub endpoints_of_others: BTreeSet<Ipv4Addr>,
    /// What other tenants on this node ask for, by namespace.
    pub others: BTreeMap<String, Requests>,
    /// Addresses claimed on this node, by us and by other tenants.
    pub claimed: BTreeSet<Ipv4Addr>,
    /// Containers that no Berth made.
    pub foreign: BTreeSet<Foreign>,
    /// Our tenant's volumes, whether the text has them or not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<VolumeId, VolumeSpec>,
    /// What other tenants' volumes take of the disk, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub volumes_of_others_bytes: u64,
}

/// What a volume's folder is, and what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// What placement counts of the node's disk, in bytes. Nothing enforces it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
    /// Whom the folder belongs to, by number.
    #[serde(default)]
    pub user: u32,
    /// The group whom it belongs to, by number.
    #[serde(default)]
    pub group: u32,
    /// Whether its data goes with it when it leaves the text.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// Whether a plan that would remove its data is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// What the text calls the volume, if its folder is not called so: it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<VolumeName>,
}

/// What becomes of a volume's data when the volume leaves the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It stays where it is.
    #[default]
    Retain,
    /// It goes.
    Destroy,
}

/// A pod as its labels say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSeen {
    /// The workload as the text named it.
    pub workload: WorkloadName,
    /// The digest of the template that it was made from.
    pub digest: SpecDigest,
    /// Its image.
    pub image: ImageDigest,
    /// Its IPv4 address.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address.
    pub ip6: Ipv6Addr,
    /// What it asks for.
    pub requests: Requests,
    /// The revision that created it.
    pub revision: u64,
    /// Whether its program ends by itself: it is a job's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// Whether its node runs it now and then: it is a cron's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cron: bool,
    /// How long it may take to end by itself when it is asked to, in milliseconds.
    pub grace_ms: u64,
    /// Whether container and labels agree with what Berth wrote (its image, its command, its
    /// limits); false after a change by hand.
    pub intact: bool,
    /// Volumes that it mounts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mounts: BTreeSet<VolumeId>,
}

/// What is asked for, or what there is: the two that the kernel enforces, and what is only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requests {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
    /// Bytes where containerd keeps its data.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disk_bytes: u64,
    /// What the user named (GPUs, licences), in whole pieces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, u64>,
    /// Ports of the node itself, of which there is one each.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<NodePort>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A container that no Berth made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Foreign {
    /// Its containerd namespace.
    pub namespace: String,
    /// Its id.
    pub id: String,
}

/// What changes by itself on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Each of our pods' state.
    pub pods: BTreeMap<PodId, PodStatus>,
    /// Bytes free where containerd keeps its data.
    pub disk_free_bytes: u64,
    /// How much processes waited for CPU, memory or disk lately, in three buckets.
    #[serde(default)]
    pub pressure: Pressure,
    /// Ports that processes of the node itself listen on, and not just at a loopback address.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub listens: BTreeSet<NodePort>,
    /// The node's clock minus the engine's, in milliseconds.
    pub clock_skew_ms: i64,
}

/// How much of the last minute some process waited (the kernel's pressure stall information): the
/// worst of CPU, memory and I/O. Coarse on purpose, so that a plan does not hang on a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// Less than a tenth of the time, or not known.
    #[default]
    Low,
    /// Less than four tenths.
    Some,
    /// More.
    High,
}

impl Pressure {
    /// Puts a share, in hundredths of a percent, into its bucket.
    pub fn of(hundredths: u32) -> Self {
        match hundredths {
            0..1000 => Self::Low,
            1000..4000 => Self::Some,
            _ => Self::High,
        }
    }
}

/// A pod's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum PodStatus {
    /// Its process runs.
    Running {
        /// How often the restart reflex has started it again.
        restarts: u32,
        /// When it started, in milliseconds since 1970 on the node's clock; 0 if not known.
        started_at_ms: u64,
    },
    /// Its process ended.
    Stopped {
        /// The exit code.
        exit_code: u32,
        /// How often the restart reflex has started it again.
        restarts: u32,
    },
    /// A cron's: its node will start it when it is time.
    Waiting {
        /// When, in milliseconds since 1970 on the node's clock; 0 if not known.
        next_at_ms: u64,
        /// How it ended last, if it ran since it was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Run>,
    },
    /// The container is there, a process never was; or its creation did not finish.
    Created,
}

/// One time that a cron's container ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it began, in milliseconds since 1970 on the node's clock.
    pub began_at_ms: u64,
    /// When it ended, with all that was tried again; the same as it began if its node did not see that.
    pub ended_at_ms: u64,
    /// How it ended.
    pub end: RunEnd,
}

/// How a cron's container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// With an exit code.
    Code(u32),
    /// It took too long.
    TimedOut,
    /// It could not be started.
    NotStarted,
    /// It was cut short: its node went down.
    CutShort,
}

impl Facts {
    /// What the node has, as far as it can be read.
    pub fn has(&self) -> Requests {
        Requests {
            cpu_millis: self.cpu_millis,
            memory_bytes: self.memory_bytes,
            disk_bytes: self.disk_bytes,
            named: BTreeMap::new(),
            ports: BTreeSet::new(),
        }
    }
}

impl NodeObservation {
    /// What one of our pods takes of its node: what it asks for, and nothing once a job's does not run any more.
    pub fn takes(&self, id: &PodId, pod: &PodSeen) -> Requests {
        let runs = matches!(self.status.pods.get(id), Some(PodStatus::Running { .. }));
        if pod.ends && !runs { Requests::default() } else { pod.requests.clone() }
    }
}

impl Observation {
    /// What the nodes remember of our tenant's ledger.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        let seen = self.nodes.keys().filter_map(|node| self.seen(node));
        seen.filter_map(|seen| seen.ledger.as_ref()).chain(self.marks.values())
    }

    /// Looks a reachable node up.
    pub fn seen(&self, node: &NodeName) -> Option<&NodeObservation> {
        match self.nodes.get(node)? {
            NodeView::Seen(seen) => Some(seen),
            NodeView::Unknown { .. } => None,
        }
    }
}
