//! Events: what an apply tells whoever watches it. Rendering is theirs.

use crate::plan::body::{Step, StepId};
use crate::plan::names::{NodeName, PodId, WorkloadName};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step starts.
    Started(Step),
    /// A step ended well.
    Done {
        /// Which.
        step: Step,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// What to know about it, such as connections that were cut.
        note: Option<String>,
    },
    /// A step did not; steps that wait for it will not run.
    Failed {
        /// Which.
        step: Step,
        /// Why.
        why: String,
    },
    /// A step ended before its time, since its workload's rollout goes no further.
    GivenUp(Step),
    /// A gate waits; sent when the reason changes.
    Waiting {
        /// Which step.
        step: StepId,
        /// For which pod.
        pod: PodId,
        /// What the pod said.
        why: String,
    },
    /// A gate failed.
    GateFailed {
        /// For which pod.
        pod: PodId,
        /// On which node.
        node: NodeName,
        /// Why.
        why: String,
        /// The end of the pod's log.
        log: Vec<u8>,
    },
    /// Somebody asked for a workload's release to be taken back.
    Asked {
        /// Which workload.
        workload: WorkloadName,
        /// Who, and why.
        why: String,
    },
    /// A workload goes back.
    Undo {
        /// Which workload.
        workload: WorkloadName,
        /// How many steps that takes.
        steps: usize,
    },
}

/// Who watches.
pub trait Watch: Send + Sync {
    /// Takes an event.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Watch for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
