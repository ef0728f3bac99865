//! Taints that keep off whoever does not tolerate them.

use super::{At, No, Reach};
use crate::plan::body::Rejection;
use crate::plan::graph::Effect;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Class {
        return;
    }
    for taint in &at.fleet.slot_at(at.node).taints {
        let keeps_off = match taint.effect {
            Effect::Discourage => false,
            Effect::Refuse | Effect::Evict => true,
        };
        if keeps_off && !at.want.placement.tolerate.iter().any(|t| t.bears(taint)) {
            no.because(|| Rejection::Taint { taint: taint.clone() });
        }
    }
}
