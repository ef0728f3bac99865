//! Overrides: what people decided beside the text, for a while, each with who, why and until when.
//!
//! They are the third input of a plan, beside the text and what was seen: typed, in the ledger, at
//! the head of every plan, in `status`, and in drift as *held*. [`in_force`] puts those about nodes
//! and numbers over the text; a pause is for the planner, which keeps releases as they are. A
//! [`Pin`](super::ledger::Pin) is an override as well, with an end of its own: the text's next
//! release. Nothing here is decided: what is in the ledger counts until it is lifted or has ended.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Intake, Scale, Workload};
use super::moment::utc;
use super::names::{NodeName, WorkloadName};

/// What is decided beside the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "override", rename_all = "snake_case")]
pub enum Override {
    /// A node takes no new replicas, or none at all. What the text says counts if it is stricter.
    Intake {
        /// Which node.
        node: NodeName,
        /// What it takes.
        intake: Intake,
    },
    /// No replica of a workload changes its release; what fails is replaced by what it was.
    Pause {
        /// Which workload.
        workload: WorkloadName,
    },
    /// A workload has another number of replicas: none, or one that the text's `scale` allows.
    Replicas {
        /// Which workload.
        workload: WorkloadName,
        /// How many.
        replicas: u32,
    },
    /// A node is switched off, by a person's word or by a plan: what was there is given up, as far as it has no data.
    /// Since version 9 of the ledger.
    Fenced {
        /// Which node.
        node: NodeName,
        /// Whether a plan has switched it off: then that ends by itself when the node answers again. Since version 12.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_plan: bool,
    },
}

/// What an override is about: there is one for each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "subject", content = "name", rename_all = "snake_case")]
pub enum Subject {
    /// What a node takes.
    Intake(NodeName),
    /// Whether a workload's release may change.
    Pause(WorkloadName),
    /// How many replicas a workload has.
    Replicas(WorkloadName),
    /// Which release of a workload stands.
    Pin(WorkloadName),
    /// Whether a node is switched off.
    Fence(NodeName),
}

/// An override that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What.
    pub what: Override,
    /// By whom: a login and a machine.
    pub who: String,
    /// Why, for people.
    pub why: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it ends by itself, in milliseconds since 1970; only by hand if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// A wish that replicas be replaced by new ones of the same release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// By whom.
    pub who: String,
    /// Why, for people; empty if nothing was said.
    pub why: String,
    /// Up to which generation a replica's pods are replaced, by replica (`web-0`).
    pub up_to: BTreeMap<String, u64>,
}

/// An override as a plan counts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// What was decided.
    pub standing: Standing,
    /// The word that declares the workload that it is about, if that is no service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why it is not carried out as it says, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub but: Option<String>,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { standing, kind, but } = self;
        let what = standing.what.to_string();
        match (kind, what.strip_prefix("service/")) {
            (Some(kind), Some(name)) => write!(f, "{kind}/{name}")?,
            _ => f.write_str(&what)?,
        }
        write!(f, "  {}", standing.reason())?;
        but.iter().try_for_each(|but| write!(f, "  (but {but})"))
    }
}

impl Override {
    /// Names what it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Intake { node, intake: _ } => Subject::Intake(node.clone()),
            Self::Pause { workload } => Subject::Pause(workload.clone()),
            Self::Replicas { workload, replicas: _ } => Subject::Replicas(workload.clone()),
            Self::Fenced { node, by_plan: _ } => Subject::Fence(node.clone()),
        }
    }
}

impl Standing {
    /// Says whether it counts at a moment, in milliseconds since 1970.
    pub fn counts_at(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }

    /// Who, since when, until when and why: `by ana@desk since 2026-11-26 14:02:10: disk is failing`.
    pub fn reason(&self) -> String {
        let Self { what: _, who, why, since_ms, until_ms } = self;
        let until = until_ms.map(|until| format!(" until {}", utc(until))).unwrap_or_default();
        format!("by {who} since {}{until}: {why}", utc(*since_ms))
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intake { node, intake: Intake::Open } => write!(f, "node/{node} open"),
            Self::Intake { node, intake: Intake::Cordoned } => write!(f, "node/{node} cordoned"),
            Self::Intake { node, intake: Intake::Drained } => write!(f, "node/{node} drained"),
            Self::Intake { node, intake: Intake::Retired } => write!(f, "node/{node} retired"),
            Self::Pause { workload } => write!(f, "service/{workload} paused"),
            Self::Replicas { workload, replicas: 0 } => write!(f, "service/{workload} stopped"),
            Self::Replicas { workload, replicas: 1 } => write!(f, "service/{workload} 1 replica"),
            Self::Replicas { workload, replicas } => {
                write!(f, "service/{workload} {replicas} replicas")
            }
            Self::Fenced { node, by_plan: _ } => write!(f, "node/{node} switched off"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intake(node) => write!(f, "node/{node}"),
            Self::Pause(workload) => write!(f, "the pause of {workload}"),
            Self::Replicas(workload) => write!(f, "the number of {workload}"),
            Self::Pin(workload) => write!(f, "the pin of {workload}"),
            Self::Fence(node) => write!(f, "the fence of node/{node}"),
        }
    }
}

/// The overrides that count at a moment, in the order of what they are about.
pub fn counting(overrides: &[Standing], now_ms: u64) -> impl Iterator<Item = &Standing> {
    overrides.iter().filter(move |standing| standing.counts_at(now_ms))
}

/// Says whether a workload's releases are paused at a moment, and by which override.
pub fn pause<'a>(
    overrides: &'a [Standing],
    workload: &WorkloadName,
    now_ms: u64,
) -> Option<&'a Standing> {
    let subject = Subject::Pause(workload.clone());
    counting(overrides, now_ms).find(|standing| standing.what.subject() == subject)
}

/// How many replicas an override gives within what the text allows: 0 is always allowed, any other
/// number only between the bounds of `scale`. `None` if the text gives no bounds.
/// A job's number is the text's alone: what is done cannot be said of fewer.
pub fn within(text: &Workload, replicas: u32) -> Option<u32> {
    match (text.scale, replicas) {
        _ if text.once.is_some() => None,
        (_, 0) => Some(0),
        (Some(Scale { min, max }), _) => Some(replicas.clamp(min, max.max(min))),
        (None, _) => None,
    }
}

/// Puts the overrides that count over what the text says of nodes and numbers of replicas.
pub fn in_force<'a>(graph: &'a Graph, overrides: &[Standing], now_ms: u64) -> Cow<'a, Graph> {
    let mut graph = Cow::Borrowed(graph);
    for standing in counting(overrides, now_ms) {
        match &standing.what {
            Override::Intake { node, intake } => {
                let stricter = graph.nodes.get(node).is_some_and(|node| node.intake < *intake);
                if stricter && let Some(node) = graph.to_mut().nodes.get_mut(node) {
                    node.intake = *intake;
                }
            }
            Override::Replicas { workload, replicas } => {
                let Some(text) = graph.workloads.get(workload) else { continue };
                let Some(count) = within(text, *replicas) else { continue };
                if text.replicas != count
                    && let Some(workload) = graph.to_mut().workloads.get_mut(workload)
                {
                    workload.replicas = count;
                    // Who is on every node has as many as there are nodes, unless there are none.
                    workload.placement.every_node &= count > 0;
                }
            }
            Override::Pause { .. } | Override::Fenced { .. } => {}
        }
    }
    graph
}

/// The overrides that count at a moment, each with what keeps it from being carried out.
pub fn counted(graph: &Graph, overrides: &[Standing], now_ms: u64) -> Vec<Counting> {
    let counted = counting(overrides, now_ms).map(|standing| Counting {
        standing: standing.clone(),
        kind: kind(graph, &standing.what).map(str::to_owned),
        but: without_effect(graph, standing),
    });
    counted.collect()
}

/// The word that declares the workload that an override is about, if that is no service.
pub fn kind(graph: &Graph, what: &Override) -> Option<&'static str> {
    let workload = match what {
        Override::Pause { workload } | Override::Replicas { workload, replicas: _ } => workload,
        Override::Intake { .. } | Override::Fenced { .. } => return None,
    };
    let kind = graph.workloads.get(workload)?.kind();
    (kind != "service").then_some(kind)
}

/// What a standing override cannot do, for people: what it names is not in the text, or the text
/// gives no bounds for it.
fn without_effect(graph: &Graph, standing: &Standing) -> Option<String> {
    let missing =
        |kind: &str, name: &dyn fmt::Display| Some(format!("{kind} {name} is not in the text"));
    match &standing.what {
        Override::Intake { node, intake: _ } | Override::Fenced { node, by_plan: _ } => {
            match graph.nodes.get(node) {
                None => missing("node", node),
                Some(_) => None,
            }
        }
        // What is paused stays, in the text or not.
        Override::Pause { .. } => None,
        Override::Replicas { workload, replicas } => match graph.workloads.get(workload) {
            None => missing("service", workload),
            Some(text) if text.once.is_some() => Some("it is a job".to_owned()),
            Some(text) => match within(text, *replicas) {
                None => Some("the text has no `scale` for it".to_owned()),
                Some(count) if count != *replicas => {
                    Some(format!("the text's `scale` allows {count}"))
                }
                Some(_) => None,
            },
        },
    }
}
