//! What differs in the files of containers, line by line where that is little.

use std::collections::BTreeSet;

use super::FieldChange;
use crate::plan::content::{AtRest, Contents, File, Files};
use crate::plan::graph::Workload;

/// More lines than these are counted instead of shown.
const MOST_SHOWN: usize = 4;
/// A longer line is cut off, in characters.
const LONGEST: usize = 100;

/// What is in the files of two states.
pub struct Known<'a> {
    /// Of the one before.
    pub before: &'a Contents,
    /// Of the one after.
    pub after: &'a Contents,
}

/// Puts the changes of files where they stand in the order of paths.
pub(super) fn into(
    changes: &mut Vec<FieldChange>,
    (before, after): (Option<&Workload>, Option<&Workload>),
    known: &Known<'_>,
) {
    let Some(after) = after else { return };
    let none = Files::new();
    let mut found = Vec::new();
    let own = before.map_or(&none, |before| &before.template.files);
    compare("", own, &after.template.files, known, &mut found);
    let beside = |workload: &Workload| {
        let companions = workload.template.companions.iter().map(|companion| {
            let kind = if companion.is_sidecar() { "sidecars" } else { "init" };
            (format!("{kind}.{}.", companion.name), companion.files.clone())
        });
        companions.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (was, is) = (before.map(beside).unwrap_or_default(), beside(after));
    for container in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        let of = |all: &std::collections::BTreeMap<String, Files>| all.get(container).cloned();
        let (was, is) = (of(&was).unwrap_or_default(), of(&is).unwrap_or_default());
        compare(container, &was, &is, known, &mut found);
    }
    changes.extend(found);
    // Stable: lines of one file stay in their order.
    changes.sort_by(|a, b| file_of(&a.path).cmp(file_of(&b.path)));
}

/// The path without the number of a line.
fn file_of(path: &str) -> &str {
    path.split_once(" line ").map_or(path, |(file, _)| file)
}

fn compare(
    container: &str,
    before: &Files,
    after: &Files,
    known: &Known<'_>,
    found: &mut Vec<FieldChange>,
) {
    for at in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let path = format!("{container}files.{at}");
        let (was, is) = (before.get(at), after.get(at));
        match (was, is) {
            (Some(was), Some(is)) => {
                if was.content != is.content {
                    lines(&path, was, is, known, found);
                }
                if was.owned() != is.owned() {
                    let words = |file: &File| file.owned().or(Some("644 0:0".to_owned()));
                    let path = format!("{path} mode");
                    found.push(FieldChange { path, before: words(was), after: words(is) });
                }
                if was.at_rest != is.at_rest {
                    let words = |file: &File| Some(kept(file.at_rest).to_owned());
                    let path = format!("{path} at rest");
                    found.push(FieldChange { path, before: words(was), after: words(is) });
                }
            }
            (Some(was), None) => {
                found.push(FieldChange {
                    path,
                    before: Some(size(was, known.before)),
                    after: None,
                });
            }
            (None, Some(is)) => {
                found.push(FieldChange { path, before: None, after: Some(size(is, known.after)) });
            }
            (None, None) => {}
        }
    }
}

/// How a node has a file while it has no power.
fn kept(at_rest: Option<AtRest>) -> &'static str {
    match at_rest {
        None => "plain",
        Some(AtRest::Sealed) => "sealed",
        Some(AtRest::Memory) => "memory",
    }
}

/// How much is in a file, and whose it is where that is not usual.
fn size(file: &File, contents: &Contents) -> String {
    let lines = contents.shown(file).map(|text| text.lines().count());
    let mut words = lines.map_or_else(|| file.content.short().to_owned(), counted);
    if let Some(at_rest) = file.at_rest {
        words += match at_rest {
            AtRest::Sealed => ", secret",
            AtRest::Memory => ", secret, in memory only",
        };
    }
    match file.owned() {
        Some(owned) => format!("{words}, {owned}"),
        None => words,
    }
}

fn counted(lines: usize) -> String {
    match lines {
        0 => "empty".to_owned(),
        1 => "1 line".to_owned(),
        _ => format!("{lines} lines"),
    }
}

fn lines(path: &str, was: &File, is: &File, known: &Known<'_>, found: &mut Vec<FieldChange>) {
    let (Some(old), Some(new)) = (known.before.shown(was), known.after.shown(is)) else {
        let short = |file: &File| Some(file.content.short().to_owned());
        found.push(FieldChange { path: path.to_owned(), before: short(was), after: short(is) });
        return;
    };
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = (old.len() - same).min(new.len() - same);
    let end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let gone = old.get(same..old.len() - end).unwrap_or_default();
    let come = new.get(same..new.len() - end).unwrap_or_default();
    let most = gone.len().max(come.len());
    if most == 0 {
        // Only how the last line ends, or how all do.
        let what = |text: &str| Some(text.to_owned());
        found.push(FieldChange {
            path: path.to_owned(),
            before: what("lines end otherwise"),
            after: what("the same lines"),
        });
    } else if most <= MOST_SHOWN {
        for index in 0..most {
            let line = |lines: &[&str]| lines.get(index).map(|line| words(line));
            let path = format!("{path} line {}", same + index + 1);
            found.push(FieldChange { path, before: line(gone), after: line(come) });
        }
    } else {
        let of = |lines: usize, changed: usize| Some(format!("{changed} of {}", counted(lines)));
        found.push(FieldChange {
            path: path.to_owned(),
            before: of(old.len(), gone.len()),
            after: of(new.len(), come.len()),
        });
    }
}

/// A line as it may stand in a plan.
fn words(line: &str) -> String {
    let mut words: String = line
        .chars()
        .take(LONGEST)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if line.chars().nth(LONGEST).is_some() {
        words.push('…');
    }
    if words.trim().is_empty() { format!("{words:?}") } else { words }
}
