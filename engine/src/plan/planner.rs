//! The planner: graph, observation and head into a plan.
//!
//! In order: claims, overrides, what each node needs for itself, each workload's rollout with its
//! placement, images, and the words for people. Decisions are made here and in [`super::rollout`];
//! steps are built by [`super::steps`], which sees no observation.

mod claim;
mod decide;
mod jobs;
mod leave;
mod stands;
mod unknown;
mod volumes;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::claim::{claim, ranges};
use self::stands::{effective, paused};
use self::unknown::{Fences, give_up, note_nodes, note_revoked, note_secrets};
use super::action::{Action, Backend, Endpoint, ImageSource, NodeNetwork, PeerList, Reflex, Split};
use super::after::After;
use super::body::{Branch, Goal, PLAN_VERSION, Placed, PlanBody, StepId};
use super::canon::template_digest;
use super::change::{self, Known};
use super::content::{self, Contents};
use super::freshness;
use super::graph::{Graph, Placement, Workload};
use super::ledger::Head;
use super::moved::{self, Rename};
use super::names::{ImageDigest, NodeName, PodId, SpecDigest, VolumeId, WorkloadName};
use super::observation::{NodeObservation, Observation};
use super::overrides;
use super::peers;
use super::rollout::{Case, Decision};
use super::steps::{Builder, Track};
use super::tenancy::{self, Hold};
use super::volume;
use super::world::World;

pub(super) use self::claim::addresses;
pub(super) use self::decide::fleet;

/// All that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the text says.
    pub graph: &'a Graph,
    /// The digest of the text, its inputs and its lock file.
    pub program: &'a str,
    /// What the nodes said.
    pub observation: &'a Observation,
    /// What the ledger says.
    pub head: &'a Head,
    /// What for.
    pub goal: Goal,
    /// The workloads that it is about, with whom they need; [`EVERYTHING`] if empty.
    pub only: &'a BTreeSet<WorkloadName>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// A plan that is about all workloads.
pub const EVERYTHING: &BTreeSet<WorkloadName> = &BTreeSet::new();

/// Plans.
pub fn plan(inputs: &Inputs<'_>) -> PlanBody {
    let told = inputs;
    let fleet = tenancy::view(told.graph, told.observation, told.goal);
    let view = moved::view(told.graph, &fleet.observation, told.head, told.goal);
    let text = &*view.graph;
    let graph = overrides::in_force(text, &view.head.overrides, inputs.now_ms);
    let (observation, head) = (&*view.observation, &*view.head);
    let inputs = &Inputs { graph: &graph, observation, head, ..*inputs };
    let Inputs { graph, program, observation, head, goal, only, now_ms } = *inputs;
    let mut body = PlanBody {
        version: PLAN_VERSION,
        tenant: graph.tenant.clone(),
        goal,
        program: program.to_owned(),
        parent: head.hash.clone(),
        revision: head.revision + 1,
        now_ms,
        keeper: graph.keeper.clone(),
        preconditions: freshness::preconditions(told.observation),
        claims: head.claims.clone(),
        overrides: overrides::counted(text, &head.overrides, now_ms),
        only: closed(graph, head, only),
        changes: Vec::new(),
        unpinned: BTreeSet::new(),
        unfenced: BTreeSet::new(),
        revoked: match goal {
            Goal::Converge => graph.revoked.difference(&head.revoked).cloned().collect(),
            Goal::Destroy => BTreeSet::new(),
        },
        branches: BTreeMap::new(),
        steps: Vec::new(),
        owner: fleet.owner.clone(),
        blocked: fleet.blocked.clone(),
        deferred: Vec::new(),
        expected: BTreeMap::new(),
        silent: None,
        volumes: BTreeMap::new(),
        moved: moved::news(&view, told.head),
        stored: view.stored.clone(),
        contents: Contents::default(),
        reaches: BTreeMap::new(),
    };
    note_nodes(inputs, told.observation, &mut body);
    body.blocked.extend(view.blocked.iter().cloned());
    let mut world = World::of(graph, observation, head);
    for (names, pods) in moved::told(&view, &body.moved) {
        body.changes.push(moved::change(&names, &pods));
    }
    let wanted = effective(inputs, &mut body);
    let fences = give_up(inputs, &wanted, &mut world, &mut body);
    let fences = &fences;
    claim((graph, observation), &wanted, &mut body);
    body.volumes = volume::after(graph, world.volumes.clone(), &[], &BTreeSet::new());
    let may_plan = body.blocked.is_empty();
    let mut meant = Cow::Borrowed(&wanted);
    if !body.only.is_empty() {
        meant.to_mut().retain(|name, _| !body.leaves(name));
    }
    body.blocked.extend(volume::blocked(graph, &meant, &world.volumes));
    if may_plan {
        let left = leave::left(inputs, &world);
        if !left.is_empty() {
            let mut quiet = body.clone();
            let yielding = BTreeMap::new();
            let renames = &view.renames;
            let (body, ended) = (&mut quiet, BTreeMap::new());
            Planning { inputs, world: &world, body, yielding, left, renames, fences, ended }
                .run(&wanted);
            // Else the tables there have to follow what the replicas do.
            if quiet.branches.is_empty() && quiet.blocked.is_empty() {
                return quiet;
            }
        }
        let (yielding, left) = (BTreeMap::new(), BTreeSet::new());
        let (renames, ended) = (&view.renames, BTreeMap::new());
        let planned = &mut body;
        Planning { inputs, world: &world, body: planned, yielding, left, renames, fences, ended }
            .run(&wanted);
        moved::suggest(inputs, &mut body);
        note_revoked(inputs, &mut body);
    }
    body
}

/// Those that a plan is about, with whom they must be near and who is not there yet, and the jobs that they are after.
fn closed(graph: &Graph, head: &Head, only: &BTreeSet<WorkloadName>) -> BTreeSet<WorkloadName> {
    let mut closed = BTreeSet::new();
    let mut left: Vec<&WorkloadName> = only.iter().collect();
    while let Some(name) = left.pop() {
        if !closed.insert(name.clone()) {
            continue;
        }
        let near = graph.workloads.get(name).into_iter().flat_map(|w| &w.placement.near);
        let near = near.filter(|near| near.weight.is_none()).map(|near| &near.workload);
        left.extend(near.filter(|other| !head.reached.contains_key(*other)));
        let after = graph.workloads.get(name).into_iter().flat_map(|w| &w.after);
        left.extend(after.filter(|job| !jobs::is_done(graph, head, job)));
    }
    closed
}

/// The last steps of what each node itself needs.
#[derive(Default)]
struct Prepared {
    /// Of all that it needs: what comes there waits for it.
    all: BTreeMap<NodeName, StepId>,
    /// Of those that give things their names of now: what leaves waits for it.
    named: BTreeMap<NodeName, StepId>,
    /// By which nodes are switched off: what runs in place of what was there waits for it.
    fenced: BTreeMap<NodeName, StepId>,
}

/// The steps that bring images to nodes.
type Images = BTreeMap<(NodeName, ImageDigest), StepId>;

struct Planning<'a, 'b> {
    inputs: &'a Inputs<'a>,
    world: &'a World,
    body: &'b mut PlanBody,
    /// Pods that make room, and for whom.
    yielding: BTreeMap<PodId, WorkloadName>,
    /// Nodes that Berth leaves now.
    left: BTreeSet<NodeName>,
    /// What gives each node's things the names of now.
    renames: &'a BTreeMap<NodeName, Vec<Rename>>,
    /// Nodes that are switched off.
    fences: &'a Fences,
    /// What waits for a job that runs in this plan waits for these.
    ended: BTreeMap<WorkloadName, After>,
}

/// By node, the steps by which pods leave that make room for a workload, or that hold a port of
/// their node which it asks for.
fn vacated(
    builder: &Builder,
    yielding: &BTreeMap<PodId, WorkloadName>,
    world: &World,
    name: &WorkloadName,
    workload: &Workload,
) -> BTreeMap<NodeName, Vec<StepId>> {
    let asked = &workload.template.publish;
    let mut vacated: BTreeMap<NodeName, Vec<StepId>> = BTreeMap::new();
    if asked.is_empty() && yielding.is_empty() {
        return vacated;
    }
    for (step, pod) in builder.leaving() {
        let held = || world.pods.get(pod).map(|here| &here.placed.requests.ports);
        if yielding.get(pod) == Some(name)
            || held().is_some_and(|held| held.iter().any(|port| asked.contains_key(port)))
        {
            vacated.entry(step.node.clone()).or_default().push(step.id);
        }
    }
    vacated
}

impl Planning<'_, '_> {
    fn run(&mut self, wanted: &BTreeMap<WorkloadName, Workload>) {
        let stays = self.seen().filter(|(name, _)| !self.left.contains(*name));
        let tables: Arc<[NodeName]> = stays.map(|(name, _)| name.clone()).collect();
        let mut wanted = Cow::Borrowed(wanted);
        let (mut too_large, decisions) = loop {
            let fleet = fleet(self.inputs, self.world, &self.body.claims, &wanted);
            let too_large = volume::too_large(self.inputs.graph, &self.world.volumes, &fleet);
            let decisions = self.decide(&wanted, &tables, &fleet);
            if !self.stand_back(&mut wanted, &decisions) {
                break (too_large, decisions);
            }
        };
        let wanted = &*wanted;
        if !self.body.only.is_empty() {
            let meant = self.meant(wanted);
            too_large.retain(|id, _| meant.contains(id));
        }
        self.body.blocked.extend(too_large.values().cloned());
        // A start and a wait for each replica that moves: a list of millions that grows is copied as it does.
        let branches = decisions.values().filter_map(|decision| decision.branch.as_ref());
        let moves = branches.flat_map(|branch| &branch.waves).map(|wave| wave.moves.len());
        let mut builder = Builder::with_room_for(2 * moves.sum::<usize>());
        let prepared = self.prepare(&mut builder);
        let images = self.images(wanted, &decisions, &prepared.all, &mut builder);
        let volumes = self.volumes(wanted, &decisions, (&prepared.all, &too_large), &mut builder);
        let endpoints = self.endpoints();
        // Whoever yields comes before whom it yields to, whose steps wait for it.
        let priority = |name: &WorkloadName| wanted.get(name).map_or(0, |w| w.placement.priority);
        // What leaves for good comes first, so that others can wait for the ports that it held.
        let depths = self.depths(wanted, &decisions);
        let depth = |name: &WorkloadName| depths.get(name).copied().unwrap_or(0);
        let mut decisions: Vec<_> = decisions.into_iter().collect();
        decisions.sort_by_key(|(name, _)| (wanted.contains_key(name), depth(name), priority(name)));
        let none = BTreeMap::new();
        for (name, decision) in decisions {
            if self.is_left(&name, &self.yielding) {
                self.body.expected.extend(decision.kept);
                continue;
            }
            self.branch(
                &name,
                wanted.get(&name),
                decision,
                &prepared,
                (&images, volumes.get(&name).unwrap_or(&none)),
                endpoints.get(&name).map(Vec::as_slice).unwrap_or_default(),
                &mut builder,
            );
        }
        if self.body.only.is_empty() {
            self.drop_volumes(wanted, &mut builder);
        }
        match self.inputs.goal {
            Goal::Destroy => self.leave(&mut builder),
            Goal::Converge => self.retire(&mut builder),
        }
        self.body.steps = builder.finish();
        self.body.contents = content::of_plan(self.body, self.inputs.graph, self.inputs.head);
        note_secrets(self.inputs, self.body);
    }

    fn seen(&self) -> impl Iterator<Item = (&NodeName, &NodeObservation)> {
        let observation = self.inputs.observation;
        self.inputs
            .graph
            .nodes
            .keys()
            .filter_map(move |name| observation.seen(name).map(|seen| (name, seen)))
    }

    /// Says whether a workload is left as it is: the plan is about others, and none of its pods makes
    /// room for them.
    fn is_left(&self, name: &WorkloadName, yielding: &BTreeMap<PodId, WorkloadName>) -> bool {
        let of_it = |pod: &PodId| {
            self.world.pods.get(pod).is_some_and(|here| &here.placed.workload == name)
        };
        self.body.leaves(name) && !yielding.keys().any(of_it)
    }

    /// The volumes of the workloads that the plan is about.
    fn meant(&self, wanted: &BTreeMap<WorkloadName, Workload>) -> BTreeSet<VolumeId> {
        let mut meant = wanted.clone();
        meant.retain(|name, _| !self.body.leaves(name));
        volume::mounted(&meant).into_keys().collect()
    }

    /// Of what kind a workload was whose pods were seen, if it was a job or a cron.
    fn kind_there(&self, name: &WorkloadName) -> Option<&'static str> {
        let pods = self.seen().flat_map(|(_, seen)| seen.spec.pods.values());
        pods.filter(|pod| &pod.workload == name).find_map(|pod| match (pod.ends, pod.cron) {
            (true, _) => Some("job"),
            (false, true) => Some("cron"),
            (false, false) => None,
        })
    }

    /// The nodes that have an endpoint of each workload.
    fn endpoints(&self) -> BTreeMap<WorkloadName, Vec<NodeName>> {
        let mut endpoints: BTreeMap<WorkloadName, Vec<NodeName>> = BTreeMap::new();
        for (node, seen) in self.seen() {
            for workload in seen.spec.endpoints.keys() {
                match endpoints.get_mut(workload) {
                    Some(nodes) => nodes.push(node.clone()),
                    None => {
                        endpoints.insert(workload.clone(), vec![node.clone()]);
                    }
                }
            }
        }
        endpoints
    }

    /// Steps that make the nodes themselves ready; what later steps on each node wait for.
    fn prepare(&self, builder: &mut Builder) -> Prepared {
        let mut prepared = Prepared::default();
        match self.inputs.goal {
            Goal::Destroy => return prepared,
            Goal::Converge => {}
        }
        let graph = self.inputs.graph;
        for (node, (command, since)) in self.fences {
            prepared.fenced.insert(node.clone(), builder.fence(node, command.clone(), *since));
        }
        let pools = (graph.pools.pods4, graph.pools.pods6);
        let peers = peers::named(&peers::peers(&self.body.claims, pools));
        let own = graph.tenant.namespace();
        for (name, seen) in self.seen().filter(|(name, _)| !self.left.contains(*name)) {
            let mut last: Option<StepId> = None;
            let is_ours = match tenancy::hold(&seen.spec, &own) {
                Hold::Ours | Hold::Nobodys => true,
                Hold::Others(_) => false,
            };
            if is_ours {
                let Some(network) = self.network(name, seen, &peers) else { continue };
                if seen.spec.network.as_ref() != Some(&network) {
                    let action = Action::EnsureNetwork { network };
                    last = Some(builder.node(name, action, After::default()));
                }
                for (reflex, version) in Reflex::CURRENT {
                    if seen.spec.reflexes.get(&reflex) != Some(&version) {
                        let action = Action::InstallReflex { reflex, version };
                        last = Some(builder.node(name, action, After::of(last)));
                    }
                }
            }
            if !seen.spec.tenant {
                let tenant = self.inputs.graph.tenant.clone();
                last = Some(builder.node(name, Action::EnsureTenant { tenant }, After::of(last)));
            }
            for rename in self.renames.get(name).into_iter().flatten() {
                let action = rename.action(&graph.tenant);
                let step = builder.node(name, action, After::of(last));
                prepared.named.insert(name.clone(), step);
                last = Some(step);
            }
            if let Some(last) = last {
                prepared.all.insert(name.clone(), last);
            }
        }
        prepared
    }

    fn network(
        &self,
        name: &NodeName,
        seen: &NodeObservation,
        peers: &PeerList,
    ) -> Option<NodeNetwork> {
        let graph = self.inputs.graph;
        // One of an earlier Berth says nobody; while nobody else is there, that does.
        let says_nobody = seen.spec.network.as_ref().is_some_and(|network| network.owner.is_none());
        let is_alone = says_nobody && seen.spec.tenants.is_empty();
        let (range4, range6) = ranges(graph, &self.body.claims, name)?;
        Some(NodeNetwork {
            range4,
            range6,
            pods4: graph.pools.pods4,
            pods6: graph.pools.pods6,
            endpoints4: graph.pools.endpoints4,
            endpoints6: graph.pools.endpoints6,
            peers: peers.clone(),
            owner: (!is_alone).then(|| graph.tenant.namespace()),
        })
    }

    /// Steps that bring missing images to the nodes that will need them.
    fn images(
        &self,
        wanted: &BTreeMap<WorkloadName, Workload>,
        decisions: &BTreeMap<WorkloadName, Decision>,
        prepared: &BTreeMap<NodeName, StepId>,
        builder: &mut Builder,
    ) -> Images {
        let mut steps = BTreeMap::new();
        for (name, decision) in decisions {
            let Some(branch) = &decision.branch else { continue };
            for one in branch.waves.iter().flat_map(|wave| &wave.moves) {
                let into = one.into.iter().filter(|_| one.create);
                let sources = wanted.get(name).map(|w| &w.template);
                let restore = branch.before.as_ref().map(|before| &before.template);
                let pods = into.zip(sources).chain(one.restore.iter().zip(restore));
                for ((node, pod), template) in pods {
                    let there = self.inputs.observation.seen(node);
                    for image in pod.images() {
                        let key = (node.clone(), image.clone());
                        if there.is_some_and(|seen| seen.spec.images.contains(image))
                            || steps.contains_key(&key)
                        {
                            continue;
                        }
                        // The pod was made of this template, which therefore has its images.
                        let sources = template.images().find(|(known, _)| *known == image);
                        let Some((_, source)) = sources else { continue };
                        let after = After::of(prepared.get(node).copied());
                        let action = Action::EnsureImage {
                            tenant: self.inputs.graph.tenant.clone(),
                            image: image.clone(),
                            source: source.clone(),
                        };
                        let step = builder.node(node, action, after);
                        steps.insert(key, step);
                    }
                }
            }
        }
        steps
    }

    /// One workload's steps, and its words.
    #[expect(clippy::too_many_arguments, reason = "the planner's one junction")]
    fn branch(
        &mut self,
        name: &WorkloadName,
        wanted: Option<&Workload>,
        decision: Decision,
        prepared: &Prepared,
        (images, volumes): (&Images, &BTreeMap<NodeName, Vec<StepId>>),
        has_endpoint: &[NodeName],
        builder: &mut Builder,
    ) {
        let Decision {
            mut branch,
            blocked,
            waiting: _,
            asked: _,
            replaced: _,
            deferred,
            incomplete,
            causes,
            kept,
            holds_share,
            behind,
            evicts: _,
        } = decision;
        let before = self.inputs.head.reached.get(name);
        let split = self.split(name, holds_share);
        if let (Some(Split { to, share }), Some(branch)) = (&split, &mut branch) {
            branch.fresh = to.iter().filter(|id| kept.contains_key(id)).cloned().collect();
            branch.waves.iter_mut().for_each(|wave| wave.share = Some(*share));
        }
        let waits = wanted.is_some_and(|workload| self.waits(name, workload));
        let first = builder.len();
        match (wanted, &branch) {
            (Some(workload), branch) => {
                let endpoint = self.endpoint(name, workload);
                let tables = self.tables(name, endpoint.is_some());
                let serving = self.serving(name, branch.as_ref(), (&kept, &behind));
                let tenant = &self.inputs.graph.tenant;
                let vacated = vacated(builder, &self.yielding, self.world, name, workload);
                let given_up = self.world.given_up.values();
                let given_up = given_up.filter(|given_up| &given_up.placed.workload == name);
                let off: BTreeSet<StepId> =
                    given_up.filter_map(|g| prepared.fenced.get(&g.placed.node)).copied().collect();
                let mut track = Track::new(builder, tenant, name, endpoint, tables, serving);
                let ready_for = |node: &NodeName| {
                    let mut steps: Vec<StepId> = workload
                        .template
                        .images()
                        .filter_map(|(image, _)| images.get(&(node.clone(), image.clone())))
                        .copied()
                        .collect();
                    // An image's step waits for the node's own.
                    if steps.is_empty() {
                        steps.extend(prepared.all.get(node));
                    }
                    steps.sort_unstable();
                    steps.dedup();
                    steps.extend(volumes.get(node).into_iter().flatten());
                    steps.extend(vacated.get(node).into_iter().flatten());
                    steps.extend(&off);
                    steps
                };
                track.start_after(&prepared.all);
                if let Some(once) = workload.once {
                    track.runs_once(once);
                }
                if waits {
                    let jobs = workload.after.iter().filter_map(|job| self.ended.get(job));
                    track.begins_after(jobs.fold(After::default(), |all, job| all.and(job)));
                }
                if workload.ports.is_empty() {
                    track.drop_endpoint(has_endpoint);
                }
                let waves = branch.as_ref().map(|b| b.waves.as_slice()).unwrap_or_default();
                match &split {
                    None => {
                        let fresh = branch.as_ref().map(|b| b.fresh.clone()).unwrap_or_default();
                        let home = |id: &PodId| {
                            let placed = kept.get(id)?;
                            Some((id.clone(), (placed.node.clone(), placed.ip4)))
                        };
                        let homes = fresh.iter().filter_map(home).collect();
                        track.fresh(fresh, homes);
                    }
                    Some(Split { to, share }) => track.going_back(to.clone(), Some(*share)),
                }
                let ready = (workload.health.as_ref(), &workload.rollout);
                for (number, wave) in waves.iter().enumerate() {
                    let number = u32::try_from(number).unwrap_or(u32::MAX);
                    let held = waves.iter().filter(|earlier| earlier.held_until == Some(number));
                    let held = held.flat_map(|wave| &wave.moves).filter(|one| one.start_first);
                    track.wave(number, wave, &held.collect::<Vec<_>>(), ready, &ready_for);
                }
                track.settle();
                if workload.once.is_some() {
                    let last = track.last().clone();
                    self.ended.insert(name.clone(), last);
                }
            }
            (None, Some(branch)) => {
                let moves: Vec<_> = branch.waves.iter().flat_map(|w| w.moves.clone()).collect();
                let tenant = &self.inputs.graph.tenant;
                let mut track =
                    Track::new(builder, tenant, name, None, BTreeMap::new(), BTreeMap::new());
                track.start_after(&prepared.named);
                track.remove(0, &moves, has_endpoint);
            }
            (None, None) => {}
        }
        let has_steps = builder.len() > first;
        self.body.blocked.extend(blocked);
        self.body.deferred.extend(deferred);
        self.body.expected.extend(kept);
        for one in branch.iter().flat_map(|b| &b.waves).flat_map(|w| &w.moves) {
            if let Some((node, pod)) = &one.into {
                self.body.expected.insert(pod.id.clone(), Placed::of(node, pod));
            }
        }
        if has_steps || before != wanted {
            let known =
                Known { before: &self.inputs.head.contents, after: &self.inputs.graph.contents };
            let mut change = change::workload(name, (before, wanted), &known, has_steps, causes);
            // A job that never came to its end is in no text and in no ledger, nor is a cron that was never ready.
            if let (None, None, Some(change)) = (before, wanted, &mut change)
                && let Some(kind) = self.kind_there(name)
            {
                change.resource = format!("{kind}/{name}");
            }
            self.body.changes.extend(change);
            if !incomplete {
                self.body.reaches.insert(name.clone(), wanted.cloned().map(Box::new));
            }
        }
        if let Some(branch) = branch.filter(|_| has_steps) {
            self.body.branches.insert(name.clone(), branch);
        }
    }

    fn endpoint(&self, name: &WorkloadName, workload: &Workload) -> Option<Endpoint> {
        let case = Case {
            tenant: &self.inputs.graph.tenant,
            name,
            world: self.world,
            head: self.inputs.head,
            revision: self.body.revision,
            tables: &Arc::default(),
            addresses: addresses(self.inputs.graph, &self.body.claims, name),
            nodes: &self.inputs.graph.nodes,
            yielding: &self.yielding,
            volumes: &self.inputs.graph.volumes,
            revoked: &BTreeSet::new(),
            bears: None,
            say: Vec::new(),
        };
        case.endpoint(&workload.ports)
    }

    /// The release of the text, or of a rollback, that a paused workload's replicas may be of as well, since its
    /// rollout had begun.
    fn bears(&self, name: &WorkloadName) -> Option<SpecDigest> {
        let Inputs { graph, head, now_ms, .. } = *self.inputs;
        paused(head, name, now_ms)?;
        let text = graph.workloads.get(name)?;
        let back = head.held(name, text).and_then(|pin| pin.stands.as_deref());
        Some(template_digest(&back.unwrap_or(text).template))
    }

    /// How the traffic of a workload is split whose rollout does not go on now: it is paused, or `held`.
    fn split(&self, name: &WorkloadName, held: bool) -> Option<Split> {
        let Inputs { head, now_ms, .. } = *self.inputs;
        if !held {
            paused(head, name, now_ms)?;
        }
        self.say(name).into_iter().find_map(|table| table.split.clone())
    }

    /// What a workload's tables say, where a rollout is told by it.
    fn say_of_rollout(&self, name: &WorkloadName, wanted: Option<&Workload>) -> Vec<&Endpoint> {
        let Inputs { head, now_ms, .. } = *self.inputs;
        let shares = |workload: &Workload| super::rollout::shares(&workload.rollout.strategy);
        let is_told = wanted.is_some_and(shares) || paused(head, name, now_ms).is_some();
        if is_told { self.say(name) } else { Vec::new() }
    }

    /// What a workload's tables say. Most say what their neighbours do.
    fn say(&self, name: &WorkloadName) -> Vec<&Endpoint> {
        let mut say: Vec<&Endpoint> = Vec::new();
        for table in self.seen().filter_map(|(_, seen)| seen.spec.endpoints.get(name)) {
            if !say.contains(&table) {
                say.push(table);
            }
        }
        say
    }

    fn tables(
        &self,
        name: &WorkloadName,
        wanted: bool,
    ) -> BTreeMap<NodeName, Option<Arc<Endpoint>>> {
        if !wanted {
            return BTreeMap::new();
        }
        let table = |seen: &NodeObservation| seen.spec.endpoints.get(name).cloned().map(Arc::new);
        let stays = self.seen().filter(|(name, _)| !self.left.contains(*name));
        stays.map(|(node, seen)| (node.clone(), table(seen))).collect()
    }

    /// Who serves before the first wave: pods that a table leads to and that run.
    fn serving(
        &self,
        name: &WorkloadName,
        branch: Option<&Branch>,
        (kept, behind): (&BTreeMap<PodId, Placed>, &BTreeSet<PodId>),
    ) -> BTreeMap<PodId, Backend> {
        let outs = branch.into_iter().flat_map(|b| &b.waves).flat_map(|w| &w.moves);
        let outs: BTreeSet<&PodId> = outs.flat_map(|m| &m.out).map(|(id, _)| id).collect();
        self.world
            .of_workload(name)
            // What took no traffic takes none as long as nothing is rolled out.
            .filter(|(id, here)| here.may_serve() || branch.is_some() && behind.contains(id))
            .filter(|(id, _)| outs.contains(id) || kept.contains_key(id))
            .map(|(id, here)| {
                let Placed { ip4, ip6, .. } = here.placed;
                (id.clone(), Backend { pod: id.clone(), ip4, ip6 })
            })
            .collect()
    }
}

impl Placement {
    /// Says whether anything is asked for.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

impl ImageSource {
    /// Names the path beside the project, or the reference, that the image comes from.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Layout(name) | Self::Archive(name) | Self::Registry(name) => Some(name),
            Self::Present => None,
        }
    }
}
