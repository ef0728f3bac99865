//! Measures what a warm observation of many nodes costs on the engine's machine: 10,000 SSH servers with a containerd each, in
//! another process of this machine; prints a table in markdown, which `docs/benchmarks/agentless.md` keeps.
//!
//! `cargo run --release -p berth-tests --example agentless [HOSTS]`

#![allow(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measurement, not part of a plan"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_agentless::SshHost;
use berth_engine::plan::names::{NodeName, Tenant};
use berth_engine::run::host::Host as _;
use berth_tests::fake::{self, Fleet};
use berth_tests::project;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many are connected to, or asked, at once.
const AT_ONCE: usize = 256;
/// How often all of them are asked.
const ROUNDS: u32 = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    match words.first().map(String::as_str) {
        Some("serve") => runtime.block_on(serve(words[1].parse().expect("a number"))),
        hosts => runtime
            .block_on(measure(hosts.map_or(10_000, |hosts| hosts.parse().expect("a number")))),
    }
}

/// Serves so many nodes until standard input ends.
async fn serve(hosts: u32) {
    let fleet = Fleet::start(&project::fleet(hosts)).await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", fleet.root().display()).expect("a reader");
    for (name, node) in &fleet.nodes {
        writeln!(out, "{} {name}", node.port).expect("a reader");
    }
    writeln!(out, "end").expect("a reader");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .expect("an end")
        .expect("an end");
}

async fn measure(hosts: u32) {
    let me = std::env::current_exe().expect("this program");
    let mut child = Command::new(me)
        .args(["serve", &hosts.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the servers");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .map(|line| line.expect("a line"));
    let root = PathBuf::from(lines.next().expect("a folder"));
    let ports: Vec<(NodeName, u16)> = lines
        .take_while(|line| line != "end")
        .map(|line| {
            let (port, name) = line.split_once(' ').expect("a port and a name");
            (NodeName::new(name), port.parse().expect("a port"))
        })
        .collect();
    let names: Vec<NodeName> = ports.iter().map(|(name, _)| name.clone()).collect();
    let host = Arc::new(fake::host(ports.into_iter(), Path::new(&root)));
    let memory = resident();
    let (cpu, began) = (cpu(), Instant::now());
    observe(&host, &names).await;
    let cold = (self::cpu() - cpu, began.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sessions = resident() - memory;
    let (cpu, began) = (self::cpu(), Instant::now());
    for _ in 0..ROUNDS {
        observe(&host, &names).await;
    }
    let warm = ((self::cpu() - cpu) / ROUNDS, began.elapsed() / ROUNDS);
    let each = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(hosts);
    println!(
        "| hosts | | client's CPU | a host | wall time, servers on the same two cores |\n|---|---|---|---|---|"
    );
    for (what, (cpu, wall)) in
        [("connecting, and the first observation", cold), ("a warm observation", warm)]
    {
        println!(
            "| {hosts} | {what} | {:.2} s | {:.3} ms | {:.2} s |",
            cpu.as_secs_f64(),
            each(cpu),
            wall.as_secs_f64()
        );
    }
    println!(
        "\nMemory: {} KiB a session ({} MiB in all).",
        sessions / u64::from(hosts),
        sessions / 1024
    );
    host.close().await;
    drop(child.stdin.take());
    child.wait().expect("the servers' end");
}

/// Observes all of them.
async fn observe(host: &Arc<SshHost>, names: &[NodeName]) {
    let tenant = Tenant { project: "shop".to_owned(), environment: "default".to_owned() };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut all = JoinSet::new();
    for name in names {
        let (host, name, tenant) = (Arc::clone(host), name.clone(), tenant.clone());
        let turn = Arc::clone(&room).acquire_owned().await.expect("a turn");
        all.spawn(async move {
            let seen = host.observe(&name, &tenant).await;
            drop(turn);
            seen.map(drop)
        });
    }
    while let Some(seen) = all.join_next().await {
        seen.expect("no panic").expect("an observation");
    }
}

/// What this process has used of the CPU, in ticks of a hundredth of a second.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("a file");
    let (_, rest) = text.rsplit_once(") ").expect("a name");
    let ticks: u64 =
        rest.split(' ').skip(11).take(2).map(|word| word.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// What this process has in memory, in KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("a file");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
