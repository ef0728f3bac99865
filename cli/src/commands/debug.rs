//! `berth debug`: what Berth itself works with, for a report or a curious reader.
//!
//! It is written as it is; its form may change with any release. Nothing of it is secret that the
//! nodes' containerd would not show: environment variables are among it.

use std::path::PathBuf;

use berth_engine::plan::body::{Goal, PlanBody, Step};
use berth_engine::plan::ledger::Entry;
use berth_engine::plan::planner::EVERYTHING;
use berth_engine::run::journal::{self, FileJournal, Record};
use berth_engine::run::observe::{Survey, observe, survey};

use super::Ended;
use super::ledger::kept;
use super::plan::judged;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::saved::Saved;
use crate::{Global, fleet, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    subcommand_help_heading = "What Berth works with"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    pod: super::debug_pod::Args,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The desired graph that the text comes to, as JSON
    Graph,
    /// What every node says of itself, as JSON
    Observation,
    /// Every step of the plan, with the steps that it waits for
    Plan {
        /// Ask no node: plan on what a saved plan had read
        #[arg(long, value_name = "FILE")]
        observation: Option<PathBuf>,
        /// As JSON, the whole body
        #[arg(long)]
        json: bool,
    },
    /// What this folder noted of an apply, step by step
    Journal {
        /// Of which revision; the last one unless said
        revision: Option<u64>,
    },
    /// The ledger's lines, as JSON, one each; with --head what they come to
    Ledger {
        /// What the lines come to, instead of the lines
        #[arg(long)]
        head: bool,
    },
    /// Apply the text to simulated, empty nodes of the same names, with a fault if one is wished for
    Sim(super::debug_sim::Args),
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let command = match (&args.command, &args.pod.what) {
        (Some(command), _) => command,
        (None, Some(what)) => return super::debug_pod::run(global, what, &args.pod),
        (None, None) => return Err("say what: `berth debug --help` shows it".into()),
    };
    let project = Project::load(global, Pins::Keep)?;
    match command {
        Command::Graph => {
            say!("{}", serde_json::to_string_pretty(&project.graph)?);
            return Ok(Exit::Done);
        }
        Command::Sim(args) => return super::debug_sim::run(&project, args),
        Command::Observation
        | Command::Plan { .. }
        | Command::Journal { .. }
        | Command::Ledger { .. } => {}
    }
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = match command {
            Command::Observation => {
                let observation = observe(&host, &project.graph).await;
                say!("{}", serde_json::to_string_pretty(&observation)?);
                Ok(Exit::Done)
            }
            Command::Plan { observation, json } => {
                let seen = match observation {
                    Some(path) => Saved::seen(path, &project.graph.tenant)?,
                    None => survey(&host, &project.graph).await?,
                };
                plan(&project, &seen, *json)
            }
            Command::Journal { revision } => {
                let ledger = kept(&host, &project).await?;
                tell_journal(&project, &ledger.lines, *revision)
            }
            Command::Ledger { head } => {
                let ledger = kept(&host, &project).await?;
                if *head {
                    say!("{}", serde_json::to_string_pretty(&ledger.head)?);
                } else {
                    for line in &ledger.lines {
                        say!("{}", serde_json::to_string(line)?);
                    }
                }
                Ok(Exit::Done)
            }
            Command::Graph | Command::Sim(_) => Ok(Exit::Done),
        };
        host.close().await;
        ended
    })?
}

fn plan(project: &Project, seen: &Survey, json: bool) -> Ended {
    let graph = &project.graph;
    let now_ms = fleet::now_ms();
    let body = judged(seen.plan(graph, &project.program, Goal::Converge, EVERYTHING, now_ms))?;
    if json {
        say!("{}", serde_json::to_string_pretty(&body)?);
    } else {
        say!("plan {} of {}, revision {}", body.digest(), body.tenant, body.revision);
        body.steps.iter().for_each(|step| say!("{}", words(step)));
    }
    Ok(Exit::Done)
}

/// A step with what it waits for: `12  web 1  start web-1.g2 on n2  after 3, 7–9`.
fn words(step: &Step) -> String {
    let runs = step.after.runs().iter().map(|run| match (run.first.0, run.last.0) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}–{last}"),
    });
    let after = runs.collect::<Vec<_>>().join(", ");
    let after = if after.is_empty() { after } else { paint::dim(&format!("  after {after}")) };
    let branch = step.branch.as_ref().map(ToString::to_string).unwrap_or_default();
    let wave = step.wave.map(|wave| format!(" {wave}")).unwrap_or_default();
    let title = step.work.title(&step.node);
    format!("{:>5}  {:<16}  {title}{after}", step.id.0, format!("{branch}{wave}"))
}

fn tell_journal(
    project: &Project,
    lines: &[berth_engine::plan::ledger::Line],
    revision: Option<u64>,
) -> Ended {
    let begins = lines.iter().rev().filter_map(|line| match &line.entry {
        Entry::Begin { plan, .. } => Some((line, plan)),
        _ => None,
    });
    let wanted = |plan: &PlanBody| revision.is_none_or(|wanted| plan.revision == wanted);
    let mut begins = begins.filter(|(_, plan)| wanted(plan));
    let Some((line, plan)) = begins.next() else {
        let which = revision.map_or("yet".to_owned(), |revision| format!("of revision {revision}"));
        return Err(format!("the ledger tells of no apply {which}").into());
    };
    let folder = fleet::folder(project).join("journal");
    let path = FileJournal::path(&folder, &line.hash);
    let bytes = std::fs::read(&path).map_err(|error| {
        format!(
            "{}: {error}; revision {} was applied by {}, perhaps from another folder",
            path.display(),
            plan.revision,
            line.who
        )
    })?;
    let (records, doubtful) = journal::read(&bytes, &line.hash);
    let title = |id: &berth_engine::plan::body::StepId| {
        let step = plan.steps.get(id.0 as usize);
        step.map_or_else(
            || format!("step {} of an undo", id.0),
            |step| format!("{}  {}", id.0, step.work.title(&step.node)),
        )
    };
    for record in &records {
        match record {
            Record::Intent { step } => say!("begins  {}", title(step)),
            Record::Done { step, took_ms } => {
                say!("done    {}  {}", title(step), paint::dim(&paint::duration(*took_ms)));
            }
            Record::Failed { step, why } => say!("failed  {}: {why}", title(step)),
            Record::Undo { workload, wave } => say!("undo    {workload}, from wave {wave}"),
        }
    }
    if doubtful {
        say!("what follows cannot be believed: it was being written, or was altered");
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Debug {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_replica_is_told_from_what_berth_works_with() {
        let read = |line: &str| Debug::try_parse_from(line.split(' ')).map(|debug| debug.args);
        for line in
            ["debug web[1]", "debug web[1] --image a:1 -u 7 -- sh", "debug -T web[1] -- graph"]
        {
            let args = read(line).expect(line);
            assert_eq!(args.pod.what.as_deref(), Some("web[1]"), "{line}");
            assert!(args.command.is_none(), "{line}");
        }
        assert!(matches!(read("debug graph").expect("graph").command, Some(Command::Graph)));
        assert!(read("debug web[1] -u 7").is_err(), "a user is an image's");
        assert!(read("debug web[1] graph").is_err(), "one or the other");
    }
}
