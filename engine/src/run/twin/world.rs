//! The twin's world: what is done to it by hand, what a write does to it, and what is judged after each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Behaviour, Fault, TwinNode, TwinPod, World};
use crate::plan::action::{
    Action, Backend, Endpoint, NodeNetwork, NodePort, PodSpec, Reflex, Write,
};
use crate::plan::ledger::Mark;
use crate::plan::names::{ImageDigest, NodeName, PodId, Tenant, VolumeId, WorkloadName};
use crate::plan::observation::{
    Facts, Foreign, NodeObservation, NodeSpec, NodeStatus, OnDelete, PodSeen, PodStatus, Pressure,
    Requests,
};
use crate::run::host::Refusal;

/// How long a pod that left its tables serves what it had.
const STILL_SERVES: Duration = Duration::from_millis(150);

impl World {
    /// Adds a node with so much CPU (thousandths of a core) and memory (bytes).
    pub fn add_node(&mut self, name: &NodeName, cpu_millis: u64, memory_bytes: u64) {
        let number = u8::try_from(self.nodes.len() + 11).unwrap_or(u8::MAX);
        self.origin.get_or_insert_with(tokio::time::Instant::now);
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

    /// Says what Prometheus answers to any query.
    pub fn set_metric(&mut self, value: &str) {
        value.clone_into(&mut self.metric);
    }

    /// Keeps an image's further pods from starting; those that run go on.
    pub fn forbid_start(&mut self, image: &ImageDigest) {
        self.forbidden.insert(image.clone());
    }

    /// Lets a workload's replicas run twice while a node is cut off: its text says so.
    pub fn let_double(&mut self, workload: &WorkloadName) {
        self.may_double.insert(workload.clone());
    }

    /// Has the next call of a kind go wrong, however late it comes.
    pub fn fault_next(&mut self, what: &'static str, fault: Fault) {
        self.next_faults.insert(what, fault);
    }

    /// Schedules a fault at a call, counted from now.
    pub fn fault_in(&mut self, calls: u64, fault: Fault) {
        self.faults.insert(self.calls + calls, fault);
    }

    /// Forgets every fault that has not happened.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
        self.next_faults.clear();
    }

    /// Lists which calls were met by which fault, or by none.
    pub fn met(&self) -> &BTreeSet<(&'static str, Option<Fault>)> {
        &self.met
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

    /// Switches a node off, or on again: then what ran there has been started by its boot and is ready.
    pub fn set_power(&mut self, node: &NodeName, on: bool) {
        self.note_ended();
        self.set_cut(node, !on);
        if let Some(node) = self.nodes.get_mut(node) {
            node.off = !on;
            node.pods.values_mut().for_each(|pod| pod.boot(on));
        }
    }

    /// Switches a node off by its power supply, which nothing there can hinder. An engine that was stopped just
    /// before may be `late`.
    pub(super) fn fence(&mut self, node: &NodeName, late: bool) {
        if !late && self.nodes.get(node).is_some_and(|node| !node.cut) {
            self.violations.push(format!("{node} answers, and is switched off"));
        }
        self.set_power(node, false);
    }

    /// A node boots: whoever talked to it has to begin anew, and what ran runs.
    pub(super) fn boot(&mut self, node: &NodeName) {
        self.note_ended();
        if let Some(node) = self.nodes.get_mut(node) {
            node.lock = None;
            node.pods.values_mut().for_each(|pod| pod.boot(true));
        }
    }

    /// Takes the ledger, or its copy, off a node, as a new disk does.
    pub fn lose_ledger(&mut self, node: &NodeName) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.ledger.clear();
            node.mark = None;
        }
    }

    /// Forgets which generations there were of replicas that are gone: nobody can know them once every ledger
    /// is lost, with all that nodes remember of it.
    pub fn forget_gone(&mut self) {
        let there: BTreeSet<String> =
            self.nodes.values().flat_map(|node| node.pods.keys()).map(PodId::replica).collect();
        for node in self.nodes.values_mut() {
            node.generations.retain(|replica, _| there.contains(replica));
        }
    }

    /// Puts other bytes in the place of a node's ledger or copy; what it remembers of it stays.
    pub fn set_ledger(&mut self, node: &NodeName, bytes: &[u8]) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.ledger = bytes.to_vec();
        }
    }

    /// Which nodes have the ledger or a copy, each with its bytes.
    pub fn ledgers(&self) -> BTreeMap<NodeName, Vec<u8>> {
        let has = self.nodes.iter().filter(|(_, node)| !node.ledger.is_empty());
        has.map(|(name, node)| (name.clone(), node.ledger.clone())).collect()
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

    /// Gives a node a network that another tenant has set up.
    pub fn set_network(&mut self, node: &NodeName, network: NodeNetwork) {
        if let Some(node) = self.nodes.get_mut(node) {
            let owner = network.owner.clone().unwrap_or_default();
            node.others.entry(owner).or_default();
            node.reflexes = Reflex::CURRENT.into_iter().collect();
            node.network = Some(network);
        }
    }

    /// Takes another tenant off a node; what it set up stays.
    pub fn remove_tenant(&mut self, node: &NodeName, namespace: &str) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.others.remove(namespace);
        }
    }

    /// Has another tenant's endpoint take an address on every node.
    pub fn take_endpoint(&mut self, address: Ipv4Addr) {
        self.nodes.values_mut().for_each(|node| {
            node.taken.insert(address);
        });
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

    /// Says which service has a name from now on: one that is renamed is the same one, and one that is given a name anew
    /// is another.
    pub fn called(&mut self, name: &WorkloadName, lineage: u64) {
        self.lineages.insert(name.clone(), lineage);
    }

    /// Whether a pod that is made is of the same replica as one that is there.
    fn is_same(&self, pod: &PodSpec, id: &PodId, there: &TwinPod) -> bool {
        let same = match (self.lineages.get(&pod.workload), there.lineage) {
            (Some(made), Some(there)) => *made == there,
            (Some(_), None) | (None, _) => there.spec.workload == pod.workload,
        };
        same && id.ordinal == pod.id.ordinal
    }

    /// Says that a plan is at hand, and which floors it promises, beside those that stand.
    pub fn plan_floors(&mut self, floors: BTreeMap<WorkloadName, usize>) {
        self.planned_floors = floors;
        self.planned_at = Some(tokio::time::Instant::now());
    }

    /// Promises that pods of an image have at most so much of a table's traffic after every write, in
    /// hundredths of a percent.
    pub fn set_most(&mut self, image: &ImageDigest, share: u32) {
        self.most.insert(image.clone(), share);
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
            let running =
                node.pods.iter().filter(|(_, pod)| self.exit_code(pod).is_none() && pod.running);
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
                && node.mark.is_none()
        })
    }

    pub(super) fn free_locks_of(&mut self, engine: u64) {
        for node in self.nodes.values_mut() {
            if node.lock.as_ref().is_some_and(|(by, _)| *by == engine) {
                node.lock = None;
            }
        }
    }

    pub(super) fn behaviour(&self, image: &ImageDigest) -> Behaviour {
        self.behaviours.get(image).copied().unwrap_or(Behaviour::ReadyAfter(300))
    }

    pub(super) fn is_ready(&self, pod: &TwinPod) -> bool {
        pod.running
            && match self.behaviour(&pod.spec.image) {
                Behaviour::ReadyAfter(ms) => pod.started.elapsed() >= Duration::from_millis(ms),
                Behaviour::NeverReady => false,
                Behaviour::FallsOver(ms, more) => {
                    let age = pod.started.elapsed();
                    age >= Duration::from_millis(ms) && age < Duration::from_millis(ms + more)
                }
                Behaviour::FailsChecks => true,
            }
    }

    /// Says whether it was ready once, and is not any more.
    fn fell_over(&self, pod: &TwinPod) -> bool {
        match self.behaviour(&pod.spec.image) {
            Behaviour::FallsOver(ms, more) => {
                pod.running && pod.started.elapsed() >= Duration::from_millis(ms + more)
            }
            Behaviour::ReadyAfter(_) | Behaviour::NeverReady | Behaviour::FailsChecks => false,
        }
    }

    /// A new pod is nowhere else, no other one of its replica may run on a node that is cut off, and its
    /// address is its own.
    fn judge_new(&mut self, name: &NodeName, pod: &PodSpec) {
        let mut found = Vec::new();
        // One that was there when the plan was made may run beside the one that takes its place.
        let planned_at = self.planned_at;
        let was_away = |node: &TwinNode| {
            node.is_away("observe") && planned_at.is_none_or(|at| node.away_from < Some(at))
        };
        for (other, node) in self.nodes.iter().filter(|(other, _)| *other != name) {
            for (id, there) in &node.pods {
                let same = self.is_same(pod, id, there);
                if id == &pod.id {
                    found.push(format!("{id} is made on {name}, and is on {other}"));
                } else if same
                    && (node.cut || was_away(node))
                    && there.running
                    && self.exit_code(there).is_none()
                    && !self.may_double.contains(&pod.workload)
                {
                    found.push(format!("{} is made, and {id} may run on {other}", pod.id));
                }
                if there.spec.ip4 == pod.ip4 {
                    found.push(format!("{} has the address of {id}", pod.id));
                }
            }
        }
        self.violations.extend(found);
    }

    /// Whoever leaves a table serves for a moment what it had.
    fn leave(&mut self, name: &NodeName, workload: &WorkloadName, stay: &[Backend]) {
        let table = self.nodes.get(name).and_then(|node| node.endpoints.get(workload));
        let until = tokio::time::Instant::now() + STILL_SERVES;
        let left = table.into_iter().flat_map(|table| &table.backends);
        let left: Vec<PodId> =
            left.filter(|backend| !stay.contains(backend)).map(|b| b.pod.clone()).collect();
        self.busy.extend(left.into_iter().map(|pod| (pod, until)));
    }

    /// Says whether a pod serves what it had when it left its tables.
    pub(super) fn still_serves(&self, pod: &PodId) -> bool {
        self.busy.get(pod).is_some_and(|until| tokio::time::Instant::now() < *until)
    }

    /// Leaves what an action made as an engine leaves it that dies in its midst.
    pub(super) fn leave_half(&mut self, name: &NodeName, action: &Action) {
        if let Action::EnsurePod { pod } = action
            && let Some(there) =
                self.nodes.get_mut(name).and_then(|node| node.pods.get_mut(&pod.id))
        {
            there.intact = false;
        }
    }

    pub(super) fn act(&mut self, name: &NodeName, action: &Action) -> Result<(), Refusal> {
        self.note_ended();
        match action {
            Action::EnsurePod { pod } => {
                self.judge_new(name, pod);
                self.judge_job(name, pod);
                self.judge_cron(name, pod);
            }
            Action::RemovePod { pod, .. } => self.judge_end(name, pod),
            Action::SwapEndpoint { tenant: _, endpoint } => {
                self.leave(name, &endpoint.workload, &endpoint.backends);
            }
            Action::RemoveEndpoint { tenant: _, endpoint } => self.leave(name, endpoint, &[]),
            _ => {}
        }
        let serves = match action {
            Action::RemovePod { pod, .. } => self.still_serves(pod),
            _ => false,
        };
        let cannot_start = match action {
            Action::EnsurePod { pod } => pod.images().any(|image| self.forbidden.contains(image)),
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
                    let same = id != &pod.id && self.is_same(pod, id, other);
                    let mut volumes = pod.mounts.values();
                    same && volumes.any(|volume| other.spec.mounts.values().any(|v| v == volume))
                })
            }
            _ => false,
        };
        self.recorded.extend(action.writes().into_iter().map(|write| (name.clone(), write)));
        let lineage = match action {
            Action::EnsurePod { pod } => self.lineages.get(&pod.workload).copied(),
            _ => None,
        };
        let ended = match action {
            Action::EnsurePod { pod } => {
                let there = self.nodes.get(name).and_then(|node| node.pods.get(&pod.id));
                there.is_some_and(|there| there.cut_off || self.exit_code(there).is_some())
            }
            _ => false,
        };
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
                if !pod.images().all(|image| node.images.contains(image)) {
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
                // One that is not as it should be is made anew, and so is one that has ended and was not to.
                let starts = node.pods.get(&pod.id).map_or(0, |there| there.starts);
                let is_over = |there: &TwinPod| ended || pod.ends && !there.running;
                node.pods.retain(|id, there| *id != pod.id || there.intact && !is_over(there));
                node.pods.entry(pod.id.clone()).or_insert_with(|| TwinPod {
                    starts: starts + 1,
                    cut_off: false,
                    spec: PodSpec::clone(pod),
                    lineage,
                    started: tokio::time::Instant::now(),
                    running: true,
                    by_hand: false,
                    intact: true,
                    unseen: false,
                });
            }
            Action::SwapEndpoint { tenant: _, endpoint } => {
                node.stale.remove(&endpoint.workload);
                node.endpoints.insert(endpoint.workload.clone(), Endpoint::clone(endpoint));
            }
            Action::RemovePod { tenant: _, pod, grace_ms: _ } => {
                let busy = node.pods.get(pod).is_some_and(|pod| pod.running && !pod.by_hand);
                if busy && serves {
                    self.violations.push(format!("{pod} is stopped while it serves connections"));
                }
                node.pods.remove(pod);
            }
            Action::RemoveEndpoint { tenant: _, endpoint } => {
                node.endpoints.remove(endpoint);
            }
            Action::RenamePod { tenant: _, pod, workload } => {
                if let Some(pod) = node.pods.get_mut(pod) {
                    pod.spec.workload = workload.clone();
                }
            }
            Action::RenameEndpoint { tenant: _, endpoint, workload } => {
                if let Some(mut endpoint) = node.endpoints.remove(&endpoint.workload) {
                    if node.stale.remove(&endpoint.workload) {
                        node.stale.insert(workload.clone());
                    }
                    endpoint.workload = workload.clone();
                    node.endpoints.entry(workload.clone()).or_insert(endpoint);
                }
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
    pub(super) fn judge(&mut self) {
        let mut found = Vec::new();
        for (name, node) in &self.nodes {
            for (workload, endpoint) in &node.endpoints {
                if node.stale.contains(workload) {
                    continue;
                }
                let mut ready = 0;
                for backend in &endpoint.backends {
                    let mut nodes = self.nodes.values();
                    let at = nodes.find_map(|n| Some((n.off, n.pods.get(&backend.pod)?)));
                    match at.map(|(_, pod)| pod) {
                        Some(pod) if pod.by_hand => ready += usize::from(pod.unseen),
                        // Nobody knows it yet.
                        Some(_) if at.is_some_and(|(off, _)| off) => {}
                        Some(pod) if self.is_ready(pod) || self.fell_over(pod) => ready += 1,
                        Some(_) | None => {
                            found.push(format!(
                                "{name} sends traffic to {}, which is not ready",
                                backend.pod
                            ));
                        }
                    }
                }
                for (image, most) in &self.most {
                    let of = |id: &PodId| {
                        let mut there = self.nodes.values().filter_map(|n| n.pods.get(id));
                        there.any(|pod| &pod.spec.image == image)
                    };
                    let share = share(endpoint, of);
                    if share > *most {
                        found.push(format!("{name} sends {share} of 10000 to {}", image.short()));
                    }
                }
                let floor = self.floors.get(workload).max(self.planned_floors.get(workload));
                let floor = floor.copied().unwrap_or(0);
                if ready < floor {
                    found.push(format!("{workload} has {ready} of {floor} replicas on {name}"));
                }
            }
        }
        self.violations.extend(found);
    }

    /// Looks at a node, cut off or not.
    pub fn observe(&self, name: &NodeName, tenant: &Tenant) -> Option<NodeObservation> {
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
                ends: pod.spec.ends,
                cron: pod.spec.cron.is_some(),
                grace_ms: pod.spec.grace_ms,
                intact: pod.intact,
                mounts: pod.spec.mounts.values().cloned().collect(),
            };
            (id.clone(), seen)
        });
        let status = node.pods.iter().map(|(id, pod)| {
            let status = if pod.cut_off {
                PodStatus::Created
            } else if let Some(exit_code) = self.exit_code(pod) {
                PodStatus::Stopped { exit_code, restarts: 0 }
            } else if pod.running && pod.spec.cron.is_some() && self.run_of(pod).is_none() {
                PodStatus::Waiting { next_at_ms: 0, last: None }
            } else if pod.running {
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
                cannot_seal: false,
            },
            spec: NodeSpec {
                network: node.network.clone(),
                reflexes: node.reflexes.clone(),
                tenant: node.tenants.contains(&tenant.namespace()),
                tenant_remains: false,
                pods: pods.collect(),
                endpoints: node.endpoints.clone(),
                images: node.images.clone(),
                tenants: node.others.keys().cloned().collect(),
                endpoints_of_others: node.taken.clone(),
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
            ledger: node.mark(),
        })
    }
}

impl TwinPod {
    /// Its node boots, or is switched off: what runs for ever runs again, and what was to end was cut off, or has been forgotten.
    fn boot(&mut self, on: bool) {
        if self.spec.ends {
            (self.running, self.cut_off) = (false, true);
        } else {
            self.running = on && !self.by_hand;
        }
    }
}

impl TwinNode {
    /// What it remembers of the ledger.
    pub(super) fn mark(&self) -> Option<Mark> {
        let (epoch, lines, keeper) = self.mark.clone()?;
        let bytes = if self.ledger.contains(&b'\n') { self.ledger.len() as u64 } else { 0 };
        Some(Mark { epoch, lines, keeper, bytes })
    }
}

/// What those backends get of a table's traffic, in hundredths of a percent.
fn share(endpoint: &Endpoint, is_one: impl Fn(&PodId) -> bool) -> u32 {
    let part = |of: &dyn Fn(&PodId) -> bool| {
        let all = endpoint.backends.iter().filter(|backend| of(&backend.pod));
        let ours = all.clone().filter(|backend| is_one(&backend.pod)).count();
        (ours, all.count())
    };
    let (split, to) = match &endpoint.split {
        Some(split) => (split.share as usize, split.to.clone()),
        None => (0, BTreeSet::new()),
    };
    let groups =
        [(split, part(&|pod| to.contains(pod))), (10_000 - split, part(&|pod| !to.contains(pod)))];
    let shares = groups.into_iter().map(|(weight, (ours, all))| weight * ours / all.max(1));
    u32::try_from(shares.sum::<usize>()).unwrap_or(u32::MAX)
}
