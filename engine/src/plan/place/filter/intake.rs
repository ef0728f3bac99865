//! A node that is cordoned or drained takes nothing new; what is there is not asked again.

use super::{At, No, Reach};
use crate::plan::body::Rejection;
use crate::plan::graph::Intake;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Class {
        return;
    }
    match at.fleet.slot_at(at.node).intake {
        Intake::Open => {}
        Intake::Cordoned => no.because(|| Rejection::Closed { drained: false }),
        Intake::Drained | Intake::Retired => no.because(|| Rejection::Closed { drained: true }),
    }
}
