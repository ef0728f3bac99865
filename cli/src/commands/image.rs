//! `berth image`: what `berth.lock` pins.

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Pin every image anew, from what lies beside the project
    Update,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    match args.command {
        Command::Update => {
            let project = Project::load(global, Pins::Refresh)?;
            for (name, workload) in &project.graph.workloads {
                let template = &workload.template;
                let path = template.source.path().unwrap_or("-");
                say!("{name}  {path}  {}", template.image);
            }
            Ok(Exit::Done)
        }
    }
}
