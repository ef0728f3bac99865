//! Lowering of rollouts: how releases come, what is asked of them, and what cannot be.

use berth_lang::{Resource, Value};

use super::{Lowering, duration, list, list_of, number, origin, text};
use crate::plan::graph::{CanaryStep, Check, Metric, OnFail, Rollout, Strategy};

impl Lowering<'_> {
    /// Checks what a rollout says of steps and checks.
    pub(super) fn rollout(&mut self, resource: &Resource, rollout: &Rollout) {
        let Rollout { strategy, deadline_ms: _, on_fail: _, checks, bake_ms: _ } = rollout;
        let value = resource.value();
        match strategy {
            Strategy::Canary { steps, surge: _ } => {
                let rises = steps.windows(2).all(|two| two[0].weight < two[1].weight);
                if steps.is_empty()
                    || !rises
                    || steps.iter().any(|s| !(10..10_000).contains(&s.weight))
                {
                    self.report(
                        "E0552",
                        origin(resource, "rollout"),
                        "these are no steps of a canary: each has more weight than the one before, 0.1% or more, and below 100%",
                        "write `canary(steps: [{ weight: 10%, bake: 5m }, { weight: 50%, bake: 10m }])`",
                    );
                }
            }
            Strategy::Rolling { .. }
            | Strategy::Recreate
            | Strategy::Ordered
            | Strategy::BlueGreen => {}
        }
        let beside = matches!(strategy, Strategy::Canary { .. } | Strategy::BlueGreen);
        let host = |port: &Value| port.get("host").is_some();
        let alone = if value.get("mounts").is_some() {
            Some("volumes")
        } else if list_of(value.get("ports")).iter().any(host) {
            Some("ports of its node")
        } else {
            None
        };
        if let Some(what) = alone.filter(|_| beside) {
            self.report(
                "E0553",
                origin(resource, "rollout"),
                format!("two releases of a service with {what} cannot run side by side"),
                "write `rolling()`, or `ordered()`, which replace one replica after the other",
            );
        }
        for (index, check) in checks.iter().enumerate() {
            let wrong = match check {
                Check::Command { run, timeout_ms: _ } if run.is_empty() => {
                    Some("a command names a program: `run: [\"/bin/check\"]`")
                }
                Check::Command { .. } => None,
                Check::Metric(Metric { prometheus, query, at_least, at_most }) => {
                    let host = prometheus.strip_prefix("http://").unwrap_or_default();
                    let odd = |c: char| c.is_control() || c.is_whitespace();
                    if host.is_empty() || prometheus.contains(odd) {
                        Some("Prometheus is named as `http://10.0.0.5:9090`, as the nodes reach it")
                    } else if query.trim().is_empty() {
                        Some("a metric has a query in PromQL")
                    } else if at_least.is_none() && at_most.is_none() {
                        Some("a metric has a bound: `at_most: 0.01`, or `at_least: 0.99`")
                    } else {
                        None
                    }
                }
            };
            if let Some(wrong) = wrong {
                let span = origin(resource, &format!("rollout.checks.{index}"));
                self.report("E0554", span, "this check asks nothing", wrong);
            }
        }
    }
}

/// Reads a rollout.
pub(super) fn rollout(value: Option<&Value>) -> Option<Rollout> {
    let value = value?;
    let Value::Case { name, fields: _ } = value else { return None };
    let strategy = match &**name {
        "rolling" => Strategy::Rolling {
            surge: number(value, "surge")?,
            unavailable: number(value, "unavailable")?,
        },
        "canary" => {
            let step = |step: &Value| {
                let weight = match step.get("weight") {
                    Some(Value::Percent(weight)) => *weight,
                    _ => 0,
                };
                CanaryStep { weight, bake_ms: duration(step, "bake").unwrap_or(0) }
            };
            let steps = list_of(value.get("steps")).iter().map(step).collect();
            Strategy::Canary { steps, surge: number(value, "surge")? }
        }
        "blue_green" => Strategy::BlueGreen,
        "ordered" => Strategy::Ordered,
        _ => Strategy::Recreate,
    };
    let on_fail = match value.get("on_fail") {
        Some(Value::Case { name, fields: _ }) if &**name == "stop" => OnFail::Stop,
        _ => OnFail::Rollback,
    };
    let checks = list_of(value.get("checks")).iter().filter_map(check).collect();
    let bake_ms = duration(value, "bake").unwrap_or(0);
    Some(Rollout { strategy, deadline_ms: duration(value, "deadline")?, on_fail, checks, bake_ms })
}

fn check(value: &Value) -> Option<Check> {
    let Value::Case { name, fields: _ } = value else { return None };
    let decimal = |field: &str| match value.get(field) {
        Some(Value::Decimal(bound)) => Some(bound.to_string()),
        Some(Value::Int(bound)) => Some(bound.to_string()),
        _ => None,
    };
    match &**name {
        "command" => Some(Check::Command {
            run: list(value.get("run")),
            timeout_ms: duration(value, "timeout").unwrap_or(30_000),
        }),
        _ => Some(Check::Metric(Metric {
            prometheus: text(value, "prometheus")?,
            query: text(value, "query")?,
            at_least: decimal("at_least"),
            at_most: decimal("at_most"),
        })),
    }
}
