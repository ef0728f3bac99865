//! How long the rest of a plan takes: its longest chain of steps, by what each is expected to take.
//!
//! A rate of steps a second says little where one step watches for ten minutes and a hundred start pods at
//! once; the chain that everything else waits for says it.

use std::collections::BTreeMap;

use super::after::Run;
use super::body::Step;

/// The longest chain of steps, in milliseconds, if each takes what `expects` says: nothing for those that
/// are done. Steps are numbered from 0, and wait for earlier ones only. Steps that wait for the same runs
/// share the work, so it is about linear in the plan.
pub fn longest_ms(steps: &[Step], expects: impl Fn(&Step) -> u64) -> u64 {
    let mut ends: Vec<u64> = Vec::with_capacity(steps.len());
    let mut known: BTreeMap<Run, u64> = BTreeMap::new();
    for step in steps {
        let mut begins: u64 = 0;
        for run in step.after.runs() {
            let end = *known.entry(*run).or_insert_with(|| {
                let range = run.first.0 as usize..=run.last.0 as usize;
                ends.get(range).unwrap_or_default().iter().copied().max().unwrap_or(0)
            });
            begins = begins.max(end);
        }
        ends.push(begins.saturating_add(expects(step)));
    }
    ends.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::action::Action;
    use crate::plan::after::After;
    use crate::plan::body::{StepId, Work};
    use crate::plan::names::NodeName;

    fn step(id: u32, after: &[u32]) -> Step {
        Step {
            id: StepId(id),
            node: NodeName::new("n1"),
            branch: None,
            wave: None,
            work: Work::Act(Action::RemoveNetwork),
            after: After::of(after.iter().copied().map(StepId)),
        }
    }

    #[test]
    fn the_longest_chain_counts_and_not_the_sum() {
        let steps = [step(0, &[]), step(1, &[]), step(2, &[0, 1]), step(3, &[0])];
        let takes = [5, 7, 10, 1];
        assert_eq!(longest_ms(&steps, |step| takes[step.id.0 as usize]), 17);
        assert_eq!(longest_ms(&steps, |step| u64::from(step.id.0 == 3)), 1);
        assert_eq!(longest_ms(&[], |_| 9), 0);
    }
}
