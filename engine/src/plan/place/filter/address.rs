//! An address in the node's pod range.

use super::{At, No, Reach};
use crate::plan::body::Rejection;
use crate::plan::place::fleet::ADDRESSES;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach == Reach::Node && at.fleet.free(at.node, ADDRESSES, None) == 0 {
        no.because(|| Rejection::Addresses);
    }
}
