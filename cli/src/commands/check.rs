//! `berth check`: every mistake of the text, with no node asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Ended, fmt};
use crate::Global;
use crate::exit::Exit;
use crate::findings;
use crate::pins::Pins;
use crate::project::{Examined, Project, ProjectError, environment, examine, find, read, request};
use crate::sarif;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check again whenever a file changes
    #[arg(long, conflicts_with_all = ["fix", "format"])]
    watch: bool,
    /// How mistakes are said: for people, as JSON (berth.diagnostics/1), or as SARIF 2.1.0
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Apply what the mistakes offer, as often as that leaves fewer; then check
    #[arg(long)]
    fix: bool,
}

/// How mistakes are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    if args.fix {
        mend(global)?;
    }
    if args.format != Format::Text {
        return Ok(report(global, args.format)?);
    }
    if !args.watch {
        return Ok(check(global)?);
    }
    crate::watch::watch(&find(global)?, || {
        if let Err(error) = check(global) {
            hint!("{error}");
        }
    })
}

fn check(global: &Global) -> Result<Exit, ProjectError> {
    let project = match Project::load(global, Pins::Keep) {
        Ok(project) => project,
        Err(ProjectError::Package(package)) => {
            let words = format!("package {} {}: no mistakes", package.name, package.version);
            say!("{}", crate::paint::good(&words));
            return Ok(Exit::Done);
        }
        Err(error) => return Err(error),
    };
    let graph = &project.graph;
    let words = format!(
        "{}: {} nodes, {} services, no mistakes",
        graph.tenant,
        graph.nodes.len(),
        graph.workloads.len()
    );
    say!("{}", crate::paint::good(&words));
    Ok(Exit::Done)
}

/// Prints what was found for machines.
fn report(global: &Global, format: Format) -> Result<Exit, ProjectError> {
    let Examined { snapshot, diagnostics, waived, project, package, .. } =
        examine(global, Pins::Keep)?;
    let printed = match format {
        Format::Sarif => sarif::print(&diagnostics, &waived, &snapshot),
        Format::Json | Format::Text => findings::print(&diagnostics, &waived, &snapshot),
    };
    put!("{printed}");
    Ok(if project.is_some() || package.is_some() { Exit::Done } else { Exit::Mistake })
}

/// Applies what the mistakes offer, and writes the files that are better for it.
fn mend(global: &Global) -> Result<(), ProjectError> {
    let root = find(global)?;
    let mut workspace = read(&root)?.workspace;
    let mended = berth_lang::mend(&mut workspace, &request(environment(global)?));
    let files: &BTreeMap<Arc<str>, Arc<str>> = &mended.files;
    for (name, text) in files {
        fmt::write(&root.join(&**name), text)?;
    }
    if mended.applied > 0 {
        let names: Vec<&str> = files.keys().map(|name| &**name).collect();
        hint!("applied {} fixes in {}", mended.applied, names.join(", "));
    }
    Ok(())
}
