//! The words that the planner speaks with placement: nodes in, an ask, a place or reasons out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::bits::Bits;
use crate::plan::graph::{Intake, Placement, Taint};
use crate::plan::names::{ImageDigest, NodeName, WorkloadName};
use crate::plan::observation::{Pressure, Requests};

/// A node as placement sees it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What keeps replicas off that do not tolerate it.
    pub taints: Vec<Taint>,
    /// Whether it takes new replicas.
    pub intake: Intake,
    /// Whether it answered.
    pub reachable: bool,
    /// How busy it was.
    pub pressure: Pressure,
    /// What may be promised on it: capacity times overcommitment, less what is reserved. A disk
    /// of 0 bytes is one whose size is not known, and does not limit.
    pub room: Requests,
    /// Images that are there.
    pub images: BTreeSet<ImageDigest>,
    /// Its pod range of each family.
    pub ranges: (Ipv4Net, Ipv6Net),
    /// Host numbers in the range that are taken.
    pub taken: Bits,
}

/// What a replica asks for.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Of which workload.
    pub workload: &'a WorkloadName,
    /// How much.
    pub requests: &'a Requests,
    /// Bytes of disk among that which are for volumes that are made with it.
    pub volumes_bytes: u64,
    /// Where it may go.
    pub placement: &'a Placement,
    /// Its image, which some nodes may have.
    pub image: Option<&'a ImageDigest>,
    /// The node of the pod that it replaces.
    pub stay: Option<&'a NodeName>,
    /// What this rollout's earlier waves have freed, by node.
    pub credit: &'a BTreeMap<NodeName, Requests>,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// Its next free addresses.
    pub addresses: (Ipv4Addr, Ipv6Addr),
    /// Why this node, for people.
    pub why: String,
}

impl Slot {
    /// Makes an open, unlabelled node that answered, with nothing on it.
    pub fn plain(room: Requests, ranges: (Ipv4Net, Ipv6Net)) -> Self {
        Self {
            labels: BTreeMap::new(),
            taints: Vec::new(),
            intake: Intake::Open,
            reachable: true,
            pressure: Pressure::Low,
            room,
            images: BTreeSet::new(),
            ranges,
            taken: Bits::default(),
        }
    }

    /// Marks an address as taken; says whether it is in the range and was not taken before.
    pub(super) fn take(&mut self, ip4: Ipv4Addr) -> bool {
        let host = u32::from(ip4).checked_sub(u32::from(self.ranges.0.network()));
        let Some(host) = host.map(|host| host as usize).filter(|host| *host < self.hosts().1)
        else {
            return false;
        };
        let fresh = !self.taken.contains(host) && host >= self.hosts().0;
        self.taken.insert(host);
        fresh
    }

    /// Gives an address back.
    pub(super) fn give(&mut self, ip4: Ipv4Addr) -> bool {
        let host = u32::from(ip4).checked_sub(u32::from(self.ranges.0.network()));
        let Some(host) = host.map(|host| host as usize) else { return false };
        let was = self.taken.contains(host) && host >= self.hosts().0 && host < self.hosts().1;
        self.taken.remove(host);
        was
    }

    /// The host numbers that pods may have: from 2 (1 is the bridge) to the range's last but one.
    fn hosts(&self) -> (usize, usize) {
        let range = self.ranges.0;
        let last = u32::from(range.broadcast()).saturating_sub(u32::from(range.network()));
        (2, last as usize)
    }

    /// Counts the addresses that pods may have, and those of them that are taken.
    pub(super) fn addresses(&self) -> (u64, u64) {
        let (first, end) = self.hosts();
        let taken = self.taken.iter().filter(|host| (first..end).contains(host)).count();
        (end.saturating_sub(first) as u64, taken as u64)
    }

    /// Names the next free addresses, if there are any.
    pub fn next_addresses(&self) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let (range4, range6) = self.ranges;
        let (first, end) = self.hosts();
        let host = self.taken.first_absent(first);
        let host = u32::try_from(host).ok().filter(|_| host < end)?;
        let ip4 = Ipv4Addr::from(u32::from(range4.network()) + host);
        let ip6 = Ipv6Addr::from(u128::from(range6.network()) + u128::from(host));
        Some((ip4, ip6))
    }
}

impl Requests {
    /// Says whether nothing is asked for.
    pub fn is_nothing(&self) -> bool {
        let Self { cpu_millis, memory_bytes, disk_bytes, named, ports } = self;
        *cpu_millis == 0
            && *memory_bytes == 0
            && *disk_bytes == 0
            && named.is_empty()
            && ports.is_empty()
    }

    /// Adds, saturating.
    pub fn add(&mut self, other: &Self) {
        let Self { cpu_millis, memory_bytes, disk_bytes, named, ports } = other;
        self.cpu_millis = self.cpu_millis.saturating_add(*cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_add(*memory_bytes);
        self.disk_bytes = self.disk_bytes.saturating_add(*disk_bytes);
        for (name, amount) in named {
            let sum = self.named.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
        self.ports.extend(ports);
    }

    /// Subtracts, down to nothing.
    pub fn sub(&mut self, other: &Self) {
        let Self { cpu_millis, memory_bytes, disk_bytes, named, ports } = other;
        self.cpu_millis = self.cpu_millis.saturating_sub(*cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_sub(*memory_bytes);
        self.disk_bytes = self.disk_bytes.saturating_sub(*disk_bytes);
        for (name, amount) in named {
            if let Some(left) = self.named.get_mut(name) {
                *left = left.saturating_sub(*amount);
            }
        }
        self.ports.retain(|port| !ports.contains(port));
    }

    /// The larger of each.
    pub fn max_with(&self, other: &Self) -> Self {
        let Self { cpu_millis, memory_bytes, disk_bytes, named, ports } = other;
        let mut most = self.clone();
        most.cpu_millis = most.cpu_millis.max(*cpu_millis);
        most.memory_bytes = most.memory_bytes.max(*memory_bytes);
        most.disk_bytes = most.disk_bytes.max(*disk_bytes);
        for (name, amount) in named {
            let entry = most.named.entry(name.clone()).or_default();
            *entry = (*entry).max(*amount);
        }
        most.ports.extend(ports);
        most
    }

    /// Multiplies, saturating.
    pub fn times(&self, count: u64) -> Self {
        let Self { cpu_millis, memory_bytes, disk_bytes, named, ports } = self;
        let named = named.iter().map(|(name, amount)| (name.clone(), amount.saturating_mul(count)));
        Self {
            cpu_millis: cpu_millis.saturating_mul(count),
            memory_bytes: memory_bytes.saturating_mul(count),
            disk_bytes: disk_bytes.saturating_mul(count),
            named: named.collect(),
            ports: ports.clone(),
        }
    }
}
