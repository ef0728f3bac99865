//! The nodes that are named: no other will do.

use super::{At, No, Reach};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    let named = &at.want.placement.at;
    if reach == Reach::Node && !named.is_empty() && !named.contains(at.fleet.name_at(at.node)) {
        no.because(|| Rejection::Elsewhere { at: named.clone() });
    }
}
