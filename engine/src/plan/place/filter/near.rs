//! Workloads that the replica must share a domain with.

use super::{At, No, Reach, reach_of};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    for tie in &at.want.near {
        if reach_of(tie.over) != reach {
            continue;
        }
        let fleet = at.fleet;
        let has = fleet.has_domain(tie.over, at.node);
        // Whoever is near itself, or near one that is near it, has to begin somewhere.
        let begins = fleet.begins(at.want.workload, tie.other);
        if !has || (!begins && fleet.replicas_in(tie.other, tie.over, at.node) == 0) {
            no.because(|| Rejection::NotNear {
                workload: fleet.workload_name(tie.other).clone(),
                over: fleet.over(tie.over),
                domain: fleet.domain_name(tie.over, at.node),
            });
        }
    }
}
