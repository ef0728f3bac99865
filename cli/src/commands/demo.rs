//! `berth demo --simulated`: the whole story on simulated nodes, anywhere, in seconds.
//!
//! The text is the shipped example, through the real language, planner, checker, executor and
//! ledger; only the nodes are the Host port's in-memory twin, and time passes while all wait.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use berth_engine::plan::body::{Goal, PlanBody};
use berth_engine::plan::drift::drift;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::lower::{self, ImageName};
use berth_engine::plan::names::{ImageDigest, WorkloadName};
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_engine::plan::render;
use berth_engine::plan::secret::{self, Opened};
use berth_engine::run::apply::{Applied, Apply, ApplyError, Planned};
use berth_engine::run::clock::SimulatedClock;
use berth_engine::run::event::{Event, Watch};
use berth_engine::run::host::HostError;
use berth_engine::run::journal::MemoryJournal;
use berth_engine::run::observe::{Survey, survey};
use berth_engine::run::twin::{Behaviour, Twin};
use berth_lang::{CompileRequest, Workspace};

use super::Ended;
use crate::exit::Exit;
use crate::paint;

const FLEET: &str = include_str!("../../../examples/shop/fleet.berth");
const WEB: &str = include_str!("../../../examples/shop/web.berth");

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// On simulated nodes (the only kind here; `./dev demo` in Berth's repository boots real ones)
    #[arg(long, required = true)]
    simulated: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Ended {
    debug_assert!(args.simulated, "clap requires it");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(story())?;
    Ok(Exit::Done)
}

type Told = Result<(), Box<dyn std::error::Error>>;

async fn story() -> Told {
    let v1 = graph(WEB)?;
    let v2 = graph(&WEB.replace("web-1", "web-2"))?;
    let bad = graph(&WEB.replace("web-1", "web-bad"))?;
    let twin = Twin::new();
    for name in v1.nodes.keys() {
        twin.world().add_node(name, 2000, 2 << 30);
    }
    twin.world().set_behaviour(&digest("images/web-bad"), Behaviour::NeverReady);

    say("A fleet of three nodes, and a web service");
    put!("{}", paint::dim(FLEET));
    put!("{}", paint::dim(WEB));
    say("berth apply: three replicas, spread over the nodes");
    turn(&twin, &v1, Goal::Converge).await?;
    say("berth plan: nothing to do");
    turn(&twin, &v1, Goal::Converge).await?;
    twin.world().set_floor(&WorkloadName::new("web"), 3);
    say("web-2 in the text, berth apply: one by one, behind a gate");
    turn(&twin, &v2, Goal::Converge).await?;
    say("web-bad, which never gets ready: undone by itself");
    turn(&twin, &bad, Goal::Converge).await?;
    say("berth apply again: it stays undone until the text changes");
    turn(&twin, &bad, Goal::Converge).await?;
    say("git revert, berth apply: the earlier digests");
    turn(&twin, &v1, Goal::Converge).await?;
    let broken = twin.world().take_violations();
    if !broken.is_empty() {
        return Err(format!("a promise was broken: {}", broken.join("; ")).into());
    }
    say!("at every moment three replicas were ready, and no request would have failed");
    twin.world().set_floor(&WorkloadName::new("web"), 0);

    say("a container is stopped by hand; berth drift, then berth apply");
    let (node, pod) = twin.world().running().first().cloned().ok_or("nothing runs")?;
    twin.world().stop_by_hand(&node, &pod);
    twin.world().add_foreign(&node, "redis-test");
    print_drift(&twin, &v1).await?;
    turn(&twin, &v1, Goal::Converge).await?;

    say("a second engine, while the first applies");
    let other = twin.another_engine();
    let late = async {
        tokio::time::sleep(std::time::Duration::from_millis(900)).await;
        apply(&other, &v2, Goal::Converge, false).await
    };
    let (first, second) = tokio::join!(apply(&twin, &v2, Goal::Converge, false), late);
    first?;
    match second.err().and_then(|error| error.downcast::<ApplyError>().ok()) {
        Some(error) => match *error {
            ApplyError::Lock(HostError::Locked { .. }) => say!("kept out: {error}"),
            ApplyError::Lock(_)
            | ApplyError::Stale { .. }
            | ApplyError::Overtaken(_)
            | ApplyError::Ledger(_)
            | ApplyError::Uncopied { .. }
            | ApplyError::Journal(_) => {
                return Err(error);
            }
        },
        None => return Err("the second engine was not kept out".into()),
    }

    say("berth destroy: the nodes are as they were");
    turn(&twin, &v2, Goal::Destroy).await?;
    if !twin.world().is_clean() {
        return Err("something was left on a node".into());
    }
    say!("nothing is left on any node");
    Ok(())
}

fn say(words: &str) {
    say!("\n{}", paint::bold(&format!("── {words}")));
}

/// The example with one file changed, compiled and lowered; images get digests made from their
/// names.
fn graph(web: &str) -> Result<Graph, Box<dyn std::error::Error>> {
    let mut workspace = Workspace::new();
    workspace.set_file("fleet.berth", FLEET);
    workspace.set_file("web.berth", web.to_owned());
    let snapshot = workspace.snapshot();
    let compiled = snapshot.compile(&CompileRequest::default());
    let program = compiled.program.ok_or_else(|| {
        compiled.diagnostics.iter().map(|d| d.render_plain(&snapshot)).collect::<String>()
    })?;
    let digests: BTreeMap<ImageName, ImageDigest> = lower::images(&program)
        .into_iter()
        .map(|(name, _)| {
            let path = match &name {
                ImageName::Registry(path) | ImageName::Layout(path) | ImageName::Archive(path) => {
                    path.clone()
                }
            };
            (name, digest(&path))
        })
        .collect();
    lower::lower(&program, "default", &digests, &secret::as_if(&program)).map_err(|mistakes| {
        mistakes.iter().map(|d| d.render_plain(&snapshot)).collect::<String>().into()
    })
}

fn digest(path: &str) -> ImageDigest {
    ImageDigest::new(format!("sha256:{}", berth_engine::plan::canon::digest_of("demo", &path)))
}

async fn turn(twin: &Twin, graph: &Graph, goal: Goal) -> Told {
    apply(twin, graph, goal, true).await
}

async fn apply(twin: &Twin, graph: &Graph, goal: Goal, loud: bool) -> Told {
    let seen = survey(twin, graph).await?;
    let body = seen
        .plan(graph, "demo", goal, EVERYTHING, 0)
        .map_err(|violations| format!("the checker turned the plan down: {violations:?}"))?;
    if loud {
        put!("{}", paint::plan(&render::text(&body, &seen.observation)));
    }
    if body.is_empty() {
        return Ok(());
    }
    let began = tokio::time::Instant::now();
    let watch = |event: Event| {
        let at = format!("{:>7.1}s", began.elapsed().as_secs_f32());
        match event {
            Event::Done { step, .. } if loud => {
                say!("{} {}", paint::dim(&at), step.work.title(&step.node))
            }
            Event::GateFailed { pod, why, .. } => {
                say!("{} {} {pod}: {why}", paint::dim(&at), paint::error("gate failed"))
            }
            Event::Undo { workload, steps } => {
                say!("{} undo of {workload}, {steps} steps", paint::dim(&at))
            }
            Event::Done { .. }
            | Event::Started(_)
            | Event::Asked { .. }
            | Event::GivenUp(_)
            | Event::Failed { .. }
            | Event::Waiting { .. } => {}
        }
    };
    let applied = on_twin(twin, graph, &seen, &body, &watch).await?;
    match applied.outcome {
        Outcome::Done => say!("{}", paint::good("done")),
        Outcome::Reverted { .. } => say!("{}", paint::error("taken back")),
        Outcome::Partial { problems } => return Err(problems.join("; ").into()),
    }
    Ok(())
}

/// Applies a plan on nodes that are simulated.
pub(super) async fn on_twin(
    twin: &Twin,
    graph: &Graph,
    seen: &Survey,
    body: &PlanBody,
    watch: &dyn Watch,
) -> Result<Applied, ApplyError> {
    let clock = SimulatedClock::starting_at(crate::fleet::now_ms());
    let (stop, secrets) = (AtomicBool::new(false), Opened::as_if(body));
    let (who, secrets, stop) = ("you@here", &secrets, &stop);
    let apply = Apply { host: twin, clock: &clock, who, secrets, watch, stop };
    let (observation, head) = (&seen.observation, &seen.ledger.head);
    let planned = Planned { body, graph, observation, head, commit: None };
    apply.apply(planned, &mut MemoryJournal::default()).await
}

async fn print_drift(twin: &Twin, graph: &Graph) -> Told {
    let seen = survey(twin, graph).await?;
    let findings = drift(&Inputs {
        graph,
        program: "demo",
        observation: &seen.observation,
        head: &seen.ledger.head,
        goal: Goal::Converge,
        only: EVERYTHING,
        now_ms: 0,
    });
    for finding in findings {
        say!("{}  {}  {}", finding.subject, finding.kind.word(), finding.words);
    }
    Ok(())
}
