//! The checker's judgement of overrides: said, and kept.
//!
//! It reads the ledger's head by itself: each override against each pod that the plan makes.

use super::Violation;
use crate::plan::body::{Goal, PlanBody};
use crate::plan::canon::template_digest;
use crate::plan::graph::{Graph, Intake};
use crate::plan::ledger::Head;
use crate::plan::overrides::{Override, Standing};

/// Judges what the plan says of the overrides, and what it makes beside them.
pub(super) fn overrides(
    body: &PlanBody,
    graph: &Graph,
    head: &Head,
    violations: &mut Vec<Violation>,
) {
    let ended = |standing: &&Standing| standing.until_ms.is_some_and(|end| end <= body.now_ms);
    let counting: Vec<&Standing> = head.overrides.iter().filter(|one| !ended(one)).collect();
    if counting != body.overrides.iter().map(|said| &said.standing).collect::<Vec<_>>() {
        violations.push(Violation::Unsaid);
    }
    if body.goal == Goal::Destroy {
        return;
    }
    for standing in counting {
        match &standing.what {
            Override::Intake { intake: Intake::Open, .. } | Override::Fenced { .. } => {}
            Override::Intake {
                node,
                intake: Intake::Cordoned | Intake::Drained | Intake::Retired,
            } => {
                for (_, pod) in body.created().filter(|(on, _)| *on == node) {
                    let (pod, node) = (pod.id.clone(), node.clone());
                    violations.push(Violation::Closed { pod, node });
                }
            }
            Override::Pause { workload } => {
                let Some(reached) = head.reached.get(workload) else { continue };
                let pinned = graph.workloads.get(workload).and_then(|w| head.held(workload, w));
                // A verdict that nothing is to stand goes on; a rollback to another release waits.
                let stands = match pinned.map(|pin| pin.stands.as_deref()) {
                    Some(None) => None,
                    Some(Some(_)) | None => Some(reached),
                };
                let digest = stands.map(|stands| template_digest(&stands.template));
                for (_, pod) in body.created().filter(|(_, pod)| &pod.workload == workload) {
                    if Some(&pod.digest) != digest.as_ref() {
                        let (pod, workload) = (pod.id.clone(), workload.clone());
                        violations.push(Violation::Unpaused { pod, workload });
                    }
                }
            }
            Override::Replicas { workload, replicas } => {
                // What a job does is the text's alone to say.
                let text = graph.workloads.get(workload).filter(|text| text.once.is_none());
                let Some(text) = text else { continue };
                let most = match text.scale {
                    Some(scale) if *replicas > 0 => (*replicas).min(scale.max).max(scale.min),
                    None if *replicas > 0 => text.replicas,
                    Some(_) | None => 0,
                };
                for (_, pod) in body.created().filter(|(_, pod)| &pod.workload == workload) {
                    if pod.id.ordinal >= most {
                        let (pod, workload) = (pod.id.clone(), workload.clone());
                        violations.push(Violation::Unscaled { pod, workload });
                    }
                }
            }
        }
    }
}
