//! `berth cp`: files between this machine and a replica.

use std::path::Path;

use berth_agentless::{Copied, SshHost};
use berth_engine::plan::change::bytes;
use berth_engine::plan::names::ContainerId;
use berth_engine::run::observe::observe;

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, paint, replicas};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file or folder: a path of this machine, or `web[1]:/path`
    from: String,
    /// Where to, the other way round; into it if it is a folder
    to: String,
    /// The container of that name beside the replica's own: a sidecar
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
}

/// One end of a copy.
enum End<'a> {
    Here(&'a Path),
    There { what: &'a str, path: &'a str },
}

/// Understands one end. A path of this machine that holds a colon is written `./a:b`.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        Some((what, path)) if !what.is_empty() && !what.contains('/') => End::There { what, path },
        Some(_) | None => End::Here(Path::new(text)),
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let (from, to) = (end(&args.from), end(&args.to));
    match (&from, &to) {
        (End::Here(_), End::Here(_)) => {
            return Err("neither is in a replica: say one as `web[1]:/path`".into());
        }
        (End::There { .. }, End::There { .. }) => {
            return Err("both are in replicas: copy to this machine first".into());
        }
        (End::Here(_), End::There { .. }) | (End::There { .. }, End::Here(_)) => {}
    }
    let project = Project::load(global, Pins::Keep)?;
    let copied = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let copied = copy(&host, &project, args.container.as_deref(), from, to).await;
        host.close().await;
        copied
    })??;
    let Copied { entries, bytes: size, left_out } = copied;
    let things = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
    hint!("{things}, {}", bytes(size));
    for name in left_out {
        hint!(
            "{} {name} is neither a file, a folder nor a link, and was left out",
            paint::notice("note:")
        );
    }
    Ok(Exit::Done)
}

async fn copy(
    host: &SshHost,
    project: &Project,
    beside: Option<&str>,
    from: End<'_>,
    to: End<'_>,
) -> Result<Copied, Box<dyn std::error::Error>> {
    let graph = &project.graph;
    let (what, path) = match (&from, &to) {
        (End::There { what, path }, _) | (_, End::There { what, path }) => (*what, *path),
        (End::Here(_), End::Here(_)) => ("", ""),
    };
    let observation = observe(host, graph).await;
    let replica = replicas::one(what, graph, &observation)
        .inspect_err(|_| _ = replicas::tell_unknown(&observation))?;
    let container = ContainerId { pod: replica.pod, beside: beside.map(str::to_owned) };
    let (node, tenant) = (&replica.node, &graph.tenant);
    Ok(match (from, to) {
        (End::Here(here), _) => host.copy_to(node, tenant, &container, here, path).await?,
        (_, End::Here(here)) => host.copy_from(node, tenant, &container, path, here).await?,
        (End::There { .. }, End::There { .. }) => Copied::default(),
    })
}
