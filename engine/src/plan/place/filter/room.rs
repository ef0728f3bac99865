//! Room for what the replica asks for, of every resource.

use super::{At, No, Reach};
use crate::plan::body::Rejection;
use crate::plan::place::fleet::{ADDRESSES, CPU, MEMORY};

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Node {
        return;
    }
    for &(resource, needs) in &at.want.needs {
        let free = at.fleet.free(at.node, resource, at.credit);
        if needs <= free {
            continue;
        }
        match resource {
            CPU => no.because(|| Rejection::Cpu { needs, free }),
            MEMORY => no.because(|| Rejection::Memory { needs, free }),
            ADDRESSES => {}
            other => no.because(|| {
                let name = at.fleet.resource(other).to_owned();
                Rejection::Resource { name, needs, free }
            }),
        }
    }
}
