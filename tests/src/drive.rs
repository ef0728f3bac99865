//! Driving an engine: survey, plan, apply, in one call.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use berth_engine::plan::body::{Goal, PlanBody};
use berth_engine::plan::graph::Graph;
use berth_engine::plan::planner::{self, EVERYTHING, Inputs};
use berth_engine::plan::render;
use berth_engine::plan::secret::Opened;
use berth_engine::run::apply::{Applied, Apply, ApplyError, Planned};
use berth_engine::run::clock::{Clock, SimulatedClock};
use berth_engine::run::event::Event;
use berth_engine::run::host::Host;
use berth_engine::run::journal::MemoryJournal;
use berth_engine::run::observe::{Survey, survey};
use berth_engine::run::twin::{Fault, Twin};

/// What an engine did.
pub struct Turn {
    /// The plan.
    pub body: PlanBody,
    /// What it was made from.
    pub survey: Survey,
    /// What came of it; `None` if there was nothing to do.
    pub applied: Option<Result<Applied, ApplyError>>,
}

/// Surveys and plans.
///
/// # Panics
/// If the ledger cannot be read or the checker rejects the plan.
pub async fn plan<H: Host>(twin: &H, graph: &Graph, goal: Goal) -> (Survey, PlanBody) {
    plan_at(twin, graph, goal, 1).await
}

/// Surveys and plans at a moment, in milliseconds since 1970.
///
/// # Panics
/// As [`plan`].
pub async fn plan_at<H: Host>(
    twin: &H,
    graph: &Graph,
    goal: Goal,
    now_ms: u64,
) -> (Survey, PlanBody) {
    let seen = survey(twin, graph).await.expect("the ledger can be read");
    let body = agreed_at(&seen, graph, goal, now_ms);
    (seen, body)
}

/// Plans.
///
/// # Panics
/// If the checker rejects the plan, with its text.
pub fn agreed(seen: &Survey, graph: &Graph, goal: Goal) -> PlanBody {
    agreed_at(seen, graph, goal, 1)
}

/// Plans at a moment, in milliseconds since 1970.
///
/// # Panics
/// As [`agreed`].
pub fn agreed_at(seen: &Survey, graph: &Graph, goal: Goal, now_ms: u64) -> PlanBody {
    seen.plan(graph, "program", goal, EVERYTHING, now_ms).unwrap_or_else(|violations| {
        let body = planner::plan(&Inputs {
            graph,
            program: "program",
            observation: &seen.observation,
            head: &seen.ledger.head,
            goal,
            only: EVERYTHING,
            now_ms,
        });
        let text = render::text(&body, &seen.observation);
        let kinds: std::collections::BTreeSet<_> =
            violations.iter().map(ToString::to_string).collect();
        let steps: String = body
            .steps
            .iter()
            .map(|step| format!("{:>4} {}\n", step.id.0, step.work.title(&step.node)))
            .collect();
        panic!("the checker turned a plan down: {kinds:#?}\n{text}{steps}")
    })
}

/// Surveys, plans, and applies what there is to do.
///
/// # Panics
/// As [`plan`].
pub async fn turn<H: Host>(twin: &H, graph: &Graph, goal: Goal) -> Turn {
    turn_at(twin, graph, goal, 1).await
}

/// Surveys, plans, and applies what there is to do at a moment, in milliseconds since 1970.
///
/// # Panics
/// As [`plan`].
pub async fn turn_at<H: Host>(twin: &H, graph: &Graph, goal: Goal, now_ms: u64) -> Turn {
    let (survey, body) = plan_at(twin, graph, goal, now_ms).await;
    if body.is_empty() || !body.blocked.is_empty() {
        return Turn { body, survey, applied: None };
    }
    let applied = apply(twin, graph, &survey, &body).await;
    Turn { body, survey, applied: Some(applied) }
}

/// Applies a plan.
///
/// # Errors
/// As [`Apply::apply`].
pub async fn apply<H: Host>(
    twin: &H,
    graph: &Graph,
    survey: &Survey,
    body: &PlanBody,
) -> Result<Applied, ApplyError> {
    apply_by(&SimulatedClock::starting_at(1_700_000_000_000), twin, graph, survey, body).await
}

/// Applies a plan by a clock of its own.
///
/// # Errors
/// As [`Apply::apply`].
pub async fn apply_by<H: Host, C: Clock>(
    clock: &C,
    twin: &H,
    graph: &Graph,
    survey: &Survey,
    body: &PlanBody,
) -> Result<Applied, ApplyError> {
    let stop = AtomicBool::new(false);
    let watch = |event: Event| match event {
        Event::Started(step) => tell(|| format!("   {}", step.work.title(&step.node))),
        Event::Done { .. } => {}
        other => tell(|| format!("   {other:?}")),
    };
    let secrets = Opened::as_if(body);
    let apply =
        Apply { host: twin, clock, who: "sim@test", secrets: &secrets, watch: &watch, stop: &stop };
    let planned = Planned {
        body,
        graph,
        observation: &survey.observation,
        head: &survey.ledger.head,
        commit: None,
    };
    apply.apply(planned, &mut MemoryJournal::default()).await
}

/// Applies as one of a twin's engines, while a fault meets a call; whether it came to that.
pub async fn apply_struck(
    twin: &Twin,
    engine: &Twin,
    (graph, survey, body): (&Graph, &Survey, &PlanBody),
    (at, fault): (u64, Fault),
) -> bool {
    let before = twin.world().calls();
    twin.world().fault_in(at, fault);
    let hit = tokio::select! {
        biased;
        _ = apply(engine, graph, survey, body) => twin.world().calls() - before > at,
        () = engine.killed() => true,
    };
    twin.world().clear_faults();
    hit
}

/// The longest that anything simulated may take. An engine that waits for itself, or for ever, ends here: what
/// takes days of simulated time takes no time.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Runs a future on a runtime of its own whose time passes only while everyone waits.
///
/// # Panics
/// If the runtime cannot be made, or if the future takes a month.
pub fn simulate<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONGEST, future).await.expect("an end") })
}

/// Tells what happens when a single history is run (`BERTH_HISTORIES=1`).
#[expect(clippy::print_stderr, reason = "a test tells what it does")]
pub fn tell(what: impl FnOnce() -> String) {
    if std::env::var("BERTH_HISTORIES").is_ok_and(|count| count == "1") {
        eprintln!("{}", what());
    }
}
