//! `berth capacity`: how many more fit, what the fleet survives, what to add.

use std::path::PathBuf;

use berth_engine::plan::body::Goal;
use berth_engine::plan::capacity;
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_engine::run::observe::Survey;

use super::{Ended, plan};
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a picture of the nodes to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let (seen, body) = plan::make(&host, &project, Goal::Converge, EVERYTHING).await?;
        host.close().await;
        let Survey { observation, ledger } = &seen;
        let inputs = Inputs {
            graph: &project.graph,
            program: &project.program,
            observation,
            head: &ledger.head,
            goal: Goal::Converge,
            only: EVERYTHING,
            now_ms: fleet::now_ms(),
        };
        let capacity = capacity::capacity(&inputs, &body);
        if let Some(path) = &args.svg {
            std::fs::write(path, capacity::svg(&capacity))?;
        }
        if args.json {
            say!("{}", serde_json::to_string_pretty(&capacity)?);
        } else {
            put!("{}", capacity::text(&capacity));
        }
        Ok(Exit::Done)
    })?
}
