//! Domains over which replicas must be even: none may have too many more than the emptiest.

use super::{At, No, Reach, reach_of};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    for (&(over, skew), &least) in at.want.even.iter().zip(&at.floors.0) {
        if reach_of(over) != reach {
            continue;
        }
        let fleet = at.fleet;
        let has = fleet.replicas_in(at.want.workload, over, at.node);
        if !fleet.has_domain(over, at.node) || has.saturating_add(1) > least.saturating_add(skew) {
            no.because(|| Rejection::Skew {
                over: fleet.over(over),
                domain: fleet.domain_name(over, at.node),
                has,
                least,
                skew,
            });
        }
    }
}
