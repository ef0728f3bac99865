//! Actions: the closed set of writes to a node that a plan can hold.
//!
//! An action is data. The plan prints it, the executor hands it to the Host port unchanged, and
//! [`Action::writes`] names everything that performing it may change on the node, so that the
//! calls and commands that a lab run recorded can be compared with what the plan declared.
//! Every action is an *ensure*: performing it twice equals performing it once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::companion::Companion;
use super::container::Settings;
use super::content::{File, Files};
use super::graph::Liveness;
use super::names::{
    ContentDigest, ImageDigest, NodeName, PodId, SpecDigest, Tenant, VolumeId, WorkloadName,
};
use super::observation::{Requests, VolumeSpec};
use super::schedule::Cron;

/// A write to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Makes the node ready for pods: forwarding, the pod bridge's CNI configuration, the base
    /// nft tables, and routes to the other nodes' pod ranges.
    EnsureNetwork {
        /// What the node's network should be.
        network: NodeNetwork,
    },
    /// Installs a reflex at a version, replacing an earlier one without restarting any pod.
    InstallReflex {
        /// Which reflex.
        reflex: Reflex,
        /// Its version; the files differ only if this does.
        version: u32,
    },
    /// Makes the tenant's containerd namespace and folders.
    EnsureTenant {
        /// Whose.
        tenant: Tenant,
    },
    /// Brings an image into the tenant's namespace, unpacked; only missing blobs travel.
    EnsureImage {
        /// Whose.
        tenant: Tenant,
        /// Which manifest or index.
        image: ImageDigest,
        /// Where the engine reads it from.
        source: ImageSource,
    },
    /// Makes a volume's folder, empty, or changes what is noted of it; never its data.
    EnsureVolume {
        /// Whose.
        tenant: Tenant,
        /// Which.
        volume: VolumeId,
        /// What it should be.
        spec: VolumeSpec,
    },
    /// Creates and starts a pod: namespaces, addresses, snapshot, container, task.
    EnsurePod {
        /// The whole of it.
        pod: Arc<PodSpec>,
    },
    /// Makes an endpoint's address lead to exactly these backends, in one kernel transaction.
    SwapEndpoint {
        /// Whose.
        tenant: Tenant,
        /// The endpoint as it should be; the same one for every node of a wave.
        endpoint: Arc<Endpoint>,
    },
    /// Makes a pod one of the workload that its own is called now; it goes on running.
    RenamePod {
        /// Whose.
        tenant: Tenant,
        /// Which.
        pod: PodId,
        /// What its workload is called now.
        workload: WorkloadName,
    },
    /// Makes an endpoint's files those of the name that its workload has now. Its address and its
    /// tables stay as they are. Where the new name has an endpoint already, the old one goes.
    RenameEndpoint {
        /// Whose.
        tenant: Tenant,
        /// The endpoint as its files say it now.
        endpoint: Arc<Endpoint>,
        /// What its workload is called now.
        workload: WorkloadName,
    },
    /// Stops a pod (term signal, grace, kill signal) and removes all that belongs to it.
    RemovePod {
        /// Whose.
        tenant: Tenant,
        /// Which.
        pod: PodId,
        /// How long it may take to end by itself, in milliseconds.
        grace_ms: u64,
    },
    /// Takes an endpoint's address away; connections to it are refused.
    RemoveEndpoint {
        /// Whose.
        tenant: Tenant,
        /// Which workload's endpoint.
        endpoint: WorkloadName,
    },
    /// Removes a volume, and all data in it. Irreversible.
    RemoveVolume {
        /// Whose.
        tenant: Tenant,
        /// Which.
        volume: VolumeId,
    },
    /// Drops an image from the tenant's namespace.
    RemoveImage {
        /// Whose.
        tenant: Tenant,
        /// Which.
        image: ImageDigest,
    },
    /// Removes the tenant's containerd namespace and folders, which must be empty of pods.
    RemoveTenant {
        /// Whose.
        tenant: Tenant,
    },
    /// Removes a reflex.
    RemoveReflex {
        /// Which.
        reflex: Reflex,
    },
    /// Undoes [`Action::EnsureNetwork`] and gives back the settings that it found. Refused while
    /// any tenant is left on the node.
    RemoveNetwork,
}

/// A named, bounded object on a node that acts without an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reflex {
    /// Brings namespaces, addresses, tables and routes back before containerd starts.
    Boot,
    /// Keeps each pod's log below its bound.
    Rotate,
    /// Asks pods whether they are still well, and ends those that are not, to be started again.
    Live,
    /// Leads the traffic of endpoints past servers that do not answer, until they do.
    Prune,
    /// Has containers that end soon after they start, time and again, started again ever less often.
    Backoff,
    /// Runs the containers of crons when their schedules say so.
    Cron,
}

impl Reflex {
    /// Every reflex, with the version that this Berth installs.
    pub const CURRENT: [(Self, u32); 6] = [
        (Self::Boot, 3),
        (Self::Rotate, 2),
        (Self::Live, 1),
        (Self::Prune, 1),
        (Self::Backoff, 2),
        (Self::Cron, 1),
    ];

    /// The name that files, units and people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Rotate => "rotate",
            Self::Live => "live",
            Self::Prune => "prune",
            Self::Backoff => "backoff",
            Self::Cron => "cron",
        }
    }
}

/// How a node's pods reach each other and the other nodes' pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// This node's pod range; its first address is the bridge's.
    pub range4: Ipv4Net,
    /// The same for IPv6.
    pub range6: Ipv6Net,
    /// All nodes' pod ranges together: what is not masqueraded.
    pub pods4: Ipv4Net,
    /// The same for IPv6.
    pub pods6: Ipv6Net,
    /// The range that endpoint addresses come from.
    pub endpoints4: Ipv4Net,
    /// The same for IPv6.
    pub endpoints6: Ipv6Net,
    /// The nodes of the fleet whose addresses are known.
    pub peers: PeerList,
    /// The namespace of the tenant whose plans set it up; absent where an earlier Berth did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// The nodes that a network has routes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PeerList {
    /// The list of the whole fleet, which [`super::peers`] makes of a plan's claims, by its digest.
    Digest(String),
    /// The other nodes one by one, as plans of version 1 said it; read, and not written any more.
    Listed(Vec<Peer>),
}

/// A node, as a route's next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub node: NodeName,
    /// Its own IPv4 address on the network between nodes.
    pub address4: Option<Ipv4Addr>,
    /// Its own IPv6 address there.
    pub address6: Option<Ipv6Addr>,
    /// Its pod range.
    pub range4: Ipv4Net,
    /// The same for IPv6.
    pub range6: Ipv6Net,
}

/// Where an image's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// An OCI layout folder; the path is relative to the project.
    Layout(String),
    /// An OCI archive (a tar of a layout); the path is relative to the project.
    Archive(String),
    /// A registry's, by the reference that the text has; what it stands for is pinned.
    Registry(String),
    /// The node has it already, and the step only keeps it: an error if it is not there.
    Present,
}

/// Everything that creating a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// Its id.
    pub id: PodId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The workload as the text names it.
    pub workload: WorkloadName,
    /// The digest of the template that it was made from.
    pub digest: SpecDigest,
    /// Its image.
    pub image: ImageDigest,
    /// Replaces the image's entrypoint if not empty.
    pub command: Vec<String>,
    /// Replaces the image's arguments if not empty, or if `command` is not.
    pub args: Vec<String>,
    /// Added to the image's environment, over it.
    pub env: BTreeMap<String, String>,
    /// Files of the text, by their paths in it; the plan has what is in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: Files,
    /// CPU limit in thousandths of a core; 0 is none.
    pub cpu_millis: u64,
    /// Memory limit in bytes; 0 is none.
    pub memory_bytes: u64,
    /// What it asks for, where that is not its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Box<Requests>>,
    /// Ports of the node that lead to it, each with the port in the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub publish: BTreeMap<NodePort, u16>,
    /// Volumes of its node, by their paths in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, VolumeId>,
    /// Its IPv4 address.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address.
    pub ip6: Ipv6Addr,
    /// How it runs, where the text says anything of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<Settings>>,
    /// Paths in it where folders are, empty at first, that go when it goes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scratch: BTreeSet<String>,
    /// Containers beside its own: those that run before it in their order, then those that run with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Companion>,
    /// How its node asks whether it is still well, and starts it again if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// Whether its program ends by itself: it is a job's, and nothing on its node starts it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// When its node runs it, if it is a cron's: then it runs only now and then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Box<Cron>>,
    /// How long it may take to end by itself when it is asked to, in milliseconds.
    pub grace_ms: u64,
    /// The revision that created it; information only.
    pub revision: u64,
}

impl PodSpec {
    /// Every image that it needs.
    pub fn images(&self) -> impl Iterator<Item = &ImageDigest> {
        std::iter::once(&self.image).chain(self.companions.iter().map(|one| &one.image))
    }

    /// Its files, those of its companions too.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values().chain(self.companions.iter().flat_map(|one| one.files.values()))
    }

    /// What is in its files.
    pub fn contents(&self) -> impl Iterator<Item = &ContentDigest> {
        self.files().flat_map(File::contents)
    }

    /// What placement counts for it.
    pub fn requests(&self) -> Requests {
        match &self.asks {
            Some(asks) => (**asks).clone(),
            None => Requests {
                cpu_millis: self.cpu_millis,
                memory_bytes: self.memory_bytes,
                ..Requests::default()
            },
        }
    }
}

/// A stable address in front of a workload's ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The workload that it stands for.
    pub workload: WorkloadName,
    /// Its IPv4 address.
    pub address4: Ipv4Addr,
    /// Its IPv6 address.
    pub address6: Ipv6Addr,
    /// What it listens on.
    pub ports: Vec<EndpointPort>,
    /// Who answers, in the order of pod ids.
    pub backends: Vec<Backend>,
    /// How the backends share the traffic; evenly if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// One port of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port at the endpoint's address.
    pub port: u16,
    /// The port in the pod.
    pub target: u16,
}

/// How an endpoint's traffic is divided between two releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Backends of the new release.
    pub to: BTreeSet<PodId>,
    /// What they get together at most, in hundredths of a percent, 1 to 9999; the others get the rest.
    pub share: u32,
}

/// A pod behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// Which pod.
    pub pod: PodId,
    /// Its IPv4 address.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address.
    pub ip6: Ipv6Addr,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of a node itself, which one pod at a time can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodePort {
    /// The number.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A text that is no port of a node.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a port of a node, such as `80/tcp`")]
pub struct NotANodePort(String);

impl From<NodePort> for String {
    fn from(NodePort { port, protocol }: NodePort) -> Self {
        format!("{port}/{}", protocol.name())
    }
}

impl TryFrom<String> for NodePort {
    type Error = NotANodePort;

    fn try_from(text: String) -> Result<Self, NotANodePort> {
        let read = || {
            let (port, protocol) = text.split_once('/')?;
            let protocol =
                [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.name() == protocol)?;
            Some(Self { port: port.parse().ok()?, protocol })
        };
        read().ok_or_else(|| NotANodePort(text.clone()))
    }
}

/// Just the number for TCP, `53/udp` for UDP.
impl fmt::Display for NodePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "{}", self.port),
            Protocol::Udp => write!(f, "{}/udp", self.port),
        }
    }
}

impl Protocol {
    /// What the kernel's tools call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A thing on a node that a write may change. Recorded calls and commands are named the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Write(String);

impl Write {
    /// Names a written thing: a class and its name, such as `pod` and `berth.shop.default/web-0.g1`.
    pub fn new(class: &str, name: impl fmt::Display) -> Self {
        Self(format!("{class}:{name}"))
    }

    /// Names a pod.
    pub fn of_pod(tenant: &Tenant, pod: &PodId) -> Self {
        Self::new("pod", format_args!("{}/{pod}", tenant.namespace()))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Action {
    /// Names what kind of write it is, in a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EnsureNetwork { .. } => "network",
            Self::InstallReflex { .. } => "reflex",
            Self::EnsureTenant { .. } => "tenant",
            Self::EnsureImage { .. } => "image",
            Self::EnsureVolume { .. } => "volume",
            Self::RemoveVolume { .. } => "remove volume",
            Self::EnsurePod { .. } => "pod",
            Self::SwapEndpoint { .. } => "endpoint",
            Self::RenamePod { .. } => "rename pod",
            Self::RenameEndpoint { .. } => "rename endpoint",
            Self::RemovePod { .. } => "remove pod",
            Self::RemoveEndpoint { .. } => "remove endpoint",
            Self::RemoveImage { .. } => "remove image",
            Self::RemoveTenant { .. } => "remove tenant",
            Self::RemoveReflex { .. } => "remove reflex",
            Self::RemoveNetwork => "remove network",
        }
    }

    /// Whether it takes something off its node.
    pub fn removes(&self) -> bool {
        match self {
            Self::EnsureNetwork { .. }
            | Self::InstallReflex { .. }
            | Self::EnsureTenant { .. }
            | Self::EnsureImage { .. }
            | Self::EnsureVolume { .. }
            | Self::EnsurePod { .. }
            | Self::RenamePod { .. }
            | Self::RenameEndpoint { .. }
            | Self::SwapEndpoint { .. } => false,
            Self::RemovePod { .. }
            | Self::RemoveEndpoint { .. }
            | Self::RemoveImage { .. }
            | Self::RemoveVolume { .. }
            | Self::RemoveTenant { .. }
            | Self::RemoveReflex { .. }
            | Self::RemoveNetwork => true,
        }
    }

    /// Names everything that performing the action may change on its node.
    pub fn writes(&self) -> BTreeSet<Write> {
        let one = match self {
            Self::EnsureNetwork { .. } | Self::RemoveNetwork => Write::new("network", "node"),
            Self::InstallReflex { reflex, .. } | Self::RemoveReflex { reflex } => {
                Write::new("reflex", reflex.name())
            }
            Self::EnsureTenant { tenant } | Self::RemoveTenant { tenant } => {
                Write::new("tenant", tenant.namespace())
            }
            Self::EnsureImage { tenant, image, .. } | Self::RemoveImage { tenant, image } => {
                Write::new("image", format_args!("{}/{image}", tenant.namespace()))
            }
            Self::EnsureVolume { tenant, volume, .. } | Self::RemoveVolume { tenant, volume } => {
                Write::new("volume", format_args!("{}/{volume}", tenant.namespace()))
            }
            Self::EnsurePod { pod } => Write::of_pod(&pod.tenant, &pod.id),
            Self::RemovePod { tenant, pod, .. } | Self::RenamePod { tenant, pod, .. } => {
                Write::of_pod(tenant, pod)
            }
            Self::SwapEndpoint { tenant, endpoint } => {
                Write::new("endpoint", format_args!("{}/{}", tenant.namespace(), endpoint.workload))
            }
            Self::RemoveEndpoint { tenant, endpoint } => {
                Write::new("endpoint", format_args!("{}/{endpoint}", tenant.namespace()))
            }
            Self::RenameEndpoint { tenant, endpoint, workload } => {
                let names = [&endpoint.workload, workload];
                let write =
                    |name| Write::new("endpoint", format_args!("{}/{name}", tenant.namespace()));
                return names.map(write).into();
            }
        };
        BTreeSet::from([one])
    }
}
