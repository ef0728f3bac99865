//! `berth cordon`, `drain`, `uncordon`, `fence`, `unfence`, `pause`, `resume`, `scale`, `stop`, `start`,
//! `unpin`: what people decide beside the text, for a while; and `node forget`, for good.

use std::collections::BTreeSet;

use berth_engine::plan::graph::{Intake, Scale};
use berth_engine::plan::ledger::Entry;
use berth_engine::plan::names::{NodeName, WorkloadName};
use berth_engine::plan::overrides::{Override, Subject};

use super::Ended;
use crate::Global;
use crate::decision::{Carry, Decision, Reason, Situation, decide};
use crate::replicas;

/// Nodes, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct CordonArgs {
    /// Which nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    reason: Reason,
}

/// Nodes, why, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// Which nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    carry: Carry,
}

/// Nodes that are opened again.
#[derive(Debug, clap::Args)]
pub(crate) struct UncordonArgs {
    /// Which nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    carry: Carry,
}

/// A node that is gone, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    /// Which node: of the text, or one that was
    #[arg(value_name = "NODE")]
    node: String,
    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl ForgetArgs {
    pub(crate) fn new(node: &NodeName, why: &str, yes: bool) -> Self {
        Self { node: node.to_string(), why: why.to_owned(), yes }
    }
}

/// Services, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// Which services
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    reason: Reason,
}

/// Services, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// Which services
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// A service and a number.
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleArgs {
    /// Which service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// How many replicas, between the bounds of `scale` in the text
    #[arg(value_name = "N")]
    replicas: u32,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    carry: Carry,
}

/// Services that stop.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Which services
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    carry: Carry,
}

/// Services that have the text's number of replicas again.
#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    /// Which services
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    carry: Carry,
}

/// What cannot be decided.
#[derive(Debug, thiserror::Error)]
enum OverrideError {
    #[error("there is no node `{}`; there are {}", .0.escape_debug(), .1.join(", "))]
    NoNode(String, Vec<String>),
    #[error("{0} answers, so it is not switched off; `berth drain {0}` moves away what is there")]
    Answers(NodeName),
    #[error("the ledger knows no node {0}")]
    NotKnown(NodeName),
    #[error(
        "{0} keeps the ledger: name another keeper in the text, then `berth ledger move --take-over`"
    )]
    Keeps(NodeName),
    #[error("there is no service `{}`; {}", .0.escape_debug(), services(.1))]
    NoService(String, Vec<String>),
    #[error(
        "the text does not say how many replicas of {0} an override may choose: give it `scale: {{ min: 1, max: {1} }}`, and apply that"
    )]
    NoScale(WorkloadName, u32),
    #[error("the text allows {} to {} replicas of {name}, not {replicas}: `scale` says so", scale.min, scale.max)]
    OutOfScale { name: WorkloadName, replicas: u32, scale: Scale },
    #[error(
        "{0} was never applied, so it has no release to stay at: leave it out of the text instead"
    )]
    NeverApplied(WorkloadName),
    #[error(
        "{0} runs on every node; to keep it off one, drain the node, or say `place` in the text; to stop it, `berth stop {0}`"
    )]
    EveryNode(WorkloadName),
}

fn services(known: &[String]) -> String {
    if known.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    }
}

/// The nodes that are named, each once.
fn nodes(situation: &Situation<'_>, named: &[String]) -> Result<BTreeSet<NodeName>, OverrideError> {
    let known = &situation.project.graph.nodes;
    let of = |text: &String| {
        let name = NodeName::new(text.strip_prefix("node/").unwrap_or(text));
        if known.contains_key(&name) {
            return Ok(name);
        }
        Err(OverrideError::NoNode(text.clone(), known.keys().map(ToString::to_string).collect()))
    };
    named.iter().map(of).collect()
}

/// The service that is named: one of the text, or one that runs.
pub(super) fn service(
    situation: &Situation<'_>,
    named: &str,
) -> Result<WorkloadName, Box<dyn std::error::Error>> {
    let name = WorkloadName::new(replicas::bare(named));
    let text = &situation.project.graph.workloads;
    let reached = &situation.head().reached;
    if text.contains_key(&name) || reached.contains_key(&name) {
        return Ok(name);
    }
    let known: BTreeSet<_> = text.keys().chain(reached.keys()).collect();
    let known = known.into_iter().map(ToString::to_string).collect();
    Err(OverrideError::NoService(named.to_owned(), known).into())
}

fn every_service(
    situation: &Situation<'_>,
    named: &[String],
) -> Result<BTreeSet<WorkloadName>, Box<dyn std::error::Error>> {
    named.iter().map(|name| service(situation, name)).collect()
}

fn made(situation: &Situation<'_>, what: Override, reason: &Reason) -> Entry {
    let until_ms = reason.until_ms(situation.now_ms);
    Entry::Override { what, why: reason.why.clone(), until_ms }
}

/// Lifts what stands of them.
fn lifted(situation: &Situation<'_>, subjects: impl IntoIterator<Item = Subject>) -> Decision {
    let mut decision = Decision::default();
    for subject in subjects {
        let head = situation.head();
        let there = match &subject {
            Subject::Pin(name) => head.pins.contains_key(name),
            Subject::Intake(_) | Subject::Pause(_) | Subject::Replicas(_) | Subject::Fence(_) => {
                head.overrides.iter().any(|standing| standing.what.subject() == subject)
            }
        };
        if there {
            decision.words.push(format!("{subject} is lifted"));
            decision.entries.push(Entry::Lift { subject });
        } else {
            decision.words.push(format!("{subject}: no override stands"));
        }
    }
    decision
}

/// Closes nodes for new replicas.
pub(crate) fn cordon(global: &Global, args: &CordonArgs) -> Ended {
    decide(global, None, |situation| {
        let mut decision = Decision::default();
        for node in nodes(situation, &args.nodes)? {
            let what = Override::Intake { node, intake: Intake::Cordoned };
            decision.words.push(format!("{what}: what is there stays, and nothing new comes"));
            decision.entries.push(made(situation, what, &args.reason));
        }
        Ok(decision)
    })
}

/// Closes nodes, and moves what is there to others.
pub(crate) fn drain(global: &Global, args: &DrainArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let mut decision = Decision::default();
        let nodes = nodes(situation, &args.nodes)?;
        let placed = situation.head().placed.values();
        let placed = placed.map(|placed| (&placed.node, &placed.workload));
        let seen = situation
            .observation
            .nodes
            .keys()
            .filter_map(|node| Some((node, situation.observation.seen(node)?)));
        let seen = seen
            .flat_map(|(node, seen)| seen.spec.pods.values().map(move |pod| (node, &pod.workload)));
        let there = placed.chain(seen).filter(|(node, _)| nodes.contains(*node));
        decision.touches = there.map(|(_, workload)| workload.clone()).collect();
        for node in nodes {
            let what = Override::Intake { node, intake: Intake::Drained };
            decision.words.push(format!("{what}: nothing of this project stays there"));
            decision.entries.push(made(situation, what, &args.reason));
        }
        Ok(decision)
    })
}

/// Opens nodes again.
pub(crate) fn uncordon(global: &Global, args: &UncordonArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let nodes = nodes(situation, &args.nodes)?;
        let subjects = nodes.iter().map(|node| Subject::Intake(node.clone()));
        let mut decision = lifted(situation, subjects);
        for name in &nodes {
            let text = situation.project.graph.nodes.get(name).map(|node| node.intake);
            if text.is_some_and(|intake| intake != Intake::Open) {
                decision.words.push(format!("node/{name} stays closed: the text says `intake`"));
            }
        }
        let everywhere = situation.head().reached.iter().filter(|(_, w)| w.placement.every_node);
        decision.touches = everywhere.map(|(name, _)| name.clone()).collect();
        decision.counts = true;
        Ok(decision)
    })
}

/// The services that have something on nodes, by the ledger.
fn placed_on(situation: &Situation<'_>, nodes: &BTreeSet<NodeName>) -> BTreeSet<WorkloadName> {
    let placed = situation.head().placed.values();
    let placed = placed.filter(|placed| nodes.contains(&placed.node));
    placed.map(|placed| placed.workload.clone()).collect()
}

/// Says that nodes are switched off: what was there starts elsewhere, as far as it has no data there.
pub(crate) fn fence(global: &Global, args: &DrainArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let mut decision = Decision::default();
        let nodes = nodes(situation, &args.nodes)?;
        if let Some(node) = nodes.iter().find(|n| situation.observation.seen(n).is_some()) {
            return Err(OverrideError::Answers(node.clone()).into());
        }
        decision.touches = placed_on(situation, &nodes);
        for node in nodes {
            let what = Override::Fenced { node: node.clone(), by_plan: false };
            decision.words.push(format!(
                "{what}: what has no volume there starts elsewhere; `berth unfence {node}` when it is back"
            ));
            decision.entries.push(made(situation, what, &args.reason));
        }
        Ok(decision)
    })
}

/// Takes back that nodes are switched off.
pub(crate) fn unfence(global: &Global, args: &UncordonArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let nodes = nodes(situation, &args.nodes)?;
        let mut decision = lifted(situation, nodes.iter().cloned().map(Subject::Fence));
        decision.touches = placed_on(situation, &nodes);
        Ok(decision)
    })
}

/// Forgets a node that is gone for good.
pub(crate) fn forget(global: &Global, args: &ForgetArgs) -> Ended {
    decide(global, None, |situation| {
        let name = NodeName::new(args.node.strip_prefix("node/").unwrap_or(&args.node));
        let head = situation.head();
        let claimed = head.claims.nodes.get(&name);
        let lost: BTreeSet<String> = head
            .volumes()
            .iter()
            .filter(|(_, home)| home.node == name)
            .map(|(id, _)| format!("volume/{id}"))
            .collect();
        let pods = head.may_be_there();
        let pods = pods.values().filter(|placed| placed.node == name).count();
        if claimed.is_none() && lost.is_empty() && pods == 0 {
            return Err(OverrideError::NotKnown(name).into());
        }
        let seen = situation.observation.seen(&name).map(|seen| &seen.facts.machine_id);
        if seen.is_some() && seen == claimed.map(|claimed| &claimed.machine_id) {
            return Err(OverrideError::Answers(name).into());
        }
        if name == situation.project.graph.keeper {
            return Err(OverrideError::Keeps(name).into());
        }
        let mut words = vec![format!(
            "node/{name} is forgotten, with {pods} replica{} there; if it is ever switched on again, what is there runs beside what takes its place",
            if pods == 1 { "" } else { "s" }
        )];
        if !lost.is_empty() {
            let lost: Vec<_> = lost.into_iter().collect();
            words.push(format!("the data of {} is given up", lost.join(", ")));
        }
        if !args.yes {
            words.iter().for_each(|line| say!("{line}"));
            if !crate::commands::apply::agreed("Forget it?", "y")? {
                return Ok(Decision::default());
            }
            words.clear();
        }
        words.push("`berth apply` goes on without it".to_owned());
        let entry = Entry::Forget { node: name, why: args.why.clone() };
        Ok(Decision { entries: vec![entry], words, ..Decision::default() })
    })
}

/// Keeps services at their release.
pub(crate) fn pause(global: &Global, args: &PauseArgs) -> Ended {
    decide(global, None, |situation| {
        let mut decision = Decision::default();
        for workload in every_service(situation, &args.services)? {
            if !situation.head().reached.contains_key(&workload) {
                return Err(OverrideError::NeverApplied(workload).into());
            }
            let what = Override::Pause { workload };
            decision
                .words
                .push(format!("{what}: replicas keep their release, whatever the text says"));
            decision.entries.push(made(situation, what, &args.reason));
        }
        Ok(decision)
    })
}

/// Lets services go on.
pub(crate) fn resume(global: &Global, args: &ResumeArgs) -> Ended {
    decide(global, None, |situation| {
        let services = every_service(situation, &args.services)?;
        let mut decision = lifted(situation, services.into_iter().map(Subject::Pause));
        if !decision.entries.is_empty() {
            decision.words.push("`berth apply` goes on from where it is".to_owned());
        }
        Ok(decision)
    })
}

/// Gives a service another number of replicas.
pub(crate) fn scale(global: &Global, args: &ScaleArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let name = service(situation, &args.service)?;
        let replicas = args.replicas;
        let text = situation.project.graph.workloads.get(&name);
        let applied = situation.head().reached.get(&name);
        if text.or(applied).is_some_and(|w| w.placement.every_node) {
            return Err(OverrideError::EveryNode(name).into());
        }
        if replicas > 0 {
            let Some(scale) = text.or(applied).and_then(|workload| workload.scale) else {
                return Err(OverrideError::NoScale(name, replicas.max(2)).into());
            };
            if replicas < scale.min || replicas > scale.max {
                return Err(OverrideError::OutOfScale { name, replicas, scale }.into());
            }
        }
        let mut decision = Decision::default();
        let what = Override::Replicas { workload: name.clone(), replicas };
        decision.words.push(format!("{what}, until it is lifted by `berth start {name}`"));
        decision.entries.push(made(situation, what, &args.reason));
        decision.touches.insert(name);
        decision.counts = true;
        Ok(decision)
    })
}

/// Stops services: no replica runs.
pub(crate) fn stop(global: &Global, args: &StopArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let mut decision = Decision::default();
        for workload in every_service(situation, &args.services)? {
            let what = Override::Replicas { workload: workload.clone(), replicas: 0 };
            decision.words.push(format!("{what}, until `berth start {workload}`"));
            decision.entries.push(made(situation, what, &args.reason));
            decision.touches.insert(workload);
        }
        decision.counts = true;
        Ok(decision)
    })
}

/// Gives services the text's number of replicas again.
pub(crate) fn start(global: &Global, args: &StartArgs) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let services = every_service(situation, &args.services)?;
        let subjects = services.iter().cloned().map(Subject::Replicas);
        let mut decision = lifted(situation, subjects);
        decision.touches = services;
        decision.counts = true;
        Ok(decision)
    })
}

/// Lets the text's release of services be tried again.
pub(crate) fn unpin(global: &Global, args: &ResumeArgs) -> Ended {
    decide(global, None, |situation| {
        let services = every_service(situation, &args.services)?;
        let mut decision = lifted(situation, services.into_iter().map(Subject::Pin));
        if !decision.entries.is_empty() {
            decision.words.push("`berth apply` tries the text's release again".to_owned());
        }
        Ok(decision)
    })
}
