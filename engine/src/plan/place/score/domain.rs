//! Rather where the domain that the workload spreads over has fewer of its replicas.

use super::At;

pub(super) fn number(at: &At<'_>) -> i64 {
    i64::from(at.fleet.replicas_in(at.want.workload, at.want.spread, at.node))
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    let key = at.want.placement.spread.as_ref()?;
    Some(match at.fleet.domain_name(at.want.spread, at.node) {
        Some(value) => format!("{key} {value} has {}", number(at)),
        None => format!("no label {key}"),
    })
}
