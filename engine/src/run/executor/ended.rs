//! How a job ends: its pods are looked at until they have, and started again when that was not well.

use std::sync::Arc;
use std::time::Duration;

use super::gates::{Halt, MOST_SILENT};
use super::{End, Executor, millis};
use crate::plan::action::{Action, PodSpec};
use crate::plan::body::{Gate, PlanBody, Step, Work};
use crate::plan::change;
use crate::plan::names::PodId;
use crate::plan::observation::PodStatus;
use crate::run::clock::Clock;
use crate::run::event::Event;
use crate::run::host::{Host, Supplies};

/// Pause between two looks at a job, to begin with and at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(200);
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// How long a job that failed waits to be started again, twice as long each time, and at most.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Waits until a job's pod has ended, and starts it again if that was not well.
pub(super) async fn ended<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    (body, supplies): (&PlanBody, &Supplies<'_>),
    step: &Step,
    (pod, retries, timeout_ms): (&PodId, u32, u64),
    halt: &Halt,
) -> End {
    let until = executor.clock.passed_ms().saturating_add(timeout_ms);
    let mut pause = SHORTEST_LOOK;
    let (mut failed, mut silent) = (0, 0);
    loop {
        let status = match executor.host.observe(&step.node, &body.tenant).await {
            Ok(seen) => {
                silent = 0;
                seen.status.pods.get(pod).cloned()
            }
            Err(error) if silent >= MOST_SILENT => return End::Failed { why: error.to_string() },
            Err(_) => {
                silent += 1;
                Some(PodStatus::Running { restarts: 0, started_at_ms: 0 })
            }
        };
        let why = match status {
            Some(PodStatus::Stopped { exit_code: 0, .. }) => {
                let times = if failed == 1 { "time" } else { "times" };
                let note = (failed > 0).then(|| format!("after it had failed {failed} {times}"));
                return End::Done { note };
            }
            Some(PodStatus::Running { .. }) => None,
            Some(PodStatus::Stopped { exit_code, .. }) => {
                Some(format!("ended with exit code {exit_code}"))
            }
            Some(PodStatus::Created | PodStatus::Waiting { .. }) | None => {
                Some("was cut off".to_owned())
            }
        };
        if let Some(why) = &why {
            if failed >= retries {
                let times = if failed == 0 { "" } else { &format!(", {} times", failed + 1) };
                return End::GateFailed { why: format!("{why}{times}") };
            }
            failed += 1;
            let wait = wait_of(failed);
            let why = format!("{why}; it is started again in {} s", wait.as_secs());
            executor.watch.event(Event::Waiting { step: step.id, pod: pod.clone(), why });
            if let Some(end) = rest(executor, step, wait, halt).await {
                return end;
            }
        }
        if executor.clock.passed_ms() >= until {
            let took = change::millis(timeout_ms);
            let why = why.map_or_else(|| "it runs still".to_owned(), |why| format!("it {why}"));
            return End::GateFailed { why: format!("had not ended well after {took}: {why}") };
        }
        if let Some(end) = halt.asked(executor, step) {
            return end;
        }
        if why.is_some() {
            let Some(pod) = made(body, step, pod) else {
                return End::Failed { why: "the plan does not say what it is".to_owned() };
            };
            let again = Action::EnsurePod { pod: Arc::clone(pod) };
            match start(executor, (body, supplies), step, (&again, retries - failed), halt).await {
                End::Done { .. } => pause = SHORTEST_LOOK,
                end => return end,
            }
            continue;
        }
        halt.sleep(executor, step, pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

/// Starts a job's pod, and tries so often again what its node could not start.
pub(super) async fn start<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    (body, supplies): (&PlanBody, &Supplies<'_>),
    step: &Step,
    (action, retries): (&Action, u32),
    halt: &Halt,
) -> End {
    let mut failed = 0;
    loop {
        let end = executor.act(body, supplies, step, action).await;
        let (End::GateFailed { why }, Action::EnsurePod { pod }) = (&end, action) else {
            return end;
        };
        if failed >= retries {
            return end;
        }
        failed += 1;
        let wait = wait_of(failed);
        let why = format!("{why}; it is started again in {} s", wait.as_secs());
        executor.watch.event(Event::Waiting { step: step.id, pod: pod.id.clone(), why });
        if let Some(end) = rest(executor, step, wait, halt).await {
            return end;
        }
    }
}

/// How long a job waits that has failed so often.
fn wait_of(failed: u32) -> Duration {
    RETRY_PAUSE.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(LONGEST_RETRY)
}

/// How often a job's pod is started again, as the plan says.
pub(super) fn retries_of(body: &PlanBody, pod: &PodId) -> u32 {
    let gates = body.steps.iter().filter_map(|step| match &step.work {
        Work::Ask(Gate::Ended { pod: of, retries, timeout_ms: _ }) if of == pod => Some(*retries),
        _ => None,
    });
    gates.max().unwrap_or(0)
}

/// Waits; gives the end of the step if somebody wants that before.
async fn rest<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    step: &Step,
    wait: Duration,
    halt: &Halt,
) -> Option<End> {
    let until = executor.clock.passed_ms().saturating_add(millis(wait));
    loop {
        if let Some(end) = halt.asked(executor, step) {
            return Some(end);
        }
        let left = until.saturating_sub(executor.clock.passed_ms());
        if left == 0 {
            return None;
        }
        halt.sleep(executor, step, Duration::from_millis(left.min(1000))).await;
    }
}

/// What a plan makes a pod from, or found it to be.
fn made<'a>(body: &'a PlanBody, step: &Step, pod: &PodId) -> Option<&'a Arc<PodSpec>> {
    let branch = body.branches.get(step.branch.as_ref()?)?;
    let moves = branch.waves.iter().flat_map(|wave| &wave.moves);
    let made = moves.filter_map(|one| one.into.as_ref()).map(|(_, spec)| spec);
    made.into_iter().find(|spec| &spec.id == pod)
}
