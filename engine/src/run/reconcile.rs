//! The reconcile loop: when an engine that stays looks again.
//!
//! The loop is level-triggered: each look reads the text, the nodes and the ledger anew, plans, and applies
//! what there is to do; nothing that happened is remembered but how many looks in a row did not settle. So
//! an event that is missed is only late, and a look too many changes nothing. [`Pace::next`] is all there
//! is to it: pure, with time and chance given, so that it can be tested.
//!
//! What went wrong is tried again after 1 s, 2 s, 4 s and so on, up to a few minutes, each a random part
//! shorter (exponential back-off with "equal jitter", Brooker 2015), so that engines which were shut out by
//! one lock do not come back together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::graph::{Graph, OnUnreachable};
use crate::plan::ledger::Head;
use crate::plan::overrides::counting;

/// The longest back-off, unless looks are even farther apart.
const LONGEST: Duration = Duration::from_secs(300);

/// What happens to the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It begins.
    Began,
    /// The text has changed.
    Changed,
    /// The time to look has come.
    Due,
    /// A look has ended.
    Looked(Came),
    /// Somebody wants it to end.
    Stop,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// There was nothing that could be done.
    Settled {
        /// When there may be, in milliseconds since 1970, though nothing else changes.
        wakes_ms: Option<u64>,
    },
    /// Something was done, or taken back.
    Done,
    /// Another engine holds a lock, or was faster.
    Busy,
    /// Something went wrong.
    Failed,
}

/// What the loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It looks.
    Look,
    /// It waits so long for an event, and then it is [`Event::Due`].
    Wait(Duration),
    /// It ends.
    End,
}

/// How often the loop looks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    every: Duration,
    unsettled: u32,
}

impl Pace {
    /// A loop that looks so often when all is well.
    pub fn new(every: Duration) -> Self {
        Self { every, unsettled: 0 }
    }

    /// What to do after an event, at a moment in milliseconds since 1970; `chance` is any random number.
    pub fn next(&mut self, event: Event, now_ms: u64, chance: u64) -> Next {
        let part = |whole: Duration, percent: u64| {
            let most = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX) / 100 * percent;
            Duration::from_millis(chance % most.max(1))
        };
        match event {
            Event::Began | Event::Changed | Event::Due => Next::Look,
            Event::Stop => Next::End,
            Event::Looked(Came::Settled { wakes_ms }) => {
                self.unsettled = 0;
                let usual = self.every - part(self.every, 10);
                let wakes = wakes_ms.map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
                // A clock that is set back or runs ahead makes it look early, not without a pause.
                let wakes = wakes.map(|wait| wait.max(Duration::from_millis(100)));
                Next::Wait(wakes.map_or(usual, |wakes| wakes.min(usual)))
            }
            Event::Looked(came) => {
                self.unsettled += 1;
                // What was done is looked at at once; if there is something to do each time, less and less.
                if (came, self.unsettled) == (Came::Done, 1) {
                    return Next::Look;
                }
                let doubled = Duration::from_secs(1 << self.unsettled.saturating_sub(1).min(16));
                let most = doubled.min(LONGEST.max(self.every));
                Next::Wait(most - part(most, 50))
            }
        }
    }
}

/// When something is due that no event tells of: a replica on a silent node, or the end of a decision.
/// In milliseconds since 1970.
pub fn wakes(graph: &Graph, head: &Head, now_ms: u64) -> Option<u64> {
    let waits = graph.workloads.values().filter_map(|workload| match workload.on_unreachable {
        OnUnreachable::ReplaceAfter { ms } | OnUnreachable::FenceAfter { ms } => Some(ms),
        OnUnreachable::Wait => None,
    });
    let waits: Vec<u64> = waits.collect();
    let silent: &BTreeMap<_, u64> = &head.silent;
    let replaced =
        silent.values().flat_map(|since| waits.iter().map(|ms| since.saturating_add(*ms)));
    let ends = counting(&head.overrides, now_ms).filter_map(|standing| standing.until_ms);
    replaced.chain(ends).filter(|at| *at > now_ms).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn waits(next: Next) -> Duration {
        match next {
            Next::Wait(wait) => wait,
            Next::Look | Next::End => panic!("{next:?}"),
        }
    }

    #[test]
    fn a_settled_loop_looks_now_and_then_and_when_something_is_due() {
        let mut pace = Pace::new(MINUTE);
        for chance in [0, 7, u64::MAX, 12_345_678] {
            let settled = |wakes_ms| Event::Looked(Came::Settled { wakes_ms });
            let usual = waits(pace.next(settled(None), 5, chance));
            assert!(usual <= MINUTE && usual >= MINUTE * 9 / 10, "{usual:?}");
            assert_eq!(waits(pace.next(settled(Some(2005)), 5, chance)), Duration::from_secs(2));
            let past = waits(pace.next(settled(Some(1)), 5, chance));
            assert!(past >= Duration::from_millis(100), "{past:?}");
        }
    }

    #[test]
    fn what_goes_wrong_is_tried_less_and_less() {
        for came in [Came::Failed, Came::Busy] {
            let mut pace = Pace::new(MINUTE);
            let mut most = Duration::from_secs(1);
            for chance in 0..40 {
                let wait = waits(pace.next(Event::Looked(came), 0, chance * 7919));
                assert!(wait <= most && wait >= most / 2, "{wait:?} of {most:?}");
                most = (most * 2).min(LONGEST);
            }
            pace.next(Event::Looked(Came::Settled { wakes_ms: None }), 0, 0);
            assert!(waits(pace.next(Event::Looked(came), 0, 0)) <= Duration::from_secs(1));
        }
    }

    #[test]
    fn a_plan_that_never_settles_does_not_spin() {
        let mut pace = Pace::new(MINUTE);
        assert_eq!(pace.next(Event::Looked(Came::Done), 0, 0), Next::Look);
        let waited: Duration =
            (0..10).map(|_| waits(pace.next(Event::Looked(Came::Done), 0, 0))).sum();
        assert!(waited > MINUTE * 10, "{waited:?}");
        assert_eq!(pace.next(Event::Changed, 0, 0), Next::Look);
        assert_eq!(pace.next(Event::Stop, 0, 0), Next::End);
    }
}
