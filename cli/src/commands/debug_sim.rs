//! `berth debug sim`: the text on simulated nodes, with faults where somebody wishes for them.
//!
//! Planner, checker, executor and ledger are the real ones; the nodes are the Host port's in-memory twin,
//! which judges every write. Images get ready in 0.3 s there, unless one is said never to.

use std::path::PathBuf;
use std::time::Duration;

use berth_engine::plan::body::Goal;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::planner::EVERYTHING;
use berth_engine::plan::render;
use berth_engine::run::event::Event;
use berth_engine::run::observe::survey;
use berth_engine::run::twin::{Behaviour, Fault, Twin};

use super::Ended;
use super::apply::tell;
use super::demo::on_twin;
use super::plan::judged;
use crate::exit::Exit;
use crate::paint;
use crate::project::Project;
use crate::saved::Saved;

/// How many engines, one after the other, have a try.
const ENGINES: usize = 6;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Begin with what was applied when this plan was saved; with empty nodes otherwise
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// What goes wrong at which call of the apply, counted from 0: `killed-after@40`. Of refused, answer-lost,
    /// session-ends, paused, killed-before, killed-after, killed-halfway, disk-full, reboots, torn
    #[arg(long, value_name = "FAULT@CALL", value_parser = fault)]
    fault: Vec<(Fault, u64)>,
    /// A service whose image in the text never gets ready
    #[arg(long, value_name = "SERVICE")]
    never_ready: Vec<String>,
}

fn fault(text: &str) -> Result<(Fault, u64), String> {
    let (name, call) = text.split_once('@').ok_or("write it as `killed-after@40`")?;
    let fault = match name {
        "refused" => Fault::Refused,
        "answer-lost" => Fault::AnswerLost,
        "session-ends" => Fault::SessionEnds,
        "paused" => Fault::Paused,
        "killed-before" => Fault::KilledBefore,
        "killed-after" => Fault::KilledAfter,
        "killed-halfway" => Fault::KilledHalfway,
        "disk-full" => Fault::DiskFull,
        "reboots" => Fault::Reboots,
        "torn" => Fault::Torn,
        _ => return Err(format!("no fault is called `{name}`")),
    };
    Ok((fault, call.parse().map_err(|_| format!("`{call}` is no number of a call"))?))
}

/// Runs the command.
pub(crate) fn run(project: &Project, args: &Args) -> Ended {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(story(project, args))
}

async fn story(project: &Project, args: &Args) -> Ended {
    let graph = &project.graph;
    let twin = Twin::new();
    for node in graph.nodes.keys() {
        twin.world().add_node(node, 8000, 32 << 30);
    }
    if let Some(path) = &args.from {
        let before = Saved::seen(path, &graph.tenant)?.ledger.head.as_applied(graph);
        turn(&twin, &before, false).await?;
    }
    for name in &args.never_ready {
        let named = graph.workloads.iter().find(|(workload, _)| workload.as_str() == name);
        let (_, workload) = named.ok_or_else(|| format!("the text has no service `{name}`"))?;
        twin.world().set_behaviour(&workload.template.image, Behaviour::NeverReady);
    }
    for (fault, call) in &args.fault {
        twin.world().fault_in(*call, *fault);
    }
    for number in 1..=ENGINES {
        let engine = twin.another_engine();
        let before = twin.world().calls();
        let ended = tokio::select! {
            biased;
            ended = turn(&engine, graph, true) => Some(ended?),
            () = engine.killed() => None,
        };
        let calls = twin.world().calls() - before;
        match ended {
            Some(true) => break,
            Some(false) => say!("{}", paint::dim(&format!("engine {number} ended, {calls} calls"))),
            None => say!("{}", paint::error(&format!("engine {number} was killed, {calls} calls"))),
        }
        twin.world().clear_faults();
        // A killed engine's sessions have ended by then.
        tokio::time::sleep(Duration::from_secs(16)).await;
    }
    let broken = twin.world().take_violations();
    broken.iter().for_each(|broken| say!("{} {broken}", paint::error("broken:")));
    if broken.is_empty() {
        say!("{}", paint::good("no promise was broken"));
    }
    Ok(if broken.is_empty() { Exit::Done } else { Exit::Partial })
}

/// One engine's turn; whether there was nothing to do.
async fn turn(twin: &Twin, graph: &Graph, loud: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let seen = match survey(twin, graph).await {
        Ok(seen) => seen,
        Err(fault) => {
            say!("{} {fault}", paint::error("failed"));
            return Ok(false);
        }
    };
    let body = judged(seen.plan(graph, "simulated", Goal::Converge, EVERYTHING, 0))?;
    if loud {
        put!("{}", paint::plan(&render::text(&body, &seen.observation)));
    }
    if body.is_empty() || !body.blocked.is_empty() {
        return Ok(true);
    }
    let began = tokio::time::Instant::now();
    let watch = |event: Event| {
        if loud {
            tell(&event, began.elapsed(), body.steps.len());
        }
    };
    if let Err(error) = on_twin(twin, graph, &seen, &body, &watch).await {
        say!("{} {error}", paint::error("failed"));
    }
    Ok(false)
}
