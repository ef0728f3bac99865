//! `berth check`: every mistake of the text, with no node asked.

use std::sync::mpsc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::project::{Pins, Project, ProjectError, find};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check again whenever a file changes
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    if !args.watch {
        return Ok(check(global)?);
    }
    let root = find(global)?;
    let (sender, changes) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let touches = |event: &notify::Event| {
            event.paths.iter().any(|path| {
                path.extension().is_some_and(|e| e == "berth") || path.ends_with("berth.lock")
            })
        };
        if event.as_ref().is_ok_and(touches) {
            let _ = sender.send(());
        }
    })?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    loop {
        if let Err(error) = check(global) {
            hint!("{error}");
        }
        changes.recv()?;
        // Editors write in several strokes: what comes within a moment is one change.
        while changes.recv_timeout(Duration::from_millis(50)).is_ok() {}
    }
}

fn check(global: &Global) -> Result<Exit, ProjectError> {
    let project = Project::load(global, Pins::Keep)?;
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
