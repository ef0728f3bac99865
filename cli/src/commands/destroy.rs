//! `berth destroy`: everything of this environment off the nodes.

use std::path::PathBuf;

use berth_engine::plan::body::Goal;
use berth_engine::plan::planner::EVERYTHING;

use super::apply::{Made, agreed, carry_out, record};
use super::{Ended, plan};
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::telling::Form;
use crate::{Global, fleet};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Write every call and command that changed a node to this file, a JSON line each
    #[arg(long, value_name = "FILE", hide = true)]
    record: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let (seen, body) = plan::make(&host, &project, Goal::Destroy, EVERYTHING).await?;
        let made = Made { observation: seen.observation, head: seen.ledger.head, body };
        if made.body.steps.is_empty() && made.head.revision == 0 {
            say!("Nothing of {} is on the nodes.", made.body.tenant);
            host.close().await;
            return Ok(Exit::Done);
        }
        made.show(&project);
        let name = &project.graph.tenant.project;
        let ended = if args.yes || agreed("Destroy all this? Type the project's name.", name)? {
            carry_out(&host, &project, &project.graph, &made, Form::Words).await
        } else {
            Ok(Exit::Mistake)
        };
        if let Some(path) = &args.record {
            record(&host, path)?;
        }
        host.close().await;
        ended
    })?
}
