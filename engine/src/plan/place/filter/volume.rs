//! The volumes that the replica mounts and that are somewhere already: it goes to them.

use super::{At, No, Reach};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Node {
        return;
    }
    let here = at.fleet.name_at(at.node);
    for (volume, on) in at.want.placement.held.iter().filter(|(_, on)| *on != here) {
        no.because(|| Rejection::Volume { volume: volume.clone(), on: on.clone() });
    }
}
