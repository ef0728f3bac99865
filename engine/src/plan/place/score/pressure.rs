//! Rather where processes did not wait for CPU, memory or disk lately; in three buckets, and for
//! new replicas only, so that nothing moves because of a moment.

use super::At;
use crate::plan::observation::Pressure;

pub(super) fn number(at: &At<'_>) -> i64 {
    match at.fleet.slot_at(at.node).pressure {
        Pressure::Low => 0,
        Pressure::Some => 1,
        Pressure::High => 2,
    }
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    match at.fleet.slot_at(at.node).pressure {
        Pressure::Low => None,
        Pressure::Some => Some("some pressure".to_owned()),
        Pressure::High => Some("high pressure".to_owned()),
    }
}
