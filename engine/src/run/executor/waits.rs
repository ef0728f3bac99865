//! What a step waits for: a pod that becomes ready, and one that serves nobody any more.

use std::time::Duration;

use super::gates::Halt;
use super::{End, Executor, millis};
use crate::plan::body::{PlanBody, Step};
use crate::plan::graph::Probe;
use crate::plan::names::PodId;
use crate::plan::observation::PodStatus;
use crate::run::clock::Clock;
use crate::run::event::Event;
use crate::run::host::{Host, ProbeTarget};

/// Pause between two looks at a pod's connections.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

impl<H: Host, C: Clock> Executor<'_, H, C> {
    /// A pod is ready whose probe has passed so often in a row as it says.
    pub(super) async fn await_probe(
        &self,
        step: &Step,
        (pod, target, probe): (&PodId, &ProbeTarget, &Probe),
        deadline: Duration,
        halt: &Halt,
    ) -> End {
        let until = self.clock.passed_ms().saturating_add(millis(deadline));
        let every = Duration::from_millis(probe.every_ms.max(10));
        // The first answers are asked for more often than the probe's own pace, so that a pod
        // that is ready at once does not wait for a tick.
        let mut pause = Duration::from_millis(20).min(every);
        let mut passed = 0;
        let mut said = None;
        loop {
            let answer = self.host.probe(&step.node, target).await;
            let why = match answer {
                Ok(Ok(())) => {
                    passed += 1;
                    if passed >= probe.pass_after.max(1) {
                        return End::Done { note: None };
                    }
                    None
                }
                Ok(Err(why)) => Some((true, why)),
                Err(error) => Some((false, error.to_string())),
            };
            if let Some((_, words)) = &why {
                passed = 0;
                if said.as_ref() != Some(words) {
                    said = Some(words.clone());
                    let (step, pod, why) = (step.id, pod.clone(), words.clone());
                    self.watch.event(Event::Waiting { step, pod, why });
                }
            }
            if self.clock.passed_ms() >= until {
                let waited = format!("not ready after {} s", deadline.as_secs());
                return match why {
                    Some((true, why)) => End::GateFailed { why: format!("{waited}: {why}") },
                    None => End::GateFailed { why: waited },
                    Some((false, why)) => End::Failed { why },
                };
            }
            if let Some(refused) = halt.refused(step) {
                return End::Asked(refused);
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(every);
        }
    }

    /// Without a probe, a pod is ready that runs at two looks a second apart, or is a cron's that its node will start.
    pub(super) async fn await_running(
        &self,
        body: &PlanBody,
        step: &Step,
        pod: &PodId,
        deadline: Duration,
        halt: &Halt,
    ) -> End {
        let until = self.clock.passed_ms().saturating_add(millis(deadline));
        let mut ran: Option<u32> = None;
        loop {
            let status = match self.host.observe(&step.node, &body.tenant).await {
                Ok(seen) => Ok(seen.status.pods.get(pod).cloned()),
                Err(error) => Err(error.to_string()),
            };
            match &status {
                Ok(Some(PodStatus::Running { restarts, .. })) if ran == Some(*restarts) => {
                    return End::Done { note: None };
                }
                Ok(Some(PodStatus::Running { restarts, .. })) => ran = Some(*restarts),
                Ok(Some(PodStatus::Waiting { .. })) => return End::Done { note: None },
                Ok(Some(PodStatus::Stopped { .. } | PodStatus::Created) | None) | Err(_) => {
                    ran = None;
                }
            }
            if self.clock.passed_ms() >= until {
                return match status {
                    Ok(Some(PodStatus::Stopped { exit_code, .. })) => {
                        End::GateFailed { why: format!("ended with exit code {exit_code}") }
                    }
                    Ok(_) => End::GateFailed { why: "does not keep running".to_owned() },
                    Err(why) => End::Failed { why },
                };
            }
            if let Some(refused) = halt.refused(step) {
                return End::Asked(refused);
            }
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// A pod is drained when two looks find no connection; past the deadline it is cut off.
    pub(super) async fn await_drained(
        &self,
        body: &PlanBody,
        step: &Step,
        pod: &PodId,
        deadline: Duration,
    ) -> End {
        let until = self.clock.passed_ms().saturating_add(millis(deadline));
        let mut quiet = 0;
        loop {
            self.clock.sleep(LOOK_PAUSE).await;
            let open = match self.host.connections(&step.node, &body.tenant, pod).await {
                Ok(0) => {
                    quiet += 1;
                    0
                }
                Ok(open) => {
                    quiet = 0;
                    open
                }
                Err(error) if self.clock.passed_ms() >= until => {
                    return End::Failed { why: error.to_string() };
                }
                Err(_) => continue,
            };
            if quiet >= 2 {
                return End::Done { note: None };
            }
            if self.clock.passed_ms() >= until {
                let note = (open > 0).then(|| format!("{open} connections were still open"));
                return End::Done { note };
            }
        }
    }
}
