//! `berth events`: what happens to replicas on all nodes, as it happens.

use std::sync::Arc;
use std::time::Duration;

use berth_agentless::{Event, Happened, SshHost};
use berth_engine::plan::names::NodeName;
use berth_engine::run::observe::observe;
use serde_json::json;
use tokio::sync::mpsc;

use super::Ended;
use super::logs::seconds;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::replicas::{self, Wanted};
use crate::{Global, fleet, paint};

/// How long is waited before a node that went away is asked again.
const AWAY: Duration = Duration::from_secs(2);

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of these: services such as `web`, or replicas such as `web[1]`
    what: Vec<String>,
    /// End after so much time; otherwise when interrupted
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    lasting: Option<u64>,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = Arc::new(fleet::host(&project, global));
        let ended = tell(&host, &project, args).await;
        host.close().await;
        ended
    })?
}

async fn tell(host: &Arc<SshHost>, project: &Project, args: &Args) -> Ended {
    let graph = &project.graph;
    let observation = observe(&**host, graph).await;
    let whole = replicas::tell_unknown(&observation);
    let wanted = args.what.iter().map(|what| replicas::parse(what, graph, &observation));
    let wanted: Vec<Wanted> = wanted.collect::<Result<_, _>>()?;
    let (sender, mut events) = mpsc::channel(64);
    for node in graph.nodes.keys() {
        tokio::spawn(listen(
            host.clone(),
            project.graph.tenant.clone(),
            node.clone(),
            sender.clone(),
        ));
    }
    drop(sender);
    if !args.json {
        hint!("{}", paint::dim("listening; containerd keeps no earlier events"));
    }
    let last =
        args.lasting.map(|seconds| tokio::time::Instant::now() + Duration::from_secs(seconds));
    loop {
        let next = async {
            match last {
                Some(last) => tokio::time::timeout_at(last, events.recv()).await.ok().flatten(),
                None => events.recv().await,
            }
        };
        let Some((node, event)) = next.await else {
            return Ok(if whole { Exit::Done } else { Exit::Partial });
        };
        let of =
            |wanted: &Wanted| event.container.as_ref().is_some_and(|id| wanted.matches(&id.pod));
        if (wanted.is_empty() || wanted.iter().any(of)) && show(&node, &event, args.json).is_err() {
            return Ok(Exit::Done);
        }
    }
}

/// Listens to a node, and again when it comes back.
async fn listen(
    host: Arc<SshHost>,
    tenant: berth_engine::plan::names::Tenant,
    node: NodeName,
    to: mpsc::Sender<(NodeName, Event)>,
) {
    let mut away = false;
    while !to.is_closed() {
        match host.events(&node, &tenant, &to).await {
            Ok(()) => away = false,
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    hint!("{} {error}; asking again", paint::notice("note:"));
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AWAY) => {}
            () = to.closed() => return,
        }
    }
}

fn show(node: &NodeName, event: &Event, json: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    let Event { at_ms, container, happened } = event;
    let line = if json {
        let (code, image) = match happened {
            Happened::Exited { code } => (Some(code), None),
            Happened::ImageAdded(image) | Happened::ImageRemoved(image) => (None, Some(image)),
            Happened::Created
            | Happened::Started
            | Happened::OutOfMemory
            | Happened::Paused
            | Happened::Resumed
            | Happened::Removed => (None, None),
        };
        json!({ "at_ms": at_ms, "node": node, "pod": container.as_ref().map(|id| &id.pod), "container": container.as_ref().and_then(|id| id.beside.as_ref()), "event": happened.word(), "exit_code": code, "image": image }).to_string()
    } else {
        let words = happened.to_string();
        let words = match happened {
            Happened::Exited { code: 1.. } | Happened::OutOfMemory => paint::error(&words),
            Happened::Started | Happened::Resumed => paint::good(&words),
            Happened::Exited { code: 0 }
            | Happened::Created
            | Happened::Paused
            | Happened::Removed
            | Happened::ImageAdded(_)
            | Happened::ImageRemoved(_) => words,
        };
        let id = container.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}  {node:8} {id:14} {words}", paint::dim(&paint::time(*at_ms)))
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
