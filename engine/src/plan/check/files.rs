//! Files: what is in those of every pod that a plan or its undo makes is in the plan, and is what its name
//! says.

use std::collections::BTreeMap;

use super::Violation;
use crate::plan::action::PodSpec;
use crate::plan::body::{Goal, PlanBody};
use crate::plan::content::pods_made;
use crate::plan::graph::Graph;
use crate::plan::ledger::Head;
use crate::plan::names::ContentDigest;

/// Judges that no secret comes back that was revoked. What is blocked is carried out by nobody.
pub(super) fn revoked(
    body: &PlanBody,
    graph: &Graph,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let is_revoked = |content: &ContentDigest| {
        let print = content.fingerprint();
        print.is_some_and(|print| graph.revoked.contains(print) || head.revoked.contains(print))
    };
    let made = pods_made(body).filter(|_| body.blocked.is_empty());
    let back = made.filter(|(_, pod)| PodSpec::contents(pod).any(is_revoked));
    violations.extend(back.map(|(_, pod)| Violation::Revived { pod: pod.id.clone() }));
    let unsaid = |print: &&String| !head.revoked.contains(*print) && !body.revoked.contains(*print);
    if body.goal == Goal::Converge && graph.revoked.iter().any(|print| unsaid(&print)) {
        violations.push(Violation::Unsaid);
    }
}

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
