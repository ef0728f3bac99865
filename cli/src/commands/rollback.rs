//! `berth rollback`: services at an earlier release, until their text changes.
//!
//! The way back that lasts is `git revert` and apply. This one is for the minutes before: it pins what
//! the ledger knows of an earlier revision, and the pin stands until the release changes in the text.

use std::collections::BTreeMap;

use berth_engine::plan::canon::{release_digest, template_digest};
use berth_engine::plan::content::Contents;
use berth_engine::plan::graph::Workload;
use berth_engine::plan::ledger::{Entry, Head, Pin};
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::secret;

use super::Ended;
use super::overrides::service;
use crate::Global;
use crate::decision::{Carry, Decision, Situation, decide};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which services; all whose release has changed since then if none is named
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// To which revision (`berth history` lists them); the one before the last change otherwise, or what
    /// stands if a rollout was stopped in its midst
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    carry: Carry,
}

/// What cannot be rolled back.
#[derive(Debug, thiserror::Error)]
enum RollbackError {
    #[error("there is no revision {0} that ended; `berth history` lists those there are")]
    NoRevision(u64),
    #[error("{0} had no earlier release")]
    NoEarlier(WorkloadName),
    #[error("{0} was not there at revision {1}; to take it away, take it out of the text")]
    NotThere(WorkloadName, u64),
    #[error(
        "{0} is not in the text any more; to have it back, revert the commit that took it away"
    )]
    NotInText(WorkloadName),
    #[error(
        "{0} had a secret at revision {1} that was revoked since, so it does not come back; `berth rollback --to` names another revision"
    )]
    Revoked(WorkloadName, u64),
    #[error("no service had another release at revision {0}")]
    NothingThen(u64),
    #[error("no service had an earlier release")]
    Nothing,
}

/// A revision that ended, and what every service had reached by then.
type Then = (u64, BTreeMap<WorkloadName, Workload>);

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    decide(global, Some(&args.carry), |situation| {
        let past = Past::of(situation);
        let then = match args.to {
            None => None,
            Some(to) => {
                let found = past.ends.iter().rev().find(|(revision, _)| *revision == to);
                Some(found.ok_or(RollbackError::NoRevision(to))?)
            }
        };
        let mut decision = Decision::default();
        for (name, (revision, stands)) in targets(situation, args, &past.ends, then)? {
            let text = situation.project.graph.workloads.get(&name);
            let text = text.ok_or_else(|| RollbackError::NotInText(name.clone()))?;
            let gone = secret::revoked(&situation.project.graph, situation.head());
            if stands.template.contents().any(|content| gone.contains(content)) {
                return Err(RollbackError::Revoked(name, revision).into());
            }
            let rejected = release_digest(text);
            if rejected == release_digest(stands) {
                decision.words.push(format!(
                    "service/{name}: the text says the release of revision {revision}; `berth apply` puts it there"
                ));
                continue;
            }
            decision.words.push(format!(
                "service/{name} is held at the release of revision {revision}, until its text changes or `berth unpin {name}`"
            ));
            let pin = Pin {
                rejected,
                stands: Some(Box::new(stands.clone())),
                why: args.why.clone(),
                revision: situation.head().revision,
                at_ms: situation.now_ms,
                who: Some(situation.who.clone()),
            };
            decision.touches.insert(name.clone());
            let named = stands.template.contents();
            let contents = Contents::gather(named, &situation.head().contents, &past.contents);
            decision.entries.push(Entry::Pin { workload: name, pin: Box::new(pin), contents });
        }
        Ok(decision)
    })
}

/// What was before.
struct Past {
    /// What every service had reached when each revision ended, the oldest first.
    ends: Vec<Then>,
    /// What was in the files of all of them.
    contents: Contents,
}

impl Past {
    fn of(situation: &Situation<'_>) -> Self {
        let mut head = Head::default();
        let mut past = Self { ends: Vec::new(), contents: Contents::default() };
        for line in &situation.ledger.lines {
            head.advance(line);
            if let Entry::Finish { revision, .. } = &line.entry {
                past.ends.push((*revision, head.reached.clone()));
                past.contents.extend(&head.contents);
            }
        }
        past
    }
}

/// A release for each service, with the revision that brought it.
type Releases<'a> = BTreeMap<WorkloadName, (u64, &'a Workload)>;

/// Whether replicas of the text's release are there beside those of the release that stands: a rollout
/// that was stopped. What it goes back to is what stands.
fn is_in_midst(situation: &Situation<'_>, name: &WorkloadName) -> bool {
    let head = situation.head();
    let text = situation.project.graph.workloads.get(name);
    let Some((text, stands)) = text.zip(head.reached.get(name)) else { return false };
    let (text, stands) = (template_digest(&text.template), template_digest(&stands.template));
    let mut placed = head.placed.values().filter(|placed| &placed.workload == name);
    text != stands && placed.any(|placed| placed.digest == text)
}

/// What each service goes back to, and when that was.
fn targets<'a>(
    situation: &Situation<'_>,
    args: &Args,
    past: &'a [Then],
    then: Option<&'a Then>,
) -> Result<Releases<'a>, Box<dyn std::error::Error>> {
    let now = &situation.head().reached;
    let differs = |name: &WorkloadName, workload: &Workload| {
        now.get(name).is_none_or(|now| release_digest(now) != release_digest(workload))
    };
    let earlier = |name: &WorkloadName| {
        let mut latest_first = past.iter().rev();
        if is_in_midst(situation, name) {
            let stands = latest_first
                .map_while(|(revision, reached)| Some((*revision, reached.get(name)?)))
                .take_while(|(_, workload)| !differs(name, workload));
            return stands.last();
        }
        latest_first.find_map(|(revision, reached)| {
            let workload = reached.get(name).filter(|workload| differs(name, workload))?;
            Some((*revision, workload))
        })
    };
    let mut targets = BTreeMap::new();
    for named in &args.services {
        let name = service(situation, named)?;
        let target = match then {
            Some((revision, reached)) => {
                let there = reached.get(&name).map(|workload| (*revision, workload));
                there.ok_or_else(|| RollbackError::NotThere(name.clone(), *revision))?
            }
            None => earlier(&name).ok_or_else(|| RollbackError::NoEarlier(name.clone()))?,
        };
        targets.insert(name, target);
    }
    if args.services.is_empty() {
        // All services, to one revision: the one before the last that changed a release.
        let changed = |(_, reached): &&Then| reached.iter().any(|(name, w)| differs(name, w));
        let then = then.or_else(|| past.iter().rev().find(changed));
        let (revision, reached) = then.ok_or(RollbackError::Nothing)?;
        let text = &situation.project.graph.workloads;
        let changed =
            reached.iter().filter(|(name, w)| text.contains_key(*name) && differs(name, w));
        targets.extend(changed.map(|(name, w)| (name.clone(), (*revision, w))));
        if targets.is_empty() {
            return Err(RollbackError::NothingThen(*revision).into());
        }
    }
    Ok(targets)
}
