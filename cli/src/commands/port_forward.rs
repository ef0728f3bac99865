//! `berth port-forward`: ports of this machine that lead to a replica, through its node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_agentless::{SshHost, Stream};
use berth_engine::run::observe::observe;
use tokio::net::{TcpListener, TcpStream};

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::replicas::{self, ChoiceError, Replica};
use crate::{Global, fleet, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A replica such as `web[1]`; or a service, whose running replicas take turns
    what: String,
    /// `PORT`, `HERE:PORT`, or `:PORT` for any free port here
    #[arg(required = true, value_name = "HERE:PORT", value_parser = ports)]
    ports: Vec<Ports>,
    /// The address of this machine to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    here: u16,
    there: u16,
}

fn ports(text: &str) -> Result<Ports, String> {
    let port = |text: &str| {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("`{text}` is no port: say a number from 1 to 65535"))
    };
    match text.split_once(':') {
        Some(("", there)) => Ok(Ports { here: 0, there: port(there)? }),
        Some((here, there)) => Ok(Ports { here: port(here)?, there: port(there)? }),
        None => Ok(Ports { here: port(text)?, there: port(text)? }),
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = forward(
            Arc::new(Forward { host, project, what: args.what.clone(), turn: AtomicUsize::new(0) }),
            args,
        );
        ended.await
    })?
}

/// What every connection needs.
struct Forward {
    host: SshHost,
    project: Project,
    what: String,
    turn: AtomicUsize,
}

async fn forward(to: Arc<Forward>, args: &Args) -> Ended {
    let running = to.running().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for Ports { here, there } in &args.ports {
        let at = SocketAddr::new(args.address, *here);
        let listener = TcpListener::bind(at).await.map_err(|error| format!("{at}: {error}"))?;
        let at = listener.local_addr()?;
        let names: Vec<_> = running.iter().map(|r| format!("{} on {}", r.name(), r.node)).collect();
        say!("{at} → port {there} of {}", names.join(", "));
        tasks.spawn(listen(to.clone(), listener, *there, running.clone()));
    }
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = ended.recv() => {}
        _ = tasks.join_next() => {}
    }
    to.host.close().await;
    Ok(Exit::Done)
}

impl Forward {
    /// The replicas that run, as they are now.
    async fn running(&self) -> Result<Vec<Replica>, ChoiceError> {
        let graph = &self.project.graph;
        let observation = observe(&self.host, graph).await;
        let mut chosen = replicas::choose(&self.what, graph, &observation)
            .inspect_err(|_| _ = replicas::tell_unknown(&observation))?;
        chosen.retain(Replica::runs);
        if chosen.is_empty() { Err(ChoiceError::NotRunning(self.what.clone())) } else { Ok(chosen) }
    }

    /// Connects to the replica whose turn it is.
    async fn connect(&self, replicas: &[Replica], port: u16) -> Result<Box<dyn Stream>, String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let Some(replica) = replicas.get(turn % replicas.len().max(1)) else {
            return Err(format!("no replica of {} runs", self.what));
        };
        let tenant = &self.project.graph.tenant;
        let ip = IpAddr::V4(replica.seen.ip4);
        let connect = self.host.connect_pod(&replica.node, tenant, &replica.pod, ip, port);
        connect.await.map_err(|error| error.to_string())
    }
}

/// Accepts for ever; each connection is carried beside the others.
async fn listen(to: Arc<Forward>, listener: TcpListener, port: u16, mut replicas: Vec<Replica>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                hint!("{} {error}", paint::notice("note:"));
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                continue;
            }
        };
        let connected = match to.connect(&replicas, port).await {
            Ok(connected) => Ok(connected),
            // It may have been replaced since.
            Err(_) => match to.running().await {
                Ok(now) => {
                    replicas = now;
                    to.connect(&replicas, port).await
                }
                Err(error) => Err(error.to_string()),
            },
        };
        match connected {
            Ok(connected) => drop(tokio::spawn(carry(stream, connected))),
            Err(why) => hint!("{} {why}", paint::notice("note:")),
        }
    }
}

async fn carry(mut here: TcpStream, mut there: Box<dyn Stream>) {
    let _ = here.set_nodelay(true);
    // A connection that breaks is its two ends' business.
    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
}

#[cfg(test)]
mod tests {
    use super::{Ports, ports};

    #[test]
    fn ports_here_and_there() {
        assert_eq!(ports("80"), Ok(Ports { here: 80, there: 80 }));
        assert_eq!(ports("8080:80"), Ok(Ports { here: 8080, there: 80 }));
        assert_eq!(ports(":80"), Ok(Ports { here: 0, there: 80 }));
        for wrong in ["", "0", "a:80", "80:", "70000"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
