//! `berth reflexes`: what acts on the nodes without an engine, and in which version.

use berth_engine::plan::action::Reflex;
use berth_engine::plan::observation::Observation;
use serde_json::{Value, json};

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::table::{Cell, Tone, render};
use crate::{Global, fleet, paint, replicas};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let observation = fleet::seen(&project, global)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer(&observation))?);
    } else {
        print(&observation);
        replicas::tell_unknown(&observation);
    }
    let whole = replicas::unknown(&observation).is_empty();
    Ok(if whole { Exit::Done } else { Exit::Partial })
}

/// What it does, in a few words.
fn does(reflex: Reflex) -> &'static str {
    match reflex {
        Reflex::Boot => {
            "brings networks and namespaces back before containerd starts, and ends pods when the system stops"
        }
        Reflex::Rotate => "keeps each pod's log below its bound, every minute",
        Reflex::Live => {
            "asks pods that have `liveness`, and ends those that are not well, to be started anew"
        }
        Reflex::Prune => "leads endpoints past servers that do not answer, until they do",
        Reflex::Backoff => {
            "has containers that end time and again started again after 10 s, 20 s, up to 5 min"
        }
        Reflex::Cron => "runs each `cron` when its timer says so, as a unit of systemd",
    }
}

fn print(observation: &Observation) {
    for (reflex, _) in Reflex::CURRENT {
        say!("{}  {}", paint::bold(&format!("{:7}", reflex.name())), does(reflex));
    }
    say!("");
    let mut rows = Vec::new();
    for node in observation.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        for (reflex, version) in Reflex::CURRENT {
            let found = match seen.spec.reflexes.get(&reflex) {
                Some(found) if *found == version => Cell::from(format!("version {found}")),
                Some(found) => {
                    let words = format!(
                        "version {found}, and this Berth has {version}: the next apply replaces it"
                    );
                    Cell::toned(words, Tone::Notice)
                }
                None => Cell::toned(
                    "not there: the next apply that uses the node installs it",
                    Tone::Notice,
                ),
            };
            let unit = format!("/etc/berth/reflexes/{}", reflex.name());
            rows.push(vec![
                node.to_string().into(),
                reflex.name().to_owned().into(),
                unit.into(),
                found,
            ]);
        }
    }
    for line in render(&["NODE", "REFLEX", "FOLDER", "STATE"], &rows) {
        say!("{line}");
    }
}

fn answer(observation: &Observation) -> Value {
    let nodes = observation.nodes.keys().map(|node| {
        let installed = observation.seen(node).map(|seen| &seen.spec.reflexes);
        json!({ "node": node, "answered": installed.is_some(), "reflexes": installed })
    });
    let known = Reflex::CURRENT.iter().map(
        |(reflex, version)| json!({ "reflex": reflex, "version": version, "does": does(*reflex) }),
    );
    json!({
        "schema": "berth.reflexes/1",
        "known": known.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}
