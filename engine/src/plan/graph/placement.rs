//! Where replicas may go: what a workload says of nodes, what nodes say of replicas, and who yields to whom.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Node, is_false};
use crate::plan::names::{NodeName, VolumeId, WorkloadName};

/// Where replicas may go, and who yields to whom. Every field but the first two came later: a
/// ledger that was written before reads them as their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// Spread evenly over the values of this node label; over nodes if absent.
    pub spread: Option<String>,
    /// Labels that a node must have.
    pub require: BTreeMap<String, String>,
    /// What else must hold of a node's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What should hold of a node's labels, the heavier the rather.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Preference>,
    /// Domains over which replicas must be even.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub even: Vec<Even>,
    /// Workloads to be in one domain with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Relation>,
    /// Workloads to be in no domain with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Relation>,
    /// Taints that do not keep it off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerate: Vec<Toleration>,
    /// The only nodes that it may run on, if any are named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub at: BTreeSet<NodeName>,
    /// The volumes that a replica mounts and that are somewhere already, each with its node. No text
    /// says it: planning fills it in for one replica at a time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<VolumeId, NodeName>,
    /// Whether one runs on every node that it may run on; the number of replicas then follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub every_node: bool,
    /// Who yields when room is short: the lower number.
    #[serde(default, skip_serializing_if = "is_default_priority")]
    pub priority: i32,
    /// How many replicas preemption leaves running; all but one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

/// Something about one of a node's labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The label is one of these.
    In(String, BTreeSet<String>),
    /// The label is none of these; a node without it will do.
    NotIn(String, BTreeSet<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    Missing(String),
    /// The label is a whole number, and above this one.
    Above(String, i64),
    /// The label is a whole number, and below this one.
    Below(String, i64),
}

/// A rule that weighs something without being required.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Preference {
    /// What should hold.
    pub rule: Rule,
    /// How much it weighs, 1 to 100.
    pub weight: u32,
}

/// A domain over which replicas must be even.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Even {
    /// Over what.
    pub over: Over,
    /// How many more replicas one domain may have than the emptiest one, at least 1.
    pub skew: u32,
}

/// A tie between two workloads, or of one with itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relation {
    /// The other one.
    pub workload: WorkloadName,
    /// In which domain.
    pub over: Over,
    /// How much it weighs, 1 to 100; required if absent.
    pub weight: Option<u32>,
}

/// What divides the fleet into domains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Each node is a domain.
    Node,
    /// Each value of a label is one; nodes without the label are in none.
    Label(String),
}

/// What keeps replicas off a node that do not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Its name.
    pub key: String,
    /// What it says, if anything.
    pub value: Option<String>,
    /// How much it keeps off.
    pub effect: Effect,
}

/// How much a taint keeps off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Another node is rather taken.
    Discourage,
    /// No new replica comes.
    Refuse,
    /// No new replica comes, and those that are there leave.
    Evict,
}

/// A taint that is borne: one of that key, and of that value if it names one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Toleration {
    /// The taint's name.
    pub key: String,
    /// What the taint says; whatever it says if absent.
    pub value: Option<String>,
}

/// Whether a node takes new replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intake {
    /// It does.
    #[default]
    Open,
    /// It takes none; what is there stays.
    Cordoned,
    /// It takes none; what is there leaves.
    Drained,
    /// As drained; once nothing is there any more, Berth takes off what it installed there.
    Retired,
}

impl Toleration {
    /// Says whether a taint is borne.
    pub fn bears(&self, taint: &Taint) -> bool {
        self.key == taint.key
            && self.value.as_ref().is_none_or(|value| taint.value.as_ref() == Some(value))
    }
}

impl Rule {
    /// Names the label that the rule looks at.
    pub fn label(&self) -> &str {
        match self {
            Self::In(key, _)
            | Self::NotIn(key, _)
            | Self::Exists(key)
            | Self::Missing(key)
            | Self::Above(key, _)
            | Self::Below(key, _) => key,
        }
    }

    /// Says whether the rule holds of a label's value.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(_, any) => value.is_some_and(|value| any.contains(value)),
            Self::NotIn(_, none) => value.is_none_or(|value| !none.contains(value)),
            Self::Exists(_) => value.is_some(),
            Self::Missing(_) => value.is_none(),
            Self::Above(_, least) => number().is_some_and(|number| number > *least),
            Self::Below(_, most) => number().is_some_and(|number| number < *most),
        }
    }
}

impl Placement {
    /// Says whether a node is one that replicas may stay on, by what the text says of both: labels,
    /// taints that evict, draining, and the nodes that are named. Nothing if it is; else why not.
    pub fn unwelcome(&self, name: &NodeName, node: &Node) -> Option<String> {
        let label = |key: &str| node.labels.get(key).map(String::as_str);
        match node.intake {
            Intake::Open | Intake::Cordoned => {}
            Intake::Drained => return Some(format!("{name} is drained")),
            Intake::Retired => return Some(format!("{name} is retired")),
        }
        if !self.at.is_empty() && !self.at.contains(name) {
            return Some(format!("{name} is none of the nodes that it may run on"));
        }
        if let Some((key, wants)) = self.require.iter().find(|(k, v)| label(k) != Some(v)) {
            return Some(format!("{name} is not labelled {key}: {wants}"));
        }
        if let Some(rule) = self.rules.iter().find(|rule| !rule.holds(label(rule.label()))) {
            return Some(format!("a rule about label {} does not hold on {name}", rule.label()));
        }
        let evicts = |taint: &&Taint| {
            taint.effect == Effect::Evict && !self.tolerate.iter().any(|t| t.bears(taint))
        };
        let taint = node.taints.iter().find(evicts)?;
        Some(format!("{name} has taint {}", taint.key))
    }

    /// Says whether the nodes that are named, and the volumes that are somewhere, leave a node.
    pub fn leaves_open(&self, name: &NodeName) -> bool {
        (self.at.is_empty() || self.at.contains(name))
            && self.held.values().all(|node| node == name)
    }

    /// Says whether nodes are told apart by their names.
    pub fn names_nodes(&self) -> bool {
        !self.at.is_empty() || !self.held.is_empty()
    }

    /// Says whether new replicas may come to a node, by what the text says of both.
    pub fn admits(&self, name: &NodeName, node: &Node) -> bool {
        node.intake == Intake::Open && self.holds(name, node)
    }

    /// Says whether replicas may be on a node that are there, or would be if it took new ones.
    pub fn holds(&self, name: &NodeName, node: &Node) -> bool {
        let refuses = |taint: &Taint| match taint.effect {
            Effect::Discourage => false,
            Effect::Refuse | Effect::Evict => !self.tolerate.iter().any(|t| t.bears(taint)),
        };
        self.unwelcome(name, node).is_none() && !node.taints.iter().any(refuses)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_default_priority(priority: &i32) -> bool {
    *priority == 0
}
