//! `berth why web[1]` and `berth why-not web[1] n7`: the reasons of placement.

use berth_engine::plan::body::Goal;
use berth_engine::plan::names::NodeName;
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_engine::plan::why;
use berth_engine::run::observe::Survey;

use super::{Ended, plan};
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet};

/// What `why-not` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct NotArgs {
    /// A replica: a service and a number, such as `web[1]`
    replica: String,
    /// The node that it is not on
    node: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `why-not`.
pub(crate) fn run_not(global: &Global, args: &NotArgs) -> Ended {
    let NotArgs { replica, node, json } = args;
    run(global, replica, Some(node), *json)
}

/// Runs `why` for a replica.
pub(crate) fn run(global: &Global, replica: &str, node: Option<&str>, json: bool) -> Ended {
    let (workload, ordinal) = why::replica(replica)?;
    let node = node.map(NodeName::new);
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
        let why = why::why(&inputs, &body, (&workload, ordinal), node.as_ref())?;
        if json {
            say!("{}", serde_json::to_string_pretty(&why)?);
        } else {
            put!("{}", why::text(&why, node.as_ref()));
        }
        Ok(Exit::Done)
    })?
}
