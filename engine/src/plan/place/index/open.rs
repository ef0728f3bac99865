//! Where an ask is even over one label: which of the classes have a value that takes one more.
//!
//! Counters of replicas by value are the fleet's. What follows from them is kept from one search to
//! the next: if nothing has changed since but the one replica that was placed, its value is all
//! that is looked at.

use super::count;
use crate::plan::place::bits::Bits;

/// The classes of an ask by whether their value takes one more.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// Places in the ask's list of classes, by value; without those that have none.
    by_value: Vec<Vec<usize>>,
    /// Which of the places are open.
    open: Bits,
    /// How many replicas the emptiest value has, and how many values have as few.
    least: u32,
    emptiest: usize,
    /// How often the workload's replicas had changed when that was so.
    changes: Option<u64>,
    /// Where the last search found a place: the value, and how many it had.
    last: Option<(usize, u32)>,
}

impl Open {
    /// Takes each class's value; 0 is none.
    pub(super) fn of(values: &[usize]) -> Self {
        let mut by_value = vec![Vec::new(); values.iter().max().map_or(0, |most| most + 1)];
        for (place, value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
            by_value[*value].push(place);
        }
        let open = Bits::sized(values.len());
        Self { by_value, open, least: 0, emptiest: 0, changes: None, last: None }
    }

    /// Takes what has changed; `skew` is how many more one value may have than the emptiest.
    pub(super) fn refresh(&mut self, counts: Option<&[u32]>, changes: u64, skew: u32) {
        if self.changes == Some(changes) {
            return;
        }
        let one = self.changes.and_then(|before| before.checked_add(1)) == Some(changes);
        self.changes = Some(changes);
        if let Some((value, before)) = self.last.take().filter(|_| one)
            && before.checked_add(1) == Some(count(counts, value))
        {
            self.emptiest -= usize::from(before == self.least);
            if self.emptiest > 0 {
                if before.saturating_add(2) > self.least.saturating_add(skew) {
                    self.by_value[value].iter().for_each(|place| self.open.remove(*place));
                }
                return;
            }
        }
        self.recount(counts, skew);
    }

    fn recount(&mut self, counts: Option<&[u32]>, skew: u32) {
        let values = || self.by_value.iter().enumerate().filter(|(_, places)| !places.is_empty());
        let least = values().map(|(value, _)| count(counts, value)).min().unwrap_or(0);
        let most = least.saturating_add(skew);
        self.open.clear();
        self.emptiest = 0;
        for (value, places) in self.by_value.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
            let here = count(counts, value);
            self.emptiest += usize::from(here == least);
            if here < most {
                places.iter().for_each(|place| self.open.insert(*place));
            }
        }
        self.least = least;
    }

    /// How many replicas the emptiest value has.
    pub(super) fn least(&self) -> u32 {
        self.least
    }

    /// Lists the open places in the ask's list of classes, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.open.iter()
    }

    /// Notes that a replica will probably come to a value.
    pub(super) fn chose(&mut self, value: usize, counts: Option<&[u32]>) {
        self.last = Some((value, count(counts, value)));
    }
}
