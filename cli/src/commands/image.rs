//! `berth image`: what the text's images are pinned to, and who has them.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::lockfile::Lockfile;
use berth_engine::plan::names::ImageDigest;
use berth_engine::plan::observation::NodeView;

use super::Ended;
use super::ledger::size;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::{self, Project};
use crate::{Global, fleet, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Pin every image anew, from what lies beside the project and from registries
    Update,
    /// Show every image of the text, what it is pinned to, and which nodes have it
    Ls,
    /// Remove from this folder what was pulled for images that the text does not have any more
    Gc,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    match args.command {
        Command::Update => update(global),
        Command::Ls => list(global),
        Command::Gc => collect(global),
    }
}

/// What `berth.lock` says now; nothing if there is none.
fn pins(global: &Global) -> Result<BTreeMap<String, ImageDigest>, Box<dyn std::error::Error>> {
    let path = project::find(global)?.join("berth.lock");
    Ok(match std::fs::read_to_string(&path) {
        Ok(text) => Lockfile::parse(&text)?.images,
        Err(_) => BTreeMap::new(),
    })
}

fn update(global: &Global) -> Ended {
    let before = pins(global)?;
    Project::load(global, Pins::Refresh)?;
    let after = pins(global)?;
    let width = after.keys().map(|name| shown(name).len()).max().unwrap_or(0);
    for (name, digest) in &after {
        let new = digest.short();
        let words = match before.get(name) {
            None => format!("{new}  {}", paint::good("new")),
            Some(old) if old == digest => format!("{new}  unchanged"),
            Some(old) => format!("{} → {}", old.short(), paint::good(new)),
        };
        say!("{:width$}  {words}", shown(name));
    }
    Ok(Exit::Done)
}

/// An image's name in the lock file as the text has it.
fn shown(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, rest)| rest)
}

fn list(global: &Global) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let graph = &project.graph;
    let observation = fleet::seen(&project, global)?;
    let mut images: BTreeMap<&ImageDigest, (&str, Vec<String>)> = BTreeMap::new();
    for (name, workload) in &graph.workloads {
        let template = &workload.template;
        for (image, source) in template.images() {
            let users =
                &mut images.entry(image).or_insert((source.name().unwrap_or("-"), Vec::new())).1;
            if users.last() != Some(&name.to_string()) {
                users.push(name.to_string());
            }
        }
    }
    let seen: Vec<_> = graph.nodes.keys().filter_map(|node| observation.seen(node)).collect();
    for image in seen.iter().flat_map(|seen| &seen.spec.images) {
        images.entry(image).or_insert(("-", Vec::new()));
    }
    let rows: Vec<[String; 4]> = images
        .iter()
        .map(|(image, (from, users))| {
            let have = seen.iter().filter(|seen| seen.spec.images.contains(*image)).count();
            let users = match users.as_slice() {
                [] => "nobody now; kept to go back to".to_owned(),
                users => users.join(", "),
            };
            [(*from).to_owned(), image.short().to_string(), format!("{have}/{}", seen.len()), users]
        })
        .collect();
    let widths = [0, 1, 2].map(|column| {
        let cells = rows.iter().map(|row: &[String; 4]| row[column].chars().count());
        cells.chain([6]).max().unwrap_or(6)
    });
    let line = |row: [&str; 4]| {
        let [from, digest, nodes, users] = row;
        say!("{from:0$}  {digest:1$}  {nodes:2$}  {users}", widths[0], widths[1], widths[2]);
    };
    line(["image", "digest", "nodes", "used by"]);
    rows.iter().for_each(|row| line(row.each_ref().map(String::as_str)));
    let mut exit = Exit::Done;
    for (node, view) in &observation.nodes {
        if let NodeView::Unknown { why, .. } = view {
            say!("{node}  {}", paint::notice(&format!("does not answer: {why}")));
            exit = Exit::Partial;
        }
    }
    Ok(exit)
}

fn collect(global: &Global) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let keep: BTreeSet<ImageDigest> = pins(global)?.into_values().collect();
    let (files, bytes) = project.registries.tidy(&keep)?;
    say!("{files} files, {}, were removed from .berth/images", size(bytes));
    Ok(Exit::Done)
}
