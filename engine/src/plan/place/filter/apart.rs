//! Workloads that the replica must share no domain with, by its own wish or by theirs.

use super::{At, No, Reach, reach_of};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    for tie in &at.want.apart {
        if reach_of(tie.over) != reach {
            continue;
        }
        let fleet = at.fleet;
        if fleet.has_domain(tie.over, at.node)
            && fleet.replicas_in(tie.other, tie.over, at.node) > 0
        {
            no.because(|| Rejection::NotApart {
                workload: fleet.workload_name(tie.other).clone(),
                over: fleet.over(tie.over),
                domain: fleet.domain_name(tie.over, at.node),
                theirs: tie.theirs,
            });
        }
    }
}
