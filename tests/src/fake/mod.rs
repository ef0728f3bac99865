//! Nodes in this process, as `berth-agentless` sees them: an SSH server, the guarded session's shell, a containerd.
//!
//! All of agentless is real here, and so are TCP, SSH, HTTP/2 and gRPC. Made up is what answers: a shell that knows the
//! functions of the node's library by their names and promises (`agentless/src/node/*.sh`), and a containerd that knows the
//! calls that are used, what it refuses, and what its collector takes. No program runs; a probe is answered as the image says.
//!
//! Every call of the shell and of containerd has a number, counted over the fleet, and a [`Mishap`] can be planned for one;
//! a connection can be cut at any byte. What no engine may do is noted as a breach: a write without the node's lock, or in
//! a namespace that is not its tenant's.

mod containerd;
mod grpc;
mod image;
mod node;
mod shell;
mod ssh;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use berth_agentless::image::Registries;
use berth_agentless::{Options, SshConfig, SshHost, Target};
use berth_engine::plan::graph::Graph;
use berth_engine::plan::names::{ImageDigest, NodeName};
use berth_engine::run::clock::Clock;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, PrivateKey};
use tokio::sync::Notify;

pub use image::Behaviour;
pub use node::{Node, State};
pub use wire::Cut;

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The connection is reset before the call is done.
    ResetBefore,
    /// The connection is reset once it is done, without an answer.
    ResetAfter,
    /// It is refused.
    Refused,
    /// The node's disk is full, for this call.
    DiskFull,
    /// containerd restarts before the call is done; a function of the shell is done.
    ContainerdBefore,
    /// containerd restarts once it is done, without an answer.
    ContainerdAfter,
    /// The node loses power before it is done, and boots.
    RebootBefore,
    /// The node loses power once it is done, and boots.
    RebootAfter,
    /// The engine is killed before it is done.
    KilledBefore,
    /// The engine is killed once it is done.
    KilledAfter,
    /// The node says what is no answer.
    Garbage,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Refused,
        Self::DiskFull,
        Self::ContainerdBefore,
        Self::ContainerdAfter,
        Self::RebootBefore,
        Self::RebootAfter,
        Self::KilledBefore,
        Self::KilledAfter,
        Self::Garbage,
    ];
}

/// What is planned to go wrong, and at which call of the fleet.
#[derive(Debug, Default)]
pub struct Script {
    calls: AtomicU64,
    planned: std::sync::Mutex<Option<(u64, Mishap)>>,
    struck: std::sync::Mutex<Option<String>>,
    killed: Notify,
}

impl Script {
    /// Plans a mishap for the call of a number, counted from 0 and from now on.
    ///
    /// # Panics
    /// Never, unless another thread did.
    pub fn plan(&self, at: u64, mishap: Mishap) {
        self.calls.store(0, Ordering::SeqCst);
        *self.planned.lock().expect("a plan") = Some((at, mishap));
    }

    /// Plans nothing any more.
    ///
    /// # Panics
    /// As [`Self::plan`].
    pub fn over(&self) {
        *self.planned.lock().expect("a plan") = None;
    }

    /// How many calls there were since the last plan.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Which call it struck, if it has.
    ///
    /// # Panics
    /// As [`Self::plan`].
    pub fn struck(&self) -> Option<String> {
        self.struck.lock().expect("a call").clone()
    }

    /// Waits until the engine is to be killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    fn kill(&self) {
        self.killed.notify_one();
    }

    /// Counts a call.
    fn next(&self, node: &NodeName, what: &str) -> Option<Mishap> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut planned = self.planned.lock().expect("a plan");
        let (_, mishap) = planned.take_if(|(at, _)| *at == number)?;
        *self.struck.lock().expect("a call") = Some(format!("{number} {node}: {what}"));
        Some(mishap)
    }
}

/// Nodes that listen, and what a login to them needs.
pub struct Fleet {
    /// The nodes, by name.
    pub nodes: BTreeMap<NodeName, Arc<Node>>,
    /// What goes wrong.
    pub script: Arc<Script>,
    folder: tempfile::TempDir,
}

impl Fleet {
    /// Starts a graph's nodes on ports of the loopback address.
    ///
    /// # Panics
    /// If this machine has no port or no folder left.
    pub async fn start(graph: &Graph) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = |seed| {
            PrivateKey::new(Ed25519Keypair::from_seed(&[seed; 32]).into(), "").expect("a key")
        };
        let identity = key(9).to_openssh(LineEnding::LF).expect("a key");
        std::fs::write(folder.path().join("id"), identity.as_bytes()).expect("a file");
        let line = key(3).public_key().to_openssh().expect("a line");
        std::fs::write(folder.path().join("known"), format!("[127.0.0.1]:* {line}\n"))
            .expect("a file");
        let script = Arc::new(Script::default());
        let config = Arc::new(ssh::config(key(3)));
        let mut nodes = BTreeMap::new();
        for (number, name) in (1..).zip(graph.nodes.keys()) {
            let node = Node::start(name.clone(), number, &script, &config).await;
            nodes.insert(name.clone(), node);
        }
        Self { nodes, script, folder }
    }

    /// An engine's host: it has connected to none of them yet.
    pub fn host(&self) -> SshHost {
        host(self.nodes.iter().map(|(name, node)| (name.clone(), node.port)), self.root())
    }

    /// Builds an image beside the project, at `images/NAME`, that behaves so on every node.
    pub fn image(&self, name: &str, behaviour: Behaviour) -> ImageDigest {
        let digest = image::layout(&self.root().join("images").join(name), name);
        for node in self.nodes.values() {
            node.state().behaviours.insert(digest.clone(), behaviour);
        }
        digest
    }

    /// Where the project is.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Ends every connection, as they end when an engine is killed.
    pub fn sever(&self) {
        for node in self.nodes.values() {
            node.sever();
        }
    }

    /// What engines did that none may, one line each.
    pub fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for (name, node) in &self.nodes {
            breaches.extend(node.state().breaches.iter().map(|what| format!("{name}: {what}")));
        }
        breaches
    }
}

/// An engine's host for nodes at ports of the loopback address, whose project is in a folder: for another process than theirs.
pub fn host(ports: impl Iterator<Item = (NodeName, u16)>, root: &Path) -> SshHost {
    let targets = ports.map(|(name, port)| {
        let target = Target {
            name: name.to_string(),
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            ..Target::default()
        };
        (name, target)
    });
    let registries = Arc::new(Registries::new(root.to_owned(), BTreeMap::default()));
    let mut options = Options::for_project(root.to_owned(), registries);
    options.ssh_config = SshConfig::Nothing;
    options.known_hosts = vec![root.join("known")];
    options.identity = Some(root.join("id"));
    SshHost::new(targets.collect(), options)
}

/// A clock that is many times as fast as this machine's, for waits that nothing real needs.
#[derive(Clone, Copy, Debug)]
pub struct FastClock {
    start: std::time::Instant,
}

/// How many times as fast.
const FASTER: u32 = 400;

impl Default for FastClock {
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for FastClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.passed_ms()
    }

    fn passed_ms(&self) -> u64 {
        u64::try_from((self.start.elapsed() * FASTER).as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time / FASTER).await;
    }
}
