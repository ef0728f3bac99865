//! The Host port's in-memory twin: a small world of nodes, for the simulation and the demo.
//!
//! It keeps what a node keeps (pods, tables, images, files, lock, ledger), takes time for what
//! takes time, and judges every write: traffic that would reach a pod that is not ready, a
//! generation that goes back, a write without the lock. Faults come from a script of call
//! numbers, so that a failing history is told by its seed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::host::{Host, HostError, Layer, LockClaim, ProbeTarget, Refusal};
use crate::plan::action::{Action, Endpoint, NodeNetwork, NodePort, Peer, PodSpec, Reflex, Write};
use crate::plan::names::{ImageDigest, NodeName, PodId, Tenant, VolumeId, WorkloadName};
use crate::plan::observation::{
    Facts, Foreign, NodeObservation, NodeSpec, NodeStatus, OnDelete, PodSeen, PodStatus, Pressure,
    Requests, VolumeSpec,
};
use crate::plan::peers;

/// How long a read takes.
const READ: Duration = Duration::from_millis(5);
/// How long a write takes.
const WRITE: Duration = Duration::from_millis(40);
/// How long an image takes to travel.
const PUSH: Duration = Duration::from_millis(700);

/// How long a paused engine is stopped.
const PAUSE: Duration = Duration::from_secs(60);

/// How an image behaves once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Ready so many milliseconds after its start.
    ReadyAfter(u64),
    /// Runs, and never gets ready.
    NeverReady,
}

/// What goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// A world of nodes, shared by every engine that looks at it.
#[derive(Debug, Default)]
pub struct World {
    nodes: BTreeMap<NodeName, TwinNode>,
    behaviours: BTreeMap<ImageDigest, Behaviour>,
    forbidden: BTreeSet<ImageDigest>,
    faults: BTreeMap<u64, Fault>,
    calls: u64,
    killed: BTreeSet<u64>,
    paused: BTreeMap<u64, tokio::time::Instant>,
    engines: u64,
    violations: Vec<String>,
    floors: BTreeMap<WorkloadName, usize>,
    recorded: BTreeSet<(NodeName, Write)>,
}

#[derive(Debug, Default)]
struct TwinNode {
    cut: bool,
    machine_id: String,
    cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    pressure: Pressure,
    listens: BTreeSet<NodePort>,
    /// What other tenants ask for, by namespace.
    others: BTreeMap<String, Requests>,
    address4: Option<Ipv4Addr>,
    network: Option<NodeNetwork>,
    reflexes: BTreeMap<Reflex, u32>,
    tenants: BTreeSet<String>,
    images: BTreeSet<ImageDigest>,
    volumes: BTreeMap<VolumeId, VolumeSpec>,
    pods: BTreeMap<PodId, TwinPod>,
    endpoints: BTreeMap<WorkloadName, Endpoint>,
    /// Endpoints not written since the node was cut off: their tables may be old (an honest limit).
    stale: BTreeSet<WorkloadName>,
    foreign: BTreeSet<Foreign>,
    generations: BTreeMap<String, u64>,
    lock: Option<(u64, LockClaim)>,
    ledger: Vec<u8>,
}

#[derive(Debug)]
struct TwinPod {
    spec: PodSpec,
    started: tokio::time::Instant,
    running: bool,
    by_hand: bool,
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
}

impl Twin {
    /// Makes a world without nodes, and its first engine's view.
    pub fn new() -> Self {
        Self { world: Arc::default(), engine: 0 }
    }

    /// Another engine's view of the same world.
    pub fn another_engine(&self) -> Self {
        let engine = {
            let mut world = self.world();
            world.engines += 1;
            world.engines
        };
        Self { world: Arc::clone(&self.world), engine }
    }

    /// The world, to look at or to change by hand.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a fault has killed this engine. Whoever runs it drops it then.
    pub async fn killed(&self) {
        while !self.world().killed.contains(&self.engine) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// One call: its time, and what goes wrong with it.
    async fn call(&self, node: &NodeName, takes: Duration) -> Result<Option<Fault>, HostError> {
        let fault = {
            let mut world = self.world();
            let number = world.calls;
            world.calls += 1;
            world.faults.remove(&number)
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
            Some(there) => {
                if fault == Some(Fault::SessionEnds)
                    && there.lock.as_ref().is_some_and(|(by, _)| *by == self.engine)
                {
                    there.lock = None;
                }
            }
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
            Some(Fault::KilledAfter) => {
                self.die().await;
                Ok(())
            }
            Some(Fault::AnswerLost) => {
                Err(HostError::Lost { node: node.clone(), what: what.to_owned() })
            }
            None
            | Some(Fault::Refused | Fault::SessionEnds | Fault::Paused | Fault::KilledBefore) => {
                Ok(())
            }
        }
    }

    /// Dies like a process: its locks are free, and it never does anything again.
    async fn die(&self) {
        {
            let mut world = self.world();
            world.killed.insert(self.engine);
            world.free_locks_of(self.engine);
        }
        std::future::pending::<()>().await;
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

impl World {
    /// Adds a node with so much CPU (thousandths of a core) and memory (bytes).
    pub fn add_node(&mut self, name: &NodeName, cpu_millis: u64, memory_bytes: u64) {
        let number = u8::try_from(self.nodes.len() + 11).unwrap_or(u8::MAX);
        let node = TwinNode {
            machine_id: format!("{number:032x}"),
            cpu_millis,
            memory_bytes,
            address4: Some(Ipv4Addr::new(10, 77, 0, number)),
            ..TwinNode::default()
        };
        self.nodes.insert(name.clone(), node);
    }

    /// Says how an image behaves; ready after 300 ms unless said.
    pub fn set_behaviour(&mut self, image: &ImageDigest, behaviour: Behaviour) {
        self.behaviours.insert(image.clone(), behaviour);
    }

    /// Keeps an image's further pods from starting; those that run go on.
    pub fn forbid_start(&mut self, image: &ImageDigest) {
        self.forbidden.insert(image.clone());
    }

    /// Schedules a fault at a call, counted from now.
    pub fn fault_in(&mut self, calls: u64, fault: Fault) {
        self.faults.insert(self.calls + calls, fault);
    }

    /// Forgets every fault that has not happened.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Counts the calls so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Cuts a node off, or connects it again. Its sessions end either way.
    pub fn set_cut(&mut self, node: &NodeName, cut: bool) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.cut = cut;
            node.lock = None;
            node.stale = node.endpoints.keys().cloned().collect();
        }
    }

    /// Says how busy a node is.
    pub fn set_pressure(&mut self, node: &NodeName, pressure: Pressure) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.pressure = pressure;
        }
    }

    /// Has a process of the node itself listen on a port.
    pub fn listen(&mut self, node: &NodeName, port: NodePort) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.listens.insert(port);
        }
    }

    /// Puts what another tenant asks for on a node.
    pub fn add_tenant(&mut self, node: &NodeName, namespace: &str, asks: &Requests) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.others.entry(namespace.to_owned()).or_default().add(asks);
        }
    }

    /// Stops a pod by hand, in a way that the restart reflex respects.
    pub fn stop_by_hand(&mut self, node: &NodeName, pod: &PodId) {
        if let Some(pod) = self.nodes.get_mut(node).and_then(|n| n.pods.get_mut(pod)) {
            pod.running = false;
            pod.by_hand = true;
        }
    }

    /// Puts a container there that no Berth made.
    pub fn add_foreign(&mut self, node: &NodeName, id: &str) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.foreign.insert(Foreign { namespace: "default".to_owned(), id: id.to_owned() });
        }
    }

    /// Takes a volume's folder away by hand.
    pub fn lose_volume(&mut self, node: &NodeName, volume: &VolumeId) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.volumes.remove(volume);
        }
    }

    /// Copies a volume's folder to another node by hand.
    pub fn copy_volume(&mut self, from: &NodeName, volume: &VolumeId, to: &NodeName) {
        let noted = self.nodes.get(from).and_then(|node| node.volumes.get(volume)).cloned();
        if let (Some(noted), Some(to)) = (noted, self.nodes.get_mut(to)) {
            to.volumes.insert(volume.clone(), noted);
        }
    }

    /// Lists every volume, with its node.
    pub fn volumes(&self) -> BTreeSet<(NodeName, VolumeId)> {
        let all = self.nodes.iter().flat_map(|(name, node)| {
            node.volumes.keys().map(|volume| (name.clone(), volume.clone()))
        });
        all.collect()
    }

    /// Says how large a node's disk is, in bytes.
    pub fn set_disk(&mut self, node: &NodeName, bytes: u64) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.disk_bytes = bytes;
        }
    }

    /// Promises that at least so many replicas of a workload serve after every write.
    pub fn set_floor(&mut self, workload: &WorkloadName, replicas: usize) {
        self.floors.insert(workload.clone(), replicas);
    }

    /// Takes what was judged wrong so far.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    /// Takes the writes that happened.
    pub fn take_recorded(&mut self) -> BTreeSet<(NodeName, Write)> {
        std::mem::take(&mut self.recorded)
    }

    /// Lists every pod that runs, with its node.
    pub fn running(&self) -> BTreeSet<(NodeName, PodId)> {
        let pods = self.nodes.iter().flat_map(|(name, node)| {
            let running = node.pods.iter().filter(|(_, pod)| pod.running);
            running.map(|(id, _)| (name.clone(), id.clone()))
        });
        pods.collect()
    }

    /// Says whether nothing of Berth's is left on any node.
    pub fn is_clean(&self) -> bool {
        self.nodes.values().all(|node| {
            node.network.is_none()
                && node.reflexes.is_empty()
                && node.tenants.is_empty()
                && node.images.is_empty()
                && node.pods.is_empty()
                && node.endpoints.is_empty()
                && node.ledger.is_empty()
        })
    }

    fn free_locks_of(&mut self, engine: u64) {
        for node in self.nodes.values_mut() {
            if node.lock.as_ref().is_some_and(|(by, _)| *by == engine) {
                node.lock = None;
            }
        }
    }

    fn behaviour(&self, image: &ImageDigest) -> Behaviour {
        self.behaviours.get(image).copied().unwrap_or(Behaviour::ReadyAfter(300))
    }

    fn is_ready(&self, pod: &TwinPod) -> bool {
        pod.running
            && match self.behaviour(&pod.spec.image) {
                Behaviour::ReadyAfter(ms) => pod.started.elapsed() >= Duration::from_millis(ms),
                Behaviour::NeverReady => false,
            }
    }

    fn act(&mut self, name: &NodeName, action: &Action) -> Result<(), Refusal> {
        let cannot_start = match action {
            Action::EnsurePod { pod } => self.forbidden.contains(&pod.image),
            _ => false,
        };
        let elsewhere = match action {
            Action::EnsureVolume { volume, .. } => {
                let has = |(other, node): (&NodeName, &TwinNode)| {
                    other != name && node.volumes.contains_key(volume)
                };
                self.nodes.iter().any(has)
            }
            _ => false,
        };
        let writer = match action {
            Action::EnsurePod { pod } if !pod.mounts.is_empty() => {
                let mut pods = self.nodes.values().flat_map(|node| &node.pods);
                pods.any(|(id, other)| {
                    let same = id != &pod.id && id.replica() == pod.id.replica();
                    same && !other.spec.mounts.is_empty()
                })
            }
            _ => false,
        };
        self.recorded.extend(action.writes().into_iter().map(|write| (name.clone(), write)));
        let Some(node) = self.nodes.get_mut(name) else { return Err(Refusal::NotLocked) };
        match action {
            Action::EnsureNetwork { network } => node.network = Some(network.clone()),
            Action::InstallReflex { reflex, version } => {
                node.reflexes.insert(*reflex, *version);
            }
            Action::EnsureTenant { tenant } => {
                node.tenants.insert(tenant.namespace());
            }
            Action::EnsureImage { tenant: _, image, source: _ } => {
                node.images.insert(image.clone());
            }
            Action::EnsureVolume { tenant: _, volume, spec } => {
                node.volumes.insert(volume.clone(), spec.clone());
                if elsewhere {
                    self.violations.push(format!("{volume} is made on {name}, and is elsewhere"));
                }
            }
            Action::RemoveVolume { tenant: _, volume } => {
                let user = node.pods.iter().find(|(_, pod)| pod.mounts(volume));
                if let Some((user, _)) = user {
                    self.violations.push(format!("{volume} goes while {user} mounts it"));
                }
                let noted = node.volumes.remove(volume);
                if noted.is_some_and(|noted| noted.on_delete != OnDelete::Destroy) {
                    self.violations.push(format!("{volume} goes, and was to be retained"));
                }
            }
            Action::EnsurePod { pod } => {
                for volume in pod.mounts.values().filter(|id| !node.volumes.contains_key(*id)) {
                    self.violations
                        .push(format!("{} mounts {volume}, which is not on {name}", pod.id));
                }
                if writer {
                    self.violations.push(format!("{} is not alone with its volumes", pod.id));
                }
                if !node.images.contains(&pod.image) {
                    let what = "start".to_owned();
                    return Err(Refusal::Failed { what, why: "the image is not there".to_owned() });
                }
                if cannot_start {
                    let what = "runc".to_owned();
                    return Err(Refusal::Failed { what, why: "exec: no such file".to_owned() });
                }
                let highest = node.generations.entry(pod.id.replica()).or_default();
                if pod.id.generation < *highest {
                    self.violations.push(format!("{} went back from g{highest}", pod.id));
                }
                *highest = (*highest).max(pod.id.generation);
                let others = node.pods.iter().filter(|(id, _)| **id != pod.id);
                let holds = |port| others.clone().find(|(_, o)| o.spec.publish.contains_key(port));
                for (port, (by, _)) in pod.publish.keys().filter_map(|p| Some((p, holds(p)?))) {
                    self.violations
                        .push(format!("{} takes port {port} of {name}, which {by} holds", pod.id));
                }
                node.pods.entry(pod.id.clone()).or_insert_with(|| TwinPod {
                    spec: PodSpec::clone(pod),
                    started: tokio::time::Instant::now(),
                    running: true,
                    by_hand: false,
                });
            }
            Action::SwapEndpoint { tenant: _, endpoint } => {
                node.stale.remove(&endpoint.workload);
                node.endpoints.insert(endpoint.workload.clone(), Endpoint::clone(endpoint));
            }
            Action::RemovePod { tenant: _, pod, grace_ms: _ } => {
                node.pods.remove(pod);
            }
            Action::RemoveEndpoint { tenant: _, endpoint } => {
                node.endpoints.remove(endpoint);
            }
            Action::RemoveImage { tenant: _, image } => {
                node.images.remove(image);
            }
            Action::RemoveTenant { tenant } => {
                if !node.pods.is_empty() {
                    return Err(Refusal::InUse("pods are left".to_owned()));
                }
                node.tenants.remove(&tenant.namespace());
            }
            Action::RemoveReflex { reflex } => {
                node.reflexes.remove(reflex);
            }
            Action::RemoveNetwork => node.network = None,
        }
        self.judge();
        Ok(())
    }

    /// Every table leads to ready pods only, and to as many as was promised; except those of a
    /// node that was cut off, until they are written again.
    fn judge(&mut self) {
        let mut found = Vec::new();
        for (name, node) in &self.nodes {
            for (workload, endpoint) in &node.endpoints {
                if node.stale.contains(workload) {
                    continue;
                }
                let mut ready = 0;
                for backend in &endpoint.backends {
                    let pod = self.nodes.values().find_map(|n| n.pods.get(&backend.pod));
                    match pod {
                        Some(pod) if pod.by_hand => {}
                        Some(pod) if self.is_ready(pod) => ready += 1,
                        Some(_) | None => {
                            found.push(format!(
                                "{name} sends traffic to {}, which is not ready",
                                backend.pod
                            ));
                        }
                    }
                }
                let floor = self.floors.get(workload).copied().unwrap_or(0);
                if ready < floor {
                    found.push(format!("{workload} has {ready} of {floor} replicas on {name}"));
                }
            }
        }
        self.violations.extend(found);
    }

    fn observe(&self, name: &NodeName, tenant: &Tenant) -> Option<NodeObservation> {
        let node = self.nodes.get(name)?;
        let pods = node.pods.iter().map(|(id, pod)| {
            let seen = PodSeen {
                workload: pod.spec.workload.clone(),
                digest: pod.spec.digest.clone(),
                image: pod.spec.image.clone(),
                ip4: pod.spec.ip4,
                ip6: pod.spec.ip6,
                requests: pod.spec.requests(),
                revision: pod.spec.revision,
                grace_ms: pod.spec.grace_ms,
                intact: true,
                mounts: pod.spec.mounts.values().cloned().collect(),
            };
            (id.clone(), seen)
        });
        let status = node.pods.iter().map(|(id, pod)| {
            let status = if pod.running {
                PodStatus::Running { restarts: 0, started_at_ms: 0 }
            } else {
                PodStatus::Stopped { exit_code: 137, restarts: 0 }
            };
            (id.clone(), status)
        });
        Some(NodeObservation {
            facts: Facts {
                machine_id: node.machine_id.clone(),
                address4: node.address4,
                address6: None,
                cpu_millis: node.cpu_millis,
                memory_bytes: node.memory_bytes,
                disk_bytes: node.disk_bytes,
                arch: "amd64".to_owned(),
                os: "Simulated".to_owned(),
                containerd: "1.6.20".to_owned(),
                missing: Vec::new(),
            },
            spec: NodeSpec {
                epoch: 0,
                network: node.network.clone(),
                reflexes: node.reflexes.clone(),
                tenant: node.tenants.contains(&tenant.namespace()),
                pods: pods.collect(),
                endpoints: node.endpoints.clone(),
                images: node.images.clone(),
                others: node.others.clone(),
                claimed: node.pods.values().map(|pod| pod.spec.ip4).collect(),
                foreign: node.foreign.clone(),
                volumes: node.volumes.clone(),
                volumes_of_others_bytes: 0,
            },
            status: NodeStatus {
                pressure: node.pressure,
                pods: status.collect(),
                disk_free_bytes: 1 << 36,
                listens: node.listens.clone(),
                clock_skew_ms: 0,
            },
        })
    }
}

impl Host for Twin {
    async fn observe(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<NodeObservation, HostError> {
        let fault = self.call(node, READ).await?;
        self.after(fault, node, "observe").await?;
        self.world().observe(node, tenant).ok_or_else(|| HostError::Unreachable {
            node: node.clone(),
            layer: Layer::Tcp,
            why: "no such node".to_owned(),
        })
    }

    async fn lock(&self, node: &NodeName, claim: &LockClaim) -> Result<(), HostError> {
        let fault = self.call(node, READ).await?;
        {
            let mut world = self.world();
            if let Some(there) = world.nodes.get_mut(node) {
                match &there.lock {
                    Some((by, held)) if *by != self.engine => {
                        let claim = Box::new(held.clone());
                        return Err(HostError::Locked { node: node.clone(), claim });
                    }
                    Some(_) | None => there.lock = Some((self.engine, claim.clone())),
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
        }
    }

    async fn perform(
        &self,
        node: &NodeName,
        action: &Action,
        peers: &[Peer],
        _deadline: Duration,
    ) -> Result<(), HostError> {
        let takes = match action {
            Action::EnsureImage { .. } => PUSH,
            _ => WRITE,
        };
        let fault = self.call(node, takes).await?;
        self.write(node, |world| {
            if let Action::EnsureNetwork { network } = action
                && network.peers != peers::named(peers)
            {
                world.violations.push(format!("{node} would have routes to other nodes"));
            }
            world.act(node, action)
        })?;
        self.after(fault, node, "write").await
    }

    async fn probe(
        &self,
        node: &NodeName,
        target: &ProbeTarget,
    ) -> Result<Result<(), String>, HostError> {
        let fault = self.call(node, READ).await?;
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

    async fn connections(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
        _pod: &PodId,
    ) -> Result<u32, HostError> {
        let fault = self.call(node, READ).await?;
        self.after(fault, node, "connections").await?;
        Ok(0)
    }

    async fn logs(
        &self,
        node: &NodeName,
        _tenant: &Tenant,
        pod: &PodId,
        _limit: usize,
    ) -> Result<Vec<u8>, HostError> {
        let fault = self.call(node, READ).await?;
        self.after(fault, node, "logs").await?;
        Ok(format!("{pod}: starting\n{pod}: waiting for the database\n").into_bytes())
    }

    async fn ledger_read(&self, keeper: &NodeName, _tenant: &Tenant) -> Result<Vec<u8>, HostError> {
        let fault = self.call(keeper, READ).await?;
        self.after(fault, keeper, "ledger read").await?;
        Ok(self.world().nodes.get(keeper).map(|node| node.ledger.clone()).unwrap_or_default())
    }

    async fn ledger_append(
        &self,
        keeper: &NodeName,
        _tenant: &Tenant,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let fault = self.call(keeper, WRITE).await?;
        self.write(keeper, |world| {
            let Some(node) = world.nodes.get_mut(keeper) else { return Err(Refusal::LedgerMoved) };
            if node.ledger.len() as u64 != at {
                return Err(Refusal::LedgerMoved);
            }
            node.ledger.extend_from_slice(bytes);
            Ok(())
        })?;
        self.after(fault, keeper, "ledger append").await
    }

    async fn ledger_remove(&self, keeper: &NodeName, _tenant: &Tenant) -> Result<(), HostError> {
        let fault = self.call(keeper, WRITE).await?;
        self.write(keeper, |world| {
            if let Some(node) = world.nodes.get_mut(keeper) {
                node.ledger.clear();
            }
            Ok(())
        })?;
        self.after(fault, keeper, "ledger remove").await
    }
}
