//! The executor: a plan's steps through the Host port, as many at once as their order allows.
//!
//! It makes no decision that a plan could make. What it does decide: when a step whose answer was
//! lost counts as done (it reads the node back), when a gate has passed, and that a failed gate
//! sets off the plan's undo. A branch whose step fails in any other way stops; the others go on.

mod asked;
mod ended;
mod gates;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use self::gates::Halt;
use super::clock::Clock;
use super::event::{Event, Watch};
use super::host::{Host, HostError, ProbeTarget, Refusal, Supplies};
use super::journal::{Journal, Record};
use super::tenure::{Tenure, TenureError};
use crate::plan::action::Action;
use crate::plan::after::Run;
use crate::plan::body::{Branch, Gate, PlanBody, Step, StepId, Work};
use crate::plan::companion::Companion;
use crate::plan::moment::utc;
use crate::plan::names::{NodeName, PodId, WorkloadName};
use crate::plan::satisfied::is_satisfied;
use crate::plan::secret::Opened;
use crate::plan::undo::undo_steps;

/// Steps that run at once, over all nodes.
const MAX_RUNNING: usize = 64;
/// How often a write whose answer was lost is read back and performed again.
const MAX_READ_BACKS: u32 = 3;
/// Pause before a node is locked and read again, in milliseconds.
const READ_BACK_PAUSE: Duration = Duration::from_millis(500);
/// How long an image may take to travel.
const IMAGE_DEADLINE: Duration = Duration::from_secs(900);
/// How long a volume's data may take to be removed.
const VOLUME_DEADLINE: Duration = Duration::from_secs(900);
/// How long it may take to switch a node off.
const FENCE_DEADLINE: Duration = Duration::from_secs(120);
/// How long any other write may take, besides the grace that it gives.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of a failed pod's log that are kept.
const LOG_LIMIT: usize = 16 * 1024;

/// What came of a plan's steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps done, those of undos included.
    pub done: BTreeSet<StepId>,
    /// Pods that were created, or may have been, with their nodes.
    pub created: BTreeMap<PodId, Step>,
    /// Pods that were removed.
    pub removed: BTreeSet<PodId>,
    /// Pods whose removal was begun, and may not have ended.
    pub leaving: BTreeSet<PodId>,
    /// Pods that passed their gate.
    pub ready: BTreeSet<PodId>,
    /// Workloads that went back, with the reason.
    pub reverted: BTreeMap<WorkloadName, String>,
    /// Workloads with a step that is not done.
    pub unfinished: BTreeSet<WorkloadName>,
    /// Those of them that are after one which went back, with the reason.
    pub not_begun: BTreeMap<WorkloadName, String>,
    /// One line a problem.
    pub problems: Vec<String>,
    /// Whether somebody asked to stop.
    pub stopped: bool,
    /// Set if another engine has taken over; nothing was started after that was noticed.
    pub overtaken: Option<String>,
}

/// What the ledger is told in the midst of an apply, before what follows from it.
pub trait Notes {
    /// Writes that a node is switched off. `Err` keeps what waits for that from starting.
    fn fenced(
        &mut self,
        node: &NodeName,
        why: &str,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Writes the pin, by whoever asked for it, or by a gate. `Err` keeps the undo from starting.
    fn pin(
        &mut self,
        workload: &WorkloadName,
        why: &str,
        who: Option<&str>,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// Runs plans.
pub struct Executor<'a, H, C> {
    /// The nodes.
    pub host: &'a H,
    /// The time.
    pub clock: &'a C,
    /// The hash of the ledger's line with which this apply began.
    pub apply: &'a str,
    /// What the secrets of the plan's files hold.
    pub secrets: &'a Opened,
    /// How the nodes are locked again after a lost connection, if they still may be.
    pub tenure: &'a Tenure<'a, H>,
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// Set when no further step should start.
    pub stop: &'a AtomicBool,
}

enum End {
    Done {
        note: Option<String>,
    },
    GateFailed {
        why: String,
    },
    /// Somebody asked for the release to be taken back.
    Asked(Refused),
    Failed {
        why: String,
    },
    /// A write was sent, and nobody can say whether it happened.
    Unknown {
        why: String,
    },
    Overtaken {
        why: String,
    },
    /// Nothing of the branch goes on, so nobody needs to know.
    GivenUp,
}

/// Why a branch goes back.
#[derive(Clone, Debug)]
struct Refused {
    why: String,
    /// Who asked for it; a gate failed otherwise.
    who: Option<String>,
}

impl Refused {
    fn words(&self) -> String {
        let who = self.who.as_ref().map(|who| format!("asked for by {who}: "));
        format!("{}{}", who.unwrap_or_default(), self.why)
    }
}

#[derive(Default)]
struct Progress {
    /// The number of the next undo's first step.
    next: StepId,
    steps: BTreeMap<StepId, Step>,
    /// How many runs of steps each step still waits for.
    waiting: BTreeMap<StepId, usize>,
    /// For each run that somebody waits for, how many of its steps are not done, and who waits.
    runs: BTreeMap<Run, (usize, Vec<StepId>)>,
    /// The runs that each step is in.
    in_runs: BTreeMap<StepId, Vec<Run>>,
    ready: BTreeSet<StepId>,
    running: BTreeMap<StepId, u64>,
    /// Branches in which nothing further starts, with the wave and reason of a failed gate.
    halted: BTreeMap<WorkloadName, Option<(u32, Refused)>>,
}

impl<H: Host, C: Clock> Executor<'_, H, C> {
    /// Runs a plan's steps, and the undo of each branch whose gate fails.
    ///
    /// # Errors
    /// Only if the journal cannot be written: nothing may start then.
    pub async fn run<J: Journal, G: Notes>(
        &self,
        body: &PlanBody,
        journal: &mut J,
        notes: &mut G,
    ) -> std::io::Result<Report> {
        let mut report = Report::default();
        let mut progress = Progress { next: body.next_step(), ..Progress::default() };
        progress.add(&body.steps);
        let peers = body.peers();
        let supplies = &Supplies { peers: &peers, contents: &body.contents, secrets: self.secrets };
        let halt = Halt::default();
        let halt = &halt;
        let mut running = FuturesUnordered::new();
        let mut records: Vec<Record> = Vec::new();
        let mut asked = pin!(asked::next(self, body, None));
        loop {
            for (branch, wave, refused) in progress.quiet_failures() {
                if report.overtaken.is_some() {
                    continue;
                }
                self.go_back(
                    body,
                    &branch,
                    wave,
                    refused,
                    &mut progress,
                    &mut report,
                    &mut records,
                    notes,
                )
                .await;
            }
            let mut starting = Vec::new();
            while progress.at_work() + starting.len() < MAX_RUNNING
                && !self.stop.load(Ordering::Relaxed)
                && report.overtaken.is_none()
            {
                let Some(id) = progress.ready.pop_first() else { break };
                let Some(step) = progress.steps.get(&id).cloned() else { continue };
                if step.branch.as_ref().is_some_and(|branch| progress.halted.contains_key(branch)) {
                    continue;
                }
                records.push(Record::Intent { step: id });
                starting.push(step);
            }
            if !records.is_empty() {
                journal.append(&records)?;
                records.clear();
            }
            for step in starting {
                progress.running.insert(step.id, self.clock.passed_ms());
                self.watch.event(Event::Started(step.clone()));
                running.push(async move {
                    let end = self.perform(body, supplies, &step, halt).await;
                    (step, end)
                });
            }
            let next = tokio::select! {
                biased;
                next = running.next() => next,
                ask = &mut asked => {
                    halt.ask(&ask);
                    asked.set(asked::next(self, body, Some(ask)));
                    continue;
                }
            };
            let Some((step, end)) = next else { break };
            let end = note_fence(&step, end, notes).await;
            self.take(step, end, &mut progress, &mut report, &mut records).await;
            // What ended at the same moment shares the next durable write.
            while let std::task::Poll::Ready(Some((step, end))) =
                futures_util::poll!(running.next())
            {
                let end = note_fence(&step, end, notes).await;
                self.take(step, end, &mut progress, &mut report, &mut records).await;
            }
            halt.tell(progress.halted.keys());
        }
        if !records.is_empty() {
            journal.append(&records)?;
        }
        report.stopped = self.stop.load(Ordering::Relaxed) && progress.is_unfinished(&report);
        progress.note_unfinished(&mut report);
        Ok(report)
    }

    async fn take(
        &self,
        step: Step,
        end: End,
        progress: &mut Progress,
        report: &mut Report,
        records: &mut Vec<Record>,
    ) {
        let began = progress.running.remove(&step.id).unwrap_or_default();
        let took_ms = self.clock.passed_ms().saturating_sub(began);
        if let (End::Unknown { .. }, Work::Act(Action::EnsurePod { pod })) = (&end, &step.work) {
            // Unknown is not empty.
            report.created.insert(pod.id.clone(), step.clone());
        }
        if let (
            End::Unknown { .. } | End::Failed { .. },
            Work::Act(Action::RemovePod { pod, .. }),
        ) = (&end, &step.work)
        {
            report.leaving.insert(pod.clone());
        }
        match end {
            End::Done { note } => {
                records.push(Record::Done { step: step.id, took_ms });
                report.note(&step);
                progress.unlock(step.id);
                self.watch.event(Event::Done { step, took_ms, note });
            }
            End::GateFailed { why } => {
                records.push(Record::Failed { step: step.id, why: why.clone() });
                let pod = step.work.pod();
                let log = match &pod {
                    Some(pod) => self.log_of(&step.node, pod, progress).await,
                    None => Vec::new(),
                };
                if let (Some(pod), Some(branch)) = (pod, &step.branch) {
                    let words = format!("{pod} on {}: {why}", step.node);
                    let refused = Refused { why: words, who: None };
                    progress
                        .halted
                        .entry(branch.clone())
                        .or_insert_with(|| Some((step.wave.unwrap_or(0), refused)));
                    let node = step.node.clone();
                    self.watch.event(Event::GateFailed { pod, node, why, log });
                }
            }
            End::Asked(refused) => {
                records.push(Record::Failed { step: step.id, why: refused.words() });
                if let Some(branch) = &step.branch
                    && !progress.halted.contains_key(branch)
                {
                    let workload = branch.clone();
                    self.watch.event(Event::Asked { workload, why: refused.words() });
                    let wave = step.wave.unwrap_or(0);
                    progress.halted.insert(branch.clone(), Some((wave, refused)));
                }
            }
            End::GivenUp => {
                let why = "nobody waits for it any more".to_owned();
                records.push(Record::Failed { step: step.id, why });
                self.watch.event(Event::GivenUp(step));
            }
            End::Overtaken { why } => {
                records.push(Record::Failed { step: step.id, why: why.clone() });
                report.overtaken.get_or_insert_with(|| why.clone());
                self.watch.event(Event::Failed { step, why });
            }
            End::Failed { why } | End::Unknown { why } => {
                records.push(Record::Failed { step: step.id, why: why.clone() });
                report.problems.push(format!("{}: {why}", step.work.title(&step.node)));
                if let Some(branch) = &step.branch {
                    progress.halted.entry(branch.clone()).or_insert(None);
                }
                self.watch.event(Event::Failed { step, why });
            }
        }
    }

    /// A branch's gate failed, or somebody asked for it, and nothing of it runs any more: pin, then undo.
    #[expect(clippy::too_many_arguments, reason = "the loop's state, handed on once")]
    async fn go_back<G: Notes>(
        &self,
        body: &PlanBody,
        branch: &WorkloadName,
        wave: u32,
        refused: Refused,
        progress: &mut Progress,
        report: &mut Report,
        records: &mut Vec<Record>,
        notes: &mut G,
    ) {
        let why = refused.words();
        // What ran before does not run any more either: going back once more would be for ever.
        if report.reverted.contains_key(branch) {
            let advice =
                "what runs of it stays as it is; mend the text or the node, and apply again";
            report.problems.push(format!("{branch} could not go back whole: {why}; {advice}"));
            return;
        }
        let undoes = body.branches.get(branch).is_some_and(|b| b.undo);
        if !undoes {
            report.problems.push(why);
            return;
        }
        let Refused { why: reason, who } = &refused;
        if let Err(problem) = notes.pin(branch, reason, who.as_deref()).await {
            report.problems.push(format!("{branch} could not be pinned: {problem}"));
            return;
        }
        let steps = undo_steps(body, branch, wave, progress.next);
        progress.next = steps.last().map_or(progress.next, |last| StepId(last.id.0 + 1));
        records.push(Record::Undo { workload: branch.to_string(), wave });
        self.watch.event(Event::Undo { workload: branch.clone(), steps: steps.len() });
        let of_before = body.branches.get(branch).map_or(0, Branch::remain);
        if of_before > 0 {
            report.problems.push(format!(
                "{branch} was taken back: {why}; {of_before} of its new replicas are of an apply before this one, and go back with the next"
            ));
        }
        for other in progress.waiting_for(branch) {
            let words = format!("has not begun: it is after {branch}, which was taken back");
            report.not_begun.entry(other).or_insert(words);
        }
        report.reverted.insert(branch.clone(), why);
        progress.drop_branch(branch);
        progress.add(&steps);
    }

    async fn log_of(&self, node: &NodeName, pod: &PodId, progress: &Progress) -> Vec<u8> {
        let tenant = progress.steps.values().find_map(|step| match &step.work {
            Work::Act(Action::EnsurePod { pod: spec }) => Some(spec.tenant.clone()),
            Work::Act(_)
            | Work::AwaitReady { .. }
            | Work::AwaitDrained { .. }
            | Work::Ask(_)
            | Work::Fence { .. } => None,
        });
        match tenant {
            Some(tenant) => self.host.logs(node, &tenant, pod, LOG_LIMIT).await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    async fn perform(
        &self,
        body: &PlanBody,
        supplies: &Supplies<'_>,
        step: &Step,
        halt: &Halt,
    ) -> End {
        if let Some(refused) = halt.refused(step) {
            return End::Asked(refused);
        }
        match &step.work {
            Work::Act(action @ Action::EnsurePod { pod }) if pod.ends => {
                let retries = ended::retries_of(body, &pod.id);
                ended::start(self, (body, supplies), step, (action, retries), halt).await
            }
            Work::Act(action) => self.act(body, supplies, step, action).await,
            Work::AwaitReady { pod, ip4, probe, deadline_ms } => {
                let deadline = Duration::from_millis(*deadline_ms);
                match probe {
                    Some(probe) => {
                        let target =
                            ProbeTarget { address: IpAddr::V4(*ip4), probe: probe.clone() };
                        self.await_probe(step, (pod, &target, probe), deadline, halt).await
                    }
                    None => self.await_running(body, step, pod, deadline, halt).await,
                }
            }
            Work::Ask(gate) => gates::ask(self, (body, supplies), step, gate, halt).await,
            Work::Fence { command, since_ms: _ } => self.fence(body, step, command).await,
            Work::AwaitDrained { pod, deadline_ms } => {
                self.await_drained(body, step, pod, Duration::from_millis(*deadline_ms)).await
            }
        }
    }

    /// Switches a node off, if the apply is still the fleet's and nothing answers there still.
    async fn fence(&self, body: &PlanBody, step: &Step, command: &[String]) -> End {
        match self.tenure.regain(&body.keeper).await {
            Ok(()) => {}
            Err(TenureError::Overtaken(why)) => return End::Overtaken { why },
            Err(error) => return End::Failed { why: error.to_string() },
        }
        match self.host.observe(&step.node, &body.tenant).await {
            Err(error) if error.is_silence() => {}
            Err(error) => return End::Failed { why: format!("it is not switched off: {error}") },
            Ok(_) => return End::Failed { why: "it answers, and is not switched off".to_owned() },
        }
        match self.host.fence(&step.node, command, FENCE_DEADLINE).await {
            Ok(()) => End::Done { note: None },
            Err(why) => End::Failed { why },
        }
    }

    /// Performs a write. A lost answer, or a lost session, means: lock again if that may be, then
    /// read again.
    async fn act(
        &self,
        body: &PlanBody,
        supplies: &Supplies<'_>,
        step: &Step,
        action: &Action,
    ) -> End {
        let deadline = deadline_of(action);
        let perform = async || {
            while self.tenure.is_looking(&step.node) {
                self.clock.sleep(READ_BACK_PAUSE).await;
            }
            let write = self.host.perform(&step.node, action, supplies, deadline);
            self.tenure.write(&step.node, write).await
        };
        let mut result = perform().await;
        let mut sent = false;
        for _ in 0..MAX_READ_BACKS {
            sent |= matches!(result, Err(HostError::Lost { .. }));
            match &result {
                Err(
                    HostError::Lost { .. } | HostError::Refused { refusal: Refusal::NotLocked, .. },
                ) => {}
                Ok(()) | Err(_) => break,
            }
            self.clock.sleep(READ_BACK_PAUSE).await;
            match self.tenure.regain(&step.node).await {
                Ok(()) => {}
                Err(TenureError::Overtaken(why)) => return End::Overtaken { why },
                Err(TenureError::Host(error)) => {
                    result = Err(error);
                    continue;
                }
                Err(TenureError::Ledger(fault)) if sent => {
                    return End::Unknown { why: fault.to_string() };
                }
                Err(TenureError::Ledger(fault)) => return End::Failed { why: fault.to_string() },
            }
            match self.host.observe(&step.node, &body.tenant).await {
                Ok(seen) if is_satisfied(action, &seen) => result = Ok(()),
                Ok(_) => {
                    sent = false;
                    result = perform().await;
                }
                Err(error) => result = Err(error),
            }
        }
        match result {
            Ok(()) => End::Done { note: None },
            // A pod that the node could not start is a bad release, like one that is never ready.
            Err(HostError::Refused { refusal: Refusal::Failed { what, why }, .. })
                if matches!(action, Action::EnsurePod { .. }) =>
            {
                End::GateFailed { why: format!("{what} failed: {why}") }
            }
            Err(error) if sent || matches!(error, HostError::Lost { .. }) => {
                End::Unknown { why: error.to_string() }
            }
            Err(error) => End::Failed { why: error.to_string() },
        }
    }
}

impl Progress {
    fn add(&mut self, steps: &[Step]) {
        for step in steps {
            let runs = step.after.runs();
            for run in runs {
                let (_, followers) = self.runs.entry(*run).or_insert_with(|| {
                    for id in run.first.0..=run.last.0 {
                        self.in_runs.entry(StepId(id)).or_default().push(*run);
                    }
                    (run.count(), Vec::new())
                });
                followers.push(step.id);
            }
            if runs.is_empty() {
                self.ready.insert(step.id);
            } else {
                self.waiting.insert(step.id, runs.len());
            }
            self.steps.insert(step.id, step.clone());
        }
    }

    fn unlock(&mut self, done: StepId) {
        for run in self.in_runs.remove(&done).unwrap_or_default() {
            let Some((left, _)) = self.runs.get_mut(&run) else { continue };
            *left -= 1;
            if *left > 0 {
                continue;
            }
            let (_, followers) = self.runs.remove(&run).unwrap_or_default();
            for follower in followers {
                let Some(waits) = self.waiting.get_mut(&follower) else { continue };
                *waits -= 1;
                if *waits == 0 {
                    self.waiting.remove(&follower);
                    self.ready.insert(follower);
                }
            }
        }
    }

    /// Counts the steps that run and do something. Who only watches for a while keeps nobody waiting.
    fn at_work(&self) -> usize {
        let works = |id: &&StepId| self.steps.get(id).is_none_or(|s| !s.work.only_watches());
        self.running.keys().filter(works).count()
    }

    /// Branches whose gate failed and of which no step runs any more.
    fn quiet_failures(&mut self) -> Vec<(WorkloadName, u32, Refused)> {
        let running: BTreeSet<WorkloadName> = self
            .running
            .keys()
            .filter_map(|id| self.steps.get(id).and_then(|step| step.branch.clone()))
            .collect();
        let mut quiet = Vec::new();
        for (branch, failure) in &mut self.halted {
            if !running.contains(branch)
                && let Some((wave, refused)) = failure.take()
            {
                quiet.push((branch.clone(), wave, refused));
            }
        }
        quiet
    }

    /// Other branches that wait for steps of one, and those that wait for theirs.
    fn waiting_for(&self, branch: &WorkloadName) -> BTreeSet<WorkloadName> {
        let mut found = BTreeSet::from([branch.clone()]);
        // Steps wait for earlier ones only.
        for step in self.steps.values() {
            let Some(own) = step.branch.as_ref().filter(|own| !found.contains(*own)) else {
                continue;
            };
            let of_those = |id: u32| {
                let step = self.steps.get(&StepId(id)).and_then(|step| step.branch.as_ref());
                step.is_some_and(|other| found.contains(other))
            };
            if step.after.runs().iter().any(|run| (run.first.0..=run.last.0).any(of_those)) {
                found.insert(own.clone());
            }
        }
        found.remove(branch);
        found
    }

    /// Forgets a branch's forward steps, so that its undo can run.
    fn drop_branch(&mut self, branch: &WorkloadName) {
        let ids: Vec<StepId> = self
            .steps
            .values()
            .filter(|step| step.branch.as_ref() == Some(branch))
            .map(|step| step.id)
            .collect();
        for id in ids {
            self.waiting.remove(&id);
            self.ready.remove(&id);
            self.steps.remove(&id);
        }
        self.halted.remove(branch);
    }

    fn is_unfinished(&self, report: &Report) -> bool {
        self.steps.keys().any(|id| !report.done.contains(id))
    }

    fn note_unfinished(&self, report: &mut Report) {
        for step in self.steps.values().filter(|step| !report.done.contains(&step.id)) {
            if let Some(branch) = &step.branch {
                report.unfinished.insert(branch.clone());
            }
        }
    }
}

impl Report {
    fn note(&mut self, step: &Step) {
        self.done.insert(step.id);
        match &step.work {
            Work::Act(Action::EnsurePod { pod }) => {
                self.created.insert(pod.id.clone(), step.clone());
            }
            Work::Act(Action::RemovePod { pod, .. }) => {
                self.created.remove(pod);
                self.ready.remove(pod);
                self.removed.insert(pod.clone());
            }
            Work::AwaitReady { pod, .. } | Work::Ask(Gate::Ended { pod, .. }) => {
                self.ready.insert(pod.clone());
            }
            Work::Act(_) | Work::AwaitDrained { .. } | Work::Ask(_) | Work::Fence { .. } => {}
        }
    }
}

/// A node counts as switched off once the ledger says it: whoever goes on from here knows it then.
async fn note_fence<G: Notes>(step: &Step, end: End, notes: &mut G) -> End {
    let (Work::Fence { command, since_ms }, End::Done { note }) = (&step.work, &end) else {
        return end;
    };
    let why = format!("`{}`, silent since {}", command.join(" "), utc(*since_ms));
    match notes.fenced(&step.node, &why).await {
        Ok(()) => End::Done { note: note.clone() },
        Err(problem) => End::Failed { why: format!("it is off, and that is not noted: {problem}") },
    }
}

fn deadline_of(action: &Action) -> Duration {
    match action {
        Action::EnsureImage { .. } => IMAGE_DEADLINE,
        Action::RemoveVolume { .. } => VOLUME_DEADLINE,
        Action::RemovePod { grace_ms, .. } => WRITE_DEADLINE + Duration::from_millis(*grace_ms),
        Action::EnsurePod { pod } => {
            let before = pod.companions.iter().map(Companion::takes_ms).sum();
            WRITE_DEADLINE + Duration::from_millis(before)
        }
        Action::EnsureNetwork { .. }
        | Action::InstallReflex { .. }
        | Action::EnsureTenant { .. }
        | Action::EnsureVolume { .. }
        | Action::SwapEndpoint { .. }
        | Action::RemoveEndpoint { .. }
        | Action::RenamePod { .. }
        | Action::RenameEndpoint { .. }
        | Action::RemoveImage { .. }
        | Action::RemoveTenant { .. }
        | Action::RemoveReflex { .. }
        | Action::RemoveNetwork => WRITE_DEADLINE,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
