//! Bugs to plant in an engine, each at one of its seams: what it is told of the nodes and of the ledger, the plan between
//! the checker and the executor, and the calls that reach a node. The code that is shipped knows nothing of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_engine::plan::action::{Action, Backend, Endpoint, PodSpec};
use berth_engine::plan::after::After;
use berth_engine::plan::body::{Gate, PlanBody, Step, Work};
use berth_engine::plan::content::Contents;
use berth_engine::plan::ledger::Mark;
use berth_engine::plan::names::{NodeName, PodId, Tenant};
use berth_engine::plan::observation::{NodeObservation, NodeView, PodStatus};
use berth_engine::plan::overrides::{Override, Standing};
use berth_engine::plan::secret::Opened;
use berth_engine::run::host::{Ask, Host, HostError, LockClaim, ProbeTarget, Ran, Supplies};
use berth_engine::run::observe::Survey;
use berth_engine::run::twin::Twin;

macro_rules! bugs {
    ($($(#[doc = $words:literal])+ $name:ident,)*) => {
        /// A bug to plant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[doc = $words])+ $name,)* }

        impl Bug {
            /// Every one.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, concat!($($words),+)),)*];
        }
    };
}

bugs! {
    /// A probe that said yes is believed for good.
    ReadinessIsCached,
    /// Every probe says yes.
    ProbesSayYes,
    /// A probe that could not be asked said yes.
    LostProbesSayYes,
    /// Once a pod was ready, no probe of it gets an answer any more, though its node does answer.
    ProbesAreLostLater,
    /// What a program in a pod exits with is not looked at.
    ExitCodesAreIgnored,
    /// A node that does not answer is empty.
    UnknownIsEmpty,
    /// A node's answer lacks its last pod.
    OnePodIsOverlooked,
    /// Whatever does not run is taken to run.
    StoppedIsRunning,
    /// A refused connection counts as done.
    RefusedIsDone,
    /// A table gets all backends but the last.
    TablesAreCutShort,
    /// A table is said to be written, and is not.
    TablesAreForgotten,
    /// A table is written without weights.
    WeightsAreDropped,
    /// A pod is said to be stopped, and is not.
    StopsAreForgotten,
    /// A reflex is said to be installed, and is not.
    ReflexesAreForgotten,
    /// A network is said to be made, and is not.
    NetworksAreForgotten,
    /// No lock is given back.
    LocksAreKept,
    /// A lock is given back as soon as it is taken.
    LocksAreDropped,
    /// What is appended to the ledger is durable only when the next line is: an fsync is skipped.
    FsyncIsSkipped,
    /// Reading the ledger leaves its last line out.
    LedgerIsCutShort,
    /// Pins never reach the ledger.
    PinsAreNotWritten,
    /// What is about to be done never reaches the ledger.
    IntentsAreNotWritten,
    /// Outcomes never reach the ledger.
    OutcomesAreNotWritten,
    /// The ledger's generations are not looked at.
    GenerationsAreForgotten,
    /// The ledger's pins are not looked at.
    PinsAreForgotten,
    /// What was in the files of earlier releases is not looked at.
    FilesAreForgotten,
    /// Nobody opens secrets.
    SecretsStayClosed,
    /// Where the ledger last knew pods to be is not looked at.
    PlacesAreForgotten,
    /// Overrides are not looked at.
    OverridesAreForgotten,
    /// Restarts that were asked for are not looked at.
    RestartsAreForgotten,
    /// Every pod passes for one that has stood.
    EverybodyStood,
    /// Gates look only at whether a pod runs.
    GatesDoNotProbe,
    /// Tables do not wait for gates.
    TablesDoNotWait,
    /// Pods are stopped without waiting for anything.
    StopsDoNotWait,
    /// Nobody is waited for to serve what it had: a drain is forgotten.
    DrainsAreForgotten,
    /// What is to be watched is not.
    WatchesAreSkipped,
    /// Commands in pods are not asked.
    CommandsAreSkipped,
    /// A failed gate undoes nothing.
    UndoIsForgotten,
    /// What an undo brings back is the release that failed.
    UndoBringsTheSame,
    /// A new pod has the generation of the one before.
    GenerationsAreReused,
    /// Two new pods have the same address.
    AddressesAreShared,
    /// A new pod is made on another node as well.
    PodsAreDoubled,
    /// Who leaves stays.
    NobodyLeaves,
    /// Nobody waits for a gate.
    GatesAreSkipped,
    /// A release never counts as reached.
    ReachedNever,
    /// A new release gets twice its weight.
    WeightsAreDoubled,
    /// Volumes that are to be retained go.
    RetainedVolumesGo,
    /// Copies of the ledger are said to be written, and are not.
    CopiesAreNotWritten,
    /// What nodes know of the ledger's keeper is not looked at, and their fences are forced.
    FencesAreForced,
    /// Who does not answer is taken to be switched off, as if a person had said so.
    SilenceIsAFence,
    /// A node is said to be switched off, and is not.
    FencesAreSkipped,
    /// What runs in place of what was on a node does not wait until that is switched off.
    FencesAreNotAwaited,
    /// What has another name now is said to be told so, and is not.
    RenamesAreForgotten,
    /// That jobs are done is not looked at in the ledger.
    DoneJobsAreForgotten,
    /// A job that has ended well is taken for one that has not.
    EndsAreOverlooked,
    /// What is after a job does not wait until that has ended.
    JobsAreNotAwaited,
    /// A job that was started is started again if the answer was lost, whatever came of it.
    JobsAreStartedBlindly,
    /// A job that has failed passes for done.
    FailedJobsAreDone,
    /// A cron that runs passes for one that does not.
    RunsAreOverlooked,
}

/// An engine's view of a world, with a bug in it or without.
#[derive(Debug)]
pub struct Engine {
    twin: Twin,
    bug: Option<Bug>,
    kept: Mutex<Kept>,
}

/// What a bug keeps.
#[derive(Debug, Default)]
struct Kept {
    said_yes: BTreeMap<String, ()>,
    /// By node: a line that is not durable yet, with the hash of the one before.
    unwritten: BTreeMap<NodeName, (String, Vec<u8>)>,
    /// Whether the next read of the ledger lacks its last line.
    late: bool,
    /// Who should keep the ledger, as the text says.
    named: Option<NodeName>,
    /// Who keeps the ledger, as the last claim says.
    keeper: Option<NodeName>,
}

impl Engine {
    /// An engine on a world.
    pub fn new(twin: Twin, bug: Option<Bug>) -> Self {
        Self { twin, bug, kept: Mutex::default() }
    }

    /// The world as it is.
    pub fn twin(&self) -> &Twin {
        &self.twin
    }

    /// The next read of the ledger comes before its last line was written, and all else after that.
    pub fn reads_late_once(&self) {
        self.kept().late = true;
    }

    /// Resolves when a fault has killed it.
    pub async fn killed(&self) {
        self.twin.killed().await;
    }

    /// Says who should keep the ledger, as the text has it.
    pub fn follow(&self, keeper: &NodeName) {
        self.kept().named = Some(keeper.clone());
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn is_unwritten_copy(&self, node: &NodeName) -> bool {
        let keeper = || self.kept().keeper.clone();
        self.has(Bug::CopiesAreNotWritten) && keeper().is_some_and(|keeper| keeper != *node)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it makes of what it was told.
    pub fn distort_seen(&self, seen: &mut Survey) {
        let head = &mut seen.ledger.head;
        match self.bug {
            Some(Bug::GenerationsAreForgotten) => head.generations.clear(),
            Some(Bug::PinsAreForgotten) => head.pins.clear(),
            Some(Bug::FilesAreForgotten) => head.contents = Contents::default(),
            Some(Bug::PlacesAreForgotten) => {
                head.placed.clear();
                head.in_flight = None;
            }
            Some(Bug::OverridesAreForgotten) => head.overrides.clear(),
            Some(Bug::DoneJobsAreForgotten) => {
                head.reached.retain(|_, reached| reached.once.is_none());
            }
            Some(Bug::RestartsAreForgotten) => head.restarts.clear(),
            Some(Bug::SilenceIsAFence) => {
                let nodes = &seen.observation.nodes;
                let silent =
                    nodes.iter().filter(|(_, view)| matches!(view, NodeView::Unknown { .. }));
                head.overrides.extend(silent.map(|(node, _)| Standing {
                    what: Override::Fenced { node: node.clone(), by_plan: false },
                    who: "nobody".to_owned(),
                    why: "it is silent".to_owned(),
                    since_ms: 1,
                    until_ms: None,
                }));
            }
            Some(Bug::EverybodyStood) => {
                let nodes = seen.observation.nodes.values_mut();
                for view in nodes {
                    let NodeView::Seen(node) = view else { continue };
                    head.proven.extend(node.spec.pods.keys().cloned());
                    let pods: Vec<(PodId, Backend)> = node
                        .spec
                        .pods
                        .iter()
                        .map(|(id, pod)| {
                            (id.clone(), Backend { pod: id.clone(), ip4: pod.ip4, ip6: pod.ip6 })
                        })
                        .collect();
                    for endpoint in node.spec.endpoints.values_mut() {
                        let slug = endpoint.workload.slug();
                        let own = pods.iter().filter(|(id, _)| id.workload == slug);
                        endpoint.backends.extend(own.map(|(_, backend)| backend.clone()));
                    }
                }
            }
            Some(_) | None => {}
        }
    }

    /// What it makes of a plan that the checker has passed.
    pub fn distort_plan(&self, body: &mut PlanBody) {
        let Some(bug) = self.bug else { return };
        match bug {
            Bug::UndoIsForgotten => body.branches.values_mut().for_each(|b| b.undo = false),
            Bug::UndoBringsTheSame => {
                let moves = body.branches.values_mut().flat_map(|branch| &mut branch.waves);
                for one in moves.flat_map(|wave| &mut wave.moves) {
                    if let (Some((_, pod)), Some((_, into))) = (&mut one.restore, &one.into) {
                        Arc::make_mut(pod).image = into.image.clone();
                    }
                }
            }
            Bug::FencesAreNotAwaited => {
                unwait(body, |work| matches!(work, Work::Fence { .. }));
            }
            Bug::JobsAreNotAwaited => {
                unwait(body, |work| matches!(work, Work::Ask(Gate::Ended { .. })));
            }
            Bug::GatesAreSkipped => {
                unwait(body, |work| matches!(work, Work::AwaitReady { .. } | Work::Ask(_)));
            }
            Bug::ReachedNever => body.reaches.clear(),
            Bug::GatesDoNotProbe => {
                for step in &mut body.steps {
                    if let Work::AwaitReady { probe, .. } = &mut step.work {
                        *probe = None;
                    }
                }
            }
            Bug::TablesDoNotWait => {
                free(body, |work| matches!(work, Work::Act(Action::SwapEndpoint { .. })));
            }
            Bug::StopsDoNotWait => {
                free(body, |work| matches!(work, Work::Act(Action::RemovePod { .. })));
            }
            Bug::DrainsAreForgotten => {
                unwait(body, |work| matches!(work, Work::AwaitDrained { .. }));
            }
            Bug::WatchesAreSkipped => {
                for step in &mut body.steps {
                    if let Work::Ask(Gate::Steady { for_ms, .. } | Gate::Metric { for_ms, .. }) =
                        &mut step.work
                    {
                        *for_ms = 0;
                    }
                }
            }
            Bug::CommandsAreSkipped => {
                for step in &mut body.steps {
                    if let Work::Ask(Gate::Command { run, .. }) = &mut step.work {
                        *run = vec!["true".to_owned()];
                    }
                }
            }
            Bug::GenerationsAreReused => pods(body, |pod, _| {
                pod.id.generation = pod.id.generation.saturating_sub(1).max(1);
            }),
            Bug::AddressesAreShared => pods(body, |pod, first| pod.ip4 = first.ip4),
            Bug::NobodyLeaves => {
                body.steps.retain(|step| !matches!(step.work, Work::Act(Action::RemovePod { .. })));
            }
            Bug::PodsAreDoubled => {
                let nodes: Vec<NodeName> = body.preconditions.keys().cloned().collect();
                let makes = |step: &&Step| matches!(step.work, Work::Act(Action::EnsurePod { .. }));
                if let Some(step) = body.steps.iter().find(makes).cloned()
                    && let Some(node) = nodes.into_iter().find(|node| *node != step.node)
                {
                    let id = body.next_step();
                    body.steps.push(Step { id, node, ..step });
                }
            }
            Bug::WeightsAreDoubled => {
                for step in &mut body.steps {
                    if let Work::Act(Action::SwapEndpoint { endpoint, .. }) = &mut step.work
                        && let Some(split) = &mut Arc::make_mut(endpoint).split
                    {
                        split.share = (split.share * 2).min(9_999);
                    }
                }
            }
            Bug::RetainedVolumesGo => {
                let volumes: Vec<_> =
                    body.volumes.iter().map(|(v, at)| (v.clone(), at.clone())).collect();
                for (volume, at) in volumes {
                    let (id, work) = (
                        body.next_step(),
                        body.steps.iter().find_map(|step| match &step.work {
                            Work::Act(Action::RemoveVolume { tenant, volume: _, .. }) => {
                                Some(Work::Act(Action::RemoveVolume {
                                    tenant: tenant.clone(),
                                    volume: volume.clone(),
                                }))
                            }
                            _ => None,
                        }),
                    );
                    let Some(work) = work else { continue };
                    let (node, after) = (at.node.clone(), After::default());
                    body.steps.push(Step { id, node, branch: None, wave: None, work, after });
                }
            }
            _ => {}
        }
    }

    /// What reaches a node of a write; `None` if nothing does.
    fn distorted(&self, action: &Action) -> Option<Action> {
        let mut action = action.clone();
        match (self.bug, &mut action) {
            (Some(Bug::TablesAreForgotten), Action::SwapEndpoint { .. })
            | (Some(Bug::StopsAreForgotten), Action::RemovePod { .. })
            | (Some(Bug::ReflexesAreForgotten), Action::InstallReflex { .. })
            | (Some(Bug::NetworksAreForgotten), Action::EnsureNetwork { .. })
            | (
                Some(Bug::RenamesAreForgotten),
                Action::RenamePod { .. } | Action::RenameEndpoint { .. },
            ) => return None,
            (Some(Bug::TablesAreCutShort), Action::SwapEndpoint { endpoint, .. }) => {
                table(endpoint).backends.pop();
            }
            (Some(Bug::WeightsAreDropped), Action::SwapEndpoint { endpoint, .. }) => {
                table(endpoint).split = None;
            }
            _ => {}
        }
        Some(action)
    }
}

fn table(endpoint: &mut Arc<Endpoint>) -> &mut Endpoint {
    Arc::make_mut(endpoint)
}

/// Steps of a kind wait for nothing.
fn free(body: &mut PlanBody, which: impl Fn(&Work) -> bool) {
    for step in body.steps.iter_mut().filter(|step| which(&step.work)) {
        step.after = After::default();
    }
}

/// Nobody waits for steps of a kind: only for what they wait for themselves.
pub fn unwait(body: &mut PlanBody, which: impl Fn(&Work) -> bool) {
    let gone: Vec<_> = body
        .steps
        .iter()
        .filter(|step| which(&step.work))
        .map(|step| (step.id, step.after.clone()))
        .collect();
    for step in &mut body.steps {
        let mut after = step.after.clone();
        for (id, instead) in gone.iter().rev() {
            if after.iter().any(|other| other == *id) {
                let rest = After::of(after.iter().filter(|other| other != id).collect::<Vec<_>>());
                after = rest.and(instead);
            }
        }
        step.after = after;
    }
}

/// Changes every new pod, given the first of them as it was.
fn pods(body: &mut PlanBody, change: impl Fn(&mut PodSpec, &PodSpec)) {
    let mut first: Option<PodSpec> = None;
    for step in &mut body.steps {
        if let Work::Act(Action::EnsurePod { pod }) = &mut step.work {
            let first = first.get_or_insert_with(|| PodSpec::clone(pod));
            change(Arc::make_mut(pod), first);
        }
    }
}

impl Host for Engine {
    async fn observe(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<NodeObservation, HostError> {
        let mut seen = match self.twin.observe(node, tenant).await {
            Err(HostError::Unreachable { .. }) if self.has(Bug::UnknownIsEmpty) => {
                let there = self.twin.world().observe(node, tenant);
                let mut seen = there.expect("a node of the world");
                seen.spec.pods.clear();
                seen.spec.endpoints.clear();
                seen.status.pods.clear();
                seen
            }
            other => other?,
        };
        if self.has(Bug::FencesAreForced) {
            let named = self.kept().named.clone();
            let as_said = |mark: Mark| Some(Mark { epoch: 0, lines: 0, keeper: named?, ..mark });
            seen.ledger = seen.ledger.and_then(as_said);
        }
        if self.has(Bug::OnePodIsOverlooked)
            && let Some((last, _)) = seen.spec.pods.pop_last()
        {
            seen.status.pods.remove(&last);
        }
        for (id, _) in seen.spec.pods.iter().filter(|(_, pod)| pod.ends) {
            let Some(PodStatus::Stopped { exit_code, .. }) = seen.status.pods.get_mut(id) else {
                continue;
            };
            match self.bug {
                Some(Bug::EndsAreOverlooked) if *exit_code == 0 => *exit_code = 1,
                Some(Bug::FailedJobsAreDone) => *exit_code = 0,
                _ => {}
            }
        }
        if self.has(Bug::RunsAreOverlooked) {
            for (id, _) in seen.spec.pods.iter().filter(|(_, pod)| pod.cron) {
                let waiting = PodStatus::Waiting { next_at_ms: 0, last: None };
                seen.status.pods.insert(id.clone(), waiting);
            }
        }
        if self.has(Bug::StoppedIsRunning) {
            let running = PodStatus::Running { restarts: 0, started_at_ms: 0 };
            seen.status.pods.values_mut().for_each(|status| *status = running.clone());
        }
        Ok(seen)
    }

    async fn lock(&self, node: &NodeName, claim: &LockClaim) -> Result<(), HostError> {
        self.kept().keeper = Some(claim.keeper.clone());
        let mut locked = self.twin.lock(node, claim).await;
        if let (true, Err(HostError::Fenced { theirs, .. })) =
            (self.has(Bug::FencesAreForced), &locked)
        {
            let claim = LockClaim { epoch: theirs + 1, ..claim.clone() };
            locked = self.twin.lock(node, &claim).await;
        }
        if self.has(Bug::LocksAreDropped) {
            self.twin.unlock(node).await;
        }
        locked
    }

    async fn unlock(&self, node: &NodeName) {
        if !self.has(Bug::LocksAreKept) {
            self.twin.unlock(node).await;
        }
    }

    async fn perform(
        &self,
        node: &NodeName,
        action: &Action,
        supplies: &Supplies<'_>,
        deadline: Duration,
    ) -> Result<(), HostError> {
        let Some(action) = self.distorted(action) else { return Ok(()) };
        let closed = Opened::default();
        let secrets = if self.has(Bug::SecretsStayClosed) { &closed } else { supplies.secrets };
        let supplies = &Supplies { secrets, ..*supplies };
        match self.twin.perform(node, &action, supplies, deadline).await {
            Err(HostError::Unreachable { .. }) if self.has(Bug::RefusedIsDone) => Ok(()),
            Err(HostError::Lost { .. })
                if self.has(Bug::JobsAreStartedBlindly)
                    && matches!(&action, Action::EnsurePod { pod } if pod.ends) =>
            {
                tokio::time::sleep(Duration::from_secs(10)).await;
                self.twin.perform(node, &action, supplies, deadline).await
            }
            other => other,
        }
    }

    async fn probe(
        &self,
        node: &NodeName,
        target: &ProbeTarget,
    ) -> Result<Result<(), String>, HostError> {
        let key = target.address.to_string();
        if self.has(Bug::ProbesSayYes)
            || self.has(Bug::ReadinessIsCached) && self.kept().said_yes.contains_key(&key)
        {
            return Ok(Ok(()));
        }
        if self.has(Bug::ProbesAreLostLater) && self.kept().said_yes.contains_key(&key) {
            let (node, what) = (node.clone(), "probe".to_owned());
            return Err(HostError::Lost { node, what });
        }
        match self.twin.probe(node, target).await {
            Err(_) if self.has(Bug::LostProbesSayYes) => Ok(Ok(())),
            Ok(Ok(())) => {
                self.kept().said_yes.insert(key, ());
                Ok(Ok(()))
            }
            other => other,
        }
    }

    async fn run(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        argv: &[String],
        deadline: Duration,
    ) -> Result<Ran, HostError> {
        let ran = self.twin.run(node, tenant, pod, argv, deadline).await?;
        let blind = self.has(Bug::ExitCodesAreIgnored) || argv == ["true"];
        Ok(if blind { Ran { why: None, ..ran } } else { ran })
    }

    async fn fence(
        &self,
        node: &NodeName,
        command: &[String],
        deadline: Duration,
    ) -> Result<(), String> {
        if self.bug == Some(Bug::FencesAreSkipped) {
            return Ok(());
        }
        self.twin.fence(node, command, deadline).await
    }

    async fn fetch(
        &self,
        node: &NodeName,
        url: &str,
        deadline: Duration,
    ) -> Result<Result<Vec<u8>, String>, HostError> {
        self.twin.fetch(node, url, deadline).await
    }

    async fn connections(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
    ) -> Result<u32, HostError> {
        self.twin.connections(node, tenant, pod).await
    }

    async fn logs(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        limit: usize,
    ) -> Result<Vec<u8>, HostError> {
        self.twin.logs(node, tenant, pod, limit).await
    }

    async fn ledger_mark(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<Option<Mark>, HostError> {
        let mark = self.twin.ledger_mark(node, tenant).await?;
        Ok(mark.filter(|_| !self.has(Bug::FencesAreForced)))
    }

    async fn ledger_read(&self, keeper: &NodeName, tenant: &Tenant) -> Result<Vec<u8>, HostError> {
        let mut bytes = self.twin.ledger_read(keeper, tenant).await?;
        let late = std::mem::take(&mut self.kept().late);
        if (late || self.has(Bug::LedgerIsCutShort)) && bytes.pop().is_some() {
            while bytes.last().is_some_and(|byte| *byte != b'\n') {
                bytes.pop();
            }
        }
        if let Some((_, unwritten)) = self.kept().unwritten.get(keeper) {
            bytes.extend_from_slice(unwritten);
        }
        Ok(bytes)
    }

    async fn ledger_append(
        &self,
        keeper: &NodeName,
        tenant: &Tenant,
        at: u64,
        prev: &str,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        if self.is_unwritten_copy(keeper) {
            return Ok(());
        }
        let kind =
            |kind: &str| String::from_utf8_lossy(bytes).contains(&format!("\"kind\":\"{kind}\""));
        if self.has(Bug::PinsAreNotWritten) && kind("pin")
            || self.has(Bug::IntentsAreNotWritten) && kind("begin")
            || self.has(Bug::OutcomesAreNotWritten) && kind("finish")
        {
            return Ok(());
        }
        if self.has(Bug::FsyncIsSkipped) {
            let line = (prev.to_owned(), bytes.to_vec());
            let before = self.kept().unwritten.insert(keeper.clone(), line);
            let Some((prev, before)) = before else { return Ok(()) };
            let at = at.saturating_sub(before.len() as u64);
            return self.twin.ledger_append(keeper, tenant, at, &prev, &before).await;
        }
        self.twin.ledger_append(keeper, tenant, at, prev, bytes).await
    }

    async fn ledger_replace(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        if self.is_unwritten_copy(node) {
            return Ok(());
        }
        self.twin.ledger_replace(node, tenant, bytes).await
    }

    async fn ask(&self, keeper: &NodeName, tenant: &Tenant, ask: &Ask) -> Result<(), HostError> {
        self.twin.ask(keeper, tenant, ask).await
    }

    async fn asked(&self, keeper: &NodeName, tenant: &Tenant) -> Result<Option<Ask>, HostError> {
        self.twin.asked(keeper, tenant).await
    }

    async fn ledger_remove(&self, keeper: &NodeName, tenant: &Tenant) -> Result<(), HostError> {
        self.twin.ledger_remove(keeper, tenant).await
    }
}
