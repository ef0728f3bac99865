//! Whole processes, ours and the peers' in turns: from a file to JSON on standard output.

use crate::workload::{PEERS, Peer};
use crate::{median, peak_kib, workload};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
/// A run that takes longer is not repeated, and its language not tried at a larger size.
const PATIENCE: Duration = Duration::from_secs(3);

/// A program of the run, with what it has shown so far.
struct Runner {
    name: String,
    typed: bool,
    command: Vec<String>,
    folder: PathBuf,
    times: Vec<f64>,
    peak: u64,
    given_up: bool,
}

pub(crate) fn table() {
    println!("\n## Whole processes, in turns\n");
    println!("| language | typed | services | median of {ROUNDS} | peak memory |");
    println!("|---|---|---|---|---|");
    let place = std::env::temp_dir().join(format!("berth-language-{}", std::process::id()));
    let mut runners: Vec<Runner> =
        std::iter::once(ours()).chain(PEERS.iter().filter_map(peer)).collect();
    for n in SIZES {
        for runner in runners.iter_mut().filter(|runner| !runner.given_up) {
            runner.times.clear();
            runner.peak = 0;
            runner.folder =
                place.join(format!("{n}")).join(runner.name.replace([' ', '(', ')'], ""));
            std::fs::create_dir_all(&runner.folder).expect("a folder");
        }
        for runner in runners.iter().filter(|runner| !runner.given_up) {
            match PEERS.iter().find(|peer| peer.name == runner.name) {
                Some(peer) => write(&runner.folder.join(peer.file), &peer.text(n)),
                None => write(&runner.folder.join("main.berth"), &workload::berth(n)),
            }
        }
        for _ in 0..ROUNDS {
            for runner in runners.iter_mut().filter(|runner| !runner.given_up) {
                runner.run();
            }
        }
        for runner in runners.iter().filter(|runner| !runner.times.is_empty()) {
            println!(
                "| {} | {} | {n} | {:.0} ms{} | {} MiB |",
                runner.name,
                if runner.typed { "yes" } else { "no" },
                median(runner.times.clone()) * 1e3,
                if runner.given_up { " (one run)" } else { "" },
                runner.peak / 1024
            );
        }
        for runner in runners.iter_mut().filter(|runner| runner.given_up) {
            runner.times.clear();
        }
    }
    let _ = std::fs::remove_dir_all(place);
}

fn ours() -> Runner {
    let own = std::env::current_exe().expect("this program");
    let berth = own.parent().and_then(Path::parent).expect("the build's folder").join("berth");
    assert!(berth.exists(), "build it first: cargo build --release");
    let command = [&*berth.to_string_lossy(), "show", "--json"].map(str::to_owned).into();
    Runner::new("Berth", true, command)
}

/// A peer, if it is there.
fn peer(peer: &Peer) -> Option<Runner> {
    let found = Command::new("sh")
        .arg("-c")
        .arg(format!("command -v {}", peer.command[0]))
        .output()
        .ok()?;
    if !found.status.success() {
        eprintln!("{} is not installed here", peer.name);
        return None;
    }
    let command = peer.command.iter().map(|word| word.replace("{}", peer.file)).collect();
    Some(Runner::new(peer.name, peer.typed, command))
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

impl Runner {
    fn new(name: &str, typed: bool, command: Vec<String>) -> Self {
        let (folder, times) = (PathBuf::new(), Vec::new());
        Self { name: name.to_owned(), typed, command, folder, times, peak: 0, given_up: false }
    }

    fn run(&mut self) {
        let start = Instant::now();
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let id = child.id().to_string();
        let status = loop {
            // The peak only grows, so that the last look before the end is the peak to within a moment.
            self.peak = self.peak.max(peak_kib(&id).unwrap_or(0));
            match child.try_wait().expect("a child") {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let took = start.elapsed();
        if !status.success() {
            eprintln!("{} failed", self.name);
            self.given_up = true;
            return;
        }
        self.times.push(took.as_secs_f64());
        self.given_up |= took > PATIENCE;
    }
}
