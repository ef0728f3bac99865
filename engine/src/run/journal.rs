//! The journal: what this engine meant to do, and what came of it, step by step.
//!
//! An append-only file of lines, each naming the hash of the line before; the first names the
//! ledger line that began the apply, which is its anchor. It is written before a step starts and
//! after it ends; what happens at the same moment shares one line, one write and one fsync. It serves
//! people and history: resuming never believes it over the nodes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::body::StepId;
use crate::plan::canon::digest_of;

/// One line's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A step is about to start.
    Intent {
        /// Which.
        step: StepId,
    },
    /// A step ended well.
    Done {
        /// Which.
        step: StepId,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A step did not.
    Failed {
        /// Which.
        step: StepId,
        /// Why, for people.
        why: String,
    },
    /// A workload's undo is about to start; its steps follow the plan's own numbers.
    Undo {
        /// Which workload.
        workload: String,
        /// Which wave's gate failed.
        wave: u32,
    },
}

/// Where records go.
pub trait Journal: Send {
    /// Begins the journal of one apply, anchored in a ledger line.
    ///
    /// # Errors
    /// If it cannot be written durably.
    fn begin(&mut self, anchor: &str) -> io::Result<()>;

    /// Appends records with one durable write.
    ///
    /// # Errors
    /// If they cannot be written durably; nothing may be started on their strength then.
    fn append(&mut self, records: &[Record]) -> io::Result<()>;
}

/// What was made durable at once.
#[derive(Serialize)]
struct Line<'a> {
    prev: &'a str,
    records: &'a [Record],
    hash: &'a str,
}

/// A line as it is read: those of before version 2 have one record each.
#[derive(Deserialize)]
struct Read {
    prev: String,
    #[serde(default)]
    record: Option<Record>,
    #[serde(default)]
    records: Vec<Record>,
    hash: String,
}

/// The hash of a line.
fn hash(prev: &str, records: &[Record]) -> String {
    digest_of("berth-journal/2", &(prev, records))
}

/// The journal on disk: one file for each apply, named by its anchor.
#[derive(Debug)]
pub struct FileJournal {
    folder: PathBuf,
    file: Option<File>,
    last: String,
}

impl FileJournal {
    /// Keeps journals in a folder, which is made when the first is begun.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), file: None, last: String::new() }
    }

    /// The file of the apply that a ledger line began.
    pub fn path(folder: &Path, anchor: &str) -> PathBuf {
        folder.join(format!("{}.journal", anchor.get(..16).unwrap_or(anchor)))
    }
}

impl Journal for FileJournal {
    fn begin(&mut self, anchor: &str) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let path = Self::path(&self.folder, anchor);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        File::open(&self.folder)?.sync_all()?;
        self.file = Some(file);
        self.last = anchor.to_owned();
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the journal was not begun"));
        };
        let hash = hash(&self.last, records);
        let mut bytes = serde_json::to_vec(&Line { prev: &self.last, records, hash: &hash })?;
        bytes.push(b'\n');
        self.last = hash;
        file.write_all(&bytes)?;
        file.sync_data()
    }
}

/// Reads a journal as far as its chain holds: the records, and whether something after them
/// cannot be believed (a torn end, or a line that was altered or lost).
pub fn read(bytes: &[u8], anchor: &str) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    let mut last = anchor.to_owned();
    for raw in bytes.split_inclusive(|&byte| byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Read>(raw) else { return (records, true) };
        let hash = match &line.record {
            Some(record) => digest_of("berth-journal/1", &(&last, record)),
            None => hash(&last, &line.records),
        };
        if line.prev != last || line.hash != hash || !raw.ends_with(b"\n") {
            return (records, true);
        }
        last = hash;
        records.extend(line.record.into_iter().chain(line.records));
    }
    (records, false)
}

/// A journal in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    /// Everything appended.
    pub records: Vec<Record>,
    /// How many durable writes that took.
    pub writes: usize,
}

impl Journal for MemoryJournal {
    fn begin(&mut self, _anchor: &str) -> io::Result<()> {
        self.records.clear();
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.records.extend_from_slice(records);
        self.writes += 1;
        Ok(())
    }
}
