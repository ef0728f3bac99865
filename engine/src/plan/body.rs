//! The plan: what will change, where and why, as data.
//!
//! A body is a function of the program's digest, the graph, the observation, the ledger's head
//! and `now`; the same inputs give the same bytes, and the digest of those bytes is its name.
//! Forward steps are spelled out. Compensations are spelled out by [`super::undo`], a pure
//! function of the body, so that they too can be read before anything happens.

mod blocked;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::blocked::{Blocked, Holder, Rejection};
use super::action::{Action, Backend, Endpoint, PodSpec, Write};
use super::after::After;
use super::canon::digest_of;
use super::content::Contents;
use super::graph::{Metric, Probe, Rollout, Workload};
use super::ledger::{Claims, Pin, Remembered};
use super::names::{NodeName, PodId, SpecDigest, Tenant, VolumeId, VolumeName, WorkloadName};
use super::observation::Requests;
use super::overrides::{Counting, Standing};

/// The plan format's version.
pub const PLAN_VERSION: u32 = 10;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBody {
    /// The format's version.
    pub version: u32,
    /// Whose.
    pub tenant: Tenant,
    /// What it is for.
    pub goal: Goal,
    /// The digest of the text, its inputs and its lock file.
    pub program: String,
    /// The ledger's last hash when the plan was made; a ledger that has moved on refuses it.
    pub parent: String,
    /// The revision that applying it makes.
    pub revision: u64,
    /// The planner's `now`, in milliseconds since 1970.
    pub now_ms: u64,
    /// The node that keeps the ledger.
    pub keeper: NodeName,
    /// What each node's Spec and Facts were; absent for a node that was not reachable.
    pub preconditions: BTreeMap<NodeName, String>,
    /// Address claims, old and new.
    pub claims: Claims,
    /// What people decided beside the text, as it counts at `now_ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Counting>,
    /// The workloads that it is about, everything else being left as it is; all if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<WorkloadName>,
    /// One entry a resource that changes or stands back, for people.
    pub changes: Vec<Change>,
    /// Workloads whose pins end with this plan, since their release changed in the text.
    pub unpinned: BTreeSet<WorkloadName>,
    /// Nodes that a plan has switched off, and that answer again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unfenced: BTreeSet<NodeName>,
    /// Fingerprints of secrets that may not come back from here on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revoked: BTreeSet<String>,
    /// Rollouts, one a workload that has steps.
    pub branches: BTreeMap<WorkloadName, Branch>,
    /// Forward steps, in an order that respects `after`.
    pub steps: Vec<Step>,
    /// Whose the fleet is, by namespace, if it is another tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What could not be planned, and what would help.
    pub blocked: Vec<Blocked>,
    /// What is put off because a node is unknown.
    pub deferred: Vec<String>,
    /// Where every pod will be when all is done.
    pub expected: BTreeMap<PodId, Placed>,
    /// Since when nodes are silent, in milliseconds since 1970, if the ledger says something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<BTreeMap<NodeName, u64>>,
    /// Where every volume is that is known when the plan is made: what is remembered if its apply is
    /// killed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<VolumeId, Remembered>,
    /// What workloads are called from here on, by their names before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<WorkloadName, WorkloadName>,
    /// What the folders of renamed volumes are called, by the volumes' names in the text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<VolumeName, VolumeName>,
    /// What is in the files of the releases that it brings, and of those that it may go back to.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    pub contents: Contents,
    /// What each workload will have reached; `None` for one that is removed.
    pub reaches: BTreeMap<WorkloadName, Option<Box<Workload>>>,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The nodes become what the text says.
    Converge,
    /// Everything of the tenant leaves the nodes.
    Destroy,
}

/// A step's number in its plan, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StepId(pub u32);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// On which node.
    pub node: NodeName,
    /// For which workload; `None` for what a node itself needs.
    pub branch: Option<WorkloadName>,
    /// In which wave of the workload's rollout.
    pub wave: Option<u32>,
    /// What.
    pub work: Work,
    /// Steps that must be done before.
    pub after: After,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Writes.
    Act(Action),
    /// Waits until a pod is ready; past the deadline, the branch goes back or stops.
    AwaitReady {
        /// Which pod.
        pod: PodId,
        /// Its address.
        ip4: Ipv4Addr,
        /// How to ask; running is enough if absent.
        probe: Option<Probe>,
        /// How long it may take, in milliseconds.
        deadline_ms: u64,
    },
    /// Waits until a pod that left its endpoint serves no connection any more, at most so long.
    AwaitDrained {
        /// Which pod.
        pod: PodId,
        /// How long it may take, in milliseconds; past it the pod is stopped all the same.
        deadline_ms: u64,
    },
    /// Asks something else of a release; if the answer is no, the branch goes back or stops.
    Ask(Gate),
    /// Switches the node off, by a program on the machine that applies, if nothing answers there still. What
    /// runs elsewhere in place of what was there waits for it. Irreversible.
    Fence {
        /// The program and its arguments.
        command: Vec<String>,
        /// Since when the node is silent, in milliseconds since 1970.
        since_ms: u64,
    },
}

/// What is asked of a release beside whether a replica is ready. Each names the pod that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Gate {
    /// Whether a pod stays ready, and is not restarted, for a while.
    Steady {
        /// Which pod.
        pod: PodId,
        /// Its address.
        ip4: Ipv4Addr,
        /// How to ask; running is enough if absent.
        probe: Option<Probe>,
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// Whether a program in a pod exits with 0.
    Command {
        /// Which pod.
        pod: PodId,
        /// The program and its arguments.
        run: Vec<String>,
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
    },
    /// Whether a metric stays within its bounds for a while.
    Metric {
        /// One of the pods that it is about.
        pod: PodId,
        /// Which, and between what.
        metric: Metric,
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// Whether a job's pod ends with exit code 0. One that fails is started again, so that this may write, too.
    Ended {
        /// Which pod.
        pod: PodId,
        /// How often it is started again.
        retries: u32,
        /// How long all of that may take, in milliseconds.
        timeout_ms: u64,
    },
}

impl Gate {
    /// Names the pod that it is about.
    pub fn pod(&self) -> &PodId {
        match self {
            Self::Steady { pod, .. }
            | Self::Command { pod, .. }
            | Self::Metric { pod, .. }
            | Self::Ended { pod, .. } => pod,
        }
    }
}

/// A workload's rollout: what its waves replace, and what they would restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// How.
    pub rollout: Rollout,
    /// When a replica of the new release counts as ready.
    pub health: Option<Probe>,
    /// The release that is rolled out; `None` when the workload is removed.
    pub release: Option<SpecDigest>,
    /// What stands if it is turned down; `None` if there was nothing before.
    pub before: Option<Box<Workload>>,
    /// Replicas that must be available at every moment.
    pub floor: u32,
    /// The endpoint, without backends; `None` without ports.
    pub endpoint: Option<Endpoint>,
    /// The endpoint that an undo goes back to, without backends.
    pub endpoint_before: Option<Endpoint>,
    /// The nodes that hold the endpoint's tables; none if there is no endpoint, before or after.
    pub tables: Arc<[NodeName]>,
    /// The endpoint's backends before the first wave.
    pub backends: BTreeSet<PodId>,
    /// Those of them that no wave replaces.
    pub stays: Vec<Backend>,
    /// Those of them that are of the new release already: a rollout that was stopped is gone on with.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fresh: BTreeSet<PodId>,
    /// Pods that are not of what was before and never took traffic, such as one that an engine left half-made:
    /// an undo has no use for them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub never_served: BTreeSet<PodId>,
    /// Waves, in order.
    pub waves: Vec<Wave>,
    /// Whether a failed gate undoes the waves (the rollout asks for it, and what stood before is
    /// known).
    pub undo: bool,
}

impl Branch {
    /// Counts the replicas of the new release that an undo does not take away: an apply before this one
    /// had brought them to their end.
    pub fn remain(&self) -> usize {
        let moves = self.waves.iter().flat_map(|wave| &wave.moves);
        let comes: BTreeSet<&PodId> =
            moves.filter_map(|one| one.into.as_ref()).map(|(_, pod)| &pod.id).collect();
        self.fresh.iter().filter(|pod| !comes.contains(pod)).count()
    }
}

/// Replicas that change together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// One entry a replica.
    pub moves: Vec<Move>,
    /// What the new release gets of the traffic once the wave is ready, in hundredths of a percent: 0
    /// for none, 10000 for all; as much as any other replica if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// What is watched then, before the next wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
    /// The wave in which those leave that this one's replicas stand in for; this one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<u32>,
}

/// A while in which a release is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bake {
    /// How long, in milliseconds.
    pub for_ms: u64,
    /// What is asked meanwhile, beside whether its replicas stay ready.
    pub metrics: Vec<Metric>,
}

impl Wave {
    /// Replicas that change together, and nothing else.
    pub fn of(moves: Vec<Move>) -> Self {
        Self { moves, share: None, bake: None, held_until: None }
    }
}

/// One replica's change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which replica.
    pub ordinal: u32,
    /// Pods that leave, with their places.
    pub out: Vec<(PodId, Placed)>,
    /// The pod that comes: created if `create`, else it is there and waits for its gate.
    pub into: Option<(NodeName, Arc<PodSpec>)>,
    /// Whether `into` has to be created.
    pub create: bool,
    /// The pod that would stand in for `out` if the release is turned down.
    pub restore: Option<(NodeName, Arc<PodSpec>)>,
    /// Whether the new pod starts before the old one stops.
    pub start_first: bool,
    /// Why this node.
    pub why: String,
}

impl Move {
    /// Pods leave, and nothing comes in their place.
    pub fn leaving(ordinal: u32, out: Vec<(PodId, Placed)>, why: impl Into<String>) -> Self {
        let (into, restore) = (None, None);
        Self { ordinal, out, into, create: false, restore, start_first: false, why: why.into() }
    }
}

/// A pod's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// On which node.
    pub node: NodeName,
    /// Of which workload.
    pub workload: WorkloadName,
    /// From which template.
    pub digest: SpecDigest,
    /// Its IPv4 address.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address.
    pub ip6: Ipv6Addr,
    /// What it asks for.
    pub requests: Requests,
    /// Whether its program ends by itself: it is a job's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// How long it may take to end by itself when it is asked to, in milliseconds.
    pub grace_ms: u64,
}

/// One resource that changes, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its address: `service/web`, `node/n[1]`.
    pub resource: String,
    /// What happens to it.
    pub verb: Verb,
    /// Field by field.
    pub fields: Vec<FieldChange>,
    /// Why, where it is not the text.
    pub causes: Vec<String>,
}

/// What happens to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It comes.
    Add,
    /// It changes.
    Change,
    /// It is as it should be in the text, but not on the nodes.
    Heal,
    /// It goes.
    Destroy,
    /// It stands back: a pin holds it.
    Held(Box<Pin>),
    /// A pin held it, and ends with this plan, since its release has changed in the text.
    Released(Box<Pin>),
    /// An override keeps its release as it is.
    Paused(Box<Standing>),
    /// It has no replicas, so its release in the text waits until it has some.
    Stopped,
    /// Its release in the text waits for jobs that are not done yet.
    Waits,
    /// A volume that nobody mounts any more, and that stays with its data.
    Kept,
    /// It had another name before, and goes on as it is.
    Moved,
}

/// One field's change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Its path: `env.POOL`.
    pub path: String,
    /// Before, as text; `None` if it was not set.
    pub before: Option<String>,
    /// After, as text; `None` if it is not set any more.
    pub after: Option<String>,
}

impl PlanBody {
    /// Names the plan: the digest of its bytes, 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        digest_of("berth-plan/1", self)
    }

    /// Says whether a workload is left as it is, since the plan is about others.
    pub fn leaves(&self, workload: &WorkloadName) -> bool {
        !self.only.is_empty() && !self.only.contains(workload)
    }

    /// Says whether there is nothing to do and nothing to record.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
            && self.reaches.is_empty()
            && self.unpinned.is_empty()
            && self.unfenced.is_empty()
            && self.revoked.is_empty()
            && self.silent.is_none()
            && self.moved.is_empty()
            && !self.leaves_nothing()
    }

    /// Whether nothing of the tenant is left once it is carried out, so that its ledger goes last.
    pub fn leaves_nothing(&self) -> bool {
        match self.goal {
            Goal::Converge => false,
            Goal::Destroy => self.deferred.is_empty() && !self.parent.is_empty(),
        }
    }

    /// Every place that it says of a pod that was there before.
    pub(super) fn placed_mut(&mut self) -> impl Iterator<Item = &mut Placed> {
        let waves = self.branches.values_mut().flat_map(|branch| &mut branch.waves);
        let out = waves.flat_map(|wave| &mut wave.moves).flat_map(|one| &mut one.out);
        self.expected.values_mut().chain(out.map(|(_, placed)| placed))
    }

    /// Takes out what it says of pods of a node that is gone.
    pub(super) fn forget_pods(&mut self, node: &NodeName) {
        self.expected.retain(|_, placed| &placed.node != node);
        let waves = self.branches.values_mut().flat_map(|branch| &mut branch.waves);
        for one in waves.flat_map(|wave| &mut wave.moves) {
            one.out.retain(|(_, placed)| &placed.node != node);
        }
    }

    /// Lists the highest generation that the plan or its undo may create, by replica.
    pub fn generations(&self) -> BTreeMap<String, u64> {
        let mut highest = BTreeMap::new();
        let moves = self.branches.values().flat_map(|b| &b.waves).flat_map(|w| &w.moves);
        let created = moves.flat_map(|m| m.into.iter().chain(&m.restore));
        for (_, pod) in created {
            let entry = highest.entry(pod.id.replica()).or_insert(0);
            *entry = pod.id.generation.max(*entry);
        }
        highest
    }

    /// Lists every node that a step may write to, those of undos and the keeper included, sorted.
    pub fn nodes(&self) -> BTreeSet<NodeName> {
        let on_it = |step: &&Step| !matches!(step.work, Work::Fence { .. });
        let mut nodes: BTreeSet<_> =
            self.steps.iter().filter(on_it).map(|step| step.node.clone()).collect();
        nodes.insert(self.keeper.clone());
        for branch in self.branches.values().filter(|branch| branch.undo) {
            if branch.endpoint.is_some() || branch.endpoint_before.is_some() {
                nodes.extend(branch.tables.iter().cloned());
            }
            let restored = branch.waves.iter().flat_map(|wave| &wave.moves);
            nodes.extend(restored.filter_map(|one| one.restore.as_ref()).map(|(n, _)| n.clone()));
        }
        nodes
    }

    /// The pods that its steps make, with their nodes.
    pub fn created(&self) -> impl Iterator<Item = (&NodeName, &PodSpec)> {
        self.steps.iter().filter_map(|step| match &step.work {
            Work::Act(Action::EnsurePod { pod }) => Some((&step.node, &**pod)),
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => None,
        })
    }

    /// Numbers the first step of an undo: the one after the plan's own.
    pub fn next_step(&self) -> StepId {
        StepId(u32::try_from(self.steps.len()).unwrap_or(u32::MAX))
    }

    /// Names everything that the forward steps may write, by node.
    pub fn writes(&self) -> BTreeMap<NodeName, BTreeSet<Write>> {
        writes_of(&self.tenant, &self.steps)
    }
}

/// Names everything that steps may write, by node.
pub fn writes_of(tenant: &Tenant, steps: &[Step]) -> BTreeMap<NodeName, BTreeSet<Write>> {
    let mut writes: BTreeMap<NodeName, BTreeSet<Write>> = BTreeMap::new();
    for step in steps {
        match &step.work {
            Work::Act(action) => {
                writes.entry(step.node.clone()).or_default().extend(action.writes());
            }
            Work::Ask(Gate::Ended { pod, retries: 1.., timeout_ms: _ }) => {
                writes.entry(step.node.clone()).or_default().insert(Write::of_pod(tenant, pod));
            }
            Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => {}
        }
    }
    writes
}

impl Placed {
    /// Describes where a pod made from a spec is.
    pub fn of(node: &NodeName, pod: &PodSpec) -> Self {
        Self {
            node: node.clone(),
            workload: pod.workload.clone(),
            digest: pod.digest.clone(),
            ip4: pod.ip4,
            ip6: pod.ip6,
            requests: pod.requests(),
            ends: pod.ends,
            grace_ms: pod.grace_ms,
        }
    }
}
