//! What a step waits for: numbers of earlier steps, and runs of them as one.
//!
//! The steps of a wave often wait for every step of the one before: all gates, then all tables,
//! then the next pods. Said one by one, that is their product; so a run of consecutive numbers is
//! two numbers, in memory and in JSON (`[7, [10, 309]]`). This module knows no steps.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::body::StepId;

/// Steps that must be done before another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct After(Box<[Run]>);

/// Consecutive numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The first.
    pub first: StepId,
    /// The last; never below the first.
    pub last: StepId,
}

impl After {
    /// Puts steps together, in any order.
    pub fn of(steps: impl IntoIterator<Item = StepId>) -> Self {
        Self::joined(steps.into_iter().map(|id| Run { first: id, last: id }).collect())
    }

    /// Waits for what both wait for.
    pub fn and(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        Self::joined(self.0.iter().chain(&other.0).copied().collect())
    }

    fn joined(mut runs: Vec<Run>) -> Self {
        runs.sort_unstable();
        let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs {
            match joined.last_mut() {
                Some(before) if run.first.0 <= before.last.0.saturating_add(1) => {
                    before.last = before.last.max(run.last);
                }
                Some(_) | None => joined.push(run),
            }
        }
        Self(joined.into())
    }

    /// Lists the runs, in order.
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// Lists every step, in order.
    pub fn iter(&self) -> impl Iterator<Item = StepId> + '_ {
        self.0.iter().flat_map(|run| (run.first.0..=run.last.0).map(StepId))
    }

    /// Says whether there is nothing to wait for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names the last step, if there is one.
    pub fn last(&self) -> Option<StepId> {
        self.0.iter().map(|run| run.last).max()
    }
}

impl Run {
    /// Counts the steps.
    pub fn count(self) -> usize {
        (self.last.0 - self.first.0) as usize + 1
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            match run.count() {
                1 => write!(f, "{space}{}", run.first.0)?,
                _ => write!(f, "{space}{}-{}", run.first.0, run.last.0)?,
            }
        }
        Ok(())
    }
}

/// A run as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(u32),
    Run(u32, u32),
}

impl Serialize for After {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|run| match run.count() {
            1 => Written::One(run.first.0),
            _ => Written::Run(run.first.0, run.last.0),
        }))
    }
}

/// Runs that touch are left as they were written, so that what was read gives the same bytes again:
/// a ledger's hash is over them.
impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let run = |written: Written| match written {
            Written::One(id) => Ok(Run { first: StepId(id), last: StepId(id) }),
            Written::Run(first, last) if first < last => {
                Ok(Run { first: StepId(first), last: StepId(last) })
            }
            Written::Run(first, last) => {
                Err(D::Error::custom(format!("steps {first} to {last} are no run")))
            }
        };
        let written = Vec::<Written>::deserialize(deserializer)?;
        Ok(Self(written.into_iter().map(run).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ids: &[u32]) -> After {
        After::of(ids.iter().copied().map(StepId))
    }

    #[test]
    fn runs_are_two_numbers() {
        let written = serde_json::to_string(&after(&[12, 7, 10, 11, 7])).expect("json");
        assert_eq!(written, "[7,[10,12]]");
        let read: After = serde_json::from_str(&written).expect("json");
        assert_eq!(read, after(&[7, 10, 11, 12]));
        assert_eq!(read.iter().map(|id| id.0).collect::<Vec<_>>(), [7, 10, 11, 12]);
    }

    #[test]
    fn what_was_read_gives_the_same_bytes() {
        for text in ["[]", "[1,2,3]", "[[1,2],3,[4,9]]"] {
            let read: After = serde_json::from_str(text).expect("json");
            assert_eq!(serde_json::to_string(&read).expect("json"), text);
        }
        for text in ["[[2,1]]", "[[1,1]]", "[\"1\"]", "[[1]]"] {
            assert!(serde_json::from_str::<After>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn both_are_waited_for() {
        assert_eq!(after(&[1, 2]).and(&after(&[3, 9])), after(&[1, 2, 3, 9]));
        assert_eq!(after(&[5]).and(&After::default()), after(&[5]));
    }
}
