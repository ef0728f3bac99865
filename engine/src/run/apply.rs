//! Applying a plan: locks, freshness, intent, steps, outcome.
//!
//! The keeper's lock first, then the nodes' in sorted order. Under the locks the ledger and the
//! nodes are read again: a plan whose parent or whose observation is not the world's any more is
//! refused, and the refusal names what changed. The whole plan is in the ledger before its first
//! step, and its outcome after its last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use super::clock::Clock;
use super::event::Watch;
use super::executor::{Executor, Notes, Report};
use super::host::{Host, HostError, LockClaim, Refusal};
use super::journal::Journal;
use super::ledger::{LedgerFault, Writer, lock_copies};
use super::observe::observe;
use super::tenure::{Tenure, TenureError};
use crate::plan::action::Action;
use crate::plan::body::{Gate, Goal, Placed, PlanBody, Step, Work};
use crate::plan::content::Contents;
use crate::plan::freshness;
use crate::plan::graph::Graph;
use crate::plan::ledger::{Committed, Entry, Head, Line, Outcome, Pin};
use crate::plan::moved;
use crate::plan::names::{NodeName, PodId, WorkloadName};
use crate::plan::observation::Observation;
use crate::plan::overrides::Override;
use crate::plan::secret::Opened;
use crate::plan::volume;

/// A plan with all that it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// The plan.
    pub body: &'a PlanBody,
    /// The graph that it serves.
    pub graph: &'a Graph,
    /// The observation that it read.
    pub observation: &'a Observation,
    /// The head that it read.
    pub head: &'a Head,
    /// The commit that it was made from.
    pub commit: Option<&'a Committed>,
}

/// Who applies, and with what.
pub struct Apply<'a, H, C> {
    /// The nodes.
    pub host: &'a H,
    /// The time.
    pub clock: &'a C,
    /// A login and a machine.
    pub who: &'a str,
    /// What the secrets of the plan's files hold.
    pub secrets: &'a Opened,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Set when no further step should start.
    pub stop: &'a AtomicBool,
}

/// What came of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// How it ended.
    pub outcome: Outcome,
    /// Step by step.
    pub report: Report,
    /// The ledger's lines after it, or as they were last if the tenant has left.
    pub lines: Vec<Line>,
    /// Which copies of the ledger were not written, one line each.
    pub behind: Vec<String>,
}

/// Why nothing was applied, or why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A node could not be locked. Every lock that was taken has been given back.
    #[error("{0}")]
    Lock(#[source] HostError),
    /// The world is not the plan's any more. Nothing was written.
    #[error("the world has changed since this plan was made")]
    Stale {
        /// One line a difference.
        changes: Vec<String>,
    },
    /// Another engine has taken over in the middle; nothing was done after that was noticed.
    #[error(transparent)]
    Overtaken(TenureError),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// What was about to be done would be, or is, in the ledger but in no copy of it. Nothing was done.
    #[error("no copy of the ledger could be written, so nothing was done")]
    Uncopied {
        /// One line a copy.
        behind: Vec<String>,
    },
    /// The journal could not be written.
    #[error("the journal could not be written")]
    Journal(#[source] std::io::Error),
}

impl<H: Host, C: Clock> Apply<'_, H, C> {
    /// Applies a plan.
    ///
    /// # Errors
    /// Before the first step: a lock that is held, a changed world, a ledger that cannot be
    /// believed. After it: only a ledger or a journal that cannot be written; the next apply
    /// goes on from what is there.
    pub async fn apply<J: Journal>(
        &self,
        planned: Planned<'_>,
        journal: &mut J,
    ) -> Result<Applied, ApplyError> {
        let purpose = format!("plan {}", planned.body.digest().get(..8).unwrap_or_default());
        let since = (self.who, self.clock.now_ms());
        let claim = LockClaim::new(since, &purpose, planned.graph, planned.head);
        let mut locked = self.lock_all(planned, &claim).await?;
        let copies =
            lock_copies(self.host, planned.graph, planned.observation, &claim, &mut locked).await;
        let result = self.locked(planned, journal, &claim, (&locked, copies)).await;
        for node in &locked {
            self.host.unlock(node).await;
        }
        result
    }

    async fn lock_all(
        &self,
        planned: Planned<'_>,
        claim: &LockClaim,
    ) -> Result<Vec<NodeName>, ApplyError> {
        let keeper = &planned.body.keeper;
        let mut locked: Vec<NodeName> = Vec::new();
        let mut rest = planned.body.nodes();
        if planned.body.leaves_nothing() {
            // What a node remembers of the ledger goes with it.
            let knows = |node: &&NodeName| {
                planned.observation.seen(node).is_some_and(|seen| seen.ledger.is_some())
            };
            rest.extend(planned.observation.nodes.keys().filter(knows).cloned());
        }
        let rest = rest.iter().filter(|node| *node != keeper);
        for node in std::iter::once(keeper).chain(rest) {
            if let Err(error) = self.host.lock(node, claim).await {
                // The one that failed too: its answer may have been lost after it was taken.
                for node in locked.iter().chain([node]) {
                    self.host.unlock(node).await;
                }
                return Err(ApplyError::Lock(error));
            }
            locked.push(node.clone());
        }
        Ok(locked)
    }

    async fn locked<J: Journal>(
        &self,
        planned: Planned<'_>,
        journal: &mut J,
        claim: &LockClaim,
        (locked, copies): (&[NodeName], (Vec<NodeName>, Vec<String>)),
    ) -> Result<Applied, ApplyError> {
        let Planned { body, graph, observation, head: _, commit } = planned;
        let opened = Writer::open(self.host, &body.keeper, &body.tenant, self.who);
        let (now, writer) = tokio::join!(observe(self.host, graph), opened);
        let mut writer = writer?.with_copies(copies);
        let mut changes = stale(body, observation, &now, &writer.ledger.head);
        changes.extend(freshness::begun(body, graph, observation, &now));
        changes.extend(ended(body, self.clock.now_ms()));
        if !changes.is_empty() {
            return Err(ApplyError::Stale { changes });
        }
        if !writer.is_safe(graph, observation) {
            return Err(ApplyError::Uncopied { behind: writer.behind });
        }
        let summary = body.changes.iter().map(crate::plan::render::one_line).collect();
        let begin = Entry::Begin {
            plan: Box::new(body.clone()),
            digest: body.digest(),
            commit: commit.map(|commit| commit.id.clone()),
            summary,
            signed: commit.and_then(|commit| commit.signed.clone()),
        };
        writer.append(self.clock.now_ms(), begin).await?;
        if !writer.is_safe(graph, observation) {
            return Err(ApplyError::Uncopied { behind: writer.behind });
        }
        journal.begin(&writer.ledger.head.hash).map_err(ApplyError::Journal)?;
        let began = writer.ledger.head.hash.clone();
        let tenure = Tenure::new(self.host, &body.keeper, &body.tenant, claim, &began);
        let executor = Executor {
            host: self.host,
            clock: self.clock,
            apply: &began,
            secrets: self.secrets,
            tenure: &tenure,
            watch: self.watch,
            stop: self.stop,
        };
        let mut pins = Pins { writer: &mut writer, body, clock: self.clock, tenure: &tenure };
        let ran = executor.run(body, journal, &mut pins).await;
        let report = ran.map_err(ApplyError::Journal)?;
        if let Some(why) = report.overtaken {
            return Err(ApplyError::Overtaken(TenureError::Overtaken(why)));
        }
        let outcome = outcome_of(&report);
        let leaves = match body.goal {
            Goal::Destroy => outcome == Outcome::Done && body.deferred.is_empty(),
            Goal::Converge => false,
        };
        let view = moved::view(planned.graph, planned.observation, planned.head, planned.body.goal);
        let planned = Planned {
            graph: &view.graph,
            observation: &view.observation,
            head: &view.head,
            ..planned
        };
        let homes = volume::homes(planned.graph, planned.observation, planned.head);
        let (placed, proven) = placed(planned, &report);
        let finish = Entry::Finish {
            revision: body.revision,
            outcome: outcome.clone(),
            reached: reached(body, &report),
            placed,
            proven,
            volumes: volume::after(planned.graph, homes, &body.steps, &report.done),
            leaving: report.leaving.difference(&report.removed).cloned().collect(),
        };
        append(&mut writer, &tenure, self.clock.now_ms(), finish).await?;
        let lines = std::mem::take(&mut writer.ledger.lines);
        let mut behind = std::mem::take(&mut writer.behind);
        if leaves {
            writer.remove(locked).await?;
        }
        for node in retired(body, &report) {
            if let Err(error) = self.host.ledger_remove(node, &body.tenant).await {
                behind.push(format!("{node} still knows the ledger: {error}"));
            }
        }
        Ok(Applied { outcome, report, lines, behind })
    }
}

/// The nodes that the tenant has left, and goes on without. What leaves everywhere needs the ledger until all of it has.
fn retired<'a>(body: &'a PlanBody, report: &Report) -> impl Iterator<Item = &'a NodeName> {
    let goes_on = body.goal == Goal::Converge;
    let left = move |step: &&Step| {
        matches!(step.work, Work::Act(Action::RemoveTenant { .. }))
            && report.done.contains(&step.id)
    };
    body.steps.iter().filter(move |_| goes_on).filter(left).map(|step| &step.node)
}

/// What differs between the world that the plan read and the world under the locks.
fn stale(body: &PlanBody, then: &Observation, now: &Observation, head: &Head) -> Vec<String> {
    let mut changes = freshness::changed(then, now);
    if head.hash != body.parent {
        let last = match &head.in_flight {
            Some(flight) => format!("revision {} by {} has begun", flight.revision, flight.who),
            None if head.hash.is_empty() => "the ledger is gone".to_owned(),
            None => format!("the ledger is at revision {}", head.revision),
        };
        changes.push(format!("{last}; the plan follows revision {}", body.revision - 1));
    }
    changes
}

/// Which overrides that the plan counts have ended since.
fn ended(body: &PlanBody, now_ms: u64) -> impl Iterator<Item = String> {
    let counted = body.overrides.iter().map(|counted| &counted.standing);
    let ended = counted.filter(move |standing| !standing.counts_at(now_ms));
    ended
        .map(|standing| format!("the override `{}` {} has ended", standing.what, standing.reason()))
}

fn outcome_of(report: &Report) -> Outcome {
    let begun = report.unfinished.iter().filter(|name| !report.not_begun.contains_key(*name));
    if !report.problems.is_empty() || report.stopped || begun.count() > 0 {
        let mut problems = report.problems.clone();
        if report.stopped {
            problems.push("stopped by hand".to_owned());
        }
        if problems.is_empty() {
            problems.push("some steps did not run".to_owned());
        }
        Outcome::Partial { problems }
    } else if report.reverted.is_empty() {
        Outcome::Done
    } else {
        let all = report.not_begun.iter().chain(&report.reverted);
        let all = all.map(|(name, why)| (name.clone(), why.clone()));
        Outcome::Reverted { workloads: all.collect() }
    }
}

fn reached(
    body: &PlanBody,
    report: &Report,
) -> BTreeMap<WorkloadName, Option<Box<crate::plan::graph::Workload>>> {
    let ended_well = |name: &WorkloadName| {
        !report.reverted.contains_key(name) && !report.unfinished.contains(name)
    };
    let reached = body.reaches.iter().filter(|(name, _)| ended_well(name));
    reached.map(|(name, workload)| (name.clone(), workload.clone())).collect()
}

/// Every pod that is there after the run: those seen or assumed before, less what was removed,
/// and what was created; and which of them have passed their gate.
fn placed(planned: Planned<'_>, report: &Report) -> (BTreeMap<PodId, Placed>, BTreeSet<PodId>) {
    let mut world = crate::plan::world::World::of(planned.graph, planned.observation, planned.head);
    world.pods.retain(|pod, _| !report.removed.contains(pod));
    let mut proven = report.ready.clone();
    proven.extend(
        world.pods.iter().filter(|(_, here)| here.proven || here.stood).map(|(pod, _)| pod.clone()),
    );
    let mut placed: BTreeMap<PodId, Placed> =
        world.pods.into_iter().map(|(pod, here)| (pod, here.placed)).collect();
    for (pod, step) in &report.created {
        if let Work::Act(Action::EnsurePod { pod: spec }) = &step.work {
            placed.insert(pod.clone(), Placed::of(&step.node, spec));
        }
    }
    let unasked = |step: &&Step| match &step.work {
        Work::Ask(Gate::Command { .. }) => !report.done.contains(&step.id),
        Work::Ask(Gate::Steady { .. } | Gate::Metric { .. } | Gate::Ended { .. })
        | Work::Act(_)
        | Work::AwaitReady { .. }
        | Work::AwaitDrained { .. }
        | Work::Fence { .. } => false,
    };
    let unasked = planned.body.steps.iter().filter(unasked).filter_map(|step| step.work.pod());
    let unasked: BTreeSet<PodId> = unasked.collect();
    proven.retain(|pod| placed.contains_key(pod) && !unasked.contains(pod));
    (placed, proven)
}

/// Appends a line; after a lost session, once more if the apply is still the fleet's.
async fn append<H: Host>(
    writer: &mut Writer<'_, H>,
    tenure: &Tenure<'_, H>,
    at_ms: u64,
    entry: Entry,
) -> Result<(), ApplyError> {
    let keeper = writer.keeper().clone();
    match writer.append(at_ms, entry.clone()).await {
        Err(LedgerFault::Keeper(HostError::Refused { refusal: Refusal::NotLocked, .. })) => {}
        Err(fault) => return Err(fault.into()),
        Ok(()) => {
            tenure.advance(&writer.ledger.head.hash);
            return Ok(());
        }
    }
    match tenure.regain(&keeper).await {
        Ok(()) => {}
        Err(TenureError::Ledger(fault)) => return Err(fault.into()),
        Err(TenureError::Host(error)) => return Err(LedgerFault::Keeper(error).into()),
        Err(overtaken @ TenureError::Overtaken(_)) => return Err(ApplyError::Overtaken(overtaken)),
    }
    writer.append(at_ms, entry).await?;
    tenure.advance(&writer.ledger.head.hash);
    Ok(())
}

struct Pins<'a, 'b, H, C> {
    writer: &'a mut Writer<'b, H>,
    body: &'a PlanBody,
    clock: &'a C,
    tenure: &'a Tenure<'a, H>,
}

impl<H: Host, C: Clock> Notes for Pins<'_, '_, H, C> {
    async fn fenced(&mut self, node: &NodeName, why: &str) -> Result<(), String> {
        let what = Override::Fenced { node: node.clone(), by_plan: true };
        let entry = Entry::Override { what, why: why.to_owned(), until_ms: None };
        let at_ms = self.clock.now_ms();
        append(self.writer, self.tenure, at_ms, entry).await.map_err(|error| error.to_string())
    }

    async fn pin(
        &mut self,
        workload: &WorkloadName,
        why: &str,
        who: Option<&str>,
    ) -> Result<(), String> {
        let branch = self.body.branches.get(workload).ok_or("the plan has no such branch")?;
        let rejected = branch.release.clone().ok_or("a removal has no release")?;
        let at_ms = self.clock.now_ms();
        let pin = Pin {
            rejected,
            stands: branch.before.clone(),
            why: why.to_owned(),
            revision: self.body.revision,
            at_ms,
            who: who.map(str::to_owned),
        };
        // The plan has what is in its files.
        let contents = Contents::default();
        let entry = Entry::Pin { workload: workload.clone(), pin: Box::new(pin), contents };
        append(self.writer, self.tenure, at_ms, entry).await.map_err(|error| error.to_string())
    }
}
