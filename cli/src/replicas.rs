//! Which replicas an operator means: `web`, `web[1]`, `web-1`, `web-1.g3`, and where they are.

use std::collections::BTreeSet;

use berth_engine::plan::change;
use berth_engine::plan::graph::Graph;
use berth_engine::plan::names::{NodeName, PodId, WorkloadName};
use berth_engine::plan::observation::{
    NodeObservation, NodeView, Observation, PodSeen, PodStatus, Run, RunEnd,
};

use crate::paint;

/// A pod on a node.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) node: NodeName,
    pub(crate) pod: PodId,
    pub(crate) seen: PodSeen,
    /// Nothing if its node does not say.
    pub(crate) status: Option<PodStatus>,
    /// Whether every endpoint of its service leads to it.
    pub(crate) serves: bool,
}

impl Replica {
    /// The replica as it is named on the command line: `web[1]`.
    pub(crate) fn name(&self) -> String {
        format!("{}[{}]", self.seen.workload, self.pod.ordinal)
    }

    /// Whether its process runs.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.status, Some(PodStatus::Running { .. }))
    }
}

/// When a cron's container is started next, and how it ended last, in words; and whether that was well.
pub(crate) fn between_runs(next_at_ms: u64, last: Option<&Run>) -> (String, bool) {
    let now = crate::fleet::now_ms();
    let next = match next_at_ms {
        0 => String::new(),
        next => format!("next in {}", paint::duration(next.saturating_sub(now))),
    };
    let Some(Run { began_at_ms, ended_at_ms, end }) = last else {
        let words = if next.is_empty() { "waits".to_owned() } else { next };
        return (words, true);
    };
    let took = paint::duration(ended_at_ms.saturating_sub(*began_at_ms));
    let (how, well) = match end {
        RunEnd::Code(0) => (format!("ended well after {took}"), true),
        RunEnd::Code(code) => (format!("failed ({code}) after {took}"), false),
        RunEnd::TimedOut => (format!("took too long, {took}"), false),
        RunEnd::NotStarted => ("could not be started".to_owned(), false),
        RunEnd::CutShort => ("was cut short".to_owned(), false),
    };
    let ago = paint::duration(now.saturating_sub(*began_at_ms));
    let next = if next.is_empty() { next } else { format!("{next}, ") };
    (format!("{next}last {ago} ago {how}"), well)
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every replica of a service.
    Service(Ids),
    /// One replica, whatever its generation.
    Ordinal(Ids, u32),
    /// One pod.
    Pod(PodId),
}

/// How the pods of a service are told by their ids. One that was made before its service was renamed has the name of
/// then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    slug: String,
    /// Its own that have another name.
    ours: BTreeSet<PodId>,
    /// Those of its name that are another service's now.
    theirs: BTreeSet<PodId>,
}

impl Ids {
    fn of(service: &WorkloadName, observation: &Observation) -> Self {
        let slug = service.slug();
        let seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
        let renamed = seen
            .flat_map(|seen| &seen.spec.pods)
            .filter(|(id, pod)| (id.workload == slug) != (pod.workload == *service));
        let (theirs, ours) = renamed.map(|(id, _)| id.clone()).partition(|id| id.workload == slug);
        Self { slug, ours, theirs }
    }

    fn has(&self, pod: &PodId) -> bool {
        pod.workload == self.slug && !self.theirs.contains(pod) || self.ours.contains(pod)
    }
}

impl Wanted {
    /// Whether a pod is meant.
    pub(crate) fn matches(&self, pod: &PodId) -> bool {
        match self {
            Self::Service(ids) => ids.has(pod),
            Self::Ordinal(ids, ordinal) => ids.has(pod) && pod.ordinal == *ordinal,
            Self::Pod(id) => pod == id,
        }
    }
}

/// Why nothing could be chosen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChoiceError {
    /// No service of that name.
    #[error("there is no service `{}`; {}", .0.escape_debug(), list("there are", "there is none", .1))]
    NoService(String, Vec<String>),
    /// The service has no such replica now.
    #[error("no replica `{}` is on a node that answered; {}", .0.escape_debug(), list("there are", "there is none", .1))]
    NoReplica(String, Vec<String>),
    /// Not seen, while some nodes did not answer.
    #[error("`{}` was not seen: it may be on {}, which did not answer", .0.escape_debug(), .1.join(", "))]
    Unseen(String, Vec<String>),
    /// Several replicas where one is needed.
    #[error("`{}` has several replicas; name one: {}", .0.escape_debug(), .1.join(", "))]
    Several(String, Vec<String>),
    /// None of them runs.
    #[error("`{}` does not run; `berth ps` shows its state", .0.escape_debug())]
    NotRunning(String),
}

fn list(some: &str, none: &str, names: &[String]) -> String {
    if names.is_empty() { none.to_owned() } else { format!("{some} {}", names.join(", ")) }
}

/// Every replica that was seen, in the order of service, ordinal and generation.
pub(crate) fn all(observation: &Observation) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for node in observation.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        for (pod, described) in &seen.spec.pods {
            replicas.push(Replica {
                node: node.clone(),
                pod: pod.clone(),
                seen: described.clone(),
                status: seen.status.pods.get(pod).cloned(),
                serves: serves(observation, &described.workload, pod),
            });
        }
    }
    replicas.sort_by(|a, b| (&a.seen.workload, &a.pod).cmp(&(&b.seen.workload, &b.pod)));
    replicas
}

/// Whether every node's endpoint of a service leads to a pod.
pub(crate) fn serves(observation: &Observation, service: &WorkloadName, pod: &PodId) -> bool {
    let leads = |other: &NodeObservation| {
        let endpoint = other.spec.endpoints.get(service);
        endpoint.is_none_or(|endpoint| endpoint.backends.iter().any(|b| &b.pod == pod))
    };
    observation.nodes.keys().filter_map(|n| observation.seen(n)).all(leads)
}

/// The nodes that did not answer, each with its reason.
pub(crate) fn unknown(observation: &Observation) -> Vec<(&NodeName, &str)> {
    let unknown = observation.nodes.iter().filter_map(|(node, view)| match view {
        NodeView::Unknown { why, silent: _ } => Some((node, &**why)),
        NodeView::Seen(_) => None,
    });
    unknown.collect()
}

/// Says which nodes did not answer; whether all did.
pub(crate) fn tell_unknown(observation: &Observation) -> bool {
    let unknown = unknown(observation);
    for (node, why) in &unknown {
        hint!("{} {node} is unknown: {why}", crate::paint::notice("note:"));
    }
    unknown.is_empty()
}

/// A workload's name without its kind: what `service/web`, `job/migrate` and `cron/nightly` name.
pub(crate) fn bare(named: &str) -> &str {
    change::name_of(named).unwrap_or(named)
}

/// Understands what was asked for. A service may be in the text or on a node only.
pub(crate) fn parse(
    what: &str,
    graph: &Graph,
    observation: &Observation,
) -> Result<Wanted, ChoiceError> {
    let bare = bare(what);
    let names = services(graph, observation);
    if let Some(name) = names.iter().find(|name| name.as_str() == bare || name.slug() == bare) {
        return Ok(Wanted::Service(Ids::of(name, observation)));
    }
    if let Ok(pod) = bare.parse::<PodId>() {
        return Ok(Wanted::Pod(pod));
    }
    let bracket = bare.strip_suffix(']').and_then(|head| head.rsplit_once('['));
    let ordinal = bracket.or_else(|| bare.rsplit_once('-'));
    if let Some((service, ordinal)) = ordinal
        && let Ok(ordinal) = ordinal.parse()
        && let Some(name) = names.iter().find(|n| n.as_str() == service || n.slug() == service)
    {
        return Ok(Wanted::Ordinal(Ids::of(name, observation), ordinal));
    }
    Err(ChoiceError::NoService(what.to_owned(), names.iter().map(ToString::to_string).collect()))
}

fn services(graph: &Graph, observation: &Observation) -> BTreeSet<WorkloadName> {
    let seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
    let running = seen.flat_map(|seen| seen.spec.pods.values().map(|pod| pod.workload.clone()));
    graph.workloads.keys().cloned().chain(running).collect()
}

/// Every replica that is meant.
pub(crate) fn choose(
    what: &str,
    graph: &Graph,
    observation: &Observation,
) -> Result<Vec<Replica>, ChoiceError> {
    let wanted = parse(what, graph, observation)?;
    let all = all(observation);
    let chosen: Vec<Replica> =
        all.iter().filter(|replica| wanted.matches(&replica.pod)).cloned().collect();
    let silent: Vec<String> = unknown(observation).iter().map(|(n, _)| n.to_string()).collect();
    if chosen.is_empty() && !silent.is_empty() {
        return Err(ChoiceError::Unseen(what.to_owned(), silent));
    }
    if chosen.is_empty() {
        let names: BTreeSet<String> = all.iter().map(Replica::name).collect();
        return Err(ChoiceError::NoReplica(what.to_owned(), names.into_iter().collect()));
    }
    Ok(chosen)
}

/// The one replica that is meant: of several generations, the latest that runs.
pub(crate) fn one(
    what: &str,
    graph: &Graph,
    observation: &Observation,
) -> Result<Replica, ChoiceError> {
    let chosen = choose(what, graph, observation)?;
    let ordinals: BTreeSet<u32> = chosen.iter().map(|replica| replica.pod.ordinal).collect();
    if ordinals.len() > 1 {
        let names: BTreeSet<String> = chosen.iter().map(Replica::name).collect();
        return Err(ChoiceError::Several(what.to_owned(), names.into_iter().collect()));
    }
    let latest = |some: &mut dyn Iterator<Item = Replica>| some.max_by_key(|r| r.pod.generation);
    latest(&mut chosen.iter().filter(|r| r.runs()).cloned())
        .or_else(|| latest(&mut chosen.into_iter()))
        .ok_or_else(|| ChoiceError::NotRunning(what.to_owned()))
}
