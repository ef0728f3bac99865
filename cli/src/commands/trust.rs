//! `berth trust`: a node's host key, shown and then trusted.

use std::io::Write as _;
use std::path::PathBuf;

use berth_agentless::scan_host_key;

use super::Ended;
use super::apply::agreed;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node, as the text names it
    node: String,
    /// Do not ask: the fingerprint was compared already
    #[arg(short, long)]
    yes: bool,
}

impl Args {
    /// For a node that another command has named.
    pub(crate) fn new(node: &str, yes: bool) -> Self {
        Self { node: node.to_owned(), yes }
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let name = fleet::node(&project, &args.node)?;
    let node = &project.graph.nodes[&name];
    let target = fleet::target(&name, node, &project.root);
    let options = fleet::options(&project, global);
    let key = fleet::block_on(scan_host_key(&target, &options))??;
    say!("{} at {} shows", args.node, key.shown);
    say!("  {} {}", key.algorithm, key.fingerprint_sha256);
    say!("Compare it with what the machine's owner or its console says:");
    say!("  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
    if !args.yes && !agreed("Trust this key?", "y")? {
        return Ok(Exit::Mistake);
    }
    let path = match &global.known_hosts {
        Some(path) => path.clone(),
        None => {
            let home = std::env::var_os("HOME").ok_or("HOME is not set: say --known-hosts FILE")?;
            PathBuf::from(home).join(".ssh/known_hosts")
        }
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    writeln!(file, "{}", key.known_hosts_line.trim_end())?;
    say!("trusted, in {}", path.display());
    Ok(Exit::Done)
}
