//! The checker's own count of replicas: where they are when all is done, and where they were seen.
//!
//! Counts by workload and domain are made when somebody asks for them, once. A pod and the one that
//! takes its place are one replica; a replica that is asked about can be left out of the count.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::plan::body::PlanBody;
use crate::plan::graph::{Graph, Over};
use crate::plan::names::{NodeName, WorkloadName};
use crate::plan::observation::Observation;

/// How many replicas each domain has.
pub(super) type Counts<'a> = BTreeMap<&'a str, u32>;

/// Counts that were made, by workload and what they are over.
type Made<'a> = RefCell<BTreeMap<(&'a WorkloadName, &'a Over), Rc<Counts<'a>>>>;

/// Where replicas are and were.
pub(super) struct Census<'a> {
    graph: &'a Graph,
    /// By workload and ordinal, where each is when all is done; of one that is in two places,
    /// where its latest pod is.
    ends: BTreeMap<&'a WorkloadName, BTreeMap<u32, (u64, &'a NodeName)>>,
    /// By workload, ordinals and nodes as seen.
    seen: BTreeMap<&'a WorkloadName, BTreeSet<(u32, &'a NodeName)>>,
    in_the_end: Made<'a>,
    before: Made<'a>,
    gone: Made<'a>,
}

impl<'a> Census<'a> {
    pub(super) fn of(body: &'a PlanBody, graph: &'a Graph, observation: &'a Observation) -> Self {
        let mut ends: BTreeMap<&WorkloadName, BTreeMap<u32, (u64, &NodeName)>> = BTreeMap::new();
        for (id, placed) in &body.expected {
            let latest = ends.entry(&placed.workload).or_default();
            let entry = latest.entry(id.ordinal).or_insert((id.generation, &placed.node));
            if id.generation > entry.0 {
                *entry = (id.generation, &placed.node);
            }
        }
        let mut seen: BTreeMap<&WorkloadName, BTreeSet<(u32, &NodeName)>> = BTreeMap::new();
        for node in observation.nodes.keys() {
            for (id, pod) in observation.seen(node).iter().flat_map(|seen| &seen.spec.pods) {
                seen.entry(&pod.workload).or_default().insert((id.ordinal, node));
            }
        }
        let (in_the_end, before, gone) = Default::default();
        Self { graph, ends, seen, in_the_end, before, gone }
    }

    /// Where a replica is in the end.
    pub(super) fn end(&self, workload: &WorkloadName, ordinal: u32) -> Option<&'a NodeName> {
        self.ends.get(workload)?.get(&ordinal).map(|(_, node)| *node)
    }

    /// Whether a replica was seen on a node.
    pub(super) fn was(&self, workload: &WorkloadName, ordinal: u32, node: &NodeName) -> bool {
        self.seen.get(workload).is_some_and(|seen| seen.contains(&(ordinal, node)))
    }

    fn made(
        &self,
        made: &Made<'a>,
        (workload, over): (&'a WorkloadName, &'a Over),
        nodes: impl Iterator<Item = &'a NodeName>,
    ) -> Rc<Counts<'a>> {
        if let Some(counts) = made.borrow().get(&(workload, over)) {
            return Rc::clone(counts);
        }
        let mut counts = Counts::new();
        for domain in nodes.filter_map(|node| domain(self.graph, over, node)) {
            *counts.entry(domain).or_default() += 1;
        }
        let counts = Rc::new(counts);
        made.borrow_mut().insert((workload, over), Rc::clone(&counts));
        counts
    }

    /// Counts a workload's replicas when all is done.
    pub(super) fn in_the_end(&self, workload: &'a WorkloadName, over: &'a Over) -> Rc<Counts<'a>> {
        let ends = self.ends.get(workload).into_iter().flatten();
        self.made(&self.in_the_end, (workload, over), ends.map(|(_, (_, node))| *node))
    }

    /// Counts a workload's replicas as seen.
    fn before(&self, workload: &'a WorkloadName, over: &'a Over) -> Rc<Counts<'a>> {
        let seen = self.seen.get(workload).into_iter().flatten();
        self.made(&self.before, (workload, over), seen.map(|(_, node)| *node))
    }

    /// Counts what was seen of a workload and is elsewhere or nowhere when all is done.
    pub(super) fn gone(&self, workload: &'a WorkloadName, over: &'a Over) -> Rc<Counts<'a>> {
        let seen = self.seen.get(workload).into_iter().flatten();
        let gone = seen.filter(|(ordinal, node)| self.end(workload, *ordinal) != Some(*node));
        self.made(&self.gone, (workload, over), gone.map(|(_, node)| *node))
    }

    /// Whether a node's domain has a replica of a workload in the end, one of them left out.
    pub(super) fn shares(
        &self,
        (workload, over): (&'a WorkloadName, &'a Over),
        node: &NodeName,
        without: (&WorkloadName, u32),
    ) -> bool {
        let Some(there) = domain(self.graph, over, node) else { return false };
        let count = self.in_the_end(workload, over).get(there).copied().unwrap_or(0);
        let own = (workload == without.0).then(|| self.end(workload, without.1)).flatten();
        let own = own.and_then(|node| domain(self.graph, over, node)) == Some(there);
        count > u32::from(own)
    }

    /// Whether a domain had a replica of a workload.
    pub(super) fn had(&self, workload: &'a WorkloadName, over: &'a Over, there: &str) -> bool {
        self.before(workload, over).contains_key(there)
    }
}

/// The domain that a node is in: its name, or a label's value.
pub(super) fn domain<'a>(graph: &'a Graph, over: &Over, node: &'a NodeName) -> Option<&'a str> {
    match over {
        Over::Node => Some(node.as_str()),
        Over::Label(key) => graph.nodes.get(node)?.labels.get(key).map(String::as_str),
    }
}
