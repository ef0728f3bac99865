//! Jobs: what is done is not done again, and what is after a job comes after it.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::ancestry::Ancestry;
use crate::plan::action::{Action, PodSpec};
use crate::plan::body::{Gate, PlanBody, Work};
use crate::plan::canon::template_digest;
use crate::plan::graph::{Graph, Workload};
use crate::plan::ledger::Head;
use crate::plan::names::{PodId, SpecDigest, WorkloadName};
use crate::plan::observation::{Observation, PodStatus};

/// Judges what a plan does about jobs.
pub(super) fn jobs(
    body: &PlanBody,
    graph: &Graph,
    (observation, head): (&Observation, &Head),
    ancestry: &Ancestry,
    violations: &mut Vec<Violation>,
) {
    let mut made: Vec<(usize, &PodSpec)> = Vec::new();
    let mut gates: BTreeMap<&WorkloadName, BTreeMap<u32, usize>> = BTreeMap::new();
    for (index, step) in body.steps.iter().enumerate() {
        match &step.work {
            Work::Act(Action::EnsurePod { pod }) => made.push((index, pod)),
            Work::Ask(Gate::Ended { pod, .. }) => {
                let gates = step.branch.as_ref().map(|branch| gates.entry(branch).or_default());
                gates.into_iter().for_each(|gates| {
                    gates.insert(pod.ordinal, index);
                });
            }
            _ => {}
        }
    }
    if made.is_empty() {
        return;
    }
    let reached = |name: &WorkloadName| -> Option<(SpecDigest, &Workload)> {
        head.reached.get(name).map(|reached| (template_digest(&reached.template), reached))
    };
    let is_done = |name: &WorkloadName, digest: &SpecDigest| {
        reached(name).is_some_and(|(known, reached)| reached.once.is_some() && known == *digest)
    };
    let was_done = |pod: &PodSpec| {
        let before = head.reached.get(&pod.workload).map_or(0, |reached| reached.replicas);
        pod.id.ordinal < before && is_done(&pod.workload, &pod.digest)
    };
    let mut ended: Option<BTreeSet<(WorkloadName, SpecDigest, u32)>> = None;
    let mut known: BTreeMap<&WorkloadName, SpecDigest> = BTreeMap::new();
    for (index, pod) in made {
        let asked = head.restarts.get(&pod.workload);
        let asked = asked.is_some_and(|asked| asked.up_to.contains_key(&pod.id.replica()));
        if pod.ends && !asked && was_done(pod) {
            violations.push(Violation::RunsAgain { pod: pod.id.clone() });
        }
        let Some(text) = graph.workloads.get(&pod.workload) else { continue };
        // What stands before it comes back without them.
        let stood = reached(&pod.workload).is_some_and(|(known, _)| known == pod.digest);
        if text.after.is_empty() || stood || pod.digest != template_digest(&text.template) {
            continue;
        }
        for (job, text) in
            text.after.iter().filter_map(|job| Some((job, graph.workloads.get(job)?)))
        {
            let digest =
                known.entry(job).or_insert_with(|| template_digest(&text.template)).clone();
            let before = head.reached.get(job).map_or(0, |reached| reached.replicas);
            if is_done(job, &digest) && before >= text.replicas {
                continue;
            }
            let ended = ended.get_or_insert_with(|| self::ended(observation, head));
            let has = |ordinal: u32| {
                let gate = gates.get(job).and_then(|gates| gates.get(&ordinal));
                gate.is_some_and(|gate| ancestry.is_before(*gate, index))
                    || ordinal < before && is_done(job, &digest)
                    || ended.contains(&(job.clone(), digest.clone(), ordinal))
            };
            if !(0..text.replicas).all(has) {
                violations.push(Violation::BeforeJob { pod: pod.id.clone(), job: job.clone() });
            }
        }
    }
}

/// Replicas of jobs that have run to their ends, as their nodes or the ledger say.
fn ended(observation: &Observation, head: &Head) -> BTreeSet<(WorkloadName, SpecDigest, u32)> {
    let seen = observation.nodes.keys().filter_map(|name| observation.seen(name));
    let seen = seen.flat_map(|seen| {
        let well = |id: &PodId| {
            let status = seen.status.pods.get(id);
            matches!(status, Some(PodStatus::Stopped { exit_code: 0, .. }))
        };
        let pods = seen.spec.pods.iter().filter(move |(id, pod)| pod.ends && well(id));
        pods.map(|(id, pod)| (pod.workload.clone(), pod.digest.clone(), id.ordinal))
    });
    let told = head.placed.iter().filter(|(id, at)| at.ends && head.proven.contains(*id));
    let told = told.map(|(id, at)| (at.workload.clone(), at.digest.clone(), id.ordinal));
    seen.chain(told).collect()
}
