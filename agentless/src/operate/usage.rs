//! What a node and its pods use: counters of the kernel, of which two make a rate.
//!
//! Control groups of both versions. Everything is a whole number: hundredths of a percent, bytes,
//! microseconds. A counter that a kernel lacks is absent, not zero.

use std::collections::BTreeMap;

use berth_engine::plan::names::{NodeName, PodId, Tenant};
use berth_engine::run::host::{HostError, Layer};

use crate::fault::Fault;
use crate::host::SshHost;
use crate::session::quote::Call;

/// A limit at or above this is none: version 1 spells none as a huge number.
const NO_LIMIT: u64 = 1 << 60;

/// Counters of a node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The moment, in microseconds on the node's clock.
    pub at_us: u64,
    /// CPU time of all kinds since the boot, in the kernel's ticks.
    pub ticks: u64,
    /// That of them in which nothing ran.
    pub idle_ticks: u64,
    /// How many CPUs.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes that could be had without swapping.
    pub available: u64,
    /// The load average of the last minute, in hundredths.
    pub load: u64,
    /// How much of the last ten seconds something waited, by resource.
    pub pressure: Pressures,
    /// Its pods.
    pub pods: BTreeMap<PodId, PodUsage>,
}

/// The share of the last ten seconds in which some process waited, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// For a CPU.
    pub cpu: Option<u64>,
    /// For memory.
    pub memory: Option<u64>,
    /// For a disk.
    pub io: Option<u64>,
}

/// Counters of a pod at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// CPU time, in microseconds.
    pub cpu_us: Option<u64>,
    /// Bytes of memory, without what the kernel could drop at once.
    pub memory: Option<u64>,
    /// The most bytes that it may have.
    pub limit: Option<u64>,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// How often the kernel killed one of its processes for want of memory.
    pub oom: u64,
    /// How much of the last ten seconds something of it waited.
    pub pressure: Pressures,
}

impl SshHost {
    /// Reads the counters of a node.
    ///
    /// # Errors
    /// If the node can't be reached.
    pub async fn usage(&self, node: &NodeName, tenant: &Tenant) -> Result<Usage, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            let output = live.read(&Call::new("usage").arg(tenant.namespace())).await?;
            parse(&output.text).ok_or_else(|| Fault::Unreachable {
                layer: Layer::Session,
                why: "the node's answer was cut off".to_owned(),
            })
        })
        .await
    }
}

/// Reads the lines; nothing if their end is missing.
fn parse(text: &str) -> Option<Usage> {
    let mut usage = Usage::default();
    let mut pod: Option<(PodId, PodUsage)> = None;
    let mut cache = 0;
    let mut whole = false;
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (key, &mut pod) {
            ("pod" | "end", _) => {
                usage.pods.extend(pod.take().map(|(id, used)| (id, without(used, cache))));
                cache = 0;
                pod = rest.parse().ok().map(|id| (id, PodUsage::default()));
                whole = key == "end";
            }
            (key, Some((_, pod))) => counter(pod, &mut cache, key, rest),
            ("now", None) => usage.at_us = rest.parse().ok()?,
            ("stat", None) => (usage.ticks, usage.idle_ticks) = ticks(rest),
            ("cpus", None) => usage.cpus = rest.parse().unwrap_or(0),
            ("mem", None) => match rest.split_once(' ') {
                Some(("MemTotal", kib)) => usage.memory = kibibytes(kib),
                Some(("MemAvailable", kib)) => usage.available = kibibytes(kib),
                Some(_) | None => {}
            },
            ("load", None) => usage.load = hundredths(rest).unwrap_or(0),
            ("pressure", None) => pressure(&mut usage.pressure, rest),
            (_, None) => {}
        }
    }
    whole.then_some(usage)
}

/// Every container of a pod has its own counters.
fn add(sum: &mut Option<u64>, number: Option<u64>) {
    if let Some(number) = number {
        *sum = Some(sum.unwrap_or(0).saturating_add(number));
    }
}

fn counter(pod: &mut PodUsage, cache: &mut u64, key: &str, rest: &str) {
    let number = rest.parse::<u64>().ok();
    match key {
        "cpu" => add(&mut pod.cpu_us, number),
        "memory" => add(&mut pod.memory, number),
        // One that has no limit leaves the pod without; see `without`.
        "limit" => add(&mut pod.limit, Some(number.unwrap_or(NO_LIMIT))),
        "cache" => *cache = cache.saturating_add(number.unwrap_or(0)),
        // One line a disk.
        "read" => pod.read = pod.read.saturating_add(number.unwrap_or(0)),
        "write" => pod.written = pod.written.saturating_add(number.unwrap_or(0)),
        "pids" => add(&mut pod.pids, number),
        "oom" => pod.oom = pod.oom.saturating_add(number.unwrap_or(0)),
        "psi" => pressure(&mut pod.pressure, rest),
        _ => {}
    }
}

/// Leaves out the file cache that was not used lately, as kubelet's working set does, and a limit that is
/// none.
fn without(mut pod: PodUsage, cache: u64) -> PodUsage {
    pod.memory = pod.memory.map(|memory| memory.saturating_sub(cache));
    pod.limit = pod.limit.filter(|limit| *limit < NO_LIMIT);
    pod
}

fn pressure(all: &mut Pressures, rest: &str) {
    let Some((name, share)) = rest.split_once(' ') else { return };
    let share = hundredths(share);
    match name {
        // Of several containers, the one that waits the most.
        "cpu" => all.cpu = all.cpu.max(share),
        "memory" => all.memory = all.memory.max(share),
        "io" => all.io = all.io.max(share),
        _ => {}
    }
}

/// All ticks and idle ones. Guests' time is in the user's already.
fn ticks(rest: &str) -> (u64, u64) {
    let kinds: Vec<u64> = rest.split_whitespace().take(8).flat_map(str::parse).collect();
    let idle = kinds.iter().skip(3).take(2).fold(0_u64, |sum, kind| sum.saturating_add(*kind));
    (kinds.iter().fold(0, |sum, kind| sum.saturating_add(*kind)), idle)
}

fn kibibytes(text: &str) -> u64 {
    text.parse::<u64>().unwrap_or(0).saturating_mul(1024)
}

/// A number with at most two digits behind its point, in hundredths.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String =
        fraction.chars().filter(char::is_ascii_digit).chain("00".chars()).take(2).collect();
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_versions_are_read() {
        let text = "now 1795000000000000
stat  100 0 50 800 50 0 0 0 7 7
cpus 2
mem MemTotal 2048
mem MemAvailable 1024
load 0.50
pressure cpu 1.5
pod web-0.g1
cpu 5000
memory 3000
limit 9223372036854771712
cache 1000
oom 0
read 10
read 20
write 5
pids 4
psi cpu 12.34
pod web-1.g1
memory 7
limit max
pod web-2.g1
cpu 10
memory 70
limit 100
cache 10
psi cpu 3.00
cpu 5
memory 30
limit 50
cache 5
psi cpu 2.00
end
";
        let usage = parse(text).expect("whole");
        assert_eq!((usage.ticks, usage.idle_ticks, usage.cpus), (1000, 850, 2));
        assert_eq!((usage.memory, usage.available, usage.load), (2 << 20, 1 << 20, 50));
        assert_eq!(usage.pressure.cpu, Some(150));
        let pod = &usage.pods[&"web-0.g1".parse().expect("id")];
        assert_eq!((pod.cpu_us, pod.memory, pod.limit), (Some(5000), Some(2000), None));
        assert_eq!((pod.read, pod.written, pod.pids), (30, 5, Some(4)));
        assert_eq!(pod.pressure, Pressures { cpu: Some(1234), memory: None, io: None });
        let pod = &usage.pods[&"web-1.g1".parse().expect("id")];
        assert_eq!((pod.cpu_us, pod.memory, pod.limit), (None, Some(7), None));
        // A pod of two containers.
        let pod = &usage.pods[&"web-2.g1".parse().expect("id")];
        assert_eq!((pod.cpu_us, pod.memory, pod.limit), (Some(15), Some(85), Some(150)));
        assert_eq!(pod.pressure.cpu, Some(300));
        assert_eq!(parse(text.trim_end().trim_end_matches("end")), None);
    }

    proptest! {
        #[test]
        fn no_words_of_a_node_panic(text in ".{0,200}", key in "(now|stat|cpus|mem|load|pressure|pod|psi|cpu) .{0,40}") {
            let _ = (parse(&text), parse(&format!("pod web-0.g1\n{key}\n{text}\nend")), parse(&key));
        }
    }
}
