//! Crons in the twin's world: when they run, and what is judged when one is made or taken away.
//!
//! All crons run at the same moments of the world's clock, for a while each, on every node that is there.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{TwinPod, World};
use crate::plan::action::PodSpec;
use crate::plan::names::{NodeName, PodId, WorkloadName};

/// How long it is from one run to the next, and how much of that at its end each takes.
const EVERY: Duration = Duration::from_secs(40);
const TAKES: Duration = Duration::from_secs(15);
/// How old an observation may be when its plan is at hand: a run that began since is not known.
const KNOWN_AFTER: Duration = Duration::from_secs(2);

impl World {
    /// Says which crons the text has: no run of theirs is cut short that a plan could know of.
    pub fn set_crons(&mut self, crons: BTreeSet<WorkloadName>) {
        self.crons = crons;
    }

    /// Has every cron run from now on, or none, whatever the time is.
    pub fn run_crons(&mut self, run: bool) {
        self.crons_run = Some(run);
    }

    /// How long it takes until no cron runs.
    pub fn rest_of_runs(&self) -> Duration {
        let pods = self.nodes.values().flat_map(|node| node.pods.values());
        let left = pods
            .filter_map(|pod| self.run_of(pod))
            .map(|began| TAKES.saturating_sub(began.elapsed()));
        left.max().unwrap_or_default()
    }

    /// When a cron's run began that is under way, if one is.
    pub(super) fn run_of(&self, pod: &TwinPod) -> Option<Instant> {
        let origin =
            self.origin.filter(|_| pod.spec.cron.is_some() && pod.running && pod.intact)?;
        if let Some(run) = self.crons_run {
            return run.then_some(pod.started);
        }
        let now = origin.elapsed().as_millis();
        let phase = now % EVERY.as_millis();
        let since = phase.checked_sub((EVERY - TAKES).as_millis())?;
        let began =
            Instant::now().checked_sub(Duration::from_millis(u64::try_from(since).ok()?))?;
        // Whoever was made in the midst of it waits for the next.
        (pod.started <= began).then_some(began)
    }

    /// A cron's pod is made where no other one of it can be started any more.
    pub(super) fn judge_cron(&mut self, name: &NodeName, pod: &PodSpec) {
        if pod.cron.is_none() {
            return;
        }
        let mut found = Vec::new();
        for (other, node) in self.nodes.iter().filter(|(_, node)| !node.cut) {
            let twins = node.pods.iter().filter(|(id, there)| {
                **id != pod.id && there.spec.workload == pod.workload && there.spec.cron.is_some()
            });
            found
                .extend(twins.map(|(id, _)| {
                    format!("{} is made on {name}, and {id} is on {other}", pod.id)
                }));
        }
        self.violations.extend(found);
    }

    /// A cron's pod that goes does not run, as far as whoever planned that could know.
    pub(super) fn judge_end(&mut self, name: &NodeName, id: &PodId) {
        let Some(pod) = self.nodes.get(name).and_then(|node| node.pods.get(id)) else { return };
        // Two would run.
        let mut others = self.nodes.values().flat_map(|node| &node.pods);
        if others.any(|(other, it)| other != id && it.spec.workload == pod.spec.workload) {
            return;
        }
        let known = |began: Instant| self.planned_at.is_some_and(|at| began + KNOWN_AFTER < at);
        if self.run_of(pod).is_some_and(known) && self.crons.contains(&pod.spec.workload) {
            self.violations.push(format!("{id} is taken away in the midst of a run"));
        }
    }
}
