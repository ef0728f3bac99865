//! `berth top`: what nodes and replicas use, and what waits.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use berth_agentless::{PodUsage, Pressures, SshHost, Usage};
use berth_engine::plan::change::bytes;
use berth_engine::plan::names::{NodeName, PodId};
use serde_json::{Value, json};

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::table::{Cell, Tone, render};
use crate::{Global, fleet, paint};

/// Pressure that is worth a look, in hundredths of a percent of the time.
const PRESSED: u64 = 1_000;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show it anew, again and again, until interrupted
    #[arg(short, long)]
    watch: bool,
    /// The time that rates are taken over, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
    /// Print JSON; with --watch an object a line
    #[arg(long)]
    json: bool,
}

type Counters = BTreeMap<NodeName, Result<Usage, String>>;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = Arc::new(fleet::host(&project, global));
        let mut before = read(&host, &project).await;
        loop {
            tokio::time::sleep(Duration::from_secs(args.interval)).await;
            let now = read(&host, &project).await;
            let whole = now.values().all(Result::is_ok);
            if !args.json {
                for why in now.values().filter_map(|usage| usage.as_ref().err()) {
                    hint!("{} {why}", paint::notice("note:"));
                }
            }
            let shown = if args.json {
                let answer = answer(&before, &now);
                if args.watch { answer.to_string() } else { serde_json::to_string_pretty(&answer)? }
            } else {
                lines(&before, &now).join("\n")
            };
            if args.watch && !args.json && std::io::stdout().is_terminal() {
                // To the top, and nothing below what is written now.
                put!("\x1b[H\x1b[J");
            }
            if !shown.is_empty() {
                say!("{shown}");
            }
            if !args.watch {
                host.close().await;
                return Ok(if whole { Exit::Done } else { Exit::Partial });
            }
            before = now;
        }
    })?
}

/// Reads all nodes at once.
async fn read(host: &Arc<SshHost>, project: &Project) -> Counters {
    let mut reads = tokio::task::JoinSet::new();
    for node in project.graph.nodes.keys() {
        let (host, node, tenant) = (host.clone(), node.clone(), project.graph.tenant.clone());
        reads.spawn(async move {
            let usage = host.usage(&node, &tenant).await.map_err(|error| error.to_string());
            (node, usage)
        });
    }
    let mut counters = Counters::new();
    while let Some(read) = reads.join_next().await {
        // A task of ours that panicked is a fault of ours; its node is left out.
        counters.extend(read.ok());
    }
    counters
}

/// Rates of a node between two moments.
struct NodeRates {
    /// Thousandths of a core.
    cpu_millis: Option<u64>,
}

fn node_rates(before: Option<&Usage>, now: &Usage) -> NodeRates {
    let cpu = before.and_then(|before| {
        let ticks = now.ticks.checked_sub(before.ticks).filter(|ticks| *ticks > 0)?;
        let idle = now.idle_ticks.saturating_sub(before.idle_ticks).min(ticks);
        Some((ticks - idle).saturating_mul(now.cpus.saturating_mul(1000)) / ticks)
    });
    NodeRates { cpu_millis: cpu }
}

/// Rates of a pod between two moments.
#[derive(Default)]
struct PodRates {
    /// Thousandths of a core.
    cpu_millis: Option<u64>,
    /// Bytes a second.
    read: Option<u64>,
    /// Bytes a second.
    written: Option<u64>,
}

fn pod_rates(before: Option<(&Usage, &PodUsage)>, at_us: u64, now: &PodUsage) -> PodRates {
    let Some((usage, before)) = before else { return PodRates::default() };
    let Some(us) = at_us.checked_sub(usage.at_us).filter(|us| *us > 0) else {
        return PodRates::default();
    };
    // A counter that went back is another process's.
    let a_second = |now: u64, before: u64| {
        let more = u128::from(now.checked_sub(before)?);
        u64::try_from(more * 1_000_000 / u128::from(us)).ok()
    };
    let cpu = now.cpu_us.zip(before.cpu_us).and_then(|(now, before)| a_second(now, before));
    PodRates {
        cpu_millis: cpu.map(|us| us / 1000),
        read: a_second(now.read, before.read),
        written: a_second(now.written, before.written),
    }
}

fn before_of<'a>(before: &'a Counters, node: &NodeName) -> Option<&'a Usage> {
    before.get(node)?.as_ref().ok()
}

fn lines(before: &Counters, now: &Counters) -> Vec<String> {
    let mut nodes = Vec::new();
    let mut pods: Vec<(PodId, Vec<Cell>)> = Vec::new();
    for (node, usage) in now {
        let Ok(usage) = usage else { continue };
        let earlier = before_of(before, node);
        nodes.push(node_row(node, &node_rates(earlier, usage), usage));
        for (pod, used) in &usage.pods {
            let then = earlier.and_then(|usage| Some((usage, usage.pods.get(pod)?)));
            let rates = pod_rates(then, usage.at_us, used);
            pods.push((pod.clone(), pod_row(node, pod, &rates, used)));
        }
    }
    pods.sort_by(|a, b| a.0.cmp(&b.0));
    let pods: Vec<_> = pods.into_iter().map(|(_, row)| row).collect();
    let mut out = render(
        &["NODE", ">CPU", ">MEMORY", ">LOAD", ">WAITS CPU", ">WAITS MEM", ">WAITS I/O"],
        &nodes,
    );
    if !pods.is_empty() {
        out.push(String::new());
        let heads = [
            "POD",
            "NODE",
            ">CPU",
            ">MEMORY",
            ">READ/s",
            ">WRITE/s",
            ">PROCESSES",
            ">OOM KILLS",
            ">WAITS CPU",
            ">WAITS MEM",
            ">WAITS I/O",
        ];
        out.extend(render(&heads, &pods));
    }
    out
}

fn node_row(node: &NodeName, rates: &NodeRates, usage: &Usage) -> Vec<Cell> {
    let used = usage.memory.saturating_sub(usage.available);
    let mut row = vec![
        node.to_string().into(),
        of(rates.cpu_millis.map(millis), Some(millis(usage.cpus * 1000))),
        of(Some(bytes(used)), Some(bytes(usage.memory))),
        format!("{}.{:02}", usage.load / 100, usage.load % 100).into(),
    ];
    row.extend(waits(usage.pressure));
    row
}

fn pod_row(node: &NodeName, pod: &PodId, rates: &PodRates, used: &PodUsage) -> Vec<Cell> {
    let dash = || "-".to_owned();
    let near = used.memory.zip(used.limit).is_some_and(|(used, limit)| used > limit / 10 * 9);
    let mut memory = of(used.memory.map(bytes), used.limit.map(bytes));
    if near {
        memory = Cell::toned(
            format!(
                "{} of {}",
                used.memory.map_or_else(dash, bytes),
                used.limit.map_or_else(dash, bytes)
            ),
            Tone::Bad,
        );
    }
    let mut row = vec![
        pod.to_string().into(),
        node.to_string().into(),
        rates.cpu_millis.map_or_else(dash, millis).into(),
        memory,
        rates.read.map_or_else(dash, bytes).into(),
        rates.written.map_or_else(dash, bytes).into(),
        used.pids.map_or_else(dash, |count| count.to_string()).into(),
        if used.oom == 0 { "0".into() } else { Cell::toned(used.oom.to_string(), Tone::Bad) },
    ];
    row.extend(waits(used.pressure));
    row
}

/// `120m of 2000m`.
fn of(used: Option<String>, all: Option<String>) -> Cell {
    let used = used.unwrap_or_else(|| "-".to_owned());
    match all {
        Some(all) => format!("{used} of {all}").into(),
        None => used.into(),
    }
}

fn millis(millis: u64) -> String {
    format!("{millis}m")
}

/// The shares of the last ten seconds in which something waited.
fn waits(pressure: Pressures) -> [Cell; 3] {
    let Pressures { cpu, memory, io } = pressure;
    [cpu, memory, io].map(|share| match share {
        None => "-".into(),
        Some(share) => {
            let text = format!("{}.{}%", share / 100, share % 100 / 10);
            if share >= PRESSED { Cell::toned(text, Tone::Notice) } else { text.into() }
        }
    })
}

/// The same for machines; pressures in hundredths of a percent.
fn answer(before: &Counters, now: &Counters) -> Value {
    let pressure = |pressure: Pressures| {
        let Pressures { cpu, memory, io } = pressure;
        json!({ "cpu": cpu, "memory": memory, "io": io })
    };
    let mut nodes = serde_json::Map::new();
    for (node, usage) in now {
        let usage = match usage {
            Ok(usage) => usage,
            Err(why) => {
                nodes.insert(node.to_string(), json!({ "unknown": why }));
                continue;
            }
        };
        let earlier = before_of(before, node);
        let mut pods = serde_json::Map::new();
        for (pod, used) in &usage.pods {
            let then = earlier.and_then(|usage| Some((usage, usage.pods.get(pod)?)));
            let rates = pod_rates(then, usage.at_us, used);
            let PodUsage { cpu_us: _, memory, limit, read: _, written: _, pids, oom, pressure: p } =
                used;
            pods.insert(
                pod.to_string(),
                json!({
                    "cpu_millis": rates.cpu_millis,
                    "memory_bytes": memory,
                    "memory_limit_bytes": limit,
                    "read_bytes_per_second": rates.read,
                    "written_bytes_per_second": rates.written,
                    "processes": pids,
                    "oom_kills": oom,
                    "pressure_hundredths": pressure(*p),
                }),
            );
        }
        nodes.insert(
            node.to_string(),
            json!({
                "cpu_millis": node_rates(earlier, usage).cpu_millis,
                "cpus": usage.cpus,
                "memory_bytes": usage.memory,
                "memory_available_bytes": usage.available,
                "load_hundredths": usage.load,
                "pressure_hundredths": pressure(usage.pressure),
                "pods": pods,
            }),
        );
    }
    json!({ "schema": "berth.top/1", "at_ms": fleet::now_ms(), "nodes": nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_moments_make_a_rate() {
        let usage = |at_us, ticks, idle_ticks| Usage {
            at_us,
            ticks,
            idle_ticks,
            cpus: 2,
            ..Usage::default()
        };
        let (before, now) = (usage(0, 100, 50), usage(2_000_000, 500, 350));
        assert_eq!(node_rates(Some(&before), &now).cpu_millis, Some(500));
        assert_eq!(node_rates(None, &now).cpu_millis, None);
        let pod = |cpu_us, read| PodUsage { cpu_us: Some(cpu_us), read, ..PodUsage::default() };
        let rates = pod_rates(Some((&before, &pod(1000, 10))), now.at_us, &pod(501_000, 5010));
        assert_eq!((rates.cpu_millis, rates.read), (Some(250), Some(2500)));
        let restarted = pod_rates(Some((&before, &pod(1000, 10))), now.at_us, &pod(10, 0));
        assert_eq!((restarted.cpu_millis, restarted.read), (None, None));
    }
}
