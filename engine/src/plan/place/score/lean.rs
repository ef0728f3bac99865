//! Rather where preferred rules hold, and near or apart from whom the replica rather is.

use super::At;
use crate::plan::place::want::Domain;

pub(super) fn number(at: &At<'_>) -> i64 {
    of_class(at).saturating_sub(of_node(at))
}

/// The negative weight of what nodes of one class have in common.
pub(super) fn of_class(at: &At<'_>) -> i64 {
    let labels = &at.fleet.slot_at(at.node).labels;
    let wishes = at.want.placement.prefer.iter();
    let wishes = wishes.filter(|w| w.rule.holds(labels.get(w.rule.label()).map(String::as_str)));
    let wishes: i64 = wishes.map(|wish| i64::from(wish.weight)).sum();
    let ties = at.want.lean.iter().filter(|(tie, _)| tie.over != Domain::Node);
    let ties = ties.filter(|(tie, _)| at.fleet.replicas_in(tie.other, tie.over, at.node) > 0);
    let ties: i64 = ties.map(|(_, weight)| *weight).sum();
    wishes.saturating_add(ties).saturating_neg()
}

/// The weight of what is on the node itself.
fn of_node(at: &At<'_>) -> i64 {
    let ties = at.want.lean.iter().filter(|(tie, _)| tie.over == Domain::Node);
    let ties = ties.filter(|(tie, _)| at.fleet.replicas_in(tie.other, tie.over, at.node) > 0);
    ties.map(|(_, weight)| *weight).sum()
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    let number = number(at).saturating_neg();
    (number != 0).then(|| format!("preference {number:+}"))
}
