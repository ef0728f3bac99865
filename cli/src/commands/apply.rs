//! `berth apply`: the plan, a question, and the steps as they happen.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_agentless::SshHost;
use berth_engine::plan::body::{Blocked, Goal, PlanBody};
use berth_engine::plan::graph::Graph;
use berth_engine::plan::ledger::{Committed, Head, Outcome};
use berth_engine::plan::names::PodId;
use berth_engine::plan::observation::Observation;
use berth_engine::plan::render;
use berth_engine::run::apply::{Applied, Apply, ApplyError, Planned};
use berth_engine::run::clock::SystemClock;
use berth_engine::run::event::Event;
use berth_engine::run::journal::{FileJournal, Journal, Record};

use super::{Ended, plan};
use crate::exit::Exit;
use crate::paint;
use crate::pins::Pins;
use crate::project::Project;
use crate::provenance::places;
use crate::saved::Saved;
use crate::telling::{Form, Telling};
use crate::{Global, fleet, secrets, signers};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plan that `berth plan --out` saved: exactly this is done, or nothing
    #[arg(value_name = "PLAN")]
    file: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Go on with the replicas that have a place when others have none
    #[arg(long)]
    partial: bool,
    /// Tell what happens as JSON, an object a line (docs/schemas/berth.events-1.schema.json); asks nothing
    #[arg(long)]
    json: bool,
    /// Only this service, with whom it needs to be near; all else is left as it is
    #[arg(long, value_name = "SERVICE", conflicts_with = "file")]
    target: Vec<String>,
    /// Stay, and apply again and again: when the text changes, when a server comes or goes, every so often
    #[arg(long, conflicts_with_all = ["file", "target", "json"])]
    watch: bool,
    /// With --watch: how often to look when all is well
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::logs::seconds, requires = "watch")]
    every: u64,
    /// Write every call and command that changed a node to this file, a JSON line each
    #[arg(long, value_name = "FILE", hide = true)]
    record: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    if args.watch {
        if !args.yes {
            return Err("with --watch nobody is asked: say --yes too".into());
        }
        return super::reconcile::run(global, Duration::from_secs(args.every.max(1)), args.partial);
    }
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = converge(&host, &project, args).await;
        if let Some(path) = &args.record {
            record(&host, path)?;
        }
        host.close().await;
        ended
    })?
}

/// How often it is planned again because the nodes changed between a plan and its locks.
const AGAIN: u32 = 3;

/// Plans and applies; where the nodes change in between, plans again, and asks again if it asks. A saved plan is done as it
/// is, or not at all.
async fn converge(host: &SshHost, project: &Project, args: &Args) -> Ended {
    let mut again = if args.file.is_some() || args.json { 0 } else { AGAIN };
    loop {
        let error = match once(host, project, args).await {
            Err(error) if again > 0 => error,
            ended => return ended,
        };
        let Some(ApplyError::Stale { changes }) = error.downcast_ref() else {
            return Err(error);
        };
        again -= 1;
        say!(
            "{} the nodes have changed since that plan, so nothing of it was done:",
            paint::notice("!")
        );
        changes.iter().for_each(|change| say!("  {change}"));
    }
}

async fn once(host: &SshHost, project: &Project, args: &Args) -> Ended {
    let (observation, head, body) = match &args.file {
        Some(path) => {
            let saved = Saved::read(path, project, fleet::now_ms())?;
            (saved.observation, saved.head, saved.body)
        }
        None => {
            let only = plan::only(project, &args.target)?;
            let (seen, body) = plan::make(host, project, Goal::Converge, &only).await?;
            (seen.observation, seen.ledger.head, body)
        }
    };
    let made = Made { observation, head, body };
    let form = if args.json { Form::Json } else { Form::Words };
    if args.json && !args.yes && args.file.is_none() {
        return Err("with --json nothing is asked: say --yes, or give a saved plan".into());
    }
    let ends = |exit: Exit| {
        if args.json {
            Telling::new(form, &made.body).end(None, exit, &[]);
        }
        Ok(exit)
    };
    if !args.json {
        made.show(project);
    }
    let goes_on = args.partial && made.body.blocked.iter().all(homeless);
    if !made.body.blocked.is_empty() && !goes_on {
        if made.body.blocked.iter().all(homeless) {
            hint!("Nothing was done. To go on with what has a place, say --partial.");
        }
        return ends(Exit::Partial);
    }
    if made.body.is_empty() && made.head.in_flight.is_none() {
        return ends(plan::exit_of(&made.body, false));
    }
    if !args.yes && args.file.is_none() && !agreed("Apply this plan?", "y")? {
        return Ok(Exit::Mistake);
    }
    carry_out(host, project, &project.graph, &made, form).await
}

/// Whether what could not be planned is only a replica without a place.
pub(crate) fn homeless(blocked: &Blocked) -> bool {
    matches!(blocked, Blocked::NoRoom { .. })
}

/// A plan with what it was made from.
pub(crate) struct Made {
    /// What was read of the nodes.
    pub(crate) observation: Observation,
    /// What was read of the ledger.
    pub(crate) head: Head,
    /// The plan.
    pub(crate) body: PlanBody,
}

impl Made {
    /// Prints the plan, with what is under way or was interrupted before it.
    pub(crate) fn show(&self, project: &Project) {
        if let Some(flight) = &self.head.in_flight {
            say!(
                "! revision {} by {} began at {} and has not ended: it runs still, or it was interrupted, and this plan goes on from where it got",
                flight.revision,
                flight.who,
                paint::time(flight.since_ms)
            );
        }
        let places = places(project, &self.body);
        let text = render::text_with_places(&self.body, &self.observation, &places);
        put!("{}", paint::plan(&text));
    }
}

/// Asks on the terminal; without one, the answer is no, and it says how to say yes.
pub(crate) fn agreed(question: &str, yes: &str) -> Result<bool, Box<dyn std::error::Error>> {
    if !std::io::stdin().is_terminal() {
        return Err("there is no terminal to ask on: say --yes".into());
    }
    put!("{question} [{yes}/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case(yes))
}

/// Applies a plan, telling what happens.
pub(crate) async fn carry_out(
    host: &SshHost,
    project: &Project,
    graph: &Graph,
    made: &Made,
    form: Form,
) -> Ended {
    let Made { observation, head, body } = made;
    let who = fleet::who();
    let secrets = secrets::open(body)?;
    let stop = Arc::new(AtomicBool::new(false));
    let signals = stop_on_signal(&stop);
    let logs: Mutex<Vec<(PodId, Vec<u8>)>> = Mutex::default();
    let telling = Telling::new(form, body);
    let watch = |event: Event| {
        if let Event::GateFailed { pod, log, .. } = &event {
            logs.lock().unwrap_or_else(PoisonError::into_inner).push((pod.clone(), log.clone()));
        }
        telling.event(&event);
    };
    let mut journal = Boundaries::new(FileJournal::new(fleet::folder(project).join("journal")));
    let signed = signers::judge(project, head)?;
    let commit = fleet::commit(&project.root).map(|id| Committed { id, signed });
    let clock = &SystemClock;
    let apply = Apply { host, clock, who: &who, secrets: &secrets, watch: &watch, stop: &stop };
    let planned = Planned { body, graph, observation, head, commit: commit.as_ref() };
    let applied = apply.apply(planned, &mut journal).await;
    signals.abort();
    telling.quiet();
    let applied = applied?;
    applied.behind.iter().for_each(|line| hint!("{} {line}", paint::notice("note:")));
    if let Some(store) = fleet::store(project) {
        for (pod, log) in logs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            store.keep_log(&body.tenant, pod, log)?;
        }
        store.remember(&body.tenant, &applied.lines)?;
    }
    let exit = exit(body, &applied);
    match form {
        Form::Words => ending(body, &applied, telling.elapsed()),
        Form::Json => telling.end(Some(&applied.outcome), exit, &applied.behind),
    }
    Ok(exit)
}

fn exit(body: &PlanBody, applied: &Applied) -> Exit {
    match &applied.outcome {
        Outcome::Done => plan::exit_of(body, false),
        Outcome::Reverted { .. } => Exit::Reverted,
        Outcome::Partial { .. } => Exit::Partial,
    }
}

fn ending(body: &PlanBody, applied: &Applied, took: Duration) {
    let took = paint::duration(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    match &applied.outcome {
        Outcome::Done => {
            let words = match body.goal {
                Goal::Converge => format!("Revision {} done in {took}", body.revision),
                Goal::Destroy => format!("{} has left the nodes, in {took}", body.tenant),
            };
            say!("{}", paint::good(&words));
            for deferred in &body.deferred {
                say!("{} {deferred}", paint::notice("but"));
            }
        }
        Outcome::Reverted { workloads } => {
            say!(
                "{}",
                paint::error(&format!("Revision {} was taken back after {took}", body.revision))
            );
            for (workload, why) in workloads {
                say!("  {workload}: {why}");
            }
            let ran = |name| body.branches.get(name).is_some_and(|branch| branch.before.is_some());
            let back = applied.report.reverted.keys();
            let before = match back.filter(|name| ran(*name)).count() {
                0 => {
                    "what was started is gone, and the text's release is held until the text changes"
                }
                _ => "what ran before runs again, and is held until the text changes",
            };
            say!("  {before}");
        }
        Outcome::Partial { problems } => {
            say!(
                "{}",
                paint::error(&format!("Revision {} is not done, after {took}", body.revision))
            );
            for problem in problems {
                say!("  {problem}");
            }
            say!("  apply again to go on from here");
        }
    }
}

/// Prints what happens, a line each.
pub(crate) fn tell(event: &Event, at: Duration, total: usize) {
    let stamp = paint::dim(&format!("{:>7.1}s", at.as_secs_f32()));
    match event {
        Event::Started(step) if step.work.takes_ms() > 5000 => {
            say!("{stamp}  {} {}", paint::dim("watching"), step.work.title(&step.node));
        }
        Event::GivenUp(step) => {
            tracing::info!("given up: {}", step.work.title(&step.node));
        }
        Event::Started(step) => {
            tracing::info!("{} of {total}: {}", step.id.0 + 1, step.work.title(&step.node));
        }
        Event::Done { step, took_ms, note } => {
            let took = paint::dim(&paint::duration(*took_ms));
            let note = note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
            say!("{stamp}  {} {took}{note}", step.work.title(&step.node));
        }
        Event::Failed { step, why } => {
            say!("{stamp}  {} {}: {why}", paint::error("failed"), step.work.title(&step.node));
        }
        Event::Waiting { step: _, pod, why } => {
            say!("{stamp}  {} {pod}: {why}", paint::dim("waiting for"));
        }
        Event::GateFailed { pod, node, why, log } => {
            say!("{stamp}  {} {pod} on {node}: {why}", paint::error("gate failed"));
            let lines = paint::escaped(log);
            for line in lines.iter().skip(lines.len().saturating_sub(10)) {
                say!("          {} {line}", paint::dim("|"));
            }
        }
        Event::Asked { workload, why } => {
            say!("{stamp}  {} {workload}: {why}", paint::error("abort"));
        }
        Event::Undo { workload, steps } => {
            say!("{stamp}  {} {workload} goes back, {steps} steps", paint::notice("undo"));
        }
    }
}

/// Waits until somebody wants this to end: Ctrl-C, or SIGTERM, which a service manager sends.
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        // What cannot be heard ends nothing; the other one does.
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// The first signal lets what runs end and gives the locks back; the second stops at once.
fn stop_on_signal(stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        loop {
            signal().await;
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            hint!("stopping after the steps that run; again to stop at once");
        }
    })
}

/// Writes what was recorded of writes to nodes.
pub(crate) fn record(host: &SshHost, path: &std::path::Path) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    for recorded in host.recorded() {
        let line = serde_json::json!({
            "node": recorded.node,
            "write": recorded.write.to_string(),
            "call": recorded.call,
        });
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// A journal whose writes are the boundaries at which the lab kills an engine. In a build without
/// debug assertions it only passes on.
struct Boundaries<J> {
    inner: J,
    #[cfg(debug_assertions)]
    left: Option<u64>,
}

impl<J> Boundaries<J> {
    fn new(inner: J) -> Self {
        Self {
            inner,
            #[cfg(debug_assertions)]
            left: std::env::var("BERTH_KILL_AT_JOURNAL_WRITE").ok().and_then(|n| n.parse().ok()),
        }
    }

    /// Dies like `kill -9` does: nothing is given back, nothing is flushed.
    fn boundary(&mut self) {
        #[cfg(debug_assertions)]
        match &mut self.left {
            None => {}
            Some(0) => {
                let me = std::process::id().to_string();
                let _ = std::process::Command::new("kill").args(["-9", &me]).status();
            }
            Some(left) => *left -= 1,
        }
    }
}

impl<J: Journal> Journal for Boundaries<J> {
    fn begin(&mut self, anchor: &str) -> std::io::Result<()> {
        self.boundary();
        self.inner.begin(anchor)
    }

    fn append(&mut self, records: &[Record]) -> std::io::Result<()> {
        self.inner.append(records)?;
        self.boundary();
        Ok(())
    }
}
