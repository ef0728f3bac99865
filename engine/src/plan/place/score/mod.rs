//! Preferences, one file each: which of the nodes that would do is taken.
//!
//! Each is a number, the smaller the better; they are compared in this order, and the first that
//! differs decides. So each one can be said in a few words, and none can be outweighed by chance.

mod domain;
mod image;
mod lean;
mod node;
mod pressure;
pub(super) mod room;
mod taint;

pub use super::filter::At;

/// A preference: its number, and its words where they tell something.
struct Preference {
    number: fn(&At<'_>) -> i64,
    words: fn(&At<'_>) -> Option<String>,
}

/// How many preferences there are.
pub const COUNT: usize = 7;

/// Every preference, the weightiest first.
const PREFERENCES: [Preference; COUNT] = [
    Preference { number: taint::number, words: taint::words },
    Preference { number: lean::number, words: lean::words },
    Preference { number: domain::number, words: domain::words },
    Preference { number: node::number, words: node::words },
    Preference { number: pressure::number, words: pressure::words },
    Preference { number: image::number, words: image::words },
    Preference { number: room::number, words: room::words },
];

/// Every preference's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(pub [i64; COUNT]);

/// What of a score the nodes of one class have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Common {
    pub(super) taints: i64,
    pub(super) lean: i64,
    pub(super) domain: i64,
}

/// Scores a node.
pub fn score(at: &At<'_>) -> Score {
    Score(PREFERENCES.map(|preference| (preference.number)(at)))
}

/// Scores what nodes of one class have in common; weights of single nodes' neighbours are left out.
pub(super) fn common(at: &At<'_>) -> Common {
    Common {
        taints: taint::number(at),
        lean: lean::of_class(at),
        domain: if at.want.spread == super::want::Domain::Node { 0 } else { domain::number(at) },
    }
}

/// The same where only counters of domains have changed since.
pub(super) fn common_again(at: &At<'_>, before: Common) -> Common {
    let weighed = !at.want.lean.is_empty();
    Common {
        taints: before.taints,
        lean: if weighed { lean::of_class(at) } else { before.lean },
        domain: if at.want.spread == super::want::Domain::Node { 0 } else { domain::number(at) },
    }
}

/// Says what a score is made of: `zone a has 1, 80% free`.
pub fn words(at: &At<'_>) -> String {
    let words: Vec<_> = PREFERENCES.iter().filter_map(|p| (p.words)(at)).collect();
    words.join(", ")
}
