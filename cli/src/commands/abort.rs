//! `berth abort`: another apply takes back what it is rolling out.
//!
//! Whoever applies holds the locks, so a word is left for it beside the ledger; its next gate fails by that, and what a
//! failed gate sets off follows: the undo that the plan names, and a pin.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_engine::plan::ledger::{Entry, InFlight, Ledger, Outcome};
use berth_engine::plan::names::WorkloadName;
use berth_engine::run::host::{Ask, Host as _, HostError, LockClaim};
use berth_engine::run::ledger;

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet, paint, replicas};

/// Pause between two looks at how far it has come.
const PAUSE: Duration = Duration::from_secs(1);

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which services; all that the apply rolls out if none is named
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Why, for whoever meets it later
    #[arg(long, value_name = "TEXT")]
    why: String,
}

/// What cannot be taken back.
#[derive(Debug, thiserror::Error)]
enum AbortError {
    #[error(
        "nothing is being applied; `berth rollback SERVICE` puts a service back to its earlier release"
    )]
    Nothing,
    #[error(
        "nobody goes on with revision {0}, which {1} began: `berth apply` does, and `berth rollback SERVICE` puts a service back"
    )]
    Stopped(u64, String),
    #[error("revision {0} does not roll out `{name}`; {what}", name = .1.escape_debug(), what = rolls(.2))]
    NotRolled(u64, String, Vec<String>),
    #[error("revision {0} rolls out nothing")]
    NoRollout(u64),
}

fn rolls(known: &[String]) -> String {
    if known.is_empty() {
        "it rolls out nothing".to_owned()
    } else {
        format!("it rolls out {}", known.join(", "))
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    fleet::block_on(async {
        let host = fleet::host(&project, global);
        let ended = abort(&host, &project, args).await;
        host.close().await;
        ended
    })?
}

async fn abort(host: &berth_agentless::SshHost, project: &Project, args: &Args) -> Ended {
    let graph = &project.graph;
    let (keeper, tenant) = (&graph.keeper, &graph.tenant);
    let now = ledger::read(host, keeper, tenant).await?;
    let flight = now.head.in_flight.as_ref().ok_or(AbortError::Nothing)?;
    let who = fleet::who();
    let claim = LockClaim::new((&who, fleet::now_ms()), "an abort", graph, &now.head);
    // Only to see whether somebody is at work.
    let held = host.lock(keeper, &claim).await;
    if !matches!(held, Err(HostError::Locked { .. })) {
        host.unlock(keeper).await;
        held?;
        return Err(AbortError::Stopped(flight.revision, flight.who.clone()).into());
    }
    let workloads = named(flight, &args.services)?;
    let names = workloads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let apply = now.lines.iter().rfind(|line| matches!(line.entry, Entry::Begin { .. }));
    let apply = apply.map(|line| line.hash.clone()).unwrap_or_default();
    let ask = Ask { apply, workloads, who, why: args.why.clone() };
    host.ask(keeper, tenant, &ask).await?;
    say!(
        "{} is asked to take {names} back, at the next gate of revision {}",
        flight.who,
        flight.revision
    );
    let mut told = BTreeSet::new();
    loop {
        let now = ledger::read(host, keeper, tenant).await?;
        for name in taken_back(&now, &ask) {
            if told.insert(name.clone()) {
                say!(
                    "{name} goes back; {}",
                    paint::dim("its release is held until its text changes")
                );
            }
        }
        if let Some(ended) = how_it_ended(&now, &ask, flight.revision) {
            return Ok(ended);
        }
        let held = host.lock(keeper, &claim).await;
        if held.is_ok() {
            host.unlock(keeper).await;
            let now = ledger::read(host, keeper, tenant).await?;
            if let Some(ended) = how_it_ended(&now, &ask, flight.revision) {
                return Ok(ended);
            }
            return Err(AbortError::Stopped(flight.revision, flight.who.clone()).into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Which of the rollouts under way are meant.
fn named(flight: &InFlight, services: &[String]) -> Result<BTreeSet<WorkloadName>, AbortError> {
    let branches = &flight.plan.branches;
    if services.is_empty() {
        let all: BTreeSet<_> = branches.keys().cloned().collect();
        return if all.is_empty() { Err(AbortError::NoRollout(flight.revision)) } else { Ok(all) };
    }
    let of = |text: &String| {
        let name = WorkloadName::new(replicas::bare(text));
        if branches.contains_key(&name) {
            return Ok(name);
        }
        let known = branches.keys().map(ToString::to_string).collect();
        Err(AbortError::NotRolled(flight.revision, text.clone(), known))
    };
    services.iter().map(of).collect()
}

/// Whom the apply has taken back since it was asked.
fn taken_back<'a>(now: &'a Ledger, ask: &'a Ask) -> impl Iterator<Item = &'a WorkloadName> {
    let since = now.lines.iter().skip_while(|line| line.hash != ask.apply);
    since.filter_map(|line| match &line.entry {
        Entry::Pin { workload, pin, contents: _ } if pin.who.as_ref() == Some(&ask.who) => {
            Some(workload)
        }
        _ => None,
    })
}

/// How the apply ended, once it has; and says so.
fn how_it_ended(now: &Ledger, ask: &Ask, revision: u64) -> Option<Exit> {
    let since = now.lines.iter().skip_while(|line| line.hash != ask.apply);
    let outcome = since.skip(1).find_map(|line| match &line.entry {
        Entry::Finish { revision: of, outcome, .. } if *of == revision => Some(outcome),
        _ => None,
    })?;
    if let Outcome::Partial { problems } = outcome {
        problems.iter().for_each(|problem| say!("  {problem}"));
    }
    let back: BTreeSet<_> = taken_back(now, ask).collect();
    let late: Vec<_> = ask.workloads.iter().filter(|name| !back.contains(name)).collect();
    for name in &late {
        say!(
            "{name} was not taken back: no gate was left that could fail; `berth rollback {name}` puts it back"
        );
    }
    say!("revision {revision} has ended");
    Some(match outcome {
        Outcome::Partial { .. } => Exit::Partial,
        Outcome::Done | Outcome::Reverted { .. } if !late.is_empty() => Exit::Partial,
        Outcome::Done | Outcome::Reverted { .. } => Exit::Done,
    })
}
