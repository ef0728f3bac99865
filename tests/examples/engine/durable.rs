//! What an apply makes durable on the engine's own disk: its journal, beside as many bare writes.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use berth_engine::plan::body::Goal;
use berth_engine::plan::ledger::Outcome;
use berth_engine::run::apply::{Apply, Planned};
use berth_engine::run::clock::SimulatedClock;
use berth_engine::run::journal::{FileJournal, Journal, Record};
use berth_tests::drive::{plan, simulate};

use crate::{median, ms, shop, terraform, world};

const SERVICES: u32 = 200;
const TIMES: usize = 5;

/// A journal that counts what it is asked for, and takes the time.
struct Counted {
    file: FileJournal,
    batches: u32,
    records: usize,
    took: Duration,
}

impl Journal for Counted {
    fn begin(&mut self, anchor: &str) -> io::Result<()> {
        self.file.begin(anchor)
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let began = Instant::now();
        let appended = self.file.append(records);
        self.took += began.elapsed();
        self.batches += 1;
        self.records += records.len();
        appended
    }
}

/// An apply from nothing, on a twin, with a journal in a folder.
fn applied(folder: &Path) -> (Counted, usize) {
    let graph = shop(SERVICES, 'a');
    simulate(async {
        let twin = world(&graph);
        let (seen, body) = plan(&twin, &graph, Goal::Converge).await;
        let file = FileJournal::new(folder);
        let mut journal = Counted { file, batches: 0, records: 0, took: Duration::ZERO };
        let (clock, stop) = (SimulatedClock::starting_at(0), AtomicBool::new(false));
        let apply = Apply { host: &twin, clock: &clock, who: "bench", watch: &|_| {}, stop: &stop };
        let planned = Planned {
            body: &body,
            graph: &graph,
            observation: &seen.observation,
            head: &seen.ledger.head,
            commit: None,
        };
        let applied = apply.apply(planned, &mut journal).await.expect("an apply");
        assert_eq!(applied.outcome, Outcome::Done);
        (journal, body.steps.len())
    })
}

/// So many writes of so many bytes, each made durable.
fn bare(folder: &Path, writes: u32, bytes: usize) -> Duration {
    let path = folder.join("bare");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let line = vec![b'x'; bytes];
    let began = Instant::now();
    for _ in 0..writes {
        file.write_all(&line).and_then(|()| file.sync_data()).expect("a durable write");
    }
    let took = began.elapsed();
    std::fs::remove_file(path).expect("a file");
    took
}

/// Prints the table.
pub(crate) fn durable() {
    println!("## What an apply of {SERVICES} services makes durable\n");
    let parent = Path::new("target");
    let folder = tempfile::tempdir_in(parent).expect("a folder on this disk");
    let (mut ours, mut theirs, mut last) = (Vec::new(), Vec::new(), None);
    for time in 0..TIMES {
        let folder = folder.path().join(time.to_string());
        let (journal, steps) = applied(&folder);
        let bytes: u64 = std::fs::read_dir(&folder)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.metadata().map_or(0, |meta| meta.len()))
            .sum();
        let each = usize::try_from(bytes).expect("small") / journal.batches.max(1) as usize;
        theirs.push(bare(&folder, journal.batches, each));
        ours.push(journal.took);
        last = Some((journal.batches, journal.records, steps, bytes));
    }
    let (batches, records, steps, bytes) = last.expect("several runs");
    let (ours, theirs) = (median(ours), median(theirs));
    println!("| | |");
    println!("|---|---|");
    println!("| steps; records of them (begun, ended) | {steps}; {records} |");
    println!("| fsyncs: one for what happens at the same moment | {batches} |");
    println!("| the journal's time, {} KiB | {} |", bytes / 1024, ms(ours));
    println!("| as many bare writes of the same length, each with its fsync | {} |", ms(theirs));
    println!("| times | {:.2} |", ours.as_secs_f64() / theirs.as_secs_f64());
    println!(
        "\nMedians of {TIMES} runs in turns, by the clock; the nodes are simulated and take no time.\n"
    );
    match terraform::times(SERVICES) {
        Some(peer) => {
            println!("`terraform apply` of {SERVICES} `terraform_data`: {}.\n", ms(peer.apply))
        }
        None => println!("Terraform is not on this machine.\n"),
    }
}
