//! Placement: which node takes a replica, and why the others do not.
//!
//! Filter, score, choose. The filters are the node's reachability, labels, CPU, memory and pod
//! addresses; the score is spread first, then the share of the tighter resource that stays free;
//! ties go to the node's name. A replica that is replaced stays on its node if it fits there.
//! Every comparison is between integers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::body::Rejection;
use super::graph::Placement;
use super::names::{NodeName, WorkloadName};
use super::observation::Requests;

/// A node as placement sees it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it answered.
    pub reachable: bool,
    /// What it has for pods: capacity less what is reserved.
    pub room: Requests,
    /// What is taken.
    pub used: Requests,
    /// Its pod range of each family.
    pub ranges: (Ipv4Net, Ipv6Net),
    /// Host numbers in the range that are taken.
    pub taken: std::collections::BTreeSet<u32>,
}

/// The fleet as placement sees it.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    slots: BTreeMap<NodeName, Slot>,
    replicas: BTreeMap<WorkloadName, BTreeMap<NodeName, u32>>,
}

/// What a replica asks for.
pub struct Ask<'a> {
    /// Of which workload.
    pub workload: &'a WorkloadName,
    /// How much.
    pub requests: Requests,
    /// Where it may go.
    pub placement: &'a Placement,
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

impl Fleet {
    /// Adds a node.
    pub fn add(&mut self, node: NodeName, slot: Slot) {
        self.slots.insert(node, slot);
    }

    /// Looks a node up.
    pub fn slot(&self, node: &NodeName) -> Option<&Slot> {
        self.slots.get(node)
    }

    /// Counts a pod that is there.
    pub fn count(
        &mut self,
        node: &NodeName,
        workload: &WorkloadName,
        requests: Requests,
        ip4: Ipv4Addr,
    ) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.used.add(requests);
            slot.take(ip4);
        }
        *self.replicas.entry(workload.clone()).or_default().entry(node.clone()).or_default() += 1;
    }

    /// Counts requests that belong to nobody in this plan, such as another tenant's.
    pub fn reserve(&mut self, node: &NodeName, requests: Requests) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.used.add(requests);
        }
    }

    /// Marks an address as taken.
    pub fn take(&mut self, node: &NodeName, ip4: Ipv4Addr) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.take(ip4);
        }
    }

    /// Takes a pod out of the spread's count; its resources stay counted, since other branches
    /// run at the same time.
    pub fn uncount(&mut self, node: &NodeName, workload: &WorkloadName) {
        if let Some(count) = self.replicas.get_mut(workload).and_then(|m| m.get_mut(node)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Chooses a node.
    ///
    /// # Errors
    /// Every failing constraint of every node.
    pub fn choose(&self, ask: &Ask<'_>) -> Result<Place, BTreeMap<NodeName, Vec<Rejection>>> {
        let mut rejected = BTreeMap::new();
        let mut best: Option<(Score<'_>, &NodeName)> = None;
        for (name, slot) in &self.slots {
            let failing = self.rejections(name, slot, ask);
            if !failing.is_empty() {
                rejected.insert(name.clone(), failing);
                continue;
            }
            let score = self.score(name, slot, ask);
            if best.as_ref().is_none_or(|(other, _)| score.beats(other)) {
                best = Some((score, name));
            }
        }
        let Some((score, name)) = best else { return Err(rejected) };
        let addresses = self.slots.get(name).and_then(Slot::next_addresses);
        let Some(addresses) = addresses else { return Err(rejected) };
        Ok(Place { node: name.clone(), addresses, why: score.reason(ask.placement) })
    }

    fn rejections(&self, name: &NodeName, slot: &Slot, ask: &Ask<'_>) -> Vec<Rejection> {
        let mut failing = Vec::new();
        if !slot.reachable {
            failing.push(Rejection::Unknown);
            return failing;
        }
        for (key, wants) in &ask.placement.require {
            let has = slot.labels.get(key);
            if has != Some(wants) {
                failing.push(Rejection::Label {
                    key: key.clone(),
                    wants: wants.clone(),
                    has: has.cloned(),
                });
            }
        }
        let free = slot.free(ask.credit.get(name).copied().unwrap_or_default());
        if ask.requests.cpu_millis > free.cpu_millis {
            failing.push(Rejection::Cpu { needs: ask.requests.cpu_millis, free: free.cpu_millis });
        }
        if ask.requests.memory_bytes > free.memory_bytes {
            failing.push(Rejection::Memory {
                needs: ask.requests.memory_bytes,
                free: free.memory_bytes,
            });
        }
        if slot.next_addresses().is_none() {
            failing.push(Rejection::Addresses);
        }
        failing
    }

    fn score<'a>(&'a self, name: &NodeName, slot: &'a Slot, ask: &Ask<'_>) -> Score<'a> {
        let here = self.replicas.get(ask.workload);
        let on = |node: &NodeName| here.and_then(|m| m.get(node)).copied().unwrap_or(0);
        let (domain, in_domain) = match &ask.placement.spread {
            None => (None, on(name)),
            Some(key) => {
                let value = slot.labels.get(key).map(String::as_str);
                let same = |other: &Slot| other.labels.get(key).map(String::as_str) == value;
                let count = self
                    .slots
                    .iter()
                    .filter(|(_, other)| same(other))
                    .map(|(node, _)| on(node))
                    .sum();
                (value, count)
            }
        };
        let free = slot.free(ask.credit.get(name).copied().unwrap_or_default());
        let share = |free: u64, room: u64| {
            if room == 0 { 0 } else { (u128::from(free) * 1000 / u128::from(room)) as u64 }
        };
        Score {
            stays: ask.stay == Some(name),
            domain,
            in_domain,
            on_node: on(name),
            free_permille: share(free.cpu_millis, slot.room.cpu_millis)
                .min(share(free.memory_bytes, slot.room.memory_bytes)),
        }
    }
}

struct Score<'a> {
    stays: bool,
    domain: Option<&'a str>,
    in_domain: u32,
    on_node: u32,
    free_permille: u64,
}

impl Score<'_> {
    fn beats(&self, other: &Self) -> bool {
        let key = |s: &Self| (!s.stays, s.in_domain, s.on_node, std::cmp::Reverse(s.free_permille));
        key(self) < key(other)
    }

    fn reason(&self, placement: &Placement) -> String {
        if self.stays {
            return "stays on its node".to_owned();
        }
        let spread = match (&placement.spread, self.domain) {
            (Some(key), Some(value)) => format!("{key} {value} has {}", self.in_domain),
            (Some(key), None) => format!("no label {key}"),
            (None, _) => format!("has {}", self.on_node),
        };
        format!("{spread}, {}% free", self.free_permille / 10)
    }
}

impl Slot {
    fn free(&self, credit: Requests) -> Requests {
        let left = |room: u64, used: u64, credit: u64| (room + credit).saturating_sub(used);
        Requests {
            cpu_millis: left(self.room.cpu_millis, self.used.cpu_millis, credit.cpu_millis),
            memory_bytes: left(self.room.memory_bytes, self.used.memory_bytes, credit.memory_bytes),
        }
    }

    fn take(&mut self, ip4: Ipv4Addr) {
        let base = u32::from(self.ranges.0.network());
        if let Some(host) = u32::from(ip4).checked_sub(base) {
            self.taken.insert(host);
        }
    }

    /// The lowest free host number from 2 (1 is the bridge) to the range's last but one.
    /// Names the next free addresses, if there are any.
    pub fn next_addresses(&self) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let (range4, range6) = self.ranges;
        let last = u32::from(range4.broadcast()).checked_sub(u32::from(range4.network()))?;
        let host = (2..last).find(|host| !self.taken.contains(host))?;
        let ip4 = Ipv4Addr::from(u32::from(range4.network()) + host);
        let ip6 = Ipv6Addr::from(u128::from(range6.network()) + u128::from(host));
        Some((ip4, ip6))
    }
}

impl Requests {
    /// Adds, saturating.
    pub fn add(&mut self, other: Self) {
        self.cpu_millis = self.cpu_millis.saturating_add(other.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }

    /// Subtracts, down to nothing.
    pub fn sub(&mut self, other: Self) {
        self.cpu_millis = self.cpu_millis.saturating_sub(other.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
    }
}
