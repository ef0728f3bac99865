//! Jobs in the twin's world: how they end, and what is judged when one is made, or what is after one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{AfterJobs, Behaviour, TwinPod, World};
use crate::plan::action::PodSpec;
use crate::plan::names::{NodeName, SpecDigest, WorkloadName};

/// How long a job's program runs.
const TAKES: Duration = Duration::from_secs(3);

impl World {
    /// Says which jobs the ledger has as done, with how many replicas, in the place of what was said before.
    pub fn set_done(&mut self, done: BTreeMap<WorkloadName, (SpecDigest, u32)>) {
        self.done = done;
    }

    /// Forgets what the ledger had as done: its last lines may be lost.
    pub fn forget_done(&mut self) {
        self.done.clear();
    }

    /// Lets a job run again: somebody has asked for it.
    pub fn let_run_again(&mut self, job: &WorkloadName) {
        self.may_run_again.insert(job.clone());
    }

    /// Says which jobs are done before pods of a workload and a template are made, each with its replicas; in the place of what
    /// was said before.
    pub fn set_after(&mut self, after: AfterJobs) {
        self.after = after;
    }

    /// How a job's pod has ended, if it has. What falls over does so twice; what is never ready fails each time; what fails its checks
    /// never ends.
    pub(super) fn exit_code(&self, pod: &TwinPod) -> Option<u32> {
        if !pod.spec.ends || !pod.running || pod.started.elapsed() < TAKES {
            return None;
        }
        match self.behaviour(&pod.spec.image) {
            Behaviour::ReadyAfter(_) => Some(0),
            Behaviour::NeverReady => Some(1),
            Behaviour::FallsOver(..) => Some(u32::from(pod.starts < 3)),
            Behaviour::FailsChecks => None,
        }
    }

    /// A job's pod runs once, and one at a time; and what is after jobs comes after them.
    pub(super) fn judge_job(&mut self, name: &NodeName, pod: &PodSpec) {
        let of = |job: &WorkloadName, ordinal: u32, template: &SpecDigest| {
            self.ended.contains(&(job.clone(), ordinal, template.clone()))
        };
        let mut found = Vec::new();
        let key = (pod.workload.clone(), pod.digest.clone());
        for (job, template, replicas) in self.after.get(&key).into_iter().flatten() {
            if (0..*replicas).any(|ordinal| !of(job, ordinal, template)) {
                found.push(format!("{} is made before {job} is done", pod.id));
            }
        }
        if pod.ends {
            let done = self.done.get(&pod.workload);
            if done.is_some_and(|(of, count)| *of == pod.digest && pod.id.ordinal < *count)
                && !self.may_run_again.contains(&pod.workload)
            {
                found.push(format!("{} runs again, and the ledger has it as done", pod.id));
            }
            for (other, node) in self.nodes.iter().filter(|(_, node)| !node.cut) {
                for (id, there) in node.pods.iter().filter(|(_, p)| p.spec.workload == pod.workload)
                {
                    let is_it = *id == pod.id && other == name;
                    let ended = self.exit_code(there);
                    let runs = there.running && ended.is_none();
                    if id.ordinal != pod.id.ordinal || !there.spec.ends {
                        continue;
                    }
                    if runs && !is_it {
                        found.push(format!("{} is made, and {id} runs on {other}", pod.id));
                    }
                    let same = there.spec.digest == pod.digest;
                    let asked = self.may_run_again.contains(&pod.workload);
                    if same && ended == Some(0) && !asked {
                        found.push(format!("{} is made, and {id} has ended well", pod.id));
                    }
                }
            }
        }
        self.violations.extend(found);
    }

    /// Takes note of what has ended well, before anything is taken away or made, boots, or is looked at.
    pub(super) fn note_ended(&mut self) {
        let all = self.nodes.values().flat_map(|node| &node.pods);
        let ended = all.filter(|(_, pod)| self.exit_code(pod) == Some(0));
        let ended: Vec<_> = ended
            .map(|(id, pod)| (pod.spec.workload.clone(), id.ordinal, pod.spec.digest.clone()))
            .collect();
        self.ended.extend(ended);
    }
}
