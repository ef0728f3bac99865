//! The Host port's in-memory twin: a small world of nodes, for the simulation and the demo.
//!
//! It keeps what a node keeps (pods, tables, images, files, lock, ledger), takes time for what
//! takes time, and judges every write: traffic that would reach a pod that is not ready, a
//! generation that goes back, a write without the lock. Faults come from a script of call
//! numbers, so that a failing history is told by its seed alone.

mod crons;
mod jobs;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::host::{Ask, Host, HostError, Layer, LockClaim, ProbeTarget, Ran, Refusal, Supplies};
use crate::plan::action::{Action, Endpoint, NodeNetwork, NodePort, PodSpec, Reflex, Write};
use crate::plan::ledger::Mark;
use crate::plan::names::{
    ImageDigest, NodeName, PodId, SpecDigest, Tenant, VolumeId, WorkloadName,
};
use crate::plan::observation::{Foreign, NodeObservation, Pressure, Requests, VolumeSpec};
use crate::plan::peers;

/// How long a read takes.
const READ: Duration = Duration::from_millis(5);
/// How long a write takes.
const WRITE: Duration = Duration::from_millis(40);
/// Calls that need no room on a disk.
const READS: [&str; 9] =
    ["observe", "lock", "probe", "run", "fetch", "connections", "logs", "ledger read", "asked"];
/// The call that appends to a ledger.
const APPEND: &str = "ledger append";
/// How long an image takes to travel.
const PUSH: Duration = Duration::from_millis(700);

/// Calls that go past containerd: to the node's shell, the network, or the ledger's file.
const BESIDE: [&str; 16] = [
    "lock",
    "probe",
    "fetch",
    "connections",
    "ledger read",
    "ask",
    "asked",
    APPEND,
    "ledger replace",
    "ledger remove",
    "network",
    "remove network",
    "reflex",
    "remove reflex",
    "endpoint",
    "remove endpoint",
];
/// How long containerd is away when it starts anew.
const RESTART: Duration = Duration::from_secs(2);

/// How long a paused engine is stopped.
const PAUSE: Duration = Duration::from_secs(60);

/// How an image behaves once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Ready so many milliseconds after its start.
    ReadyAfter(u64),
    /// Runs, and never gets ready.
    NeverReady,
    /// Ready so many milliseconds after its start, and not any more so many after that.
    FallsOver(u64, u64),
    /// Ready at once, but what is run in it exits with 1.
    FailsChecks,
}

/// What goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection fails before anything is sent.
    Refused,
    /// The call happens, and its answer is lost. A read merely fails.
    AnswerLost,
    /// The session ends: the lock is free, and the call does not happen.
    SessionEnds,
    /// The engine is stopped for a minute before the call: all its sessions end meanwhile.
    Paused,
    /// The engine dies before the call.
    KilledBefore,
    /// The engine dies after the call.
    KilledAfter,
    /// The engine dies in the midst of the call: a pod runs by then, and is not as it should be yet.
    KilledHalfway,
    /// The node's disk is full: a write does not happen, and says so.
    DiskFull,
    /// The node boots again instead: every session there ends, and what ran runs anew.
    Reboots,
    /// The node loses power in the midst of a write, and boots again; of a ledger's line a part is there.
    Torn,
    /// containerd starts anew in the midst of the call, whose answer is lost; what runs goes on running, and for a
    /// moment nothing else can be asked of it.
    ContainerdRestarts,
}

impl Fault {
    /// Whether the node boots instead of doing what it was asked.
    fn boots(self) -> bool {
        matches!(self, Self::Reboots | Self::Torn)
    }
}

/// For a workload and a template, the jobs that come before, each with its template and its number of replicas.
pub type AfterJobs = BTreeMap<(WorkloadName, SpecDigest), Vec<(WorkloadName, SpecDigest, u32)>>;

/// A world of nodes, shared by every engine that looks at it.
#[derive(Debug, Default)]
pub struct World {
    nodes: BTreeMap<NodeName, TwinNode>,
    behaviours: BTreeMap<ImageDigest, Behaviour>,
    forbidden: BTreeSet<ImageDigest>,
    /// Which of the services that there ever were has a name now, where one name had several.
    lineages: BTreeMap<WorkloadName, u64>,
    /// Whose replicas may run twice while a node is cut off.
    may_double: BTreeSet<WorkloadName>,
    /// What Prometheus answers to any query.
    metric: String,
    faults: BTreeMap<u64, Fault>,
    /// What goes wrong at the next call of a kind.
    next_faults: BTreeMap<&'static str, Fault>,
    calls: u64,
    paused: BTreeMap<u64, tokio::time::Instant>,
    dead: BTreeSet<u64>,
    engines: u64,
    violations: Vec<String>,
    floors: BTreeMap<WorkloadName, usize>,
    planned_floors: BTreeMap<WorkloadName, usize>,
    /// When the plan was made that is carried out.
    planned_at: Option<tokio::time::Instant>,
    /// What each image may have of a table's traffic, in hundredths of a percent.
    most: BTreeMap<ImageDigest, u32>,
    recorded: BTreeSet<(NodeName, Write)>,
    /// Which calls were met by which fault, or by none.
    met: BTreeSet<(&'static str, Option<Fault>)>,
    /// Until when pods that left their tables serve what they had.
    busy: BTreeMap<PodId, tokio::time::Instant>,
    /// Jobs of which the ledger says that they are done, each with the template and the number of replicas of that.
    done: BTreeMap<WorkloadName, (SpecDigest, u32)>,
    /// Replicas of jobs that have ended well, each with its template, whoever has seen it.
    ended: BTreeSet<(WorkloadName, u32, SpecDigest)>,
    /// Jobs that somebody asked to be run again.
    may_run_again: BTreeSet<WorkloadName>,
    /// Jobs that are done before a pod of a workload and a template is made, each with its replicas.
    after: AfterJobs,
    /// Crons whose runs are not cut short.
    crons: BTreeSet<WorkloadName>,
    /// Whether they run now, if somebody has said so; by the world's clock otherwise.
    crons_run: Option<bool>,
    /// When the world began.
    origin: Option<tokio::time::Instant>,
}

#[derive(Debug, Default)]
struct TwinNode {
    cut: bool,
    /// Until when containerd does not answer.
    away_until: Option<tokio::time::Instant>,
    /// Since when it did not.
    away_from: Option<tokio::time::Instant>,
    /// Whether it is switched off, and so cut off too.
    off: bool,
    machine_id: String,
    cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    pressure: Pressure,
    listens: BTreeSet<NodePort>,
    /// What other tenants ask for, by namespace.
    others: BTreeMap<String, Requests>,
    /// The addresses of other tenants' endpoints.
    taken: BTreeSet<Ipv4Addr>,
    address4: Option<Ipv4Addr>,
    network: Option<NodeNetwork>,
    reflexes: BTreeMap<Reflex, u32>,
    tenants: BTreeSet<String>,
    images: BTreeSet<ImageDigest>,
    volumes: BTreeMap<VolumeId, VolumeSpec>,
    pods: BTreeMap<PodId, TwinPod>,
    endpoints: BTreeMap<WorkloadName, Endpoint>,
    /// Endpoints not written since the node, or its containerd, did not answer: their tables may be old (an honest limit).
    stale: BTreeSet<WorkloadName>,
    foreign: BTreeSet<Foreign>,
    generations: BTreeMap<String, u64>,
    lock: Option<(u64, LockClaim)>,
    /// How often its lock was taken.
    grants: u64,
    ledger: Vec<u8>,
    /// A word for whoever applies.
    asked: Option<Ask>,
    /// What it remembers of the ledger: epoch, lines, keeper.
    mark: Option<(u64, u64, NodeName)>,
}

impl TwinNode {
    /// Why a node does not let an engine in that follows another ledger than it knows; else it
    /// remembers the newer of both.
    fn fences(&mut self, node: &NodeName, claim: &LockClaim) -> Option<HostError> {
        let (epoch, lines, keeper) =
            self.mark.clone().unwrap_or_else(|| (0, 0, claim.keeper.clone()));
        // A first apply that was killed before its first line left nothing that another keeper could lack.
        let is_first = (epoch, lines) == (0, 0);
        let other = claim.epoch == epoch && claim.keeper != keeper && !is_first;
        if claim.epoch < epoch || other {
            let (node, ours) = (node.clone(), claim.epoch);
            return Some(HostError::Fenced { node, ours, theirs: epoch, keeper });
        }
        let lines = if claim.epoch > epoch { claim.lines } else { claim.lines.max(lines) };
        self.mark = Some((claim.epoch, lines, claim.keeper.clone()));
        None
    }

    /// An engine that plans now does not know what is there.
    fn goes_unseen(&mut self) {
        self.stale = self.endpoints.keys().cloned().collect();
        self.pods.values_mut().for_each(|pod| pod.unseen = pod.by_hand);
    }

    /// Whether a call does not reach its containerd.
    fn is_away(&self, what: &str) -> bool {
        let now = tokio::time::Instant::now();
        self.away_until.is_some_and(|until| now < until) && !BESIDE.contains(&what)
    }

    /// Forgets what it knows of a ledger whose tenant has nothing here.
    fn tidy(&mut self) {
        let first = self.mark.as_ref().is_some_and(|(epoch, ..)| *epoch == 0);
        if first && self.tenants.is_empty() && self.ledger.is_empty() {
            self.mark = None;
        }
    }
}

#[derive(Debug)]
struct TwinPod {
    spec: PodSpec,
    /// Of which service it is, whatever that was called since; by its name if absent.
    lineage: Option<u64>,
    started: tokio::time::Instant,
    running: bool,
    by_hand: bool,
    /// Whether it is as an engine writes it.
    intact: bool,
    /// How often it was started, and whether its node has booted since: what ends by itself is forgotten then.
    starts: u32,
    cut_off: bool,
    /// Whether it was stopped by hand, and its containerd did not answer when an engine asked for it: what a node
    /// that answers at all had is taken to go on serving.
    unseen: bool,
}

impl TwinPod {
    fn mounts(&self, volume: &VolumeId) -> bool {
        self.spec.mounts.values().any(|mounted| mounted == volume)
    }
}

/// One engine's view of a world.
#[derive(Debug)]
pub struct Twin {
    world: Arc<Mutex<World>>,
    engine: u64,
    death: Notify,
}

impl Twin {
    /// Makes a world without nodes, and its first engine's view.
    pub fn new() -> Self {
        Self { world: Arc::default(), engine: 0, death: Notify::new() }
    }

    /// Another engine's view of the same world.
    pub fn another_engine(&self) -> Self {
        let engine = {
            let mut world = self.world();
            world.engines += 1;
            world.engines
        };
        Self { world: Arc::clone(&self.world), engine, death: Notify::new() }
    }

    /// The world, to look at or to change by hand.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a fault has killed this engine. Whoever runs it drops it then.
    pub async fn killed(&self) {
        self.death.notified().await;
    }

    /// A call's time, and what goes wrong with it, as far as that is this engine's.
    async fn begin(&self, what: &'static str, takes: Duration) -> Option<Fault> {
        let fault = {
            let mut world = self.world();
            let number = world.calls;
            world.calls += 1;
            let fault = world.faults.remove(&number).or_else(|| world.next_faults.remove(what));
            world.met.insert((what, fault));
            fault
        };
        if fault == Some(Fault::KilledBefore) {
            self.die().await;
        }
        if fault == Some(Fault::Paused) {
            let mut world = self.world();
            world.free_locks_of(self.engine);
            world.paused.insert(self.engine, tokio::time::Instant::now() + PAUSE);
        }
        self.while_paused().await;
        tokio::time::sleep(takes).await;
        self.while_paused().await;
        // What it had begun beside the call that it died of ends there, too.
        if self.world().dead.contains(&self.engine) {
            std::future::pending::<()>().await;
        }
        fault
    }

    /// One call to a node.
    async fn call(
        &self,
        node: &NodeName,
        what: &'static str,
        takes: Duration,
    ) -> Result<Option<Fault>, HostError> {
        let fault = self.begin(what, takes).await;
        let unreachable = |why: &str| HostError::Unreachable {
            node: node.clone(),
            layer: Layer::Tcp,
            why: why.to_owned(),
        };
        if fault == Some(Fault::Refused) {
            return Err(unreachable("connection refused"));
        }
        match self.world().nodes.get_mut(node) {
            None => return Err(unreachable("no such node")),
            Some(there) if there.cut => return Err(unreachable("no answer within 10 s")),
            Some(there) if there.is_away(what) => {
                there.goes_unseen();
                let (node, why) = (node.clone(), "connection refused".to_owned());
                return Err(HostError::Unreachable { node, layer: Layer::Containerd, why });
            }
            Some(there) => {
                if fault == Some(Fault::ContainerdRestarts) {
                    let now = tokio::time::Instant::now();
                    there.away_from = Some(now);
                    there.away_until = Some(now + RESTART);
                    there.goes_unseen();
                }
                if fault == Some(Fault::SessionEnds)
                    && there.lock.as_ref().is_some_and(|(by, _)| *by == self.engine)
                {
                    there.lock = None;
                }
            }
        }
        if fault.is_some_and(Fault::boots) && !(fault == Some(Fault::Torn) && what == APPEND) {
            self.world().boot(node);
            return Err(HostError::Lost { node: node.clone(), what: what.to_owned() });
        }
        if fault == Some(Fault::DiskFull) && !READS.contains(&what) {
            let refusal = Refusal::DiskFull { path: "/etc/berth".to_owned() };
            return Err(HostError::Refused { node: node.clone(), refusal });
        }
        Ok(fault)
    }

    /// Waits while this engine is stopped: all of it is, whatever it was about to do.
    async fn while_paused(&self) {
        let until = self.world().paused.get(&self.engine).copied();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    async fn after(
        &self,
        fault: Option<Fault>,
        node: &NodeName,
        what: &str,
    ) -> Result<(), HostError> {
        match fault {
            Some(Fault::KilledAfter | Fault::KilledHalfway) => {
                self.die().await;
                Ok(())
            }
            Some(Fault::ContainerdRestarts) if BESIDE.contains(&what) => Ok(()),
            Some(Fault::AnswerLost | Fault::ContainerdRestarts) => {
                Err(HostError::Lost { node: node.clone(), what: what.to_owned() })
            }
            None
            | Some(
                Fault::Refused
                | Fault::SessionEnds
                | Fault::Paused
                | Fault::KilledBefore
                | Fault::DiskFull
                | Fault::Reboots
                | Fault::Torn,
            ) => Ok(()),
        }
    }

    /// Dies like a process: its locks are free, and it never does anything again.
    async fn die(&self) {
        {
            let mut world = self.world();
            world.free_locks_of(self.engine);
            world.dead.insert(self.engine);
        }
        self.death.notify_one();
        std::future::pending::<()>().await;
    }

    /// Which of a node's locks this engine holds, if any.
    fn grant(&self, node: &NodeName) -> Option<u64> {
        let world = self.world();
        let node = world.nodes.get(node)?;
        node.lock.as_ref().filter(|(by, _)| *by == self.engine).map(|_| node.grants)
    }

    /// Runs a write on a node if this engine holds its lock.
    fn write<T>(
        &self,
        node: &NodeName,
        work: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, HostError> {
        let refused = |refusal| HostError::Refused { node: node.clone(), refusal };
        let mut world = self.world();
        let holds = world.nodes.get(node).and_then(|n| n.lock.as_ref());
        if holds.is_none_or(|(by, _)| *by != self.engine) {
            return Err(refused(Refusal::NotLocked));
        }
        work(&mut world).map_err(refused)
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for Twin {
    async fn observe(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<NodeObservation, HostError> {
        let looked = async {
            let fault = self.call(node, "observe", READ).await?;
            self.after(fault, node, "observe").await
        };
        if let Err(error) = looked.await {
            // Whoever plans now does not see it either.
            if let Some(there) = self.world().nodes.get_mut(node) {
                there.goes_unseen();
            }
            return Err(error);
        }
        self.world().note_ended();
        if let Some(there) = self.world().nodes.get_mut(node) {
            there.pods.values_mut().for_each(|pod| pod.unseen = false);
        }
        self.world().observe(node, tenant).ok_or_else(|| HostError::Unreachable {
            node: node.clone(),
            layer: Layer::Tcp,
            why: "no such node".to_owned(),
        })
    }

    async fn lock(&self, node: &NodeName, claim: &LockClaim) -> Result<(), HostError> {
        let fault = self.call(node, "lock", READ).await?;
        {
            let mut world = self.world();
            if let Some(there) = world.nodes.get_mut(node) {
                match &there.lock {
                    Some((by, held)) if *by != self.engine => {
                        let claim = Box::new(held.clone());
                        return Err(HostError::Locked { node: node.clone(), claim });
                    }
                    Some(_) | None => {
                        if let Some(fence) = there.fences(node, claim) {
                            return Err(fence);
                        }
                        there.grants += u64::from(there.lock.is_none());
                        there.lock = Some((self.engine, claim.clone()));
                    }
                }
            }
        }
        self.after(fault, node, "lock").await
    }

    async fn unlock(&self, node: &NodeName) {
        if let Some(node) = self.world().nodes.get_mut(node)
            && node.lock.as_ref().is_some_and(|(by, _)| *by == self.engine)
        {
            node.lock = None;
            node.tidy();
        }
    }

    async fn perform(
        &self,
        node: &NodeName,
        action: &Action,
        supplies: &Supplies<'_>,
        _deadline: Duration,
    ) -> Result<(), HostError> {
        let takes = match action {
            Action::EnsureImage { .. } => PUSH,
            _ => WRITE,
        };
        // It goes over the session that holds the lock now: another one is none of its.
        let grant = self.grant(node);
        let fault = self.call(node, action.kind(), takes).await?;
        if grant != self.grant(node) {
            let refusal = Refusal::NotLocked;
            return Err(HostError::Refused { node: node.clone(), refusal });
        }
        self.write(node, |world| {
            if let Action::EnsureNetwork { network } = action
                && network.peers != peers::named(supplies.peers)
            {
                world.violations.push(format!("{node} would have routes to other nodes"));
            }
            if let Action::EnsurePod { pod } = action
                && pod.contents().any(|content| supplies.contents.get(content).is_none())
            {
                world.violations.push(format!("{} lacks what is in its files", pod.id));
            }
            if let Action::EnsurePod { pod } = action
                && pod.contents().any(|c| c.fingerprint().is_some() && !supplies.secrets.has(c))
            {
                world.violations.push(format!("{} lacks what its secrets hold", pod.id));
            }
            world.act(node, action)?;
            if fault == Some(Fault::KilledHalfway) {
                world.leave_half(node, action);
            }
            Ok(())
        })?;
        self.after(fault, node, action.kind()).await
    }

    async fn probe(
        &self,
        node: &NodeName,
        target: &ProbeTarget,
    ) -> Result<Result<(), String>, HostError> {
        let fault = self.call(node, "probe", READ).await?;
        self.after(fault, node, "probe").await?;
        let world = self.world();
        let IpAddr::V4(address) = target.address else { return Ok(Err("no IPv6".to_owned())) };
        let pods = world.nodes.get(node).into_iter().flat_map(|n| n.pods.values());
        let pod = pods.into_iter().find(|pod| pod.spec.ip4 == address);
        Ok(match pod {
            None => Err("no route to host".to_owned()),
            Some(pod) if world.is_ready(pod) => Ok(()),
            Some(pod) if !pod.running => Err("connection refused".to_owned()),
            Some(_) => Err("GET /ready answered 503".to_owned()),
        })
    }

    async fn run(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
        pod: &PodId,
        _argv: &[String],
        _deadline: Duration,
    ) -> Result<Ran, HostError> {
        let fault = self.call(node, "run", READ).await?;
        self.after(fault, node, "run").await?;
        let world = self.world();
        let pod = world.nodes.get(node).and_then(|node| node.pods.get(pod));
        let why = match pod.map(|pod| world.behaviour(&pod.spec.image)) {
            None => Some("could not start: there is no such pod".to_owned()),
            Some(Behaviour::FailsChecks) => Some("exited with 1".to_owned()),
            Some(_) => None,
        };
        Ok(Ran { why, said: Vec::new() })
    }

    async fn fetch(
        &self,
        node: &NodeName,
        _url: &str,
        _deadline: Duration,
    ) -> Result<Result<Vec<u8>, String>, HostError> {
        let fault = self.call(node, "fetch", READ).await?;
        self.after(fault, node, "fetch").await?;
        let metric = self.world().metric.clone();
        let data = serde_json::json!({ "resultType": "scalar", "result": [0.0, metric] });
        let answer = serde_json::json!({ "status": "success", "data": data });
        Ok(Ok(answer.to_string().into_bytes()))
    }

    async fn connections(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
        pod: &PodId,
    ) -> Result<u32, HostError> {
        let fault = self.call(node, "connections", READ).await?;
        self.after(fault, node, "connections").await?;
        Ok(u32::from(self.world().still_serves(pod)))
    }

    async fn logs(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
        pod: &PodId,
        _limit: usize,
    ) -> Result<Vec<u8>, HostError> {
        let fault = self.call(node, "logs", READ).await?;
        self.after(fault, node, "logs").await?;
        Ok(format!("{pod}: starting\n{pod}: waiting for the database\n").into_bytes())
    }

    async fn fence(
        &self,
        node: &NodeName,
        _command: &[String],
        _deadline: Duration,
    ) -> Result<(), String> {
        let fault = self.begin("fence", WRITE).await;
        if matches!(fault, Some(Fault::Refused | Fault::DiskFull)) {
            return Err("exit code 1".to_owned());
        }
        let late = self.world().paused.contains_key(&self.engine);
        self.world().fence(node, late);
        self.after(fault, node, "fence").await.map_err(|error| error.to_string())
    }

    /// Counts as no call of its own: it is a part of looking at a node.
    async fn ledger_mark(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
    ) -> Result<Option<Mark>, HostError> {
        let world = self.world();
        Ok(world.nodes.get(node).filter(|node| !node.cut).and_then(TwinNode::mark))
    }

    async fn ledger_read(&self, keeper: &NodeName, _tenant: &Tenant) -> Result<Vec<u8>, HostError> {
        let fault = self.call(keeper, "ledger read", READ).await?;
        self.after(fault, keeper, "ledger read").await?;
        Ok(self.world().nodes.get(keeper).map(|node| node.ledger.clone()).unwrap_or_default())
    }

    async fn ledger_append(
        &self,
        keeper: &NodeName,
        _tenant: &Tenant,
        at: u64,
        prev: &str,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let fault = self.call(keeper, APPEND, WRITE).await?;
        let is_torn = fault == Some(Fault::Torn);
        self.write(keeper, |world| {
            let Some(node) = world.nodes.get_mut(keeper) else { return Err(Refusal::LedgerMoved) };
            let end = format!("{prev}\"}}\n");
            let there = usize::try_from(at).unwrap_or(usize::MAX);
            if node.ledger.get(there..).is_some_and(|rest| !rest.contains(&b'\n')) {
                node.ledger.truncate(there);
            }
            if node.ledger.len() as u64 != at || (at > 0 && !node.ledger.ends_with(end.as_bytes()))
            {
                return Err(Refusal::LedgerMoved);
            }
            let part = if is_torn { bytes.len() / 2 } else { bytes.len() };
            node.ledger.extend_from_slice(bytes.get(..part).unwrap_or(bytes));
            Ok(())
        })?;
        if is_torn {
            self.world().boot(keeper);
            return Err(HostError::Lost { node: keeper.clone(), what: APPEND.to_owned() });
        }
        self.after(fault, keeper, APPEND).await
    }

    async fn ledger_replace(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let fault = self.call(node, "ledger replace", WRITE).await?;
        self.write(node, |world| {
            if let Some(node) = world.nodes.get_mut(node) {
                node.ledger = bytes.to_vec();
            }
            Ok(())
        })?;
        self.after(fault, node, "ledger replace").await
    }

    async fn ask(&self, keeper: &NodeName, _tenant: &Tenant, ask: &Ask) -> Result<(), HostError> {
        let fault = self.call(keeper, "ask", READ).await?;
        if let Some(node) = self.world().nodes.get_mut(keeper) {
            node.asked = Some(ask.clone());
        }
        self.after(fault, keeper, "ask").await
    }

    /// Counts as a call only where there is a word: histories without one stay what they are.
    async fn asked(&self, keeper: &NodeName, _: &Tenant) -> Result<Option<Ask>, HostError> {
        let asked = self.world().nodes.get(keeper).and_then(|node| node.asked.clone());
        if asked.is_some() {
            let fault = self.call(keeper, "asked", READ).await?;
            self.after(fault, keeper, "asked").await?;
        }
        Ok(asked)
    }

    async fn ledger_remove(&self, keeper: &NodeName, _tenant: &Tenant) -> Result<(), HostError> {
        let fault = self.call(keeper, "ledger remove", WRITE).await?;
        self.write(keeper, |world| {
            if let Some(node) = world.nodes.get_mut(keeper) {
                node.ledger.clear();
                node.asked = None;
                node.mark = None;
            }
            Ok(())
        })?;
        self.after(fault, keeper, "ledger remove").await
    }
}
