//! One node: what it has, what is lost when it loses power, and who is connected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use berth_engine::plan::names::{ContainerId, ImageDigest, NodeName};
use russh::server::Config;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch as value};
use tokio::time::Instant;

use super::containerd::Namespace;
use super::image::Behaviour;
use super::shell::Files;
use super::wire::{Cut, Line, Wire};
use super::{Mishap, Script, ssh};

/// A node that listens.
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Where its sshd listens, on 127.0.0.1.
    pub port: u16,
    pub(super) script: Arc<Script>,
    state: Mutex<State>,
    /// Told whenever a task has ended.
    pub(super) exits: Notify,
    /// Counts containerd's restarts.
    pub(super) restarts: value::Sender<u64>,
    lines: Mutex<BTreeMap<u64, Arc<Line>>>,
    /// How many bytes of a connection pass before it is cut, and how.
    planned: Mutex<Option<(u64, Cut)>>,
    /// When a planned cut came, and the first connection after it.
    noticed: Mutex<(Option<Instant>, Option<Instant>)>,
}

/// After how long without a word the guarded session gives up (`agentless/src/node/session.sh`).
const SILENCE: Duration = Duration::from_secs(15);

/// What a node has.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Its number, from 1.
    pub number: u32,
    /// Its files under `/etc/berth`, `/var/lib/berth` and `/var/log/berth`.
    pub files: Files,
    /// containerd's, by namespace.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Pods whose network namespaces are pinned, as `NAMESPACE-ID`; lost with the power.
    pub wired: BTreeSet<String>,
    /// The connection that holds the lock, and its claim; lost with the power.
    pub lock: Option<(u64, String)>,
    /// How containers of an image behave.
    pub behaviours: BTreeMap<ImageDigest, Behaviour>,
    /// What engines did that none may.
    pub breaches: Vec<String>,
    /// The number that the next process gets.
    pub next_pid: u32,
}

impl State {
    /// Notes a write by a connection without the lock.
    pub(super) fn writes(&mut self, connection: u64, what: &str) {
        if self.lock.as_ref().is_none_or(|(holder, _)| *holder != connection) {
            self.breaches.push(format!("{what} without the lock"));
        }
    }

    /// A connection has ended: its lock is free, and what it has not confirmed goes back.
    fn left(&mut self, connection: u64) {
        if self.lock.as_ref().is_some_and(|(holder, _)| *holder == connection) {
            self.files.network_left();
            self.lock = None;
        }
    }

    /// Power is lost and comes back: what was running starts again, as boot reflex and restart monitor do it.
    fn reboots(&mut self) {
        self.lock = None;
        self.wired.clear();
        self.files.network_left();
        let reflex = self.files.reflexes.contains_key("boot");
        self.files.tenants.values_mut().for_each(|tenant| tenant.forget(reflex));
        if reflex {
            for (namespace, tenant) in &self.files.tenants {
                self.wired.extend(tenant.pods.iter().map(|id| format!("{namespace}-{id}")));
            }
        }
        for namespace in self.namespaces.values_mut() {
            namespace.tasks.clear();
        }
        self.monitor();
    }

    /// Starts what the restart monitor starts.
    pub(super) fn monitor(&mut self) {
        let names: Vec<String> = self.namespaces.keys().cloned().collect();
        for name in names {
            let Some(namespace) = self.namespaces.get(&name) else { continue };
            let down = namespace.containers.values().filter(|container| {
                let label =
                    |key: &str| container.labels.get(&format!("containerd.io/restart.{key}"));
                label("status").is_some_and(|status| status == "running")
                    && !namespace.tasks.contains_key(&container.id)
                    && self.wired.contains(&pinned(&name, &container.id))
                    && !self.files.has_forgotten(&name, &container.id)
            });
            let down: Vec<String> = down.map(|container| container.id.clone()).collect();
            for id in down {
                self.start(&name, &id);
            }
        }
    }

    /// Starts a container's task.
    fn start(&mut self, namespace: &str, id: &str) {
        self.next_pid += 1;
        let pid = 1000 + self.next_pid;
        if let Some(namespace) = self.namespaces.get_mut(namespace) {
            namespace.tasks.insert(id.to_owned(), super::containerd::Task::running(pid));
        }
    }
}

/// Notes when a connection is cut; its node notices, too: at once, or when it was silent for too long.
async fn watch(node: Weak<Node>, connection: u64, line: Arc<Line>) {
    let cut = line.when_cut().await;
    if let Some(node) = node.upgrade() {
        node.noticed().0 = Some(Instant::now());
    }
    if cut == Cut::BlackHole {
        tokio::time::sleep(SILENCE).await;
    }
    if let Some(node) = node.upgrade() {
        node.left(connection);
    }
}

/// The name under which a container's pod has its network.
pub(super) fn pinned(namespace: &str, container: &str) -> String {
    let pod = container.parse::<ContainerId>().map(|id| id.pod.to_string());
    format!("{namespace}-{}", pod.unwrap_or_default())
}

impl Node {
    pub(super) async fn start(
        name: NodeName,
        number: u32,
        script: &Arc<Script>,
        config: &Arc<Config>,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let node = Arc::new(Self {
            name,
            port,
            script: Arc::clone(script),
            state: Mutex::new(State { number, ..State::default() }),
            exits: Notify::new(),
            restarts: value::Sender::new(0),
            lines: Mutex::default(),
            planned: Mutex::default(),
            noticed: Mutex::default(),
        });
        let (accepting, config) = (Arc::downgrade(&node), Arc::clone(config));
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let Some(node) = accepting.upgrade() else { break };
                connection += 1;
                let planned = node.planned.lock().unwrap_or_else(PoisonError::into_inner).take();
                let line = Arc::new(Line::new(planned));
                node.lines().insert(connection, Arc::clone(&line));
                if planned.is_some() {
                    tokio::spawn(watch(Arc::downgrade(&node), connection, Arc::clone(&line)));
                } else if let (Some(_), again @ None) = &mut *node.noticed() {
                    *again = Some(Instant::now());
                }
                let wire = Wire::new(stream, line);
                tokio::spawn(ssh::serve(node, connection, wire, Arc::clone(&config)));
            }
        });
        node
    }

    /// What it has.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noticed(&self) -> MutexGuard<'_, (Option<Instant>, Option<Instant>)> {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long after the planned cut somebody connected again; nothing if there was none, or nobody did.
    pub fn noticed_after(&self) -> Option<Duration> {
        let (cut, again) = *self.noticed();
        Some(again?.duration_since(cut?))
    }

    /// Whether the planned cut came.
    pub fn was_cut(&self) -> bool {
        self.noticed().0.is_some()
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the next connection when so many bytes have passed.
    pub fn cut_next(&self, at: u64, cut: Cut) {
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, cut));
    }

    /// How many bytes have passed over the connections that are open.
    pub fn passed(&self) -> u64 {
        self.lines().values().map(|line| line.passed()).sum()
    }

    /// Ends a connection by a reset; its lock is free at once.
    pub(super) fn reset(&self, connection: u64) {
        if let Some(line) = self.lines().get(&connection) {
            line.cut(Cut::Reset);
        }
        self.left(connection);
    }

    /// Whether a connection stands: what comes over another one never arrived.
    pub(super) fn hears(&self, connection: u64) -> bool {
        self.lines().get(&connection).is_some_and(|line| !line.is_cut())
    }

    /// A connection has ended.
    pub(super) fn left(&self, connection: u64) {
        self.state().left(connection);
    }

    /// Forgets a connection.
    pub(super) fn forget(&self, connection: u64) {
        self.lines().remove(&connection);
        self.left(connection);
    }

    /// Ends all connections.
    pub fn sever(&self) {
        let open: Vec<u64> = self.lines().keys().copied().collect();
        for connection in open {
            self.reset(connection);
        }
    }

    /// Does before a call what is to go wrong then; false if the call is not to be done.
    pub(super) fn before(&self, connection: u64, mishap: Option<Mishap>) -> bool {
        match mishap {
            Some(Mishap::ResetBefore) => self.reset(connection),
            Some(Mishap::RebootBefore) => self.reboot(),
            Some(Mishap::KilledBefore) => self.script.kill(),
            Some(Mishap::ContainerdBefore) => self.containerd_restarts(),
            _ => return true,
        }
        false
    }

    /// Does after a call what is to go wrong then; false if it is not to be answered.
    pub(super) fn after(&self, connection: u64, mishap: Option<Mishap>) -> bool {
        match mishap {
            Some(Mishap::ResetAfter) => self.reset(connection),
            Some(Mishap::RebootAfter) => self.reboot(),
            Some(Mishap::KilledAfter) => self.script.kill(),
            Some(Mishap::ContainerdAfter) => self.containerd_restarts(),
            _ => return true,
        }
        false
    }

    pub(super) fn containerd_restarts(&self) {
        self.restarts.send_modify(|count| *count += 1);
        self.state().monitor();
    }

    /// Loses power, and boots.
    pub fn reboot(&self) {
        self.sever();
        self.state().reboots();
        self.exits.notify_waiters();
        self.restarts.send_modify(|count| *count += 1);
    }
}
