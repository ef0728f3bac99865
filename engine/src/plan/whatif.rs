//! What-ifs: a fleet and a text that are not, for planning on.

use std::collections::BTreeMap;

use super::graph::Graph;
use super::ledger::Head;
use super::names::{NodeName, WorkloadName};
use super::observation::{NodeSpec, NodeView, Observation, Pressure, Requests};

/// What is supposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppose {
    /// Nodes that are gone.
    pub without: Vec<NodeName>,
    /// Nodes that are there as well: a shape, and how many.
    pub add: Vec<(Requests, u32)>,
    /// Services with another number of replicas.
    pub scale: BTreeMap<WorkloadName, u32>,
}

/// A supposition that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    /// There is no such node.
    #[error("there is no node `{0}` to be without")]
    NoNode(NodeName),
    /// There is no such service.
    #[error("there is no service `{0}` to scale")]
    NoService(WorkloadName),
    /// No node would be left, or none answered to make another one like it.
    #[error("no node that answered is left to plan on")]
    Nobody,
    /// Not a shape.
    #[error(
        "a shape is CPU and memory, such as `8/32GiB` or `500m/512MiB`, and `x3` for three of them; `{0}` is none"
    )]
    BadShape(String),
    /// Not a service and a number.
    #[error("`{0}` is not a service and a number of replicas, such as `web=12`")]
    BadScale(String),
}

impl Suppose {
    /// Says whether nothing is supposed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes the graph and the observation that would be.
    ///
    /// # Errors
    /// If a node or a service is not there.
    pub fn apply(
        &self,
        graph: &Graph,
        observation: &Observation,
    ) -> Result<(Graph, Observation), WhatIfError> {
        let (mut graph, mut observation) = (graph.clone(), observation.clone());
        let like = graph.nodes.keys().find_map(|name| {
            Some((graph.nodes.get(name)?.clone(), observation.seen(name)?.clone()))
        });
        for name in &self.without {
            if graph.nodes.remove(name).is_none() {
                return Err(WhatIfError::NoNode(name.clone()));
            }
            observation.nodes.remove(name);
        }
        let shapes = self.add.iter().flat_map(|(shape, count)| (0..*count).map(move |_| shape));
        for (number, shape) in shapes.enumerate() {
            let (mut node, mut seen) = like.clone().ok_or(WhatIfError::Nobody)?;
            let name = NodeName::new(format!("new[{}]", number + 1));
            node.capacity = Some(shape.clone());
            seen.spec = NodeSpec::default();
            seen.status.pods.clear();
            seen.status.pressure = Pressure::Low;
            seen.facts.machine_id = format!("supposed-{number}");
            graph.nodes.insert(name.clone(), node);
            observation.nodes.insert(name, NodeView::Seen(Box::new(seen)));
        }
        if !graph.nodes.contains_key(&graph.keeper) {
            graph.keeper = graph.nodes.keys().next().ok_or(WhatIfError::Nobody)?.clone();
        }
        for (name, replicas) in &self.scale {
            let workload = graph.workloads.get_mut(name);
            workload.ok_or_else(|| WhatIfError::NoService(name.clone()))?.replicas = *replicas;
        }
        Ok((graph, observation))
    }

    /// Forgets what ran on the nodes that are gone; where data was is remembered, so that nothing takes its
    /// place.
    pub fn forget(&self, head: &mut Head) {
        self.without.iter().for_each(|node| head.forget_pods(node));
    }
}

/// Reads `8/32GiB` or `8/32GiBx3`.
///
/// # Errors
/// If it is no shape.
pub fn shape(text: &str) -> Result<(Requests, u32), WhatIfError> {
    let read = || {
        let (shape, count) = match text.rsplit_once('x') {
            Some((shape, count)) => (shape, count.parse().ok()?),
            None => (text, 1),
        };
        let (cpu, memory) = shape.split_once('/')?;
        let cpu_millis = match cpu.strip_suffix('m') {
            Some(millis) => millis.parse().ok()?,
            None => cpu.parse::<u64>().ok()?.checked_mul(1000)?,
        };
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
        let memory_bytes = units.iter().find_map(|(unit, shift)| {
            memory.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift)
        })?;
        Some((Requests { cpu_millis, memory_bytes, ..Requests::default() }, count))
    };
    read().ok_or_else(|| WhatIfError::BadShape(text.to_owned()))
}

/// Reads `web=12`.
///
/// # Errors
/// If it is something else.
pub fn scale(text: &str) -> Result<(WorkloadName, u32), WhatIfError> {
    let read = || {
        let (name, replicas) = text.rsplit_once('=')?;
        Some((WorkloadName::new(name), replicas.parse().ok()?))
    };
    read().ok_or_else(|| WhatIfError::BadScale(text.to_owned()))
}
