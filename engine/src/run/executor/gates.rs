//! What is asked of a release beside readiness: whether it stays steady, what a program in it says, and
//! what Prometheus knows.
//!
//! A node that does not answer for a moment says nothing about a release: it is asked again, and only a
//! whole time without an answer ends the branch, as a failure that is not the release's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;

use super::{End, Executor, Refused, ended, millis};
use crate::plan::body::{Gate, PlanBody, Step, Work};
use crate::plan::change;
use crate::plan::graph::{Metric, Probe};
use crate::plan::names::{PodId, WorkloadName};
use crate::plan::observation::PodStatus;
use crate::run::clock::Clock;
use crate::run::event::Event;
use crate::run::host::{Ask, Host, ProbeTarget, Ran, Supplies};

/// Pause between two questions to Prometheus, at most; a tenth of the whole time if that is less.
const METRIC_PAUSE: Duration = Duration::from_secs(10);
/// How long an answer of Prometheus may take.
const METRIC_DEADLINE: Duration = Duration::from_secs(10);
/// Answers out of bounds in a row that turn a release down before its time is over.
const MOST_OUT_OF_BOUNDS: u32 = 3;
/// A time without a look that does not count as watched, in milliseconds.
const LONGEST_GAP_MS: u64 = 10_000;
/// How much of what a program printed is part of a reason, in characters.
const LONGEST_WORDS: usize = 300;
/// Questions without an answer in a row after which a node counts as silent.
pub(super) const MOST_SILENT: u32 = 10;

/// Asks.
pub(super) async fn ask<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    (body, supplies): (&PlanBody, &Supplies<'_>),
    step: &Step,
    gate: &Gate,
    halt: &Halt,
) -> End {
    match gate {
        Gate::Steady { pod, ip4, probe, for_ms } => {
            let address = IpAddr::V4(*ip4);
            let target = probe.clone().map(|probe| ProbeTarget { address, probe });
            steady(executor, body, step, (pod, target.as_ref()), *for_ms, halt).await
        }
        Gate::Command { pod, run, timeout_ms } => {
            let deadline = Duration::from_millis(*timeout_ms);
            match executor.host.run(&step.node, &body.tenant, pod, run, deadline).await {
                Ok(Ran { why: None, said: _ }) => End::Done { note: None },
                Ok(Ran { why: Some(why), said }) => {
                    let said = String::from_utf8_lossy(&said);
                    let last = said.lines().rfind(|line| !line.trim().is_empty());
                    let last = last.map(|line| format!(": {}", shown(line))).unwrap_or_default();
                    End::GateFailed { why: format!("`{}` {why}{last}", run.join(" ")) }
                }
                Err(error) => End::Failed { why: error.to_string() },
            }
        }
        Gate::Ended { pod, retries, timeout_ms } => {
            let of = (pod, *retries, *timeout_ms);
            ended::ended(executor, (body, supplies), step, of, halt).await
        }
        Gate::Metric { pod, metric, for_ms } => {
            let time = Duration::from_millis(*for_ms);
            look(executor, step, (pod, metric), time, halt).await
        }
    }
}

/// A line of a program's, as far as a reason has room for it. Nothing in it moves a terminal's cursor.
fn shown(line: &str) -> String {
    line.trim().chars().take(LONGEST_WORDS).flat_map(char::escape_debug).collect()
}

/// Looks at a pod for a while. As many failures in a row as its probe says, or a restart, end it.
async fn steady<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    body: &PlanBody,
    step: &Step,
    (pod, target): (&PodId, Option<&ProbeTarget>),
    for_ms: u64,
    halt: &Halt,
) -> End {
    let mut until = executor.clock.passed_ms().saturating_add(for_ms);
    let (every_ms, most) = match target.map(|target| &target.probe) {
        Some(Probe { every_ms, fail_after, .. }) => (*every_ms, (*fail_after).max(1)),
        None => (1000, 1),
    };
    let (mut failures, mut silent) = (0, 0);
    let mut restarts: Option<u32> = None;
    loop {
        let (mut why, mut lost) = (None, None);
        match executor.host.observe(&step.node, &body.tenant).await {
            Err(error) => lost = Some(error),
            Ok(seen) => match seen.status.pods.get(pod) {
                Some(PodStatus::Running { restarts: now, .. }) => {
                    if *restarts.get_or_insert(*now) != *now {
                        return End::GateFailed { why: "it was restarted".to_owned() };
                    }
                }
                Some(PodStatus::Stopped { exit_code, .. }) => {
                    why = Some(format!("ended with exit code {exit_code}"));
                }
                Some(PodStatus::Waiting { .. }) => {}
                Some(PodStatus::Created) | None => why = Some("does not run".to_owned()),
            },
        }
        if let (Some(target), None, None) = (target, &why, &lost) {
            match executor.host.probe(&step.node, target).await {
                Ok(answer) => why = answer.err(),
                Err(error) => lost = Some(error),
            }
        }
        silent = if lost.is_some() { silent + 1 } else { 0 };
        if let Some(error) = lost.filter(|_| silent >= MOST_SILENT) {
            return End::Failed { why: error.to_string() };
        }
        failures = if why.is_some() { failures + 1 } else { 0 };
        if let Some(why) = why {
            if failures >= most {
                let looked = match failures {
                    1 => String::new(),
                    times => format!(", {times} times in a row"),
                };
                return End::GateFailed { why: format!("did not stay ready: {why}{looked}") };
            }
            let (step, pod) = (step.id, pod.clone());
            executor.watch.event(Event::Waiting { step, pod, why });
        }
        if let Some(end) = halt.asked(executor, step) {
            return end;
        }
        let now = executor.clock.passed_ms();
        if now >= until && failures == 0 && silent == 0 {
            return End::Done { note: None };
        }
        let pause = every_ms.clamp(10, 5000).min(until.saturating_sub(now).max(10));
        halt.sleep(executor, step, Duration::from_millis(pause)).await;
        // An engine that slept did not watch.
        let slept = executor.clock.passed_ms().saturating_sub(now.saturating_add(pause));
        if slept > LONGEST_GAP_MS {
            until = until.saturating_add(slept);
        }
    }
}

/// The branches of which nothing further happens: nobody watches their replicas any longer; and those that
/// somebody asked to be taken back, whose next gate fails. Those who wait are told in the order in which
/// they began to, so that a history is the same each time.
#[derive(Debug, Default)]
pub(super) struct Halt {
    branches: Mutex<BTreeSet<WorkloadName>>,
    refused: Mutex<BTreeMap<WorkloadName, Refused>>,
    changed: Notify,
}

impl Halt {
    /// Tells everybody who watches.
    pub(super) fn tell<'a>(&self, halted: impl Iterator<Item = &'a WorkloadName>) {
        self.branches.lock().unwrap_or_else(PoisonError::into_inner).extend(halted.cloned());
        self.changed.notify_waiters();
    }

    /// Takes note of what somebody asked for.
    pub(super) fn ask(&self, ask: &Ask) {
        // It comes from a node: nothing in it moves a terminal's cursor.
        let plain = |text: &str| -> String {
            text.chars().filter(|c| !c.is_control()).take(LONGEST_WORDS).collect()
        };
        let why = if ask.why.is_empty() { "taken back in the midst of it" } else { &ask.why };
        let refused = Refused { why: plain(why), who: Some(plain(&ask.who)) };
        let all = ask.workloads.iter().map(|workload| (workload.clone(), refused.clone()));
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
        self.changed.notify_waiters();
    }

    /// Why the branch of a step that is a gate goes back, if somebody asked for it. Only a gate is a place to turn back at:
    /// a plan says what is undone then, and in which order.
    pub(super) fn refused(&self, step: &Step) -> Option<Refused> {
        let is_gate = match &step.work {
            Work::AwaitReady { .. } | Work::Ask(_) => true,
            Work::Act(_) | Work::AwaitDrained { .. } | Work::Fence { .. } => false,
        };
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(step.branch.as_ref()?).filter(|_| is_gate && !self.is_halted(step)).cloned()
    }

    fn is_halted(&self, step: &Step) -> bool {
        let branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        step.branch.as_ref().is_some_and(|branch| branches.contains(branch))
    }

    /// How a watch ends before its time, if it does: what waits for minutes keeps nobody.
    pub(super) fn asked<H: Host, C: Clock>(
        &self,
        executor: &Executor<'_, H, C>,
        step: &Step,
    ) -> Option<End> {
        if let Some(refused) = self.refused(step) {
            return Some(End::Asked(refused));
        }
        let stopped = executor.stop.load(std::sync::atomic::Ordering::Relaxed);
        (stopped || self.is_halted(step)).then_some(End::GivenUp)
    }

    /// Sleeps until the time is over, or the branch is halted or goes back.
    pub(super) async fn sleep<H: Host, C: Clock>(
        &self,
        executor: &Executor<'_, H, C>,
        step: &Step,
        time: Duration,
    ) {
        let halted = async {
            loop {
                let changed = self.changed.notified();
                if self.is_halted(step) || self.refused(step).is_some() {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            biased;
            () = halted => {}
            () = executor.clock.sleep(time) => {}
        }
    }
}

/// Asks Prometheus for a while: at least once, and at its end.
async fn look<H: Host, C: Clock>(
    executor: &Executor<'_, H, C>,
    step: &Step,
    (pod, metric): (&PodId, &Metric),
    time: Duration,
    halt: &Halt,
) -> End {
    let until = executor.clock.passed_ms().saturating_add(millis(time));
    let pause = METRIC_PAUSE.min(time / 10).max(Duration::from_millis(500));
    let url = url(metric);
    let (mut out, mut silent) = (0, 0);
    loop {
        let answer = executor.host.fetch(&step.node, &url, METRIC_DEADLINE).await;
        let over = executor.clock.passed_ms() >= until;
        let why = match answer {
            Err(error) => {
                silent += 1;
                if over || silent >= MOST_SILENT {
                    return End::Failed { why: error.to_string() };
                }
                None
            }
            Ok(answer) => {
                silent = 0;
                answer.and_then(|body| judge(&body, metric)).err()
            }
        };
        out = if why.is_some() { out + 1 } else { 0 };
        match why {
            Some(why) if over || out >= MOST_OUT_OF_BOUNDS => {
                return End::GateFailed { why: format!("{}: {why}", change::metric(metric)) };
            }
            Some(why) => {
                let (step, pod) = (step.id, pod.clone());
                executor.watch.event(Event::Waiting { step, pod, why });
            }
            None if over => return End::Done { note: None },
            None => {}
        }
        if let Some(end) = halt.asked(executor, step) {
            return end;
        }
        let left = until.saturating_sub(executor.clock.passed_ms());
        halt.sleep(executor, step, pause.min(Duration::from_millis(left.max(1)))).await;
    }
}

/// An instant query, by Prometheus' HTTP API (`GET /api/v1/query`).
fn url(metric: &Metric) -> String {
    let mut url = format!("{}/api/v1/query?query=", metric.prometheus.trim_end_matches('/'));
    for byte in metric.query.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// What Prometheus answers, as far as it is looked at.
#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Sample>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct Sample {
    value: (f64, String),
}

/// Judges an answer: every sample has to be within the bounds, and there has to be one.
fn judge(body: &[u8], metric: &Metric) -> Result<(), String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "this is no answer of Prometheus' query API".to_owned())?;
    if answer.status != "success" {
        return Err(format!("Prometheus says: {}", answer.error.escape_debug()));
    }
    let values = match answer.data {
        Some(Data::Vector(samples)) => samples.into_iter().map(|sample| sample.value.1).collect(),
        Some(Data::Scalar((_, value))) => vec![value],
        None => Vec::new(),
    };
    if values.is_empty() {
        return Err("there is no sample".to_owned());
    }
    let bound = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
    let (least, most) = (bound(&metric.at_least), bound(&metric.at_most));
    for value in values {
        let number: f64 =
            value.parse().map_err(|_| format!("`{}` is no number", value.escape_debug()))?;
        let within =
            least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most);
        if number.is_nan() || !within {
            return Err(format!("it is {value}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric() -> Metric {
        Metric {
            prometheus: "http://10.0.0.5:9090/".to_owned(),
            query: "rate(errors{job=\"web\"}[1m])".to_owned(),
            at_least: None,
            at_most: Some("0.01".to_owned()),
        }
    }

    #[test]
    fn what_a_program_printed_is_bounded_and_moves_no_cursor() {
        assert_eq!(shown(" \u{1b}[2Jgone\t\r"), "\\u{1b}[2Jgone");
        assert_eq!(shown(&"x".repeat(5000)).len(), LONGEST_WORDS);
    }

    #[test]
    fn what_is_asked_for_is_bounded_and_moves_no_cursor() {
        let halt = Halt::default();
        let ask = Ask {
            apply: String::new(),
            workloads: BTreeSet::from([WorkloadName::new("web")]),
            who: "ben\u{1b}[2J".to_owned(),
            why: format!("it's\r\n{}", "x".repeat(5000)),
        };
        halt.ask(&ask);
        let refused = halt.refused.lock().expect("nobody panicked").clone();
        let refused = &refused[&WorkloadName::new("web")];
        assert_eq!(refused.who.as_deref(), Some("ben[2J"));
        assert!(refused.why.starts_with("it'sxxx") && refused.why.len() == LONGEST_WORDS);
    }

    #[test]
    fn a_query_is_one_parameter() {
        assert_eq!(
            url(&metric()),
            "http://10.0.0.5:9090/api/v1/query?query=rate%28errors%7Bjob%3D%22web%22%7D%5B1m%5D%29"
        );
    }

    #[test]
    fn answers_are_judged_by_every_sample() {
        let vector = |values: &[&str]| {
            let samples: Vec<_> = values
                .iter()
                .map(|v| serde_json::json!({ "metric": {}, "value": [1.5, v] }))
                .collect();
            serde_json::json!({ "status": "success", "data": { "resultType": "vector", "result": samples } })
                .to_string()
        };
        let judged = |text: String| judge(text.as_bytes(), &metric());
        assert_eq!(judged(vector(&["0.001", "1e-2"])), Ok(()));
        assert_eq!(judged(vector(&["0.001", "0.5"])), Err("it is 0.5".to_owned()));
        assert_eq!(judged(vector(&["NaN"])), Err("it is NaN".to_owned()));
        assert_eq!(judged(vector(&[])), Err("there is no sample".to_owned()));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.0,"0"]}}"#;
        assert_eq!(judged(scalar.to_owned()), Ok(()));
        let error = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(judged(error.to_owned()), Err("Prometheus says: parse error".to_owned()));
        assert!(judged("<html>".to_owned()).is_err());
    }
}
