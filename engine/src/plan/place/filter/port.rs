//! Ports of the node itself: there is one of each.

use super::{At, No, Reach};
use crate::plan::body::Rejection;
use crate::plan::place::fleet::Resource;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Node {
        return;
    }
    for &(resource, needs) in &at.want.needs {
        let Resource::Port(port) = *at.fleet.resource(resource) else { continue };
        if needs > at.fleet.free(at.node, resource, at.credit) {
            let by = at.fleet.holder(resource, at.node);
            no.because(|| Rejection::Port { port, by });
        }
    }
}
