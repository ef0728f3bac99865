//! The desired graph: what the text says should be, in a few primitives.
//!
//! The graph holds no address of a network, no commit and no time: it is a function of the text
//! and of `berth.lock` alone. [`PodTemplate`]s are compared by digest (see [`super::canon`]).

mod placement;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

pub use self::placement::{
    Effect, Even, Intake, Over, Placement, Preference, Relation, Rule, Taint, Toleration,
};
use super::action::{ImageSource, NodePort, Protocol};
use super::companion::{Companion, together};
use super::container::Settings;
use super::content::{Contents, File, Files};
use super::names::{
    ContentDigest, ImageDigest, NodeName, Tenant, VolumeId, VolumeName, WorkloadName,
};
use super::observation::{Requests, VolumeSpec};
use super::schedule::Cron;

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
    /// Data that outlives what runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<VolumeName, Volume>,
    /// What all replicas of this environment together may ask for; without bounds if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How nodes fill up.
    #[serde(default)]
    pub fill: Fill,
    /// What had another name before.
    #[serde(default, skip_serializing_if = "Moved::is_none")]
    pub moved: Moved,
    /// What is in the files of containers.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    pub contents: Contents,
    /// Fingerprints of secrets that may not come back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revoked: BTreeSet<String>,
}

/// What the text calls otherwise than before: by its name now, its name before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Services.
    pub workloads: BTreeMap<WorkloadName, WorkloadName>,
    /// Volumes.
    pub volumes: BTreeMap<VolumeName, VolumeName>,
}

impl Moved {
    fn is_none(&self) -> bool {
        self.workloads.is_empty() && self.volumes.is_empty()
    }
}

/// Data that outlives the containers that use it: a folder on one node, or one for each replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is made, if not where its first user is placed.
    pub on: Option<NodeName>,
    /// Whether every replica that mounts it has one of its own.
    pub each_replica: bool,
    /// What each folder is.
    pub spec: VolumeSpec,
}

/// A volume as a replica sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Which.
    pub volume: VolumeName,
    /// Whether the replica has one of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub each_replica: bool,
}

impl Mount {
    /// Names the folder that a replica mounts.
    pub fn id(&self, ordinal: u32) -> VolumeId {
        self.volume.id(self.each_replica.then_some(ordinal))
    }
}

/// What all replicas of an environment together may ask for; no bound where absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Bytes.
    pub disk_bytes: Option<u64>,
    /// What the user named.
    pub named: BTreeMap<String, u64>,
}

/// How nodes fill up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The emptiest node is taken.
    #[default]
    Even,
    /// The node is taken where the least is lost of what the fleet asks for.
    Dense,
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
    /// The login; what this machine's ssh configuration says, or root, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// sshd's port; what this machine's ssh configuration says, or 22, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The one private key to offer; the agent's and the usual files otherwise.
    pub identity: Option<String>,
    /// Hosts to go through, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jumps: Vec<String>,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// Keeps replicas off that do not tolerate it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Whether it takes new replicas.
    #[serde(default)]
    pub intake: Intake,
    /// Overrides what the node itself says that it has.
    pub capacity: Option<Requests>,
    /// What the user says that it has of what the user named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, u64>,
    /// Kept free for the system.
    pub reserve: Requests,
    /// How much more than it has is promised.
    #[serde(default)]
    pub overcommit: Overcommit,
    /// A program on the machine that applies, and its arguments, which ends with exit code 0 once the node is switched off
    /// for certain; none if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fence: Vec<String>,
}

/// How much of what a node has may be promised, in hundredths of a percent: 10000 is what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overcommit {
    /// Of its CPU.
    pub cpu: u32,
    /// Of its memory.
    pub memory: u32,
}

impl Default for Overcommit {
    fn default() -> Self {
        Self { cpu: 10_000, memory: 10_000 }
    }
}

impl Node {
    /// Where its sshd listens, as far as the text says.
    pub fn ssh_port(&self) -> u16 {
        self.port.unwrap_or(22)
    }

    /// What may be promised to pods: what there is, times the overcommitment, less the reserve.
    pub fn room(&self, found: &Requests) -> Requests {
        let Requests { cpu_millis, memory_bytes, disk_bytes, named: _, ports: _ } =
            self.capacity.as_ref().unwrap_or(found);
        let times = |amount: u64, hundredths: u32| {
            let product = u128::from(amount) * u128::from(hundredths) / 10_000;
            u64::try_from(product).unwrap_or(u64::MAX)
        };
        let mut room = Requests {
            cpu_millis: times(*cpu_millis, self.overcommit.cpu),
            memory_bytes: times(*memory_bytes, self.overcommit.memory),
            disk_bytes: if *disk_bytes == 0 { found.disk_bytes } else { *disk_bytes },
            named: self.named.clone(),
            ports: BTreeSet::new(),
        };
        room.sub(&self.reserve);
        room
    }
}

/// Something that should run, some number of times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// What each replica is.
    pub template: PodTemplate,
    /// How many.
    pub replicas: u32,
    /// How many there may be by an override; no other number than that if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Ports of the endpoint in front of it; no endpoint if empty.
    pub ports: Vec<Port>,
    /// When a replica counts as ready; at once when running, if absent.
    pub health: Option<Probe>,
    /// How a change reaches the replicas.
    pub rollout: Rollout,
    /// Where replicas may go.
    pub placement: Placement,
    /// Whether a plan that would remove it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// What becomes of replicas on a node that does not answer.
    #[serde(default, skip_serializing_if = "OnUnreachable::is_wait")]
    pub on_unreachable: OnUnreachable,
    /// How it runs to its end, if it is a job: then each replica runs once for each template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Once>,
    /// Jobs that are done before a new release of it begins.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<WorkloadName>,
}

/// How a job runs. How long it may take is its rollout's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// How often a replica whose program failed is started again.
    pub retries: u32,
    /// How many replicas run at once, at least 1.
    pub parallel: u32,
}

/// What becomes of a workload's replicas on a node that does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachable {
    /// They are waited for.
    #[default]
    Wait,
    /// Others take their places when nothing has answered at the node's address for a while; until it
    /// comes back, both may run.
    ReplaceAfter {
        /// In milliseconds.
        ms: u64,
    },
    /// The same, but the node is switched off first, by its own program: nothing runs twice.
    FenceAfter {
        /// In milliseconds.
        ms: u64,
    },
}

impl OnUnreachable {
    fn is_wait(&self) -> bool {
        *self == Self::Wait
    }
}

/// Between which numbers of replicas an override may choose, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
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
    /// Files of the text, by their paths in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: Files,
    /// What it asks for.
    pub resources: Requests,
    /// What a replica takes beside that, for its shim and its namespaces: the project says it.
    #[serde(default, skip_serializing_if = "Requests::is_nothing")]
    pub overhead: Requests,
    /// What it may use at most, where that differs from what it asks for.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Ports of its node that lead to a replica, each with the port in the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub publish: BTreeMap<NodePort, u16>,
    /// Volumes, by their paths in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, Mount>,
    /// How it runs, where the text says anything of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<Settings>>,
    /// Paths in it where folders are, empty at first, that go when the replica goes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scratch: BTreeSet<String>,
    /// Containers beside its own: those that run before it in their order, then those that run with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Companion>,
    /// How its node asks whether it is still well, and starts it again if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// Whether its program ends by itself: it is a job's, and nothing starts it again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ends: bool,
    /// When its node runs it, if it is a cron's: then it runs only now and then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Box<Cron>>,
    /// How long it may take to end by itself when it is asked to, in milliseconds.
    pub grace_ms: u64,
}

/// How a node asks a replica by itself whether it is still well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// What is asked. One that was well once has failed after so many in a row.
    pub probe: Probe,
    /// How long it may take to be well for the first time, in milliseconds.
    pub start_ms: u64,
}

/// What a replica may use at most; what it asks for where absent, 0 for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limits {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// Says whether the limits are just what is asked for.
    pub fn is_none(&self) -> bool {
        self.cpu_millis.is_none() && self.memory_bytes.is_none()
    }
}

impl PodTemplate {
    /// Every image that it needs, each with where its bytes are.
    pub fn images(&self) -> impl Iterator<Item = (&ImageDigest, &ImageSource)> {
        let companions = self.companions.iter().map(|one| (&one.image, &one.source));
        std::iter::once((&self.image, &self.source)).chain(companions)
    }

    /// Its files, those of its companions too.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values().chain(self.companions.iter().flat_map(|one| one.files.values()))
    }

    /// What is in its files.
    pub fn contents(&self) -> impl Iterator<Item = &ContentDigest> {
        self.files().flat_map(File::contents)
    }

    /// What placement counts: what it asks for, the overhead, and the node's ports that it takes.
    pub fn asks(&self) -> Requests {
        let mut asks = together(&self.resources, &self.companions);
        asks.add(&self.overhead);
        asks.ports.extend(self.publish.keys());
        asks
    }

    /// The limit of CPU in thousandths of a core; 0 is none.
    pub fn cpu_limit(&self) -> u64 {
        self.limits.cpu_millis.unwrap_or(self.resources.cpu_millis)
    }

    /// The limit of memory in bytes; 0 is none.
    pub fn memory_limit(&self) -> u64 {
        self.limits.memory_bytes.unwrap_or(self.resources.memory_bytes)
    }
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
    /// At the address of the node where a replica is, if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
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
    /// What is asked beside readiness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// How long what was replaced is watched before anything else is, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bake_ms: u64,
}

/// What is asked of a release beside readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Check {
    /// A program in every new replica, before it takes traffic; exit code 0 passes.
    Command {
        /// The program and its arguments.
        run: Vec<String>,
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
    },
    /// A number that Prometheus knows, asked for while what was replaced is watched.
    Metric(Metric),
}

impl Check {
    /// The program and how long it may take in milliseconds, if it is one.
    pub fn command(&self) -> Option<(&[String], u64)> {
        match self {
            Self::Command { run, timeout_ms } => Some((run, *timeout_ms)),
            Self::Metric(_) => None,
        }
    }

    /// The metric, if it is one.
    pub fn metric(&self) -> Option<&Metric> {
        match self {
            Self::Command { .. } => None,
            Self::Metric(metric) => Some(metric),
        }
    }
}

/// A number that Prometheus knows, and between what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Where Prometheus answers, as the nodes reach it: `http://10.0.0.5:9090`.
    pub prometheus: String,
    /// In PromQL; every sample of the answer counts.
    pub query: String,
    /// At least this, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// At most this, as a decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<String>,
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
    /// One at a time, the last first, each stopped before its successor starts; new ones from the first
    /// on, each when the one before it is ready.
    Ordered,
    /// A few beside those that are there, with a part of the traffic and a while to be watched in; more
    /// of them; and then all, `surge` at a time.
    Canary {
        /// Each heavier than the one before.
        steps: Vec<CanaryStep>,
        /// Replicas above the number wanted, once the steps are passed.
        surge: u32,
    },
    /// All beside those that are there; then the traffic goes over at once, and back as fast.
    BlueGreen,
}

/// A part of the traffic that a new release gets, and for how long it is watched with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStep {
    /// In hundredths of a percent, 10 to 9999.
    pub weight: u32,
    /// In milliseconds.
    pub bake_ms: u64,
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

impl Graph {
    /// Counts the replicas of what runs on every node: one for each that would hold it if it were
    /// open, since a node that is cordoned keeps what it has.
    pub fn count_every_node(&mut self) {
        let Self { nodes, workloads, .. } = self;
        for workload in workloads.values_mut().filter(|w| w.placement.every_node) {
            let may = nodes.iter().filter(|(name, node)| workload.placement.holds(name, node));
            workload.replicas = u32::try_from(may.count()).unwrap_or(u32::MAX);
        }
    }
}

impl Workload {
    /// The word that declares it.
    pub fn kind(&self) -> &'static str {
        match (&self.once, &self.template.cron) {
            (Some(_), _) => "job",
            (None, Some(_)) => "cron",
            (None, None) => "service",
        }
    }

    /// How many replicas preemption leaves running: of a job and a cron, all.
    pub fn keeps(&self) -> u32 {
        if self.once.is_some() || self.template.cron.is_some() {
            return u32::MAX;
        }
        self.placement.keep.unwrap_or(self.replicas.saturating_sub(1))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
