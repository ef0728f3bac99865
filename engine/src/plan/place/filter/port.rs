//! Ports of the node itself: one holder each.

use super::{At, No, Reach};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Node {
        return;
    }
    for &port in &at.want.placement.host_ports {
        if let Some(by) = at.fleet.port_holder(port, at.node) {
            no.because(|| Rejection::Port { port, by: by.clone() });
        }
    }
}
