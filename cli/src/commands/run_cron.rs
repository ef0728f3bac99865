//! `berth run`: a cron, now.

use std::time::Duration;

use berth_agentless::SshHost;
use berth_engine::plan::change;
use berth_engine::plan::observation::{PodStatus, RunEnd};
use berth_engine::run::host::Host as _;
use berth_engine::run::observe::observe;

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, replicas};

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The cron: `nightly`
    cron: String,
    /// Wait until it has ended; exit code 1 if that was not well
    #[arg(short, long)]
    wait: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = start(&host, &project, args).await;
        host.close().await;
        ended
    })?
}

async fn start(host: &SshHost, project: &Project, args: &Args) -> Ended {
    let graph = &project.graph;
    let observation = observe(host, graph).await;
    let replica = replicas::one(&args.cron, graph, &observation)
        .inspect_err(|_| _ = replicas::tell_unknown(&observation))?;
    let named =
        change::resource(&replica.seen.workload, graph.workloads.get(&replica.seen.workload));
    if !replica.seen.cron {
        return Err(format!("{named} is no cron, so there is nothing to start").into());
    }
    let (node, tenant, pod) = (&replica.node, &graph.tenant, &replica.pod);
    if !host.run_cron(node, tenant, pod).await? {
        return Err(format!("{named} runs just now on {node}, and never twice at once").into());
    }
    hint!("{named} is started on {node}; `berth logs -f {}` shows what it says", args.cron);
    if !args.wait {
        return Ok(Exit::Done);
    }
    let last = |status: Option<&PodStatus>| match status {
        Some(PodStatus::Waiting { last, .. }) => last.clone(),
        _ => None,
    };
    let before = last(replica.status.as_ref());
    loop {
        tokio::time::sleep(LOOK).await;
        let seen = host.observe(node, tenant).await?;
        let status = seen.status.pods.get(pod);
        if status.is_none() {
            return Err(format!("{pod} is not on {node} any more").into());
        }
        let Some(run) = last(status).filter(|run| Some(run) != before.as_ref()) else { continue };
        let well = run.end == RunEnd::Code(0);
        let (words, _) = replicas::between_runs(0, Some(&run));
        if well {
            say!("{named}  {words}");
            return Ok(Exit::Done);
        }
        return Err(format!("{named}  {words}").into());
    }
}
