//! Volumes: where each one is, what they do to a replica's place, and what a plan does about them.
//!
//! A volume is a folder on one node. It is made where its first user is placed, and stays there:
//! whoever mounts it goes to its node, or nowhere, since no data is ever moved or made anew behind
//! somebody's back. What the ledger remembers on a node that did not answer is there; what it
//! remembers on a node that answered and has not got it is lost, and a person has to say what
//! follows. Data goes only where the folder's own note says so and nobody mounts it any more.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::body::{Blocked, Step, StepId, Work};
use super::graph::{Graph, Placement, Volume, Workload};
use super::ledger::{Head, Remembered};
use super::names::{NodeName, VolumeId, VolumeName, WorkloadName};
use super::observation::{Observation, Requests, VolumeSpec};
use super::place::Fleet;

/// What is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// Its node answered, and has it.
    Seen(NodeName, VolumeSpec),
    /// It was there when the last apply ended, or may have been, and the node did not answer.
    Remembered(Remembered),
    /// It was there, and is not any more; or the node has left the text.
    Lost(NodeName),
    /// More than one node has it, or may have.
    Twice(BTreeSet<NodeName>),
}

impl Home {
    /// Names the node where it is, or was.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Seen(node, _) | Self::Lost(node) => Some(node),
            Self::Remembered(at) => Some(&at.node),
            Self::Twice(nodes) => nodes.first(),
        }
    }

    /// Says whether a replica may mount it.
    pub fn is_sure(&self) -> bool {
        match self {
            Self::Seen(..) | Self::Remembered(_) => true,
            Self::Lost(_) | Self::Twice(_) => false,
        }
    }
}

/// Every volume that is known, joined from what was seen and what the ledger remembers.
pub fn homes(graph: &Graph, observation: &Observation, head: &Head) -> BTreeMap<VolumeId, Home> {
    let mut homes: BTreeMap<VolumeId, Home> = BTreeMap::new();
    let twice = |there: &Home, node: &NodeName| {
        let nodes = match there {
            Home::Twice(nodes) => nodes.clone(),
            Home::Seen(..) | Home::Remembered(_) | Home::Lost(_) => {
                there.node().into_iter().cloned().collect()
            }
        };
        Home::Twice(nodes.into_iter().chain([node.clone()]).collect())
    };
    for node in graph.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        for (id, spec) in &seen.spec.volumes {
            let home = match homes.get(id) {
                Some(there) => twice(there, node),
                None => Home::Seen(node.clone(), spec.clone()),
            };
            homes.insert(id.clone(), home);
        }
    }
    // An apply that was killed may have made what it began to make, and removed what it was to.
    let (mut begun, mut going) = (Vec::new(), BTreeSet::new());
    for step in head.in_flight.iter().flat_map(|flight| &flight.plan.steps) {
        match &step.work {
            Work::Act(Action::EnsureVolume { volume, .. }) => {
                begun.push((volume, &step.node, true))
            }
            Work::Act(Action::RemoveVolume { volume, .. }) => {
                going.insert(volume);
            }
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => {}
        }
    }
    let ended = head.volumes().iter();
    let ended = ended.map(|(id, at)| (id, &at.node, at.unsure || going.contains(id)));
    for (id, node, unsure) in ended.chain(begun) {
        let answered = observation.seen(node).is_some();
        let unknown = graph.nodes.contains_key(node) && !answered;
        let home = match homes.get(id) {
            Some(there) if there.node() != Some(node) && unknown => twice(there, node),
            Some(_) => continue,
            None if unknown => Home::Remembered(Remembered { node: node.clone(), unsure }),
            None if unsure => continue,
            None => Home::Lost(node.clone()),
        };
        homes.insert(id.clone(), home);
    }
    homes
}

/// The folders that workloads mount, each with its volume's name.
pub fn mounted(wanted: &BTreeMap<WorkloadName, Workload>) -> BTreeMap<VolumeId, &VolumeName> {
    let mut mounted = BTreeMap::new();
    for workload in wanted.values() {
        for mount in workload.template.mounts.values() {
            let ordinals = if mount.each_replica { 0..workload.replicas } else { 0..1 };
            for ordinal in ordinals {
                mounted.entry(mount.id(ordinal)).or_insert(&mount.volume);
            }
        }
    }
    mounted
}

/// Says whether a folder is one that a workload mounts, or would with more replicas.
pub fn mounts(workload: &Workload, id: &VolumeId) -> bool {
    let mut mounts = workload.template.mounts.values();
    mounts.any(|mount| belongs(id, &mount.volume, mount.each_replica))
}

fn belongs(id: &VolumeId, volume: &VolumeName, each_replica: bool) -> bool {
    if each_replica {
        id.replica().is_some_and(|(slug, _)| slug == volume.slug())
    } else {
        *id == volume.id(None)
    }
}

/// The volumes of a text, by the names of their folders.
#[derive(Debug)]
pub struct InText<'a>(BTreeMap<String, (&'a VolumeName, &'a Volume)>);

impl<'a> InText<'a> {
    /// Takes all of a text's.
    pub fn of(graph: &'a Graph) -> Self {
        Self(graph.volumes.iter().map(|(name, volume)| (name.slug(), (name, volume))).collect())
    }

    /// Finds the volume that a folder belongs to, mounted or not.
    pub fn get(&self, id: &VolumeId) -> Option<(&'a VolumeName, &'a Volume)> {
        let of_all = self.0.get(id.as_str()).filter(|(_, volume)| !volume.each_replica);
        let of_each = || self.0.get(id.replica()?.0).filter(|(_, volume)| volume.each_replica);
        of_all.or_else(of_each).copied()
    }
}

/// Puts volumes into the fleet: those that are there take their room, and keep who mounts them at
/// their node; those that are not go where the text says, if it does.
pub fn lay(
    fleet: &mut Fleet,
    graph: &Graph,
    wanted: &BTreeMap<WorkloadName, Workload>,
    homes: &BTreeMap<VolumeId, Home>,
) {
    let in_text = InText::of(graph);
    for (id, home) in homes {
        match home {
            Home::Seen(node, noted) => {
                // One that the text makes larger counts as that at once.
                let said = in_text.get(id).map_or(0, |(_, volume)| volume.spec.size_bytes);
                fleet.house(id, node, true);
                fleet.lay(node, noted.size_bytes.max(said));
            }
            Home::Remembered(_) | Home::Lost(_) | Home::Twice(_) => {
                home.node().into_iter().for_each(|node| fleet.house(id, node, true));
            }
        }
    }
    for (id, name) in mounted(wanted) {
        let on = graph.volumes.get(name).and_then(|volume| volume.on.as_ref());
        if let Some(on) = on.filter(|_| !homes.contains_key(&id)) {
            fleet.house(&id, on, false);
        }
    }
}

/// What one replica asks for, by what its volumes add to that.
#[derive(Clone, Debug)]
pub struct Asks {
    /// All of it, with room for the volumes that are to be made for it.
    pub requests: Requests,
    /// Bytes of disk for those volumes.
    pub volumes_bytes: u64,
    /// Where it may go, with the volumes that are somewhere already; where the text says if absent.
    pub tied: Option<Placement>,
}

/// Reckons what one replica asks for.
pub fn asks(
    workload: &Workload,
    ordinal: u32,
    volumes: &BTreeMap<VolumeName, Volume>,
    fleet: &Fleet,
) -> Asks {
    let mut requests = workload.template.asks();
    let mut volumes_bytes: u64 = 0;
    let mut held = BTreeMap::new();
    for mount in workload.template.mounts.values() {
        let id = mount.id(ordinal);
        let home = fleet.home(&id);
        if home.is_none_or(|(_, counted)| !counted) {
            let size = volumes.get(&mount.volume).map_or(0, |volume| volume.spec.size_bytes);
            volumes_bytes = volumes_bytes.saturating_add(size);
        }
        held.extend(home.map(|(node, _)| (id, node.clone())));
    }
    requests.disk_bytes = requests.disk_bytes.saturating_add(volumes_bytes);
    let tied = (!held.is_empty()).then(|| Placement { held, ..workload.placement.clone() });
    Asks { requests, volumes_bytes, tied }
}

/// Why a replica cannot come anywhere, for people: one of its volumes is not what it should be.
pub fn barred(
    workload: &Workload,
    ordinal: u32,
    homes: &BTreeMap<VolumeId, Home>,
) -> Option<VolumeId> {
    let mut ids = workload.template.mounts.values().map(|mount| mount.id(ordinal));
    ids.find(|id| homes.get(id).is_some_and(|home| !home.is_sure()))
}

/// Volumes that a person has to say something about before anything mounts them.
pub fn blocked(
    graph: &Graph,
    wanted: &BTreeMap<WorkloadName, Workload>,
    homes: &BTreeMap<VolumeId, Home>,
) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    for (id, name) in mounted(wanted) {
        let on = graph.volumes.get(name).and_then(|volume| volume.on.as_ref());
        match (homes.get(&id), on) {
            (Some(Home::Lost(node)), _) => {
                blocked.push(Blocked::VolumeLost { volume: id, node: node.clone() });
            }
            (Some(Home::Twice(nodes)), _) => {
                blocked.push(Blocked::VolumeTwice { volume: id, nodes: nodes.clone() });
            }
            (Some(Home::Seen(is, _) | Home::Remembered(Remembered { node: is, .. })), Some(on))
                if is != on =>
            {
                let (is, wants) = (is.clone(), on.clone());
                blocked.push(Blocked::VolumeElsewhere { volume: id, is, wants });
            }
            (Some(Home::Seen(..) | Home::Remembered(_)), _) | (None, _) => {}
        }
    }
    blocked
}

/// Volumes that the text makes larger than there is room for; `fleet` counts what the text says.
pub fn too_large(
    graph: &Graph,
    homes: &BTreeMap<VolumeId, Home>,
    fleet: &Fleet,
) -> BTreeMap<VolumeId, Blocked> {
    let in_text = InText::of(graph);
    let grown = homes.iter().filter_map(|(id, home)| match home {
        Home::Seen(node, noted) => {
            let said = in_text.get(id)?.1.spec.size_bytes;
            let over_bytes = fleet.disk_over(node);
            (said > noted.size_bytes && over_bytes > 0).then(|| {
                let (volume, node) = (id.clone(), node.clone());
                let blocked =
                    Blocked::VolumeTooLarge { volume, node, size_bytes: said, over_bytes };
                (id.clone(), blocked)
            })
        }
        Home::Remembered(_) | Home::Lost(_) | Home::Twice(_) => None,
    });
    grown.collect()
}

/// Puts the volumes that a plan's steps make into the fleet, for looking at it as it will be.
pub fn lay_new(fleet: &mut Fleet, steps: &[Step], homes: &BTreeMap<VolumeId, Home>) {
    for step in steps {
        if let Work::Act(Action::EnsureVolume { tenant: _, volume, spec }) = &step.work
            && !homes.contains_key(volume)
        {
            fleet.house(volume, &step.node, true);
            fleet.lay(&step.node, spec.size_bytes);
        }
    }
}

/// Where every volume is after a run: those known before, what its steps made, less what they
/// removed; what they may have made or removed is noted as that. One that is lost is remembered for
/// as long as somebody mounts it.
pub fn after(
    graph: &Graph,
    homes: BTreeMap<VolumeId, Home>,
    steps: &[Step],
    done: &BTreeSet<StepId>,
) -> BTreeMap<VolumeId, Remembered> {
    let mounted = mounted(&graph.workloads);
    let known = homes.into_iter().filter(|(id, home)| home.is_sure() || mounted.contains_key(id));
    let at = |home: Home| match home {
        Home::Remembered(at) => Some(at),
        Home::Seen(..) | Home::Lost(_) | Home::Twice(_) => {
            Some(Remembered { node: home.node()?.clone(), unsure: false })
        }
    };
    let mut after: BTreeMap<VolumeId, Remembered> =
        known.filter_map(|(id, home)| Some((id, at(home)?))).collect();
    for step in steps {
        let at = |unsure| Remembered { node: step.node.clone(), unsure };
        match (&step.work, done.contains(&step.id)) {
            (Work::Act(Action::EnsureVolume { volume, .. }), true) => {
                after.insert(volume.clone(), at(false));
            }
            (Work::Act(Action::EnsureVolume { volume, .. }), false) => {
                after.entry(volume.clone()).or_insert_with(|| at(true));
            }
            (Work::Act(Action::RemoveVolume { volume, .. }), true) => {
                after.remove(volume);
            }
            (Work::Act(Action::RemoveVolume { volume, .. }), false) => {
                after.insert(volume.clone(), at(true));
            }
            (
                Work::Act(_)
                | Work::AwaitReady { .. }
                | Work::AwaitDrained { .. }
                | Work::Ask(_)
                | Work::Fence { .. },
                _,
            ) => {}
        }
    }
    after
}
