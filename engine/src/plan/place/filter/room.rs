//! Room for what the replica asks for, of every resource.

use super::{At, No, Reach};
use crate::plan::body::Rejection;
use crate::plan::place::fleet::{ADDRESSES, CPU, MEMORY, Resource};

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Node {
        return;
    }
    for &(resource, needs) in &at.want.needs {
        let free = at.fleet.free(at.node, resource, at.credit);
        if needs <= free {
            continue;
        }
        let name = match (resource, at.fleet.resource(resource)) {
            (CPU, _) => {
                no.because(|| Rejection::Cpu { needs, free });
                continue;
            }
            (MEMORY, _) => {
                no.because(|| Rejection::Memory { needs, free });
                continue;
            }
            (ADDRESSES, _) | (_, Resource::Port(_)) => continue,
            (_, Resource::Known(name)) => *name,
            (_, Resource::Named(name)) => name,
        };
        no.because(|| Rejection::Resource { name: name.to_owned(), needs, free });
    }
}
