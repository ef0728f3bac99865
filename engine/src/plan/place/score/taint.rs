//! Rather a node without a discouraging taint that is not tolerated.

use super::At;
use crate::plan::graph::Effect;

pub(super) fn number(at: &At<'_>) -> i64 {
    let taints = at.fleet.slot_at(at.node).taints.iter();
    let borne = |taint| at.want.placement.tolerate.iter().any(|t| t.bears(taint));
    let counted = taints.filter(|taint| match taint.effect {
        Effect::Discourage => !borne(taint),
        Effect::Refuse | Effect::Evict => false,
    });
    i64::try_from(counted.count()).unwrap_or(i64::MAX)
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    (number(at) > 0).then(|| "discouraged by a taint".to_owned())
}
