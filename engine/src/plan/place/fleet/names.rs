//! Names into numbers: workloads, labels and their values, resources.

use super::{ADDRESSES, CPU, DISK, Fleet, KNOWN, Label, MEMORY, Resource, Tally};
use crate::plan::graph::Over;
use crate::plan::names::WorkloadName;
use crate::plan::observation::Requests;
use crate::plan::place::want::Domain;

impl Fleet {
    pub(super) fn workload(&mut self, name: &WorkloadName) -> usize {
        if let Some(number) = self.by_workload.get(name) {
            return *number;
        }
        let number = self.tallies.len();
        self.tallies.push(Tally::of(name.clone()));
        self.by_workload.insert(name.clone(), number);
        number
    }

    pub(super) fn domain(&mut self, over: &Over) -> Domain {
        match over {
            Over::Node => Domain::Node,
            Over::Label(label) => Domain::Key(self.label(label)),
        }
    }

    pub(super) fn label(&mut self, key: &str) -> usize {
        if let Some(found) = self.labels.iter().position(|label| label.key == key) {
            return found;
        }
        let mut label =
            Label { key: key.to_owned(), values: vec![String::new()], of_node: Vec::new() };
        for slot in &self.slots {
            label.of_node.push(number_value(&mut label.values, slot.labels.get(key)));
        }
        self.labels.push(label);
        self.index = None;
        self.labels.len() - 1
    }

    /// Keeps count of a workload by a label's values from now on.
    pub(super) fn count_by(&mut self, workload: usize, label: usize) {
        let Label { values, of_node, .. } = &self.labels[label];
        let Tally { on, by_value, .. } = &mut self.tallies[workload];
        if by_value.len() <= label {
            by_value.resize(label + 1, None);
        }
        by_value[label].get_or_insert_with(|| {
            let mut counts = vec![0; values.len()];
            for (node, count) in on {
                counts[of_node[*node]] += *count;
            }
            counts
        });
    }

    pub(super) fn needs(&mut self, requests: &Requests) -> Vec<(usize, u64)> {
        let Requests { cpu_millis, memory_bytes, disk_bytes, named, ports } = requests;
        let mut needs = vec![(CPU, *cpu_millis), (MEMORY, *memory_bytes), (DISK, *disk_bytes)];
        let pieces = named
            .iter()
            .map(|(name, amount)| (self.number_of(&Resource::Named(name.clone())), *amount));
        needs.extend(pieces);
        needs.extend(ports.iter().map(|port| (self.number_of(&Resource::Port(*port)), 1)));
        needs.retain(|(_, amount)| *amount > 0);
        needs
    }

    /// Numbers what every node has, first of all.
    pub(super) fn number_known(&mut self) {
        if self.resources.is_empty() {
            let known = ["cpu", "memory", "disk", "addresses"];
            self.resources = known.map(Resource::Known).to_vec();
        }
    }

    /// Numbers a resource, making room for it in every node's row.
    pub(super) fn number_of(&mut self, resource: &Resource) -> usize {
        self.number_known();
        let others = self.resources.iter().skip(KNOWN);
        if let Some(found) = others.clone().position(|known| known == resource) {
            return found + KNOWN;
        }
        let width = self.resources.len();
        let widen = |row: &Vec<u64>, there: u64| -> Vec<u64> {
            row.chunks(width).flat_map(|row| row.iter().copied().chain([there])).collect()
        };
        self.room = widen(&self.room, everywhere(resource));
        self.used = widen(&self.used, 0);
        self.resources.push(resource.clone());
        self.index = None;
        width
    }
}

/// How much every node has of a resource that nobody said anything about.
fn everywhere(resource: &Resource) -> u64 {
    match resource {
        Resource::Port(_) => 1,
        Resource::Known(_) | Resource::Named(_) => 0,
    }
}

/// How much a node has of a resource.
pub(super) fn room(has: &Requests, resource: usize, resources: &[Resource]) -> u64 {
    let there = resources.get(resource).map_or(0, everywhere);
    there.max(amount(has, resource, resources))
}

/// How much of a resource is asked for.
pub(super) fn amount(requests: &Requests, resource: usize, resources: &[Resource]) -> u64 {
    match (resource, resources.get(resource)) {
        (CPU, _) => requests.cpu_millis,
        (MEMORY, _) => requests.memory_bytes,
        (DISK, _) => requests.disk_bytes,
        (ADDRESSES, _) | (_, None | Some(Resource::Known(_))) => 0,
        (_, Some(Resource::Named(name))) => requests.named.get(name).copied().unwrap_or(0),
        (_, Some(Resource::Port(port))) => u64::from(requests.ports.contains(port)),
    }
}

pub(super) fn number_value(values: &mut Vec<String>, value: Option<&String>) -> usize {
    let Some(value) = value else { return 0 };
    let known = values.iter().skip(1).position(|known| known == value);
    known.map_or_else(
        || {
            values.push(value.clone());
            values.len() - 1
        },
        |found| found + 1,
    )
}
