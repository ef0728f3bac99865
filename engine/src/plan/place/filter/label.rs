//! Labels that a node must have, and rules that must hold of them.

use super::{At, No, Reach};
use crate::plan::body::Rejection;

pub(super) fn check(at: &At<'_>, reach: Reach, no: &mut No) {
    if reach != Reach::Class {
        return;
    }
    let labels = &at.fleet.slot_at(at.node).labels;
    for (key, wants) in &at.want.placement.require {
        let has = labels.get(key);
        if has != Some(wants) {
            no.because(|| Rejection::Label {
                key: key.clone(),
                wants: wants.clone(),
                has: has.cloned(),
            });
        }
    }
    for rule in &at.want.placement.rules {
        let has = labels.get(rule.label());
        if !rule.holds(has.map(String::as_str)) {
            no.because(|| Rejection::Rule { rule: rule.clone(), has: has.cloned() });
        }
    }
}
