//! What was written and is damaged afterwards: it is read as it was, or it is said not to be whole.
//!
//! A saved plan's case is beside its code, in the command line.

use berth_engine::plan::body::{Goal, StepId};
use berth_engine::plan::canon::digest_of;
use berth_engine::plan::graph::Strategy;
use berth_engine::plan::ledger;
use berth_engine::plan::names::WorkloadName;
use berth_engine::run::host::Host as _;
use berth_engine::run::journal::{FileJournal, Journal as _, Record, read};
use berth_tests::{drive, project};

/// Every file with one bit of it turned over: one bit of each byte, or all with `BERTH_BITS=8`.
fn flipped(bytes: &[u8], mut look: impl FnMut(&[u8], usize)) {
    let bits = std::env::var("BERTH_BITS").ok().and_then(|bits| bits.parse().ok()).unwrap_or(1);
    let mut damaged = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..bits {
            let flip = 1 << ((at + bit) % 8);
            damaged[at] ^= flip;
            look(&damaged, at);
            damaged[at] ^= flip;
        }
    }
}

/// A ledger with three applies in it.
fn ledger() -> Vec<u8> {
    let rolling = Strategy::Rolling { surge: 1, unavailable: 0 };
    let release = |letter| project::web(project::image(letter), 1, rolling.clone());
    let fleet = project::fleet(1);
    drive::simulate(async {
        let twin = project::world(&fleet);
        for letter in ['a', 'b', 'c'] {
            let graph = project::with(fleet.clone(), "web", release(letter));
            let turn = drive::turn(&twin, &graph, Goal::Converge).await;
            turn.applied.expect("something to do").expect("applied");
        }
        twin.ledger_read(&fleet.keeper, &fleet.tenant).await.expect("a ledger")
    })
}

#[test]
fn a_damaged_ledger_is_refused() {
    let bytes = ledger();
    let whole = ledger::parse(&bytes).expect("a ledger");
    flipped(&bytes, |damaged, at| {
        if let Ok(found) = ledger::parse(damaged) {
            assert_eq!(found, whole, "byte {at} of {}", bytes.len());
        }
    });
}

/// What was cut off is seen, unless it is whole lines: those are missed by whoever knows the head.
#[test]
fn a_cut_ledger_is_torn_or_shorter_by_whole_lines() {
    let bytes = ledger();
    let whole = ledger::parse(&bytes).expect("a ledger");
    for end in 0..bytes.len() {
        let cut = ledger::parse(&bytes[..end]).expect("a ledger that was cut");
        assert_eq!(cut.torn, end > 0 && bytes[end - 1] != b'\n', "{end}");
        assert!(whole.lines.starts_with(&cut.lines) && cut.lines.len() < whole.lines.len());
    }
}

#[test]
fn a_damaged_journal_is_believed_as_far_as_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = FileJournal::new(folder.path());
    journal.begin("anchor").expect("begun");
    let records: Vec<Record> = (0..40)
        .flat_map(|n| {
            let step = StepId(n);
            [Record::Intent { step }, Record::Done { step, took_ms: u64::from(n) }]
        })
        .collect();
    for pair in records.chunks(2) {
        journal.append(pair).expect("appended");
    }
    let bytes = std::fs::read(FileJournal::path(folder.path(), "anchor")).expect("a journal");
    assert_eq!(read(&bytes, "anchor"), (records.clone(), false));
    flipped(&bytes, |damaged, at| {
        let (found, doubtful) = read(damaged, "anchor");
        assert!(records.starts_with(&found), "byte {at}");
        assert!(doubtful || found == records, "byte {at}");
    });
    for end in 0..bytes.len() {
        let (found, doubtful) = read(&bytes[..end], "anchor");
        assert!(records.starts_with(&found), "{end}");
        assert_eq!(doubtful, end > 0 && bytes[end - 1] != b'\n', "{end}");
    }
}

/// Ledgers that earlier Berths wrote are read, and an apply goes on from them.
#[test]
fn an_earlier_ledger_is_read() {
    for (version, placed) in [
        (2, 2),
        (3, 2),
        (4, 2),
        (5, 2),
        (6, 2),
        (7, 3),
        (8, 3),
        (9, 3),
        (10, 3),
        (14, 3),
        (15, 3),
        (16, 4),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/ledgers");
        let bytes = std::fs::read(format!("{folder}/version-{version}.jsonl")).expect("a ledger");
        let says = format!("\"v\":{version},");
        assert!(String::from_utf8_lossy(&bytes).contains(&says));
        let found = ledger::parse(&bytes).expect("a ledger of an earlier version");
        assert_eq!((found.lines.len(), found.torn), (4, false));
        let web = found.head.reached.get(&WorkloadName::new("web")).expect("the service");
        assert_eq!(web.template.image, project::image('b'));
        assert_eq!(found.head.placed.len(), placed);
    }
}

/// Journals of before version 2 had a line for each record.
#[test]
fn a_journal_of_before_is_read() {
    let record = Record::Intent { step: StepId(3) };
    let hash = digest_of("berth-journal/1", &("anchor", &record));
    let line = serde_json::json!({ "prev": "anchor", "record": record, "hash": hash });
    let bytes = format!("{line}\n").into_bytes();
    assert_eq!(read(&bytes, "anchor"), (vec![record], false));
    assert_eq!(read(&bytes, "another"), (Vec::new(), true));
}
