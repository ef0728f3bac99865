//! Renames: what the text calls otherwise than before is seen under the name that it has now.
//!
//! A workload that is renamed goes on as it is: its pods run on under their ids, its endpoint keeps its
//! address, and what the ledger knows of it is known of the new name. So everything that is known is
//! looked at with the new name in place of the old ([`view`]), and planned on as ever; what nodes still
//! call by the old name gets the new one by steps of its own. The ledger remembers whose each pod and each
//! endpoint's address is, so that the text has to say it once only.
//!
//! A volume's data stays in its folder, under the name that the folder was made with, since whoever runs
//! mounts it there. So it is the text's volume that is looked at under its folder's name, and the folder's
//! note says what the text calls it. A template names folders; a rename changes none.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::action::{Action, Endpoint};
use super::body::{Blocked, Change, Goal, PlanBody, Verb};
use super::canon::template_digest;
use super::graph::Graph;
use super::ledger::Head;
use super::names::{NodeName, PodId, Tenant, VolumeId, VolumeName, WorkloadName};
use super::observation::{NodeObservation, NodeSpec, NodeView, Observation};
use super::planner::{Inputs, addresses};

/// What a plan is made from, by the names of now: workloads by those of the text, volumes by those of
/// their folders.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// What the text says.
    pub graph: Cow<'a, Graph>,
    /// What the nodes said.
    pub observation: Cow<'a, Observation>,
    /// What the ledger says.
    pub head: Cow<'a, Head>,
    /// What the text calls workloads now, by their names before.
    pub moved: BTreeMap<WorkloadName, WorkloadName>,
    /// What each node has under a name of before.
    pub renames: BTreeMap<NodeName, Vec<Rename>>,
    /// What the folders of renamed volumes are called, by the volumes' names in the text.
    pub stored: BTreeMap<VolumeName, VolumeName>,
    /// Renames that cannot be.
    pub blocked: Vec<Blocked>,
}

/// Looks at everything by the names of now. What leaves altogether leaves under the names that it has.
pub fn view<'a>(
    graph: &'a Graph,
    observation: &'a Observation,
    head: &'a Head,
    goal: Goal,
) -> View<'a> {
    let mut blocked = Vec::new();
    let moved = match goal {
        Goal::Converge => workloads(graph, head, &mut blocked),
        Goal::Destroy => BTreeMap::new(),
    };
    let stored = volumes(graph, observation, head, &mut blocked);
    let mut view = View {
        graph: Cow::Borrowed(graph),
        observation: Cow::Borrowed(observation),
        head: Cow::Borrowed(head),
        moved,
        renames: BTreeMap::new(),
        stored,
        blocked,
    };
    if !view.stored.is_empty() {
        store(view.graph.to_mut(), &view.stored);
    }
    if !view.moved.is_empty() {
        view.head.to_mut().rename(&view.moved);
    }
    let ever = !view.moved.is_empty() || !head.moved.is_empty();
    if ever && goal == Goal::Converge {
        view.renames = Names::of(graph, &view).renames(observation);
    }
    for (node, renames) in &view.renames {
        if let Some(NodeView::Seen(seen)) = view.observation.to_mut().nodes.get_mut(node) {
            renames.iter().for_each(|rename| rename.seen(&mut seen.spec));
        }
    }
    view
}

/// Something on a node that has a name of before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rename {
    /// A pod.
    Pod {
        /// Which.
        pod: PodId,
        /// What its labels say.
        old: WorkloadName,
        /// What its workload is called now.
        new: WorkloadName,
    },
    /// An endpoint.
    Endpoint {
        /// As its files say it.
        endpoint: Arc<Endpoint>,
        /// What its workload is called now.
        new: WorkloadName,
    },
}

impl Rename {
    /// What it was called, and is called now.
    pub fn names(&self) -> (&WorkloadName, &WorkloadName) {
        match self {
            Self::Pod { pod: _, old, new } => (old, new),
            Self::Endpoint { endpoint, new } => (&endpoint.workload, new),
        }
    }

    /// The step that gives it its name of now.
    pub fn action(&self, tenant: &Tenant) -> Action {
        let tenant = tenant.clone();
        match self {
            Self::Pod { pod, old: _, new } => {
                Action::RenamePod { tenant, pod: pod.clone(), workload: new.clone() }
            }
            Self::Endpoint { endpoint, new } => {
                let endpoint = Arc::clone(endpoint);
                Action::RenameEndpoint { tenant, endpoint, workload: new.clone() }
            }
        }
    }

    fn seen(&self, spec: &mut NodeSpec) {
        match self {
            Self::Pod { pod, old: _, new } => {
                if let Some(pod) = spec.pods.get_mut(pod) {
                    pod.workload.clone_from(new);
                }
            }
            Self::Endpoint { endpoint, new } => {
                let Some(mut endpoint) = spec.endpoints.remove(&endpoint.workload) else { return };
                endpoint.workload.clone_from(new);
                // Where there is one of each, the old one goes.
                spec.endpoints.entry(new.clone()).or_insert(endpoint);
            }
        }
    }
}

/// Whose things are, whatever nodes call them. What the ledger knows a pod as, and an endpoint by the pods that it leads to
/// or by its address, goes before all names: an apply that renames may have been cut off anywhere, and a name
/// may have been given anew since.
struct Names<'a> {
    known: BTreeMap<&'a PodId, &'a WorkloadName>,
    claimed: BTreeMap<Ipv4Addr, &'a WorkloadName>,
    moved: BTreeMap<&'a WorkloadName, &'a WorkloadName>,
}

impl<'a> Names<'a> {
    fn of(graph: &Graph, view: &'a View<'_>) -> Self {
        let known = view.head.may_be_there().into_iter();
        let claimed = view.head.claims.endpoints.keys();
        let address = |name: &WorkloadName| addresses(graph, &view.head.claims, name);
        let mut moved: BTreeMap<_, _> = view.head.moved.iter().collect();
        for (old, new) in &view.moved {
            moved.insert(old, new);
            moved.entry(new).and_modify(|now| *now = new);
        }
        Self {
            known: known.map(|(id, placed)| (id, &placed.workload)).collect(),
            claimed: claimed.filter_map(|name| Some((address(name)?.0, name))).collect(),
            moved,
        }
    }

    /// What a name that nobody knows more of is now. A circle leads nowhere.
    fn now<'n>(&self, name: &'n WorkloadName) -> &'n WorkloadName
    where
        'a: 'n,
    {
        let mut now = name;
        for _ in 0..self.moved.len() {
            now = self.moved.get(now).copied().unwrap_or(now);
        }
        now
    }

    fn renames(&self, observation: &Observation) -> BTreeMap<NodeName, Vec<Rename>> {
        let mut renames = BTreeMap::new();
        for node in observation.nodes.keys() {
            let Some(NodeObservation { spec, .. }) = observation.seen(node) else { continue };
            let pods = spec.pods.iter().filter_map(|(pod, seen)| {
                let (pod, old) = (pod.clone(), seen.workload.clone());
                let new = self.known.get(&pod).copied().unwrap_or_else(|| self.now(&old)).clone();
                (old != new).then_some(Rename::Pod { pod, old, new })
            });
            let endpoints = spec.endpoints.values().filter_map(|endpoint| {
                let old = &endpoint.workload;
                let mut backends = endpoint.backends.iter();
                let by_backend = backends.find_map(|backend| self.known.get(&backend.pod));
                let by_address = || {
                    let claimed = self.claimed.get(&endpoint.address4);
                    claimed.filter(|_| self.moved.contains_key(old))
                };
                let new = by_backend.or_else(by_address).copied();
                let new = new.unwrap_or_else(|| self.now(old)).clone();
                let endpoint = Arc::new(endpoint.clone());
                (endpoint.workload != new).then_some(Rename::Endpoint { endpoint, new })
            });
            let here: Vec<Rename> = pods.chain(endpoints).collect();
            if !here.is_empty() {
                renames.insert(node.clone(), here);
            }
        }
        renames
    }
}

/// The renames of the text that count, by the names before: what has one name in the text, and has not the
/// other there.
fn workloads(
    graph: &Graph,
    head: &Head,
    blocked: &mut Vec<Blocked>,
) -> BTreeMap<WorkloadName, WorkloadName> {
    let mut moved = BTreeMap::new();
    for (new, old) in &graph.moved.workloads {
        if !graph.workloads.contains_key(new) || graph.workloads.contains_key(old) {
            continue;
        }
        if head.reached.contains_key(new) && head.reached.contains_key(old) {
            let (resource, from) = (format!("service/{new}"), format!("service/{old}"));
            blocked.push(Blocked::Moved { resource, from });
            continue;
        }
        moved.insert(old.clone(), new.clone());
    }
    moved
}

/// The renames that the ledger does not know of yet, where it or a node knows what is renamed.
pub fn news(view: &View<'_>, head: &Head) -> BTreeMap<WorkloadName, WorkloadName> {
    let mut news = view.moved.clone();
    news.retain(|old, new| head.moved.get(old) != Some(new));
    if news.is_empty() {
        return news;
    }
    let renames = view.renames.values().flatten();
    let mut known: BTreeSet<&WorkloadName> = renames.map(|rename| rename.names().0).collect();
    known.extend(head.reached.keys());
    known.extend(head.pins.keys());
    known.extend(head.placed.values().map(|placed| &placed.workload));
    news.retain(|old, _| known.contains(old));
    news
}

/// Everything that is renamed, by the names before and now, with the pods that have those still.
pub fn told(
    view: &View<'_>,
    news: &BTreeMap<WorkloadName, WorkloadName>,
) -> BTreeMap<(WorkloadName, WorkloadName), Vec<(PodId, NodeName)>> {
    let mut told: BTreeMap<_, Vec<(PodId, NodeName)>> = BTreeMap::new();
    for (old, new) in news {
        told.insert((old.clone(), new.clone()), Vec::new());
    }
    for (node, renames) in &view.renames {
        for rename in renames {
            let (old, new) = rename.names();
            let pods = told.entry((old.clone(), new.clone())).or_default();
            if let Rename::Pod { pod, .. } = rename {
                pods.push((pod.clone(), node.clone()));
            }
        }
    }
    told.values_mut().for_each(|pods| pods.sort());
    told
}

/// Describes a rename, and what goes on running under it.
pub fn change((old, new): &(WorkloadName, WorkloadName), pods: &[(PodId, NodeName)]) -> Change {
    let words = |(pod, node): &(PodId, NodeName)| format!("{pod} on {node}");
    let mut causes = vec![format!("was service/{old}")];
    match pods {
        [] => {}
        [one] => causes.push(format!("{} goes on as it is", words(one))),
        [first, .., last] => {
            let (count, first, last) = (pods.len(), words(first), words(last));
            causes.push(format!("its {count} pods go on as they are: {first} to {last}"));
        }
    }
    let resource = format!("service/{new}");
    Change { resource, verb: Verb::Moved, fields: Vec::new(), causes }
}

/// Says of what goes that something which comes is the same: it may be meant to be renamed.
pub(super) fn suggest(inputs: &Inputs<'_>, body: &mut PlanBody) {
    let Inputs { graph, head, goal: Goal::Converge, .. } = inputs else { return };
    if body.changes.iter().all(|change| change.verb != Verb::Destroy) {
        return;
    }
    let comes = |name: &WorkloadName| matches!(body.reaches.get(name), Some(Some(_)));
    let new = graph.workloads.iter().filter(|(name, _)| !head.reached.contains_key(*name));
    let new = new.filter(|(name, _)| comes(name));
    let new: Vec<_> = new.map(|(name, new)| (name, template_digest(&new.template))).collect();
    if new.is_empty() {
        return;
    }
    for change in body.changes.iter_mut().filter(|change| change.verb == Verb::Destroy) {
        let old = change.resource.strip_prefix("service/").map(WorkloadName::new);
        let Some((old, reached)) = old.and_then(|old| head.reached.get_key_value(&old)) else {
            continue;
        };
        let digest = template_digest(&reached.template);
        if let Some((name, _)) = new.iter().find(|(_, new)| *new == digest) {
            change.causes.push(format!(
                "service/{name} is the same: with `moved_from: \"{old}\"` it goes on as that"
            ));
        }
    }
}

/// The folders of volumes that are there, or may be, by what they are called, each with what its note
/// says that the text calls it.
type Folders<'a> = BTreeMap<&'a VolumeId, Option<&'a VolumeName>>;

/// What the folders of the text's volumes are called, where that is not what the text calls them.
fn volumes(
    graph: &Graph,
    observation: &Observation,
    head: &Head,
    blocked: &mut Vec<Blocked>,
) -> BTreeMap<VolumeName, VolumeName> {
    let mut folders: Folders<'_> = head.volumes().keys().map(|id| (id, None)).collect();
    for node in graph.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        folders.extend(seen.spec.volumes.iter().map(|(id, spec)| (id, spec.called.as_ref())));
    }
    let noted = folders.values().any(Option::is_some);
    if graph.moved.volumes.is_empty() && head.stored.is_empty() && !noted {
        return BTreeMap::new();
    }
    let has = |folder: &VolumeName, each_replica: bool| is_there(&folders, folder, each_replica);
    let mut stored: BTreeMap<VolumeName, VolumeName> = BTreeMap::new();
    for (name, volume) in &graph.volumes {
        let each = volume.each_replica;
        let before = graph.moved.volumes.get(name).filter(|old| !graph.volumes.contains_key(*old));
        let before = before.map(|old| head.stored.get(old).unwrap_or(old));
        let before = before.filter(|folder| has(folder, each));
        // A folder of its name may be another one's. What the ledger says of it goes before its note.
        let is_own = head.stored.get(name) == Some(name);
        let mut others = head.stored.iter().filter(|(other, f)| *f == name && *other != name);
        let other = others.next().map(|(other, _)| other).or_else(|| {
            let of_it = folders.iter().filter(|(id, _)| belongs(id, name, each));
            of_it.filter_map(|(_, called)| *called).find(|called| *called != name)
        });
        let other = other.filter(|_| !is_own);
        match (has(name, each), other, before) {
            (true, None, Some(_)) => {
                let from = graph.moved.volumes.get(name).unwrap_or(name);
                let (resource, from) = (format!("volume/{name}"), format!("volume/{from}"));
                blocked.push(Blocked::Moved { resource, from });
                continue;
            }
            (true, None, None) => {
                if is_own {
                    stored.insert(name.clone(), name.clone());
                }
                continue;
            }
            (_, Some(_), _) | (false, None, _) => {}
        }
        let known = head.stored.get(name).filter(|folder| has(folder, each));
        let noted = || {
            let (id, _) = folders.iter().find(|(_, called)| **called == Some(name))?;
            Some(VolumeName::new(id.replica().map_or(id.as_str(), |(slug, _)| slug)))
        };
        match known.or(before).cloned().or_else(noted) {
            Some(folder) => {
                stored.insert(name.clone(), folder);
            }
            None => {
                if let Some(by) = other.filter(|_| has(name, each)) {
                    blocked.push(Blocked::NameTaken { volume: name.clone(), by: by.clone() });
                }
            }
        }
    }
    // What left the text keeps its folder's name for as long as there is one.
    for (name, folder) in &head.stored {
        let there = has(folder, true) || has(folder, false);
        if there && !graph.volumes.contains_key(name) && !stored.values().any(|f| f == folder) {
            stored.insert(name.clone(), folder.clone());
        }
    }
    stored
}

fn is_there(folders: &Folders<'_>, folder: &VolumeName, each_replica: bool) -> bool {
    folders.keys().any(|id| belongs(id, folder, each_replica))
}

fn belongs(id: &VolumeId, volume: &VolumeName, each_replica: bool) -> bool {
    match id.replica() {
        Some((slug, _)) => each_replica && slug == volume.slug(),
        None => !each_replica && *id == volume.id(None),
    }
}

/// Calls the text's volumes as their folders are called.
fn store(graph: &mut Graph, stored: &BTreeMap<VolumeName, VolumeName>) {
    let volumes = std::mem::take(&mut graph.volumes);
    for (name, mut volume) in volumes {
        let folder = stored.get(&name).filter(|folder| **folder != name).cloned();
        volume.spec.called = folder.as_ref().map(|_| name.clone());
        graph.volumes.insert(folder.unwrap_or(name), volume);
    }
    let mounts = graph.workloads.values_mut().flat_map(|w| w.template.mounts.values_mut());
    for mount in mounts {
        if let Some(folder) = stored.get(&mount.volume) {
            mount.volume.clone_from(folder);
        }
    }
}
