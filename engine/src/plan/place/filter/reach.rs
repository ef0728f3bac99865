//! A node that did not answer takes nothing.

use super::{At, No, Reach};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach == Reach::Class && !at.fleet.slot_at(at.node).reachable {
        no.because(|| Rejection::Unknown);
    }
}
