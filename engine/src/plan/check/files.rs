//! Files: what is in those of every pod that a plan or its undo makes is in the plan, and is what its name
//! says.

use std::collections::BTreeMap;

use super::Violation;
use crate::plan::action::PodSpec;
use crate::plan::body::PlanBody;
use crate::plan::content::pods_made;
use crate::plan::names::ContentDigest;

/// Judges what is in a plan's files.
pub(super) fn files(body: &PlanBody, violations: &mut Vec<Violation>) {
    let mut known: BTreeMap<&ContentDigest, bool> = BTreeMap::new();
    for (_, pod) in pods_made(body) {
        let lacks = PodSpec::contents(pod).find(|content| {
            !*known.entry(content).or_insert_with(|| body.contents.get(content).is_some())
        });
        if let Some(content) = lacks {
            let (pod, content) = (pod.id.clone(), content.clone());
            violations.push(Violation::ContentMissing { pod, content });
        }
    }
}
