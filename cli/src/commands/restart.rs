//! `berth restart`: new replicas of the same release, as a rollout puts them in place.

use std::collections::BTreeMap;

use berth_engine::plan::change;
use berth_engine::plan::ledger::Entry;
use berth_engine::plan::names::{PodId, WorkloadName};

use super::Ended;
use crate::Global;
use crate::decision::{Carry, Decision, Situation, decide};
use crate::replicas;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services or replicas: web, web[1]
    #[arg(required = true, value_name = "REPLICA")]
    replicas: Vec<String>,
    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    carry: Carry,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let mut up_to: BTreeMap<WorkloadName, BTreeMap<String, u64>> = BTreeMap::new();
        for named in &args.replicas {
            for (pod, workload) in meant(situation, named)? {
                let planned = situation.head().generations.get(&pod.replica()).copied();
                let highest = planned.unwrap_or(0).max(pod.generation);
                let of_it = up_to.entry(workload).or_default().entry(pod.replica()).or_default();
                *of_it = highest.max(*of_it);
            }
        }
        let mut decision = Decision::default();
        for (workload, up_to) in up_to {
            let count = up_to.len();
            let replicas = if count == 1 { "replica" } else { "replicas" };
            let text = situation.project.graph.workloads.get(&workload);
            let what = change::resource(&workload, text);
            let is_job = text.is_some_and(|text| text.once.is_some());
            let words = if is_job { "to be run again" } else { "to be replaced" };
            decision.words.push(format!("{what}: {count} {replicas} {words}"));
            decision.touches.insert(workload.clone());
            let why = args.why.clone();
            decision.entries.push(Entry::Restart { workload, why, up_to });
        }
        Ok(decision)
    })
}

/// The pods that are meant: those that were seen, and those on nodes that did not answer.
fn meant(
    situation: &Situation<'_>,
    named: &str,
) -> Result<BTreeMap<PodId, WorkloadName>, Box<dyn std::error::Error>> {
    let (graph, observation) = (&situation.project.graph, situation.observation);
    let wanted = replicas::parse(named, graph, observation)?;
    let placed = situation.head().placed.iter();
    let placed = placed.filter(|(_, placed)| observation.seen(&placed.node).is_none());
    let mut meant: BTreeMap<PodId, WorkloadName> = placed
        .filter(|(pod, _)| wanted.matches(pod))
        .map(|(pod, placed)| (pod.clone(), placed.workload.clone()))
        .collect();
    if meant.is_empty() || replicas::choose(named, graph, observation).is_ok() {
        let chosen = replicas::choose(named, graph, observation)?;
        meant.extend(chosen.into_iter().map(|replica| (replica.pod, replica.seen.workload)));
    }
    Ok(meant)
}
