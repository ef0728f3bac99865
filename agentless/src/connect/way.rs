//! The way to a host: TCP, a channel of a jump host's connection, or a program's pipes.
//!
//! Connections to jump hosts are shared: hundreds of nodes behind one gate take one connection to
//! it. Through one gate only a few handshakes are under way at once, since all of them share its
//! link and its processor.

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use berth_engine::run::host::Layer;
use russh::client::Handle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::Command;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};

use super::dial::{Checker, Dialer, Target, handshake};
use super::ssh_config::{self, Route, expanded};
use super::tcp;
use crate::fault::Fault;

/// Handshakes that may be under way through one jump host.
const HANDSHAKES: usize = 8;
/// How many jump hosts there may be before a host.
const JUMPS: usize = 8;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open way to a host's sshd.
pub(crate) struct Way {
    pub(crate) stream: Box<dyn Stream>,
    /// The address that was reached, where this machine knows it.
    pub(crate) address: Option<IpAddr>,
    /// In words.
    pub(crate) shown: String,
    /// Held until the handshake is done.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// The connections to jump hosts of one process.
#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

/// A jump host, by the jumps before it and its own name.
struct Gate {
    handle: AsyncMutex<Option<Arc<Handle<Checker>>>>,
    turns: Arc<Semaphore>,
}

impl Gates {
    fn gate(&self, path: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let new =
            || Gate { handle: AsyncMutex::default(), turns: Arc::new(Semaphore::new(HANDSHAKES)) };
        gates.entry(path.to_owned()).or_insert_with(|| Arc::new(new())).clone()
    }
}

/// Opens the way that a route takes.
pub(crate) async fn open(dialer: &Dialer, target: &Target, route: &Route) -> Result<Way, Fault> {
    let (host, port) = (&route.host, route.port);
    if !route.jumps.is_empty() {
        return through(dialer, route, route.jumps.len()).await;
    }
    if let Some(command) = &route.command {
        let command = expanded(command, route, &target.host);
        let stream = Box::new(program(&command)?);
        return Ok(Way { stream, address: host.parse().ok(), shown: command, turn: None });
    }
    let (stream, address) = tcp::connect(host, port, dialer.timeout).await?;
    let (stream, shown) = (Box::new(stream), address.to_string());
    Ok(Way { stream, address: Some(address.ip()), shown, turn: None })
}

/// Opens a channel to a host through the last of so many jump hosts.
async fn through(dialer: &Dialer, route: &Route, jumps: usize) -> Result<Way, Fault> {
    let at = |layer, why| Fault::Unreachable { layer, why };
    if jumps > JUMPS {
        return Err(at(Layer::Ssh, format!("more than {JUMPS} jump hosts")));
    }
    let names = route.jumps.get(..jumps).unwrap_or_default();
    let Some(name) = names.last() else {
        return Err(at(Layer::Ssh, "there is no jump host".to_owned()));
    };
    if route.behind.contains(name) {
        let circle = route.behind.join(", ");
        return Err(at(Layer::Ssh, format!("the way to {name} leads through itself: {circle}")));
    }
    let gate = dialer.gates.gate(&names.join(","));
    let turn = gate.turns.clone().acquire_owned().await.ok();
    let handle = gated(dialer, route, &gate, (name, jumps)).await?;
    let (host, port) = (&route.host, route.port);
    let opened = handle.channel_open_direct_tcpip(host.clone(), u32::from(port), "127.0.0.1", 0);
    let channel = match tokio::time::timeout(dialer.timeout, opened).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => {
            return Err(at(Layer::Tcp, format!("{host}:{port} through {name}: {error}")));
        }
        Err(_) => {
            let why = format!("{host}:{port} through {name}: no answer in {:?}", dialer.timeout);
            return Err(at(Layer::Tcp, why));
        }
    };
    let stream = Box::new(channel.into_stream());
    let shown = format!("{host}:{port} through {name}");
    Ok(Way { stream, address: host.parse().ok(), shown, turn })
}

/// The connection to a jump host, opened if it is not there.
async fn gated(
    dialer: &Dialer,
    route: &Route,
    gate: &Gate,
    (name, jumps): (&str, usize),
) -> Result<Arc<Handle<Checker>>, Fault> {
    let mut slot = gate.handle.lock().await;
    if let Some(handle) = slot.as_ref().filter(|handle| !handle.is_closed()) {
        return Ok(handle.clone());
    }
    let said = |fault| match fault {
        Fault::Unreachable { layer, why } => {
            Fault::Unreachable { layer, why: format!("jump host {name}: {why}") }
        }
        other => other,
    };
    let target = ssh_config::jump(name).ok_or_else(|| Fault::Unreachable {
        layer: Layer::Ssh,
        why: format!("`{}` does not name a jump host", name.escape_debug()),
    })?;
    let mut next = dialer.route(&target).await?;
    // The ways before it are the ones of the list, whatever the configuration says of this host alone.
    if jumps > 1 || next.jumps.iter().any(|jump| jump == name) {
        next.jumps = route.jumps.get(..jumps - 1).unwrap_or_default().to_vec();
    }
    next.behind.clone_from(&route.behind);
    next.behind.push(name.to_owned());
    let way = match next.jumps.len() {
        0 => Box::pin(open(dialer, &target, &next)).await,
        before => Box::pin(through(dialer, &next, before)).await,
    };
    let handle = Box::pin(handshake(dialer, &target, &next, way.map_err(said)?)).await;
    let handle = Arc::new(handle.map_err(said)?);
    *slot = Some(handle.clone());
    Ok(handle)
}

/// A program's pipes as a stream; it ends when they are closed.
fn program(command: &str) -> Result<impl Stream + use<>, Fault> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {command}"));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let failed = |why: String| Fault::Unreachable { layer: Layer::Tcp, why };
    let mut child = shell.spawn().map_err(|error| failed(format!("`{command}`: {error}")))?;
    match (child.stdout.take(), child.stdin.take()) {
        (Some(stdout), Some(stdin)) => {
            tokio::spawn(async move { child.wait().await });
            Ok(tokio::io::join(stdout, stdin))
        }
        _ => Err(failed(format!("`{command}` has no pipes"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::connect::dial::Options;
    use crate::connect::ssh_config::SshConfig;
    use crate::image::Registries;

    /// Where a way ends that a configuration of these words leads.
    async fn ends(config: &str) -> Option<String> {
        std::process::Command::new("ssh").arg("-V").output().ok()?;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, config).expect("a file");
        let registries = Registries::new(folder.path().to_owned(), Default::default());
        let mut options = Options::for_project(folder.path().to_owned(), Arc::new(registries));
        options.ssh_config = SshConfig::File(path);
        let dialer = Dialer::new(&options);
        let target = Target { host: "web".to_owned(), ..Target::default() };
        let route = match dialer.route(&target).await {
            Ok(route) => route,
            Err(fault) => panic!("{fault:?}"),
        };
        match open(&dialer, &target, &route).await {
            Ok(way) => panic!("a way to {}", way.shown),
            Err(Fault::Unreachable { why, .. }) => Some(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn jump_hosts_in_a_circle_are_told() {
        let circle = "Host web b\n  ProxyJump a\nHost a\n  ProxyJump b\n";
        let Some(why) = ends(circle).await else { return };
        assert!(why.contains("the way to a leads through itself: a, b"), "{why}");
        let gate = "Host web\n  ProxyJump 127.0.0.1:1\n";
        let dark = ends(gate).await.expect("ssh");
        assert!(dark.contains("jump host [127.0.0.1]:1: ") && dark.contains("refused"), "{dark}");
    }
}
