//! Lines as they stand in a ledger's file: verified by their bytes, without being written once more.
//!
//! A ledger holds every plan that was applied, and is read before every plan: of all that a plan takes where nothing is to
//! do, most was this. What is here is only quicker; a line that it does not take is read in the ordinary way, and
//! refused with words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Entry, LEDGER_VERSION, Line, Outcome, Remembered, Signed};
use crate::plan::body::{Placed, PlanBody};
use crate::plan::canon::hex;
use crate::plan::graph::Workload;
use crate::plan::names::{PodId, VolumeId, WorkloadName};

/// What hashes of lines are made with.
pub(super) const LABEL: &str = "berth-ledger/1";

/// Reads a line, if it is as this Berth writes it, of a version that it knows, and of its hash.
pub(super) fn read(raw: &[u8]) -> Option<Line> {
    let Parts { v, prev, at_ms, who, entry, hash } = Parts::of(std::str::from_utf8(raw).ok()?)?;
    let version = v.parse().ok().filter(|version| *version <= LEDGER_VERSION)?;
    let mut sum = Sha256::new();
    for part in [LABEL, "\n[", v, ",", prev, ",", at_ms, ",", who, ",", entry, "]"] {
        sum.update(part);
    }
    if hex(&sum.finalize()) != hash {
        return None;
    }
    Some(Line {
        v: version,
        prev: serde_json::from_str(prev).ok()?,
        at_ms: at_ms.parse().ok()?,
        who: serde_json::from_str(who).ok()?,
        entry: entry_of(entry)?,
        hash: hash.to_owned(),
    })
}

/// A line's fields, as JSON.
struct Parts<'a> {
    v: &'a str,
    prev: &'a str,
    at_ms: &'a str,
    who: &'a str,
    entry: &'a str,
    /// Without its quotation marks.
    hash: &'a str,
}

impl<'a> Parts<'a> {
    /// Parts a line at its fields' names: within a text a quotation mark has a backslash before it, so that no name is
    /// found in one.
    fn of(line: &'a str) -> Option<Self> {
        let (v, rest) = line.strip_prefix("{\"v\":")?.split_once(",\"prev\":")?;
        let (prev, rest) = rest.split_once(",\"at_ms\":")?;
        let (at_ms, rest) = rest.split_once(",\"who\":")?;
        let (who, rest) = rest.split_once(",\"entry\":")?;
        let (entry, hash) = rest.rsplit_once(",\"hash\":\"")?;
        Some(Self { v, prev, at_ms, who, entry, hash: hash.strip_suffix("\"}")? })
    }
}

/// Reads an entry. The two that are long are read without a detour: of what names its own kind serde makes a tree first.
fn entry_of(text: &str) -> Option<Entry> {
    if text.starts_with("{\"kind\":\"begin\"") {
        let Begin { plan, digest, commit, summary, signed } = serde_json::from_str(text).ok()?;
        return Some(Entry::Begin { plan, digest, commit, summary, signed });
    }
    if text.starts_with("{\"kind\":\"finish\"") {
        let Finish { revision, outcome, reached, placed, proven, volumes, leaving } =
            serde_json::from_str(text).ok()?;
        return Some(Entry::Finish {
            revision,
            outcome,
            reached,
            placed,
            proven,
            volumes,
            leaving,
        });
    }
    serde_json::from_str(text).ok()
}

/// As [`Entry::Begin`].
#[derive(Deserialize)]
struct Begin {
    plan: Box<PlanBody>,
    digest: String,
    commit: Option<String>,
    summary: Vec<String>,
    #[serde(default)]
    signed: Option<Signed>,
}

/// As [`Entry::Finish`].
#[derive(Deserialize)]
struct Finish {
    revision: u64,
    outcome: Outcome,
    reached: BTreeMap<WorkloadName, Option<Box<Workload>>>,
    placed: BTreeMap<PodId, Placed>,
    #[serde(default)]
    proven: BTreeSet<PodId>,
    #[serde(default)]
    volumes: BTreeMap<VolumeId, Remembered>,
    #[serde(default)]
    leaving: BTreeSet<PodId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ledger::parse;
    use crate::plan::names::NodeName;
    use crate::plan::overrides::{Override, Subject};

    fn lines() -> Vec<Line> {
        let hard = "a\",\"entry\":{}\\ ,\"hash\":\"x\"} \u{7f}é";
        let what = Override::Fenced { node: NodeName::new("n[1]"), by_plan: false };
        let until_ms = Some(3);
        let mut lines =
            vec![Line::new("", 1, hard, Entry::Override { what, why: hard.to_owned(), until_ms })];
        let subject = Subject::Fence(NodeName::new("n[1]"));
        lines.push(Line::new(&lines[0].hash, 2, "", Entry::Lift { subject }));
        let finish = Entry::Finish {
            revision: 1,
            outcome: Outcome::Partial { problems: vec![hard.to_owned()] },
            reached: BTreeMap::from([(WorkloadName::new("web"), None)]),
            placed: BTreeMap::new(),
            proven: BTreeSet::new(),
            volumes: BTreeMap::new(),
            leaving: ["web-0.g1".parse().expect("a pod")].into(),
        };
        lines.push(Line::new(&lines[1].hash, u64::MAX, hard, finish));
        lines
    }

    #[test]
    fn what_is_read_quickly_is_what_is_read() {
        for line in lines() {
            let bytes = line.bytes();
            let raw = bytes.strip_suffix(b"\n").expect("a line");
            assert_eq!(read(raw).as_ref(), Some(&line));
            assert_eq!(serde_json::from_slice::<Line>(raw).ok().as_ref(), Some(&line));
        }
    }

    #[test]
    fn a_line_that_differs_in_one_byte_is_not_taken() {
        for line in lines() {
            let bytes = line.bytes();
            let raw = bytes.strip_suffix(b"\n").expect("a line");
            for at in 0..raw.len() {
                let mut other = raw.to_vec();
                other[at] ^= 1;
                assert_eq!(read(&other), None, "byte {at}");
                let mut file = other;
                file.push(b'\n');
                assert!(parse(&file).is_err(), "byte {at}");
            }
        }
    }
}
