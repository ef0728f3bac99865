//! What a plan cannot do, and why: for the whole plan, and for one node and one replica.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::action::NodePort;
use crate::plan::graph::{Over, Rule, Taint};
use crate::plan::names::{NodeName, VolumeId, VolumeName, WorkloadName};

/// Something that cannot proceed, as reasons that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "blocked", rename_all = "snake_case")]
pub enum Blocked {
    /// A replica has no place.
    NoRoom {
        /// Which workload.
        workload: WorkloadName,
        /// Which replica.
        ordinal: u32,
        /// Why each node is out of the question.
        nodes: BTreeMap<NodeName, Vec<Rejection>>,
        /// The smallest change that would help, as a sentence.
        mend: String,
    },
    /// A node lacks requirements.
    NodeLacks {
        /// Which node.
        node: NodeName,
        /// What, and the command that mends it.
        missing: Vec<(String, String)>,
    },
    /// An address pool is used up.
    PoolUsedUp {
        /// Which: `pods`, `endpoints`.
        pool: String,
        /// What it serves.
        by: String,
    },
    /// A node is not in the text any more, and the ledger says that replicas are there.
    NodeLeft {
        /// Which.
        node: NodeName,
        /// Which pods.
        what: BTreeSet<String>,
    },
    /// The node at this address is not the machine that it was.
    OtherMachine {
        /// Which node.
        node: NodeName,
        /// The machine id that is known.
        known: String,
        /// The machine id that answered.
        found: String,
    },
    /// A node is of another fleet than the others.
    OtherFleet {
        /// Which node.
        node: NodeName,
        /// Whose the others are, by namespace.
        owner: String,
    },
    /// A node's network was set up with other address pools than the text has, and not by us.
    OtherPools {
        /// Which node.
        node: NodeName,
        /// Who set it up, by namespace.
        owner: String,
    },
    /// A volume was there, and is not any more.
    VolumeLost {
        /// Which.
        volume: VolumeId,
        /// Where it was.
        node: NodeName,
    },
    /// A volume is on more than one node, or may be.
    VolumeTwice {
        /// Which.
        volume: VolumeId,
        /// Where.
        nodes: BTreeSet<NodeName>,
    },
    /// A volume would become larger than its node's disk, or the quota, has room for.
    VolumeTooLarge {
        /// Which.
        volume: VolumeId,
        /// Where it is.
        node: NodeName,
        /// What the text says, in bytes.
        size_bytes: u64,
        /// By how much that is too large, in bytes.
        over_bytes: u64,
    },
    /// What is protected would be removed.
    Protected {
        /// What: `service/web`.
        resource: String,
    },
    /// What the text says has another name now, and there is one of each name.
    Moved {
        /// What: `service/api`.
        resource: String,
        /// Its name before, as the text says.
        from: String,
    },
    /// A volume's name is that of the folder of another one, which was renamed.
    NameTaken {
        /// Which.
        volume: VolumeName,
        /// The other one.
        by: VolumeName,
    },
    /// A secret would come back that was revoked.
    Revoked {
        /// To what: `service/web`.
        resource: String,
        /// What the text called the secret when that was made.
        secret: String,
    },
    /// A volume is not where the text says, and data is not moved.
    VolumeElsewhere {
        /// Which.
        volume: VolumeId,
        /// Where it is.
        is: NodeName,
        /// Where the text says.
        wants: NodeName,
    },
}

/// Why a node does not take a replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "rejected", rename_all = "snake_case")]
pub enum Rejection {
    /// It is not reachable.
    Unknown,
    /// Not enough CPU, in thousandths of a core.
    Cpu {
        /// Asked for.
        needs: u64,
        /// Left.
        free: u64,
    },
    /// Not enough memory, in bytes.
    Memory {
        /// Asked for.
        needs: u64,
        /// Left.
        free: u64,
    },
    /// A label is missing or different.
    Label {
        /// Which.
        key: String,
        /// Asked for.
        wants: String,
        /// There.
        has: Option<String>,
    },
    /// No pod address is left in its range.
    Addresses,
    /// It takes no new replicas.
    Closed {
        /// Whether what is there leaves as well.
        drained: bool,
    },
    /// A rule about its labels does not hold.
    Rule {
        /// The rule.
        rule: Rule,
        /// What the label is.
        has: Option<String>,
    },
    /// A taint that is not tolerated.
    Taint {
        /// The taint.
        taint: Taint,
    },
    /// It is not one of the nodes that are named.
    Elsewhere {
        /// Those.
        at: BTreeSet<NodeName>,
    },
    /// A volume that the replica mounts is on another node.
    Volume {
        /// Which.
        volume: VolumeId,
        /// Where it is, or will be.
        on: NodeName,
    },
    /// Not enough of another resource.
    Resource {
        /// Which: `disk`, or what the user named.
        name: String,
        /// Asked for.
        needs: u64,
        /// Left.
        free: u64,
    },
    /// A port of the node is held by somebody else.
    Port {
        /// Which.
        port: NodePort,
        /// By whom.
        by: Holder,
    },
    /// Its domain would have too many more than the emptiest.
    Skew {
        /// Over what.
        over: Over,
        /// Its domain; absent if it has none.
        domain: Option<String>,
        /// Replicas there already.
        has: u32,
        /// Replicas in the emptiest domain.
        least: u32,
        /// How many more are allowed.
        skew: u32,
    },
    /// Its domain has none of a workload that the replica must be near.
    NotNear {
        /// Which.
        workload: WorkloadName,
        /// Over what.
        over: Over,
        /// Its domain; absent if it has none.
        domain: Option<String>,
    },
    /// Its domain has a workload that must be apart from the replica.
    NotApart {
        /// Which.
        workload: WorkloadName,
        /// Over what.
        over: Over,
        /// Its domain.
        domain: Option<String>,
        /// Whether it is the other one that asks to be apart.
        theirs: bool,
    },
    /// The environment's quota is used up.
    Quota {
        /// Of what.
        name: String,
        /// Asked for.
        needs: u64,
        /// Left.
        free: u64,
    },
}

/// Who holds a port of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A workload of this plan.
    Service(WorkloadName),
    /// Another tenant, by its namespace.
    Tenant(String),
    /// The server that the node is reached by, which keeps its port.
    Ssh,
    /// Something else that listens on the node.
    Process,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "{name}"),
            Self::Tenant(namespace) => f.write_str(namespace),
            Self::Ssh => f.write_str("the node's SSH server"),
            Self::Process => f.write_str("a process of the node"),
        }
    }
}
