//! `berth doc`: a reference of what the project and the standard library declare.

use std::path::PathBuf;

use berth_lang::Workspace;

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::project::{ProjectError, find, read};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write one HTML page, or Markdown
    #[arg(long, value_name = "FORMAT", default_value = "html")]
    format: Format,
    /// Where to write; standard output if absent
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave the standard library out
    #[arg(long, conflicts_with = "stdlib")]
    only_project: bool,
    /// Document the standard library alone; needs no project
    #[arg(long)]
    stdlib: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Html,
    Markdown,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let (workspace, title) = if args.stdlib {
        (Workspace::new(), "Berth's standard library")
    } else {
        (read(&find(global)?)?.workspace, "Reference")
    };
    let docs = berth_lang::document(&workspace.snapshot(), title, !args.only_project);
    let page = match args.format {
        Format::Html => docs.html(),
        Format::Markdown => docs.markdown(),
    };
    match &args.out {
        None => put!("{page}"),
        Some(path) => {
            std::fs::write(path, page)
                .map_err(|error| ProjectError::File { path: path.clone(), error })?;
            hint!("{} items documented in {}", docs.len(), path.display());
        }
    }
    Ok(Exit::Done)
}
