//! What an apply makes durable on the engine's own disk: its journal, beside as many bare writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use berth_engine::plan::body::Goal;
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::secret::Opened;
use berth_engine::run::apply::{Apply, Planned};
use berth_engine::run::clock::SimulatedClock;
use berth_engine::run::journal::{FileJournal, Journal, Record};
use berth_tests::drive::{plan, simulate};

use crate::{median, ms, shop, terraform, world};

const SERVICES: u32 = 200;
const TIMES: usize = 5;

/// A journal that counts what it is asked for and takes the time, beside a bare write of the same length at every
/// turn, each first as often: a disk that has rested for a moment is slower than one that has not.
struct Counted {
    file: FileJournal,
    path: PathBuf,
    bare: File,
    length: u64,
    batches: u32,
    records: usize,
    took: Duration,
    bare_took: Duration,
}

impl Counted {
    fn bare(&mut self, line: &[u8]) -> io::Result<()> {
        let began = Instant::now();
        self.bare.write_all(line)?;
        self.bare.sync_data()?;
        self.bare_took += began.elapsed();
        Ok(())
    }
}

impl Journal for Counted {
    fn begin(&mut self, anchor: &str) -> io::Result<()> {
        self.path = FileJournal::path(&self.path, anchor);
        self.file.begin(anchor)
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        // As long as the line before: the first of an apply is like the second.
        let last = vec![b'x'; usize::try_from(self.length).unwrap_or(0)];
        let is_first = self.batches.is_multiple_of(2);
        if is_first {
            self.bare(&last)?;
        }
        let before = std::fs::metadata(&self.path)?.len();
        let began = Instant::now();
        self.file.append(records)?;
        self.took += began.elapsed();
        self.length = std::fs::metadata(&self.path)?.len() - before;
        if !is_first {
            self.bare(&last)?;
        }
        self.batches += 1;
        self.records += records.len();
        Ok(())
    }
}

/// An apply from nothing, on a twin, with a journal in a folder.
fn applied(folder: &Path) -> (Counted, usize) {
    let graph = shop(SERVICES, 'a');
    simulate(async {
        let twin = world(&graph);
        let (seen, body) = plan(&twin, &graph, Goal::Converge).await;
        let file = FileJournal::new(folder);
        let bare = OpenOptions::new().create(true).append(true).open(folder.with_extension("bare"));
        let mut journal = Counted {
            file,
            path: folder.to_owned(),
            bare: bare.expect("a file"),
            length: 4096,
            batches: 0,
            records: 0,
            took: Duration::ZERO,
            bare_took: Duration::ZERO,
        };
        let (clock, stop) = (SimulatedClock::starting_at(0), AtomicBool::new(false));
        let apply = Apply {
            host: &twin,
            clock: &clock,
            who: "bench",
            secrets: &Opened::default(),
            watch: &|_| {},
            stop: &stop,
        };
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
        theirs.push(journal.bare_took);
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
        "\nMedians of {TIMES} runs, the two by turns within each, by the clock; the nodes are simulated and take no time.\n"
    );
    match terraform::times(SERVICES) {
        Some(peer) => {
            println!("`terraform apply` of {SERVICES} `terraform_data`: {}.\n", ms(peer.apply))
        }
        None => println!("Terraform is not on this machine.\n"),
    }
}
