//! `berth debug POD`: a shell at a replica whose own image has none.

use std::path::Path;

use berth_agentless::image::{read_archive, read_layout};
use berth_agentless::{Command, SshHost};
use berth_engine::plan::action::ImageSource;
use berth_engine::plan::names::{ContainerId, ImageDigest};
use berth_engine::run::observe::observe;

use super::Ended;
use super::exec::{Streams, attend, code, pair};
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, replicas};

/// What the command takes.
#[derive(Debug, clap::Args)]
#[group(id = "pod")]
pub(crate) struct Args {
    /// The replica: `web[1]`, or a pod such as `web-1.g3`
    pub(super) what: Option<String>,
    /// The container whose processes are seen: a sidecar of that name, the replica's own unless said
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Bring an image: a registry's, such as `busybox:1.36`, or a path to an OCI layout or archive; the node's own tools
    /// unless said
    #[arg(short, long, value_name = "IMAGE")]
    image: Option<String>,
    /// The program and its arguments, after `--`; a shell unless said
    #[arg(last = true, value_name = "COMMAND", default_values = ["sh"])]
    argv: Vec<String>,
    #[command(flatten)]
    streams: Streams,
    /// More environment
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// With an image: a user and group by number or name instead of the image's
    #[arg(short, long, value_name = "USER", requires = "image")]
    user: Option<String>,
    /// With an image: a working directory instead of the image's
    #[arg(short = 'w', long, value_name = "DIR", requires = "image")]
    directory: Option<String>,
}

/// Runs the command.
pub(super) fn run(global: &Global, what: &str, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let ended = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = look(&host, &project, (what, args)).await;
        host.close().await;
        ended
    })?;
    Ok(code(ended, &args.argv, what))
}

async fn look(
    host: &SshHost,
    project: &Project,
    (what, args): (&str, &Args),
) -> Result<berth_agentless::Ending, Box<dyn std::error::Error>> {
    let graph = &project.graph;
    let image = match &args.image {
        Some(name) => Some(found(project, name).await?),
        None => None,
    };
    let observation = observe(host, graph).await;
    let replica = replicas::one(what, graph, &observation)
        .inspect_err(|_| _ = replicas::tell_unknown(&observation))?;
    let command = Command {
        argv: args.argv.clone(),
        env: args.set.clone(),
        user: args.user.clone(),
        directory: args.directory.clone(),
        terminal: args.streams.terminal(),
    };
    let node = &replica.node;
    let container = ContainerId { pod: replica.pod, beside: args.container.clone() };
    let Some((digest, source)) = image else {
        if args.streams.tty() {
            hint!(
                "the tools are those of {node}, as root; the files of {container} are under /proc/1/root"
            );
        }
        let exec = host.debug_with_node(node, &graph.tenant, &container, &command).await?;
        return Ok(attend(exec, args.streams).await?);
    };
    if args.streams.tty() {
        hint!("the files of {container} are under /proc/1/root");
    }
    let image = (&digest, &source);
    let (exec, visit) =
        host.debug_with_image(node, &graph.tenant, &container, image, &command).await?;
    let ending = attend(exec, args.streams).await;
    host.debug_end(visit).await;
    Ok(ending?)
}

/// An image of a path, or of a registry.
async fn found(
    project: &Project,
    name: &str,
) -> Result<(ImageDigest, ImageSource), Box<dyn std::error::Error>> {
    let path = Path::new(name);
    // Of a path of this folder, not of the project's.
    let whole = std::path::absolute(path)?.to_string_lossy().into_owned();
    if path.is_dir() {
        return Ok((read_layout(path)?.digest, ImageSource::Layout(whole)));
    }
    if path.is_file() {
        return Ok((read_archive(path)?.digest, ImageSource::Archive(whole)));
    }
    if name.starts_with(['.', '/']) {
        return Err(format!("{}: there is no OCI layout or archive", name.escape_debug()).into());
    }
    let digest = project.registries.resolve(name).await.map_err(|error| {
        let mend = error.mend();
        format!("image `{}`: {error}\n  {mend}", name.escape_debug())
    })?;
    Ok((digest, ImageSource::Registry(name.to_owned())))
}
