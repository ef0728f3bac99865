//! Rather where fewer replicas of the workload are on the node.

use super::At;
use crate::plan::place::want::Domain;

pub(super) fn number(at: &At<'_>) -> i64 {
    i64::from(at.fleet.replicas_in(at.want.workload, Domain::Node, at.node))
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    at.want.placement.spread.is_none().then(|| format!("has {}", number(at)))
}
