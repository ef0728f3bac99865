//! Names into numbers: workloads, labels and their values, resources.

use super::{ADDRESSES, CPU, DISK, Fleet, KNOWN, Label, MEMORY, Tally};
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
        let Requests { cpu_millis, memory_bytes, disk_bytes, named } = requests;
        let mut needs = vec![(CPU, *cpu_millis), (MEMORY, *memory_bytes), (DISK, *disk_bytes)];
        needs.extend(named.iter().map(|(name, amount)| (self.number_of(name), *amount)));
        needs.retain(|(_, amount)| *amount > 0);
        needs
    }

    /// Numbers a resource, making room for it in every node's row.
    pub(super) fn number_of(&mut self, name: &str) -> usize {
        if self.resources.is_empty() {
            self.resources = KNOWN.map(str::to_owned).to_vec();
        }
        let named = self.resources.iter().skip(KNOWN.len()).position(|known| known == name);
        if let Some(found) = named {
            return found + KNOWN.len();
        }
        let width = self.resources.len();
        let widen = |row: &Vec<u64>| -> Vec<u64> {
            row.chunks(width).flat_map(|row| row.iter().copied().chain([0])).collect()
        };
        self.room = widen(&self.room);
        self.used = widen(&self.used);
        self.resources.push(name.to_owned());
        self.index = None;
        width
    }
}

pub(super) fn amount(requests: &Requests, resource: usize, resources: &[String]) -> u64 {
    match resource {
        CPU => requests.cpu_millis,
        MEMORY => requests.memory_bytes,
        DISK => requests.disk_bytes,
        ADDRESSES => 0,
        named => {
            let name = resources.get(named).map(String::as_str).unwrap_or_default();
            requests.named.get(name).copied().unwrap_or(0)
        }
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
