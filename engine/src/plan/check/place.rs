//! The checker's judgement of placement: every created pod against every constraint of its
//! workload.
//!
//! It shares no code with the filters, the index or the counters: it takes the graph, what was
//! seen and what the plan expects, makes its own [count](super::census) of who will be where, and
//! holds each created pod against it. Replicas count by ordinal: a pod and the one that takes its
//! place are one.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::ancestry::Ancestry;
use super::census::{Census, Counts, domain};
use crate::plan::action::{Action, NodePort, PodSpec, Protocol};
use crate::plan::body::{Goal, Placed, PlanBody, Work};
use crate::plan::canon::template_digest;
use crate::plan::graph::{
    Effect, Even, Graph, Intake, Mount, Node, Placement, Quota, Relation, Rule,
};
use crate::plan::names::{NodeName, PodId, SpecDigest, VolumeId, WorkloadName};
use crate::plan::observation::{Observation, Requests};

/// A pod that the plan makes: the step's index, the node and the pod.
type Created<'a> = (usize, &'a NodeName, &'a PodSpec);

/// Judges where the plan's new pods go. What was there before and stays is not judged.
pub(super) fn placement(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    ancestry: &Ancestry,
    violations: &mut Vec<Violation>,
) {
    if body.goal == Goal::Destroy {
        return;
    }
    let created: Vec<Created<'_>> = body
        .steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match &step.work {
            Work::Act(Action::EnsurePod { pod }) => Some((index, &step.node, &**pod)),
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => None,
        })
        .collect();
    let made: BTreeSet<&WorkloadName> = created.iter().map(|(_, _, pod)| &pod.workload).collect();
    let digests: BTreeMap<&WorkloadName, SpecDigest> = made
        .into_iter()
        .filter_map(|name| Some((name, template_digest(&graph.workloads.get(name)?.template))))
        .collect();
    counted(&created, graph, &digests, violations);
    let census = Census::of(body, graph, observation);
    let mut seen = Seen { graph, observation, census: &census, least: BTreeMap::new() };
    let shuns = shuns(graph);
    for (_, on, pod) in &created {
        let (id, name) = (&pod.id, &pod.workload);
        let (Some(node), Some(workload)) = (graph.nodes.get(*on), graph.workloads.get(name)) else {
            continue;
        };
        let placement = &workload.placement;
        let mut wrong = |why: String| {
            let (pod, node) = (id.clone(), (*on).clone());
            violations.push(Violation::Misplaced { pod, node, why });
        };
        on_the_node(placement, on, node, &mut wrong);
        let me = (name, id.ordinal);
        for apart in placement.apart.iter().filter(|apart| apart.weight.is_none()) {
            if census.shares((&apart.workload, &apart.over), on, me) {
                wrong(format!("it is not apart from {}", apart.workload));
            }
        }
        for (other, apart) in shuns.get(name).into_iter().flatten() {
            if census.shares((other, &apart.over), on, me) {
                wrong(format!("{other} is not apart from it"));
            }
        }
        for near in placement.near.iter().filter(|near| near.weight.is_none()) {
            let there = domain(graph, &near.over, on);
            let by = there.is_some_and(|there| {
                census.shares((&near.workload, &near.over), on, me)
                    || census.had(&near.workload, &near.over, there)
            });
            // The first of a workload that is near itself, or of two that are near each other,
            // has nobody to be near.
            let mutual = graph.workloads.get(&near.workload).is_some_and(|other| {
                other.placement.near.iter().any(|n| n.weight.is_none() && &n.workload == name)
            });
            if there.is_none() || (!by && &near.workload != name && !mutual) {
                wrong(format!("{} is not near it", near.workload));
            }
        }
        // Where a volume is, or is shared, is not for evenness to say.
        let on_of = |mount: &Mount| graph.volumes.get(&mount.volume).and_then(|v| v.on.as_ref());
        let mut mounts = workload.template.mounts.values();
        let tied = mounts.any(|mount| !mount.each_replica || on_of(mount).is_some())
            || pod.mounts.values().any(|id| {
                observation.seen(on).is_some_and(|seen| seen.spec.volumes.contains_key(id))
            });
        for even in placement.even.iter().filter(|_| !tied) {
            seen.even(placement, even, (name, id), on, &mut wrong);
        }
    }
    ports(&created, body, graph, observation, (&digests, ancestry), violations);
    quota(body, graph, observation, violations);
}

/// Who asks to be apart from each workload.
fn shuns(graph: &Graph) -> BTreeMap<&WorkloadName, Vec<(&WorkloadName, &Relation)>> {
    let mut shuns: BTreeMap<&WorkloadName, Vec<(&WorkloadName, &Relation)>> = BTreeMap::new();
    for (name, workload) in &graph.workloads {
        for apart in workload.placement.apart.iter().filter(|apart| apart.weight.is_none()) {
            shuns.entry(&apart.workload).or_default().push((name, apart));
        }
    }
    shuns
}

/// Judges what new pods are counted as: what their workload asks for, and the overhead, added here.
fn counted(
    created: &[Created<'_>],
    graph: &Graph,
    digests: &BTreeMap<&WorkloadName, SpecDigest>,
    violations: &mut Vec<Violation>,
) {
    for (_, node, pod) in created {
        let Some(workload) = graph.workloads.get(&pod.workload) else { continue };
        let template = &workload.template;
        if digests.get(&pod.workload) != Some(&pod.digest) {
            continue;
        }
        let counted = pod.requests();
        let known = [
            (
                "cpu",
                counted.cpu_millis,
                template.resources.cpu_millis,
                template.overhead.cpu_millis,
            ),
            (
                "memory",
                counted.memory_bytes,
                template.resources.memory_bytes,
                template.overhead.memory_bytes,
            ),
        ];
        for (what, counted, asks, overhead) in known {
            if u128::from(counted) < u128::from(asks) + u128::from(overhead) {
                violations.push(Violation::Misplaced {
                    pod: pod.id.clone(),
                    node: (*node).clone(),
                    why: format!("{what}: {counted} is counted, not {asks} and {overhead}"),
                });
            }
        }
    }
}

/// Judges ports of nodes: a new pod has those that its workload asks for; when it comes, whoever
/// had one of them on the node is gone, by a step that it waits for; and in the end each has one
/// holder.
fn ports(
    created: &[Created<'_>],
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    (digests, ancestry): (&BTreeMap<&WorkloadName, SpecDigest>, &Ancestry),
    violations: &mut Vec<Violation>,
) {
    let mut removed: BTreeMap<&PodId, Vec<usize>> = BTreeMap::new();
    for (index, step) in body.steps.iter().enumerate() {
        if let Work::Act(Action::RemovePod { pod, .. }) = &step.work {
            removed.entry(pod).or_default().push(index);
        }
    }
    let mut holders: BTreeMap<(&NodeName, NodePort), Vec<&PodId>> = BTreeMap::new();
    for (id, placed) in &body.expected {
        for port in &placed.requests.ports {
            holders.entry((&placed.node, *port)).or_default().push(id);
        }
    }
    for (index, on, pod) in created {
        let mut wrong = |why: String| {
            let (pod, node) = (pod.id.clone(), (*on).clone());
            violations.push(Violation::Misplaced { pod, node, why });
        };
        let own = graph.workloads.get(&pod.workload);
        let current = digests.get(&pod.workload) == Some(&pod.digest);
        if let Some(workload) = own.filter(|_| current) {
            let asked: BTreeMap<NodePort, u16> = workload
                .ports
                .iter()
                .filter_map(|p| {
                    let protocol = p.protocol;
                    Some((NodePort { port: p.host?, protocol }, p.container))
                })
                .collect();
            if asked != pod.publish {
                wrong("it does not publish the ports that the text says".to_owned());
            }
        }
        for port in pod.publish.keys() {
            if !pod.requests().ports.contains(port) {
                wrong(format!("port {port} is not counted"));
            }
            let node = graph.nodes.get(*on);
            if node.is_some_and(|n| port.protocol == Protocol::Tcp && n.ssh_port() == port.port) {
                wrong(format!("port {port} is the node's SSH server's"));
            }
            if let Some(seen) = observation.seen(on) {
                for (by, asks) in &seen.spec.others {
                    if asks.ports.contains(port) {
                        wrong(format!("port {port} is held by {by}"));
                    }
                }
                let leaves = |other: &PodId| {
                    let steps = removed.get(other).into_iter().flatten();
                    steps.clone().any(|step| ancestry.is_before(*step, *index))
                };
                let there = seen.spec.pods.iter().filter(|(id, p)| {
                    p.requests.ports.contains(port) && **id != pod.id && !leaves(id)
                });
                for (other, _) in there {
                    wrong(format!("port {port} is held by {other} when it comes"));
                }
            }
            let later = holders.get(&(*on, *port)).into_iter().flatten();
            if let Some(other) = later.copied().find(|id| **id != pod.id) {
                wrong(format!("port {port} is held by {other} in the end"));
            }
        }
    }
}

/// What was there when the plan was made.
struct Seen<'a> {
    graph: &'a Graph,
    observation: &'a Observation,
    census: &'a Census<'a>,
    /// By workload and which of its rules.
    least: BTreeMap<(&'a WorkloadName, &'a Even), Domains<'a>>,
}

/// Each domain that could have taken a replica with how many it has, and how many domains have so
/// many.
type Domains<'a> = (Counts<'a>, BTreeMap<u32, u32>);

/// What the text alone says of the node and the workload.
fn on_the_node(
    placement: &Placement,
    name: &NodeName,
    node: &Node,
    wrong: &mut impl FnMut(String),
) {
    if node.intake != Intake::Open {
        wrong("the node takes nothing new".to_owned());
    }
    for (key, value) in &placement.require {
        if node.labels.get(key) != Some(value) {
            wrong(format!("label {key} is not {value}"));
        }
    }
    for rule in &placement.rules {
        let value = |key: &String| node.labels.get(key);
        let number = |key: &String| value(key).and_then(|text| text.parse::<i64>().ok());
        let holds = match rule {
            Rule::In(key, any) => matches!(value(key), Some(value) if any.contains(value)),
            Rule::NotIn(key, none) => !matches!(value(key), Some(value) if none.contains(value)),
            Rule::Exists(key) => value(key).is_some(),
            Rule::Missing(key) => value(key).is_none(),
            Rule::Above(key, least) => matches!(number(key), Some(number) if number > *least),
            Rule::Below(key, most) => matches!(number(key), Some(number) if number < *most),
        };
        if !holds {
            wrong("a rule about labels does not hold".to_owned());
        }
    }
    for taint in &node.taints {
        let borne = placement.tolerate.iter().any(|toleration| {
            let same = toleration.value.is_none() || toleration.value == taint.value;
            toleration.key == taint.key && same
        });
        if taint.effect != Effect::Discourage && !borne {
            wrong(format!("taint {} is not tolerated", taint.key));
        }
    }
    if !placement.at.is_empty() && !placement.at.contains(name) {
        wrong("it may only be on other nodes".to_owned());
    }
}

impl<'a> Seen<'a> {
    /// When all is done, a domain that got a new replica has at most the skew more than the
    /// emptiest that could have taken it. What leaves later in the same plan may have filled the
    /// emptiest while this one was placed, so it counts there.
    fn even(
        &mut self,
        placement: &'a Placement,
        even: &'a Even,
        (name, id): (&WorkloadName, &PodId),
        on: &NodeName,
        wrong: &mut impl FnMut(String),
    ) {
        let (graph, census) = (self.graph, self.census);
        let Some((name, _)) = graph.workloads.get_key_value(name) else { return };
        let Some(here) = domain(graph, &even.over, on) else {
            wrong("it is in no domain to be even over".to_owned());
            return;
        };
        let ends = census.in_the_end(name, &even.over);
        let observation = self.observation;
        let (counts, domains) = self.least.entry((name, even)).or_insert_with(|| {
            let gone = census.gone(name, &even.over);
            let mut counts = Counts::new();
            for (candidate, node) in &graph.nodes {
                let mut fits = observation.seen(candidate).is_some();
                on_the_node(placement, candidate, node, &mut |_| fits = false);
                if let Some(domain) = domain(graph, &even.over, candidate).filter(|_| fits) {
                    let of = |counts: &Counts<'_>| counts.get(domain).copied().unwrap_or(0);
                    counts.insert(domain, of(&ends) + of(&gone));
                }
            }
            let mut domains = BTreeMap::new();
            counts.values().for_each(|count| *domains.entry(*count).or_default() += 1);
            (counts, domains)
        });
        // The replica itself counts where this pod is, and also where it was seen.
        let end = census.end(name, id.ordinal);
        let moved = end.and_then(|end| domain(graph, &even.over, end));
        let again = end.filter(|end| census.was(name, id.ordinal, end)).and(moved);
        let extra = |domain: &str| {
            i64::from(domain == here) - i64::from(moved == Some(domain))
                + i64::from(again == Some(domain))
        };
        let has = i64::from(ends.get(here).copied().unwrap_or(0)) + extra(here)
            - i64::from(again == Some(here));
        // Only these domains differ from the count of the whole workload.
        let changed: BTreeSet<&str> = [Some(here), moved].into_iter().flatten().collect();
        let changed = changed.into_iter().filter(|domain| extra(domain) != 0);
        let mut without: BTreeMap<u32, u32> = BTreeMap::new();
        let mut least = i64::MAX;
        for domain in changed {
            let Some(count) = counts.get(domain) else { continue };
            *without.entry(*count).or_default() += 1;
            least = least.min(i64::from(*count) + extra(domain));
        }
        let rest = domains.iter().find(|(count, many)| without.get(count) != Some(many));
        least = least.min(rest.map_or(i64::MAX, |(count, _)| i64::from(*count)));
        let least = if least == i64::MAX { 0 } else { least };
        if has > least + i64::from(even.skew.max(1)) {
            wrong(format!("its domain has {has}, the emptiest {least}"));
        }
    }
}

/// What all pods ask for in the end, against the quota.
fn quota(
    body: &PlanBody,
    graph: &Graph,
    observation: &Observation,
    violations: &mut Vec<Violation>,
) {
    let Some(Quota { cpu_millis, memory_bytes, disk_bytes, named }) = &graph.quota else { return };
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut before: BTreeMap<&str, u64> = BTreeMap::new();
    let add = |sums: &mut BTreeMap<&str, u64>, requests: &Requests| {
        for (key, amount) in [
            ("cpu", requests.cpu_millis),
            ("memory", requests.memory_bytes),
            ("disk", requests.disk_bytes),
        ] {
            let sum = sums.entry(key).or_default();
            *sum = sum.saturating_add(amount);
        }
    };
    body.expected.values().for_each(|placed| add(&mut sums, &placed.requests));
    // Volumes are asked for as well, those that are there and those that are made.
    let mut volumes: BTreeMap<&VolumeId, u64> = BTreeMap::new();
    for seen in observation.nodes.keys().filter_map(|node| observation.seen(node)) {
        volumes.extend(seen.spec.volumes.iter().map(|(id, noted)| (id, noted.size_bytes)));
    }
    let disk = |bytes: u64| Requests { disk_bytes: bytes, ..Requests::default() };
    volumes.values().for_each(|bytes| add(&mut before, &disk(*bytes)));
    for step in &body.steps {
        if let Work::Act(Action::EnsureVolume { volume, spec, .. }) = &step.work {
            volumes.insert(volume, spec.size_bytes);
        }
    }
    volumes.values().for_each(|bytes| add(&mut sums, &disk(*bytes)));
    let seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
    seen.flat_map(|seen| seen.spec.pods.values()).for_each(|pod| add(&mut before, &pod.requests));
    let mut limits: Vec<(&str, u64, u64, u64)> = Vec::new();
    for (key, limit) in [("cpu", cpu_millis), ("memory", memory_bytes), ("disk", disk_bytes)] {
        let of = |sums: &BTreeMap<&str, u64>| sums.get(key).copied().unwrap_or(0);
        limits.extend(limit.map(|limit| (key, limit, of(&sums), of(&before))));
    }
    for (name, limit) in named {
        let of = |placed: &Placed| placed.requests.named.get(name).copied();
        let sum = body.expected.values().filter_map(of).fold(0, u64::saturating_add);
        limits.push((name, *limit, sum, 0));
    }
    // A quota that was lowered below what runs stops growth, and takes nothing away.
    let names: BTreeSet<String> = limits
        .into_iter()
        .filter(|(_, limit, sum, before)| sum > limit && sum > before)
        .map(|(name, ..)| name.to_owned())
        .collect();
    violations.extend(names.into_iter().map(|name| Violation::OverQuota { name }));
}
