//! `berth plan`: what apply would do.

use std::collections::BTreeSet;
use std::path::PathBuf;

use berth_agentless::SshHost;
use berth_engine::plan::body::{Goal, PlanBody};
use berth_engine::plan::check::Violation;
use berth_engine::plan::names::{NodeName, WorkloadName};
use berth_engine::plan::render;
use berth_engine::plan::whatif::{self, Suppose, WhatIfError};
use berth_engine::run::observe::{Survey, survey};

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::provenance::places;
use crate::published::{self, Origin};
use crate::saved::Saved;
use crate::{Global, fleet, paint, replicas, signers};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Save the plan, so that `berth apply FILE` does exactly this or nothing
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// End with 2 if there is something to do
    #[arg(long)]
    exit_code: bool,
    /// Print the plan as JSON (docs/schemas/berth.plan-1.schema.json)
    #[arg(long)]
    json: bool,
    /// Print the plan as JSON, an object a line: head, overrides, changes, steps, what is blocked or
    /// deferred, summary
    #[arg(long, conflicts_with = "json")]
    ndjson: bool,
    /// Print the plan as Markdown, for a comment on a change: at most 65,536 characters, with everything
    /// that is destroyed in the open
    #[arg(long, conflicts_with_all = ["json", "ndjson"])]
    markdown: bool,
    /// Show what `berth destroy` would do
    #[arg(long, conflicts_with = "out")]
    destroy: bool,
    /// Only this service, with whom it needs to be near; all else is left as it is
    #[arg(long, value_name = "SERVICE", conflicts_with = "destroy")]
    target: Vec<String>,
    /// Ask no node: plan on what a saved plan had read, as for a change that comes from outside
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    observation: Option<PathBuf>,
    /// What if this node were gone
    #[arg(long, value_name = "NODE", conflicts_with = "out")]
    without: Vec<String>,
    /// What if there were a node like this: `8/32GiB`, or `8/32GiBx3` for three
    #[arg(long, value_name = "SHAPE", conflicts_with = "out")]
    add: Vec<String>,
    /// What if a service had so many replicas: `web=12`
    #[arg(long, value_name = "SERVICE=N", conflicts_with = "out")]
    scale: Vec<String>,
}

impl Args {
    fn suppose(&self) -> Result<Suppose, WhatIfError> {
        Ok(Suppose {
            without: self.without.iter().map(NodeName::new).collect(),
            add: self.add.iter().map(|text| whatif::shape(text)).collect::<Result<_, _>>()?,
            scale: self.scale.iter().map(|text| whatif::scale(text)).collect::<Result<_, _>>()?,
        })
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let suppose = args.suppose()?;
    let goal = if args.destroy { Goal::Destroy } else { Goal::Converge };
    fleet::block_on(async {
        let only = only(&project, &args.target)?;
        let mut seen = match &args.observation {
            Some(path) => Saved::seen(path, &project.graph.tenant)?,
            None => {
                let host = fleet::host(&project, global);
                let seen = survey(&host, &project.graph).await?;
                host.close().await;
                seen
            }
        };
        let supposed;
        let mut graph = &project.graph;
        if !suppose.is_empty() {
            (supposed, seen.observation) = suppose.apply(graph, &seen.observation)?;
            suppose.forget(&mut seen.ledger.head);
            graph = &supposed;
        }
        let now_ms = fleet::now_ms();
        let body = judged(seen.plan(graph, &project.program, goal, &only, now_ms))?;
        if !suppose.is_empty() && !args.json && !args.ndjson {
            say!(
                "WHAT IF: nothing of this can be applied{}",
                if args.markdown { "\n" } else { "" }
            );
        }
        if args.markdown {
            put!("{}", render::markdown(&body, &seen.observation, &places(&project, &body)));
        } else if args.json || args.ndjson {
            let origin = Origin {
                places: places(&project, &body),
                commit: fleet::commit(&project.root),
                who: fleet::who(),
                what_if: !suppose.is_empty(),
            };
            let document = published::document(&body, &seen.observation, origin);
            if args.json {
                say!("{}", serde_json::to_string_pretty(&document)?);
            } else {
                for line in published::lines(&document) {
                    say!("{}", serde_json::to_string(&line)?);
                }
            }
        } else {
            put!(
                "{}",
                crate::paint::plan(&render::text_with_places(
                    &body,
                    &seen.observation,
                    &places(&project, &body)
                ))
            );
        }
        let exit = exit_of(&body, args.exit_code);
        if !body.is_empty()
            && let Err(error) = signers::judge(&project, &seen.ledger.head)
        {
            hint!("{} apply would refuse this text: {error}", paint::notice("note:"));
        }
        if let Some(path) = &args.out {
            let commit = fleet::commit(&project.root);
            let Survey { observation, ledger } = seen;
            Saved::new(body, observation, ledger.head, commit, fleet::who()).write(path)?;
        }
        Ok(exit)
    })?
}

/// Surveys the fleet and plans.
pub(crate) async fn make(
    host: &SshHost,
    project: &Project,
    goal: Goal,
    only: &BTreeSet<WorkloadName>,
) -> Result<(Survey, PlanBody), Box<dyn std::error::Error>> {
    let seen = survey(host, &project.graph).await?;
    let body = judged(seen.plan(&project.graph, &project.program, goal, only, fleet::now_ms()))?;
    Ok((seen, body))
}

/// The services that a plan is to be about; all if none is named.
pub(crate) fn only(
    project: &Project,
    named: &[String],
) -> Result<BTreeSet<WorkloadName>, Box<dyn std::error::Error>> {
    let known = &project.graph.workloads;
    let of = |text: &String| {
        let name = WorkloadName::new(replicas::bare(text));
        if known.contains_key(&name) {
            return Ok(name);
        }
        let names: Vec<_> = known.keys().map(ToString::to_string).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(format!("there is no service `{}` in the text; it has {there}", text.escape_debug())
            .into())
    };
    named.iter().map(of).collect()
}

pub(crate) fn judged(
    planned: Result<PlanBody, Vec<Violation>>,
) -> Result<PlanBody, Box<dyn std::error::Error>> {
    match planned {
        Ok(body) => Ok(body),
        Err(violations) => {
            let words: Vec<_> = violations.iter().map(|v| format!("  {v}")).collect();
            Err(format!(
                "Berth's own checker turned this plan down; this is a fault of Berth, and nothing was done:\n{}",
                words.join("\n")
            )
            .into())
        }
    }
}

/// How a plan by itself ends.
pub(crate) fn exit_of(body: &PlanBody, differs: bool) -> Exit {
    if !body.blocked.is_empty() || !body.deferred.is_empty() {
        Exit::Partial
    } else if differs && !body.is_empty() {
        Exit::Differs
    } else {
        Exit::Done
    }
}
