//! The Host port: what the engine asks of a node, in a dozen coarse, idempotent verbs.
//!
//! An implementation orders the calls *within* a verb; the engine orders the verbs. An
//! implementation retries only reads and connections. A write whose answer was lost is
//! [`HostError::Lost`]: the executor locks again, reads the node again, and decides from what it
//! sees. Everything here is stated in the engine's words; SSH and containerd are not known.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::action::{Action, Peer};
use crate::plan::content::Contents;
use crate::plan::graph::{Graph, Probe};
use crate::plan::ledger::{Head, Mark};
use crate::plan::names::{NodeName, PodId, Tenant, WorkloadName};
use crate::plan::observation::NodeObservation;
use crate::plan::secret::Opened;

/// What the engine asks of the nodes. All verbs may run at once for different nodes; at most one
/// write a node runs at a time per pod, endpoint or image.
pub trait Host: Send + Sync + 'static {
    /// Reads a node: one round, no lock, no write.
    fn observe(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<NodeObservation, HostError>> + Send;

    /// Takes the node's lock and keeps it for as long as the engine lives and is heard. Taking a
    /// lock that this engine holds already is an `Ok`.
    ///
    /// # Errors
    /// [`HostError::Locked`] names who holds it. [`HostError::Fenced`] if the node remembers a
    /// higher epoch than the claim's.
    fn lock(
        &self,
        node: &NodeName,
        claim: &LockClaim,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Gives the node's lock back, and ends what was started for it. Never fails: what can't be
    /// given back ends with the session.
    fn unlock(&self, node: &NodeName) -> impl Future<Output = ()> + Send;

    /// Performs a write under the node's lock. `supplies` has what it names by digests. Whether the lock is held is looked at when this is polled for the first time, and the
    /// write goes over that lock's session: one that is taken later is none of its.
    ///
    /// # Errors
    /// [`HostError::Lost`] if it may or may not have happened; any other error says that the
    /// action is not complete, and that performing it again is safe.
    fn perform(
        &self,
        node: &NodeName,
        action: &Action,
        supplies: &Supplies<'_>,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Asks a pod once whether it is ready, through its node. `Ok(Err(reason))` is a pod that
    /// answered no, or not.
    fn probe(
        &self,
        node: &NodeName,
        target: &ProbeTarget,
    ) -> impl Future<Output = Result<Result<(), String>, HostError>> + Send;

    /// Runs a program in a pod, and waits until it ends.
    ///
    /// # Errors
    /// If the node does not answer. A pod that does not run, or a program that it does not have, is an
    /// answer: [`Ran::why`] says it.
    fn run(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        argv: &[String],
        deadline: Duration,
    ) -> impl Future<Output = Result<Ran, HostError>> + Send;

    /// Asks an HTTP server that the node reaches, by one GET; at most 1 MiB of its answer's body.
    /// `Ok(Err(reason))` is a server that answered no, or not.
    fn fetch(
        &self,
        node: &NodeName,
        url: &str,
        deadline: Duration,
    ) -> impl Future<Output = Result<Result<Vec<u8>, String>, HostError>> + Send;

    /// Counts the connections that a pod still serves: established or being opened, inbound.
    fn connections(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
    ) -> impl Future<Output = Result<u32, HostError>> + Send;

    /// Reads the end of a pod's log, at most `limit` bytes.
    fn logs(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<u8>, HostError>> + Send;

    /// Switches a node off, by a program on this machine; `Ok` only if that ended with exit code 0.
    ///
    /// # Errors
    /// Why not, or that nobody knows.
    fn fence(
        &self,
        node: &NodeName,
        command: &[String],
        deadline: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Reads what a node remembers of the tenant's ledger, also while its containerd does not answer.
    fn ledger_mark(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<Option<Mark>, HostError>> + Send;

    /// Reads the tenant's ledger, or its copy, from a node; empty if there is none.
    fn ledger_read(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<Vec<u8>, HostError>> + Send;

    /// Appends to the tenant's ledger on its keeper, or to a copy, durably (written and synchronised
    /// before it returns), if it has `at` bytes still and ends with the line whose hash is `prev`. An
    /// unfinished line after `at` (bytes without a newline, from a node that lost power) is cut off
    /// first. Needs the node's lock.
    ///
    /// # Errors
    /// [`Refusal::LedgerMoved`] if the length or the last line differs.
    fn ledger_append(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        at: u64,
        prev: &str,
        bytes: &[u8],
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Puts a whole ledger in the place of the one that a node has, durably and at once. Needs the
    /// node's lock.
    fn ledger_replace(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        bytes: &[u8],
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Leaves a word on the keeper for whoever applies, without its lock; it takes the place of an earlier one.
    fn ask(
        &self,
        keeper: &NodeName,
        tenant: &Tenant,
        ask: &Ask,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Reads the last word that was left on the keeper for whoever applies; what is none is no word.
    fn asked(
        &self,
        keeper: &NodeName,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<Option<Ask>, HostError>> + Send;

    /// Removes the tenant's ledger, or a copy, and what the node remembers of it: the last write of a
    /// destroy. Needs the node's lock.
    fn ledger_remove(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What a plan's actions name by digests.
#[derive(Clone, Copy, Debug)]
pub struct Supplies<'a> {
    /// The nodes that networks have routes to.
    pub peers: &'a [Peer],
    /// What is in the files of containers.
    pub contents: &'a Contents,
    /// What their secrets hold.
    pub secrets: &'a Opened,
}

/// How a program in a pod ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Nothing if it exited with 0; else why not: its exit code, or that it could not start.
    pub why: Option<String>,
    /// The end of what it said, at most 4 KiB.
    pub said: Vec<u8>,
}

/// Who takes a lock, and why; shown to whoever comes second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockClaim {
    /// Who: a login and a machine, `ana@laptop`.
    pub holder: String,
    /// Since when, in milliseconds since 1970 on the engine's clock.
    pub since_ms: u64,
    /// For what: a plan's short digest, or a command.
    pub purpose: String,
    /// Whose ledger it is that the engine has read.
    pub tenant: Tenant,
    /// The ledger's epoch; a node refuses a lower one than it remembers, and another keeper of the same.
    pub epoch: u64,
    /// The node that keeps the ledger.
    pub keeper: NodeName,
    /// How many lines the ledger has; a node remembers the most that it was told.
    pub lines: u64,
}

impl LockClaim {
    /// Claims a node for somebody who has read the ledger up to a head.
    pub fn new((holder, since_ms): (&str, u64), purpose: &str, graph: &Graph, head: &Head) -> Self {
        Self {
            holder: holder.to_owned(),
            since_ms,
            purpose: purpose.to_owned(),
            tenant: graph.tenant.clone(),
            epoch: head.epoch,
            keeper: graph.keeper.clone(),
            lines: head.lines,
        }
    }
}

/// What somebody asks of the apply that is under way: to take back what it is rolling out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The hash of the ledger's line with which that apply began: no other is meant.
    pub apply: String,
    /// Which rollouts.
    pub workloads: BTreeSet<WorkloadName>,
    /// Who asks: a login and a machine.
    pub who: String,
    /// Why, in a person's words; may be empty.
    pub why: String,
}

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTarget {
    /// The pod's address.
    pub address: IpAddr,
    /// How to ask. Its port is set.
    pub probe: Probe,
}

/// Why a verb did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The node could not be reached, and nothing was sent.
    #[error("{node} is not reachable: {layer}: {why}")]
    Unreachable {
        /// Which node.
        node: NodeName,
        /// Where on the way it ended.
        layer: Layer,
        /// What to know, and to do.
        why: String,
    },
    /// A write was sent and its answer never came: it may or may not have happened.
    #[error("{node}: the answer to `{what}` was lost")]
    Lost {
        /// Which node.
        node: NodeName,
        /// Which write.
        what: String,
    },
    /// Someone else holds the node's lock.
    #[error("{node} is locked by {} for {}", claim.holder, claim.purpose)]
    Locked {
        /// Which node.
        node: NodeName,
        /// Who holds it, since when, for what.
        claim: Box<LockClaim>,
    },
    /// The node remembers a higher epoch: another keeper has taken over.
    #[error(
        "{node} knows {keeper} as the ledger's keeper, in epoch {theirs}; this engine is in epoch {ours}"
    )]
    Fenced {
        /// Which node.
        node: NodeName,
        /// What the claim said.
        ours: u64,
        /// What the node remembers.
        theirs: u64,
        /// Whom the node remembers as keeper.
        keeper: NodeName,
    },
    /// The node answered no.
    #[error("{node}: {refusal}")]
    Refused {
        /// Which node.
        node: NodeName,
        /// Why, typed.
        refusal: Refusal,
    },
}

/// Where on the way to a node an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The name has no address.
    Dns,
    /// No connection.
    Tcp,
    /// Not an SSH server, or no common algorithm.
    Ssh,
    /// The host key is not the one that is trusted; nothing was authenticated.
    HostKey,
    /// The server refused every key that was offered.
    Auth,
    /// The server does not forward to containerd's socket.
    Forwarding,
    /// The login may not open containerd's socket.
    Permission,
    /// containerd does not answer on its socket.
    Containerd,
    /// The node's shell, or the guarded session in it.
    Session,
    /// The cluster that keeps the ledger.
    Etcd,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dns => "name lookup",
            Self::Tcp => "TCP",
            Self::Ssh => "SSH",
            Self::HostKey => "host key",
            Self::Auth => "authentication",
            Self::Forwarding => "socket forwarding",
            Self::Permission => "socket permission",
            Self::Containerd => "containerd",
            Self::Session => "guarded session",
            Self::Etcd => "etcd",
        })
    }
}

/// Why a node answered no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A requirement is missing.
    #[error("{what} is missing; {mend}")]
    Missing {
        /// What.
        what: String,
        /// What to do.
        mend: String,
    },
    /// The disk is full.
    #[error("no space left in {path}; free some, then apply again")]
    DiskFull {
        /// Where.
        path: String,
    },
    /// An image's bytes are not what their digests say, or not an image.
    #[error("image {image}: {why}")]
    BadImage {
        /// Which.
        image: String,
        /// What is wrong, with the path beside the project.
        why: String,
    },
    /// An address is claimed by another pod.
    #[error("address {address} is claimed by {by}")]
    AddressClaimed {
        /// Which.
        address: String,
        /// By whom.
        by: String,
    },
    /// A port of the node is claimed by another pod.
    #[error("port {port} of the node is claimed by {by}")]
    PortClaimed {
        /// Which.
        port: String,
        /// By whom.
        by: String,
    },
    /// The lock is not held: the session ended, by time-out or by the node.
    #[error("the lock is not held any more; nothing was done")]
    NotLocked,
    /// The ledger is not as long as it was when it was read.
    #[error("the ledger has moved on since it was read; plan again")]
    LedgerMoved,
    /// Something is in the way, such as a tenant that is left on the node.
    #[error("{0}")]
    InUse(String),
    /// The node's own words, bounded and escaped.
    #[error("{what} failed: {why}")]
    Failed {
        /// Which call or command.
        what: String,
        /// The node's words.
        why: String,
    },
}

impl HostError {
    /// Whether nothing at all answered at the node's address.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { layer: Layer::Dns | Layer::Tcp, .. })
    }

    /// Names the node.
    pub fn node(&self) -> &NodeName {
        match self {
            Self::Unreachable { node, .. }
            | Self::Lost { node, .. }
            | Self::Locked { node, .. }
            | Self::Fenced { node, .. }
            | Self::Refused { node, .. } => node,
        }
    }
}
