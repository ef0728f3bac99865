//! What is after jobs: it waits for those that this plan runs, and stands back where one is not done by it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::Planning;
use super::stands::standing;
use crate::plan::canon::release_digest;
use crate::plan::change;
use crate::plan::graph::{Graph, Workload};
use crate::plan::ledger::Head;
use crate::plan::names::WorkloadName;
use crate::plan::rollout::{self, Decision};

/// Says whether a job of the text was done when the ledger last heard of it.
pub(super) fn is_done(graph: &Graph, head: &Head, job: &WorkloadName) -> bool {
    let text = graph.workloads.get(job);
    text.is_some_and(|text| rollout::is_done(head.reached.get(job), text))
}

/// Says whether a workload is something else than what was reached last. Only a new release of the text waits for jobs: what a pin
/// puts back had its own.
fn is_new(reached: Option<&Workload>, wanted: &Workload) -> bool {
    match &wanted.once {
        Some(_) => !rollout::is_done(reached, wanted),
        None => reached.is_none_or(|it| release_digest(it) != release_digest(wanted)),
    }
}

impl Planning<'_, '_> {
    /// Has those stay as they are whose jobs this plan does not bring to their ends, and those that make room for
    /// others, who cannot wait meanwhile. Says whether there are any, so that all is to be decided anew.
    pub(super) fn stand_back(
        &mut self,
        wanted: &mut Cow<'_, BTreeMap<WorkloadName, Workload>>,
        decisions: &BTreeMap<WorkloadName, Decision>,
    ) -> bool {
        let head = self.inputs.head;
        let mut late: Vec<(WorkloadName, Vec<String>)> = Vec::new();
        for (name, workload) in wanted.iter().filter(|(_, workload)| !workload.after.is_empty()) {
            if self.body.leaves(name) || !self.waits(name, workload) {
                continue;
            }
            let jobs = workload.after.iter();
            let jobs = jobs.filter(|job| !self.is_sure(job, wanted, decisions));
            let mut causes: Vec<String> =
                jobs.map(|job| format!("job/{job} is not done")).collect();
            let makes_room = self.yielding.keys().any(|pod| {
                self.world.pods.get(pod).is_some_and(|here| &here.placed.workload == name)
            });
            if makes_room {
                causes.push("it makes room for others first".to_owned());
            }
            if !causes.is_empty() {
                late.push((name.clone(), causes));
            }
        }
        let any = !late.is_empty();
        for (name, causes) in late {
            let all = wanted.to_mut();
            let Some(text) = all.remove(&name) else { continue };
            self.body.changes.push(change::waits(&name, &text, causes));
            let stands = head.reached.get(&name).map(|reached| standing(&text, reached));
            all.extend(stands.map(|stands| (name, stands)));
        }
        any
    }

    /// Whether a workload waits for jobs as long as these are not done.
    pub(super) fn waits(&self, name: &WorkloadName, workload: &Workload) -> bool {
        let text = self.inputs.graph.workloads.get(name);
        let of_text = text.is_some_and(|text| release_digest(text) == release_digest(workload));
        of_text && is_new(self.inputs.head.reached.get(name), workload)
    }

    /// Whether a job has ended well when all steps of this plan are done.
    fn is_sure(
        &self,
        job: &WorkloadName,
        wanted: &BTreeMap<WorkloadName, Workload>,
        decisions: &BTreeMap<WorkloadName, Decision>,
    ) -> bool {
        if is_done(self.inputs.graph, self.inputs.head, job) {
            return true;
        }
        let (Some(text), Some(meant)) = (self.inputs.graph.workloads.get(job), wanted.get(job))
        else {
            return false;
        };
        let runs = rollout::is_done(Some(meant), text) && meant.replicas > 0;
        runs && decisions.get(job).is_some_and(|decision| {
            !decision.incomplete && decision.blocked.is_empty() && decision.waiting == 0
        })
    }

    /// How many jobs come before one another before a workload begins; nothing where none does.
    pub(super) fn depths(
        &self,
        wanted: &BTreeMap<WorkloadName, Workload>,
        decisions: &BTreeMap<WorkloadName, Decision>,
    ) -> BTreeMap<WorkloadName, usize> {
        let mut depths: BTreeMap<WorkloadName, usize> = BTreeMap::new();
        let waits = |name: &WorkloadName| -> BTreeSet<&WorkloadName> {
            let Some(workload) = wanted.get(name) else { return BTreeSet::new() };
            if !self.waits(name, workload) {
                return BTreeSet::new();
            }
            let runs = |job: &&WorkloadName| {
                decisions.get(*job).is_some_and(|decision| decision.branch.is_some())
            };
            workload.after.iter().filter(runs).collect()
        };
        let with: Vec<_> =
            wanted.iter().filter(|(_, workload)| !workload.after.is_empty()).collect();
        // The text has no circles, so that each round settles at least one.
        for _ in 0..with.len() {
            let mut changed = false;
            for (name, _) in &with {
                let jobs = waits(name);
                let deepest = jobs.iter().map(|job| depths.get(*job).copied().unwrap_or(0)).max();
                let depth = deepest.map_or(0, |deepest| deepest + 1);
                if depth > 0 && depths.get(*name) != Some(&depth) {
                    depths.insert((*name).clone(), depth);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        depths
    }
}
