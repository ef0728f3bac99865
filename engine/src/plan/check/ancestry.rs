//! Which steps must be done before which, without a list of all of them for each.
//!
//! A workload's waves follow one another: what comes after a whole wave comes after everything of
//! that workload before it. So a step's ancestors in its own branch are kept as "all before this
//! one, and these few", and of other branches only the steps that are waited for from outside. What
//! the nodes themselves need is nobody's ancestor here: no promise asks for it. What cannot be shown
//! counts as not before, so a plan is never believed for lack of knowledge.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::plan::after::Run;
use crate::plan::body::Step;

/// Runs that are longer are worked out once, for all who wait for them.
const SHORT_RUN: usize = 4;
/// The branch of steps that are for a node itself.
const NODES: u32 = 0;

/// For each step, what must be done before it.
pub(in crate::plan) struct Ancestry {
    /// Each step's branch, as a number.
    branches: Vec<u32>,
    /// Each step's place among its branch's steps.
    places: Vec<u32>,
    rows: Vec<Rc<Row>>,
}

/// A step's ancestors.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    /// Every step of its branch whose place is lower.
    below: u32,
    /// Other places in its branch, in order, none of them below.
    others: Vec<u32>,
    /// Steps of other branches, by index in the plan, in order.
    outside: Vec<usize>,
}

impl Ancestry {
    /// Works it out. A step that waits for a later one, or for one that is not there, is taken not
    /// to wait for it.
    pub(in crate::plan) fn of(steps: &[Step]) -> Self {
        let mut numbers = BTreeMap::new();
        let mut counts: Vec<u32> = vec![0];
        let (mut branches, mut places) = (Vec::new(), Vec::new());
        for step in steps {
            let branch = match &step.branch {
                None => NODES,
                Some(name) => *numbers.entry(name).or_insert_with(|| {
                    counts.push(0);
                    u32::try_from(counts.len() - 1).unwrap_or(u32::MAX)
                }),
            };
            branches.push(branch);
            let count = &mut counts[branch as usize];
            places.push(*count);
            *count += 1;
        }
        let mut ancestry = Self { branches, places, rows: Vec::with_capacity(steps.len()) };
        let first = steps.first().map_or(0, |step| step.id.0);
        let mut known: BTreeMap<(Run, u32), Rc<Row>> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let branch = ancestry.branches[index];
            let mut sum = Sum::default();
            for run in step.after.runs().iter().filter(|run| run.last.0 >= first) {
                let places = run.first.0.saturating_sub(first) as usize
                    ..(run.last.0.saturating_sub(first) as usize + 1).min(index);
                if run.count() <= SHORT_RUN {
                    places.for_each(|parent| ancestry.take(&mut sum, branch, parent));
                    continue;
                }
                let row = known.entry((*run, branch)).or_insert_with(|| {
                    let mut all = Sum::default();
                    places.for_each(|parent| ancestry.take(&mut all, branch, parent));
                    all.row()
                });
                sum.row_of(row);
            }
            let row = sum.row();
            ancestry.rows.push(row);
        }
        ancestry
    }

    /// Adds a parent and its own ancestors.
    fn take(&self, sum: &mut Sum, branch: u32, parent: usize) {
        let (theirs, Some(row)) = (self.branches[parent], self.rows.get(parent)) else { return };
        if theirs == branch {
            sum.row_of(row);
            sum.others.push(self.places[parent]);
        } else if theirs != NODES && branch != NODES {
            sum.outside.push(parent);
            sum.outside.extend(&row.outside);
        }
    }

    /// Says whether the first of two steps, by index, must be done before the second.
    pub(in crate::plan) fn is_before(&self, earlier: usize, later: usize) -> bool {
        let (Some(branch), Some(row)) = (self.branches.get(earlier), self.rows.get(later)) else {
            return false;
        };
        if self.branches[later] == *branch {
            return row.has(self.places[earlier]);
        }
        row.outside.iter().any(|step| {
            self.branches[*step] == *branch
                && (*step == earlier || self.rows[*step].has(self.places[earlier]))
        })
    }

    /// Says whether a step waits for a step of another branch, by whatever way.
    pub(in crate::plan) fn waits_outside(&self, step: usize) -> bool {
        self.rows.get(step).is_some_and(|row| !row.outside.is_empty())
    }

    /// Says whether two steps are known to have the same ancestors.
    pub(in crate::plan) fn same(&self, one: usize, other: usize) -> bool {
        match (self.rows.get(one), self.rows.get(other)) {
            (Some(one), Some(other)) => Rc::ptr_eq(one, other),
            (_, None) | (None, _) => false,
        }
    }
}

impl Row {
    fn has(&self, place: u32) -> bool {
        place < self.below || self.others.binary_search(&place).is_ok()
    }
}

/// Ancestors that are being put together.
#[derive(Default)]
struct Sum {
    below: u32,
    others: Vec<u32>,
    outside: Vec<usize>,
    /// The row that was added last: of many parents with one row, it is added once.
    last: Option<Rc<Row>>,
}

impl Sum {
    fn row_of(&mut self, row: &Rc<Row>) {
        if self.last.as_ref().is_some_and(|last| Rc::ptr_eq(last, row)) {
            return;
        }
        self.below = self.below.max(row.below);
        self.others.extend(&row.others);
        self.outside.extend(&row.outside);
        self.last = Some(Rc::clone(row));
    }

    fn row(self) -> Rc<Row> {
        let Self { mut below, mut others, mut outside, last } = self;
        others.sort_unstable();
        others.dedup();
        for place in &others {
            if *place == below {
                below += 1;
            }
        }
        others.retain(|place| *place >= below);
        outside.sort_unstable();
        outside.dedup();
        let row = Row { below, others, outside };
        match last {
            Some(last) if *last == row => last,
            Some(_) | None => Rc::new(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::action::Action;
    use crate::plan::after::After;
    use crate::plan::body::{StepId, Work};
    use crate::plan::names::{NodeName, WorkloadName};

    fn step(id: u32, branch: &str, after: &[u32]) -> Step {
        Step {
            id: StepId(id),
            node: NodeName::new("n"),
            branch: (!branch.is_empty()).then(|| WorkloadName::new(branch)),
            wave: None,
            work: Work::Act(Action::RemoveNetwork),
            after: After::of(after.iter().copied().map(StepId)),
        }
    }

    /// Every ancestor, by walking.
    fn walked(steps: &[Step], from: usize) -> Vec<bool> {
        let mut known = vec![false; steps.len()];
        let mut left = vec![from];
        while let Some(at) = left.pop() {
            for parent in steps[at].after.iter() {
                let parent = (parent.0 - steps[0].id.0) as usize;
                if parent < at && !known[parent] {
                    known[parent] = true;
                    left.push(parent);
                }
            }
        }
        known
    }

    #[test]
    fn it_says_what_a_walk_says_within_a_branch_and_across_one_border() {
        let mut seed = 7_u32;
        let mut below = |sides: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % sides
        };
        for _ in 0..300 {
            let first = below(3);
            let mut steps: Vec<Step> = Vec::new();
            for index in 0..30 {
                let branch = ["a", "b"][below(2) as usize];
                let mut after: Vec<u32> = Vec::new();
                if index > 0 && below(3) == 0 {
                    let from = below(index);
                    after.extend(from..index.min(from + 1 + below(12)));
                }
                if index > 0 {
                    after.push(below(index));
                }
                let mut after: Vec<u32> = after.iter().map(|id| id + first).collect();
                // Paths that leave a branch and come back are not followed: there are none here.
                after.retain(|id| {
                    let other = &steps[(id - first) as usize];
                    other.branch.as_ref().is_none_or(|b| b.as_str() <= branch)
                });
                steps.push(step(index + first, branch, &after));
            }
            let ancestry = Ancestry::of(&steps);
            for later in 0..steps.len() {
                for (earlier, is) in walked(&steps, later).into_iter().enumerate() {
                    assert_eq!(ancestry.is_before(earlier, later), is, "{earlier} {later}");
                }
            }
        }
    }

    #[test]
    fn a_whole_wave_is_one_number() {
        let mut steps: Vec<Step> = (0..100).map(|id| step(id, "a", &[])).collect();
        let all: Vec<u32> = (0..100).collect();
        steps.extend((100..200).map(|id| step(id, "a", &all)));
        let ancestry = Ancestry::of(&steps);
        assert_eq!(ancestry.rows[150].below, 100);
        assert!(ancestry.rows[150].others.is_empty());
        assert!(ancestry.same(120, 190));
        assert!(ancestry.is_before(99, 100) && !ancestry.is_before(100, 101));
    }

    #[test]
    fn what_waits_for_later_steps_or_for_none_is_no_trouble() {
        let steps = [step(3, "a", &[4, 9]), step(4, "a", &[0, 3]), step(5, "a", &[0, 1])];
        let ancestry = Ancestry::of(&steps);
        assert!(!ancestry.is_before(1, 0) && ancestry.is_before(0, 1));
        assert!(!ancestry.is_before(0, 2) && !ancestry.is_before(1, 2));
        assert!(!ancestry.is_before(7, 0) && !ancestry.is_before(0, 7));
    }
}
