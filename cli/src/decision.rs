//! A decision beside the text: shown with what follows from it, agreed to, recorded, carried out.
//!
//! What follows is planned on what was last applied, for the services concerned alone: what else has
//! changed in the text waits for `berth apply`. The ledger's lines are made first, so that the plan that
//! is shown is the one that follows from them; they are written only if somebody agrees.

use std::collections::BTreeSet;

use berth_engine::plan::body::{Blocked, Goal};
use berth_engine::plan::ledger::{Entry, Head, Ledger, Line};
use berth_engine::plan::names::WorkloadName;
use berth_engine::plan::observation::Observation;
use berth_engine::run::observe::{Survey, survey};
use berth_engine::run::record::{RecordError, lines, record};

use crate::commands::Ended;
use crate::commands::apply::{Made, agreed, carry_out};
use crate::commands::plan::judged;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::telling::Form;
use crate::{Global, fleet, paint};

/// Why, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reason {
    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// For how long, such as 30m, 2h or 3d; until it is lifted otherwise
    #[arg(long = "for", value_name = "TIME", value_parser = crate::commands::logs::seconds)]
    pub(crate) lasts: Option<u64>,
}

impl Reason {
    /// When it ends, in milliseconds since 1970.
    pub(crate) fn until_ms(&self, now_ms: u64) -> Option<u64> {
        self.lasts.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000)))
    }
}

/// How a decision is carried out.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Carry {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only record it: the next apply carries it out
    #[arg(long)]
    pub(crate) later: bool,
    /// Go on with the replicas that have a place when others have none
    #[arg(long)]
    pub(crate) partial: bool,
}

/// What a decision is made from.
pub(crate) struct Situation<'a> {
    pub(crate) project: &'a Project,
    pub(crate) ledger: &'a Ledger,
    pub(crate) observation: &'a Observation,
    pub(crate) now_ms: u64,
    pub(crate) who: String,
}

impl Situation<'_> {
    /// What the ledger says now.
    pub(crate) fn head(&self) -> &Head {
        &self.ledger.head
    }
}

/// What was decided.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// What the ledger is to say.
    pub(crate) entries: Vec<Entry>,
    /// In words, a line each: what it will be once it is recorded, or why there is nothing to record.
    pub(crate) words: Vec<String>,
    /// The services that it touches now.
    pub(crate) touches: BTreeSet<WorkloadName>,
    /// Whether it is about how many replicas these have: the text's number counts then.
    pub(crate) counts: bool,
}

/// Makes a decision, and carries it out; without `carry` it is recorded only, and without a question.
pub(crate) fn decide(
    global: &Global,
    carry: Option<&Carry>,
    wish: impl FnOnce(&Situation<'_>) -> Result<Decision, Box<dyn std::error::Error>>,
) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = decide_on(&host, &project, carry, wish).await;
        host.close().await;
        ended
    })?
}

async fn decide_on(
    host: &berth_agentless::SshHost,
    project: &Project,
    carry: Option<&Carry>,
    wish: impl FnOnce(&Situation<'_>) -> Result<Decision, Box<dyn std::error::Error>>,
) -> Ended {
    let seen = survey(host, &project.graph).await?;
    let (now_ms, who) = (fleet::now_ms(), fleet::who());
    let situation = Situation {
        project,
        ledger: &seen.ledger,
        observation: &seen.observation,
        now_ms,
        who: who.clone(),
    };
    let Decision { entries, words, touches, counts } = wish(&situation)?;
    let say = || words.iter().for_each(|line| say!("{line}"));
    if entries.is_empty() {
        say();
        return Ok(Exit::Done);
    }
    let lines = lines(&seen.ledger, now_ms, &who, entries);
    let mut head = seen.ledger.head.clone();
    lines.iter().for_each(|line| head.advance(line));
    let mut graph = head.as_applied(&project.graph);
    for name in touches.iter().filter(|_| counts) {
        let text = project.graph.workloads.get(name);
        if let (Some(text), Some(workload)) = (text, graph.workloads.get_mut(name)) {
            (workload.replicas, workload.scale) = (text.replicas, text.scale);
        }
    }
    let now = carry.filter(|carry| !carry.later && !touches.is_empty());
    let Some(carry) = now else {
        note(host, project, &seen, &lines).await?;
        say();
        return Ok(Exit::Done);
    };
    let after = Survey {
        ledger: Ledger { head: head.clone(), ..seen.ledger.clone() },
        observation: seen.observation.clone(),
    };
    let program = berth_engine::plan::canon::digest_of("berth-applied/1", &head.reached);
    let body = judged(after.plan(&graph, &program, Goal::Converge, &touches, now_ms))?;
    let made = Made { observation: seen.observation.clone(), head, body };
    if made.body.is_empty() && made.body.blocked.is_empty() {
        note(host, project, &seen, &lines).await?;
        say();
        return Ok(crate::commands::plan::exit_of(&made.body, false));
    }
    made.show(project);
    let homeless = |blocked: &Blocked| matches!(blocked, Blocked::NoRoom { .. });
    let goes_on = carry.partial && made.body.blocked.iter().all(homeless);
    if !made.body.blocked.is_empty() && !goes_on {
        let mend = if made.body.blocked.iter().all(homeless) {
            " To go on with what has a place, say --partial; to record it only, --later."
        } else {
            ""
        };
        say!("Nothing was done, and nothing recorded.{mend}");
        return Ok(Exit::Partial);
    }
    if !carry.yes && !agreed("Record this, and apply this plan?", "y")? {
        return Ok(Exit::Mistake);
    }
    note(host, project, &seen, &lines).await?;
    say();
    if graph.workloads != project.graph.workloads {
        hint!("{} what else the text says waits for `berth apply`", paint::notice("note:"));
    }
    carry_out(host, project, &graph, &made, Form::Words).await
}

/// Records lines, and says which copies of the ledger lack them.
async fn note(
    host: &berth_agentless::SshHost,
    project: &Project,
    seen: &Survey,
    lines: &[Line],
) -> Result<(), RecordError> {
    let (_, behind) = record(host, &project.graph, seen, lines).await?;
    behind.iter().for_each(|line| hint!("{} {line}", paint::notice("note:")));
    Ok(())
}
