//! Telling what an apply does: words a line each, with a bar below on a terminal; or JSON, an object a line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_engine::plan::body::{Gate, PlanBody, Step, StepId, Work};
use berth_engine::plan::eta::longest_ms;
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::names::{NodeName, WorkloadName};
use berth_engine::run::event::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use crate::commands::apply::tell;
use crate::exit::Exit;
use crate::paint;

/// The name of what is said a line each (docs/schemas/berth.events-1.schema.json).
const SCHEMA: &str = "berth.events-1";
/// How often the time that is left is worked out anew.
const PERIOD: Duration = Duration::from_millis(500);
/// What a step is taken to take before one of its kind has been seen, in milliseconds.
const UNSEEN_MS: u64 = 200;

/// How an apply is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// In words.
    Words,
    /// As JSON.
    Json,
}

/// What is said, as JSON. Names are added under the same schema; none is taken away or changes its
/// meaning.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Said<'a> {
    Plan {
        schema: &'static str,
        digest: String,
        project: &'a str,
        environment: &'a str,
        revision: u64,
        steps: usize,
    },
    StepStarted {
        #[serde(flatten)]
        step: Which<'a>,
    },
    StepDone {
        #[serde(flatten)]
        step: Which<'a>,
        took_ms: u64,
        note: Option<&'a str>,
    },
    StepFailed {
        #[serde(flatten)]
        step: Which<'a>,
        why: &'a str,
    },
    StepGivenUp {
        #[serde(flatten)]
        step: Which<'a>,
    },
    Waiting {
        step: StepId,
        pod: String,
        why: &'a str,
    },
    GateFailed {
        pod: String,
        node: &'a NodeName,
        why: &'a str,
        log: Vec<String>,
    },
    Abort {
        service: &'a WorkloadName,
        why: &'a str,
    },
    Undo {
        service: &'a WorkloadName,
        steps: usize,
    },
    End {
        outcome: &'static str,
        exit: u8,
        /// Services that went back, each with its reason.
        reverted: BTreeMap<&'a WorkloadName, &'a str>,
        problems: Vec<&'a str>,
        deferred: &'a [String],
        notes: &'a [String],
    },
}

#[derive(Debug, Serialize)]
struct Which<'a> {
    step: StepId,
    node: &'a NodeName,
    service: Option<&'a WorkloadName>,
    wave: Option<u32>,
    title: String,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    at_ms: u64,
    #[serde(flatten)]
    said: Said<'a>,
}

/// Tells one apply.
pub(crate) struct Telling<'a> {
    form: Form,
    body: &'a PlanBody,
    began: Instant,
    bar: Option<(ProgressBar, Mutex<Course>)>,
}

/// How far it has come.
#[derive(Default)]
struct Course {
    done: BTreeSet<StepId>,
    /// By kind of step, how long they took in all, and how many there were.
    took: BTreeMap<&'static str, (u64, u64)>,
    running: BTreeMap<StepId, Instant>,
    looked: Option<Instant>,
    /// When it is expected to end.
    until: Arc<Mutex<Option<Instant>>>,
}

impl<'a> Telling<'a> {
    /// Begins to tell of an apply of this plan.
    pub(crate) fn new(form: Form, body: &'a PlanBody) -> Self {
        let telling = Self { form, body, began: Instant::now(), bar: bar(form, body) };
        if form == Form::Json {
            telling.say(telling.begins());
        }
        telling
    }

    fn begins(&self) -> Said<'a> {
        let body = self.body;
        Said::Plan {
            schema: SCHEMA,
            digest: body.digest(),
            project: &body.tenant.project,
            environment: &body.tenant.environment,
            revision: body.revision,
            steps: body.steps.len(),
        }
    }

    /// How long it has been told.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells of an event.
    pub(crate) fn event(&self, event: &Event) {
        if self.form == Form::Json {
            return self.say(Said::of(event));
        }
        let words = || tell(event, self.began.elapsed(), self.body.steps.len());
        match &self.bar {
            None => words(),
            Some((bar, course)) => {
                bar.suspend(words);
                let mut course = course.lock().unwrap_or_else(PoisonError::into_inner);
                course.take(event);
                course.show(bar, self.body);
            }
        }
    }

    /// Ends the bar, so that words can follow.
    pub(crate) fn quiet(&self) {
        if let Some((bar, _)) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Says how it ended, as JSON.
    pub(crate) fn end(&self, outcome: Option<&Outcome>, exit: Exit, notes: &[String]) {
        if self.form == Form::Json {
            self.say(self.ends(outcome, exit, notes));
        }
    }

    fn ends<'b>(
        &'b self,
        outcome: Option<&'b Outcome>,
        exit: Exit,
        notes: &'b [String],
    ) -> Said<'b> {
        let (mut reverted, mut problems) = (BTreeMap::new(), Vec::new());
        let outcome = match outcome {
            None if !self.body.blocked.is_empty() => "blocked",
            None => "nothing_to_do",
            Some(Outcome::Done) => "done",
            Some(Outcome::Reverted { workloads }) => {
                reverted = workloads.iter().map(|(name, why)| (name, why.as_str())).collect();
                "reverted"
            }
            Some(Outcome::Partial { problems: said }) => {
                problems = said.iter().map(String::as_str).collect();
                "partial"
            }
        };
        let (exit, deferred) = (exit.code(), &self.body.deferred[..]);
        Said::End { outcome, exit, reverted, problems, deferred, notes }
    }

    fn say(&self, said: Said<'_>) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Ok(line) = serde_json::to_string(&Line { at_ms, said }) {
            say!("{line}");
        }
    }
}

impl<'a> Said<'a> {
    fn of(event: &'a Event) -> Self {
        match event {
            Event::Started(step) => Self::StepStarted { step: Which::of(step) },
            Event::Done { step, took_ms, note } => {
                let (took_ms, note) = (*took_ms, note.as_deref());
                Self::StepDone { step: Which::of(step), took_ms, note }
            }
            Event::Failed { step, why } => Self::StepFailed { step: Which::of(step), why },
            Event::GivenUp(step) => Self::StepGivenUp { step: Which::of(step) },
            Event::Waiting { step, pod, why } => {
                Self::Waiting { step: *step, pod: pod.to_string(), why }
            }
            Event::GateFailed { pod, node, why, log } => {
                Self::GateFailed { pod: pod.to_string(), node, why, log: paint::escaped(log) }
            }
            Event::Asked { workload, why } => Self::Abort { service: workload, why },
            Event::Undo { workload, steps } => Self::Undo { service: workload, steps: *steps },
        }
    }
}

impl<'a> Which<'a> {
    fn of(step: &'a Step) -> Self {
        let title = step.work.title(&step.node);
        let (service, wave) = (step.branch.as_ref(), step.wave);
        Self { step: step.id, node: &step.node, service, wave, title }
    }
}

/// A bar below the words, where somebody watches.
fn bar(form: Form, body: &PlanBody) -> Option<(ProgressBar, Mutex<Course>)> {
    let watched = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    if form == Form::Json || !watched || body.steps.is_empty() {
        return None;
    }
    let total = u64::try_from(body.steps.len()).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let course = Course::default();
    let until = Arc::clone(&course.until);
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} steps{left}").ok()?;
    let style = style.with_key("left", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
        let left =
            until.map_or(0, |until| until.saturating_duration_since(Instant::now()).as_secs());
        let _ = match left {
            0 => Ok(()),
            60.. => write!(out, ", about {}m{:02}s left", left / 60, left % 60),
            left => write!(out, ", about {left}s left"),
        };
    });
    bar.set_style(style.progress_chars("█▌░"));
    bar.enable_steady_tick(PERIOD);
    Some((bar, Mutex::new(course)))
}

impl Course {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Started(step) => {
                self.running.insert(step.id, Instant::now());
            }
            Event::Done { step, took_ms, note: _ } => {
                self.ended(step.id);
                let (sum, count) = self.took.entry(kind(&step.work)).or_default();
                (*sum, *count) = (sum.saturating_add(*took_ms), *count + 1);
            }
            Event::Failed { step, .. } | Event::GivenUp(step) => self.ended(step.id),
            Event::Waiting { .. }
            | Event::GateFailed { .. }
            | Event::Asked { .. }
            | Event::Undo { .. } => {}
        }
    }

    fn ended(&mut self, step: StepId) {
        self.running.remove(&step);
        self.done.insert(step);
    }

    fn show(&mut self, bar: &ProgressBar, body: &PlanBody) {
        let planned =
            self.done.range(..StepId(u32::try_from(body.steps.len()).unwrap_or(u32::MAX)));
        bar.set_position(u64::try_from(planned.count()).unwrap_or(0));
        if self.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return;
        }
        self.looked = Some(Instant::now());
        let left = longest_ms(&body.steps, |step| self.expects(step));
        let until = Instant::now().checked_add(Duration::from_millis(left.saturating_add(999)));
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// What is left of a step, in milliseconds: what it says that it watches, or what others of its kind
    /// took, less what has passed.
    fn expects(&self, step: &Step) -> u64 {
        if self.done.contains(&step.id) {
            return 0;
        }
        let (sum, count) = self.took.get(kind(&step.work)).copied().unwrap_or((UNSEEN_MS, 1));
        let whole = step.work.takes_ms().max(sum / count.max(1));
        let passed = self.running.get(&step.id).map_or(0, |began| began.elapsed().as_millis());
        whole.saturating_sub(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

fn kind(work: &Work) -> &'static str {
    match work {
        Work::Act(action) => action.kind(),
        Work::AwaitReady { .. } => "ready",
        Work::AwaitDrained { .. } => "drained",
        Work::Ask(Gate::Ended { .. }) => "job",
        Work::Ask(_) => "ask",
        Work::Fence { .. } => "fence",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use berth_engine::plan::body::Goal;
    use berth_engine::plan::secret::Opened;
    use berth_engine::run::apply::{Apply, Planned};
    use berth_engine::run::clock::SimulatedClock;
    use berth_engine::run::journal::MemoryJournal;
    use berth_engine::run::twin::Behaviour;
    use berth_tests::{drive, project};
    use serde_json::Value;

    use super::*;
    use crate::published::tests::judge;

    fn fits(said: Said<'_>) -> String {
        let schema = include_str!("../../docs/schemas/berth.events-1.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("a schema");
        let line = serde_json::to_value(Line { at_ms: 7, said }).expect("JSON");
        let mut found = Vec::new();
        judge(&schema, &schema, &line, "line", &mut found);
        assert!(found.is_empty(), "{found:#?}");
        line["event"].as_str().expect("a name").to_owned()
    }

    /// A rollout that is taken back, and what else may happen, is as the schema says.
    #[test]
    fn events_are_as_their_schema_says() {
        let of = |letter| {
            let web = project::web(project::image(letter), 2, project::ROLLING);
            project::with(project::fleet(2), "web", web)
        };
        let events = Mutex::new(Vec::new());
        let (body, outcome) = drive::simulate(async {
            let twin = project::world(&of('a'));
            drive::turn(&twin, &of('a'), Goal::Converge).await;
            twin.world().set_behaviour(&project::image('f'), Behaviour::NeverReady);
            let (graph, (seen, body)) =
                (of('f'), drive::plan(&twin, &of('f'), Goal::Converge).await);
            let (clock, stop) = (SimulatedClock::starting_at(0), AtomicBool::new(false));
            let watch = |event: Event| events.lock().expect("one thread").push(event);
            let apply = Apply {
                host: &twin,
                clock: &clock,
                who: "case",
                secrets: &Opened::as_if(&body),
                watch: &watch,
                stop: &stop,
            };
            let (observation, head) = (&seen.observation, &seen.ledger.head);
            let planned = Planned { body: &body, graph: &graph, observation, head, commit: None };
            let applied = apply.apply(planned, &mut MemoryJournal::default()).await;
            (body, applied.expect("an outcome").outcome)
        });
        let mut events = events.into_inner().expect("one thread");
        let step = body.steps[0].clone();
        events.push(Event::Failed { step: step.clone(), why: "no".to_owned() });
        events.push(Event::GivenUp(step));
        let workload = WorkloadName::new("web");
        events.push(Event::Asked { workload, why: "asked for by ben@laptop: slow".to_owned() });
        let names: BTreeSet<String> = events.iter().map(|event| fits(Said::of(event))).collect();
        let all = [
            "abort",
            "gate_failed",
            "step_done",
            "step_failed",
            "step_given_up",
            "step_started",
            "undo",
            "waiting",
        ];
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), all);
        let telling = Telling::new(Form::Json, &body);
        assert_eq!(fits(telling.begins()), "plan");
        assert_eq!(fits(telling.ends(Some(&outcome), Exit::Reverted, &[])), "end");
        assert_eq!(fits(telling.ends(None, Exit::Done, &["a note".to_owned()])), "end");
    }
}
