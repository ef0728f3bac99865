//! `berth history`: what was applied, when, by whom, and how it ended.

use berth_engine::plan::ledger::{Entry, Line, Outcome};
use berth_engine::run::ledger;

use super::Ended;
use crate::exit::Exit;
use crate::paint;
use crate::pins::Pins;
use crate::project::Project;
use crate::{Global, fleet};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// At most so many revisions and decisions, the latest first
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
}

/// One revision.
struct Revision<'a> {
    begin: &'a Line,
    pins: Vec<String>,
    end: Option<&'a Line>,
    superseded: bool,
}

/// What the ledger tells of.
enum Item<'a> {
    Revision(Revision<'a>),
    /// What somebody decided beside the text.
    Decision(&'a Line, String),
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let graph = &project.graph;
    let read = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let read = ledger::read(&host, &graph.keeper, &graph.tenant).await;
        host.close().await;
        read
    })?;
    let store = fleet::store(&project);
    let (lines, exit) = match read {
        Ok(ledger) if ledger.lines.is_empty() => {
            let lines = store.as_ref().map(|store| store.recall(&graph.tenant)).transpose()?;
            let lines = lines.unwrap_or_default();
            if !lines.is_empty() {
                say!(
                    "{} has no ledger on its nodes now; this is the last one that was seen here",
                    graph.tenant
                );
            }
            (lines, Exit::Done)
        }
        Ok(ledger) => {
            if let Some(store) = &store {
                store.remember(&graph.tenant, &ledger.lines)?;
            }
            (ledger.lines, Exit::Done)
        }
        Err(fault) => {
            let Some(store) = &store else { return Err(fault.into()) };
            let lines = store.recall(&graph.tenant)?;
            if lines.is_empty() {
                return Err(fault.into());
            }
            hint!("{} {fault}; this is what was last seen here", paint::notice("note:"));
            (lines, Exit::Partial)
        }
    };
    if lines.is_empty() {
        say!("{}: nothing was applied yet", graph.tenant);
    }
    for item in items(&lines).iter().rev().take(args.limit) {
        match item {
            Item::Revision(revision) => print(revision),
            Item::Decision(line, words) => {
                say!("   =  {}  {:20}  {words}", paint::time(line.at_ms), line.who);
            }
        }
    }
    Ok(exit)
}

fn items(lines: &[Line]) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = Vec::new();
    for line in lines {
        let last = items.iter_mut().rev().find_map(|item| match item {
            Item::Revision(revision) => Some(revision),
            Item::Decision(..) => None,
        });
        match &line.entry {
            Entry::Begin { .. } => {
                if let Some(last) = last.filter(|last| last.end.is_none()) {
                    last.superseded = true;
                }
                let (pins, end, superseded) = (Vec::new(), None, false);
                items.push(Item::Revision(Revision { begin: line, pins, end, superseded }));
            }
            Entry::Pin { workload, pin, contents: _ } if pin.who.is_none() => {
                if let Some(last) = last {
                    last.pins.push(format!("{workload}: {}", pin.why));
                }
            }
            Entry::Pin { workload, pin, contents: _ } => {
                let words =
                    format!("service/{workload} put back to an earlier release: {}", pin.why);
                items.push(Item::Decision(line, words));
            }
            Entry::Override { what, why, until_ms } => {
                let until = until_ms.map(|until| format!(" until {}", paint::time(until)));
                let until = until.unwrap_or_default();
                items.push(Item::Decision(line, format!("{what}{until}: {why}")));
            }
            Entry::Lift { subject } => {
                items.push(Item::Decision(line, format!("{subject} lifted")));
            }
            Entry::Restart { workload, why, up_to } => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                let words = format!("service/{workload} restart of {} replicas{why}", up_to.len());
                items.push(Item::Decision(line, words));
            }
            Entry::Keeper { keeper, epoch, taken_over } => {
                let how = if *taken_over { "took the ledger over" } else { "keeps the ledger" };
                items.push(Item::Decision(line, format!("{keeper} {how}, in epoch {epoch}")));
            }
            Entry::Forget { node, why } => {
                items.push(Item::Decision(line, format!("node/{node} forgotten: {why}")));
            }
            Entry::Snapshot { why, .. } => items.push(Item::Decision(line, why.clone())),
            Entry::Finish { .. } => {
                if let Some(last) = last {
                    last.end = Some(line);
                }
            }
        }
    }
    items
}

fn print(revision: &Revision<'_>) {
    let Revision { begin, pins, end, superseded } = revision;
    let Entry::Begin { plan, digest: _, commit, summary, signed } = &begin.entry else { return };
    let ended = match end.map(|line| (&line.entry, line.at_ms)) {
        Some((Entry::Finish { outcome, .. }, at)) => {
            let took = paint::duration(at.saturating_sub(begin.at_ms));
            match outcome {
                Outcome::Done => paint::good(&format!("ok {took}")),
                Outcome::Reverted { .. } => paint::error(&format!("REVERTED after {took}")),
                Outcome::Partial { .. } => paint::notice(&format!("partly, after {took}")),
            }
        }
        Some(_) | None if *superseded => paint::notice("interrupted; the next went on from there"),
        Some(_) | None => paint::notice("running, or interrupted"),
    };
    let commit = commit.as_deref().unwrap_or("-");
    say!(
        "{:>4}  {}  {:20}  {:9}  {ended}",
        plan.revision,
        paint::time(begin.at_ms),
        begin.who,
        commit
    );
    if let Some(signed) = signed {
        say!("      {}", paint::dim(&format!("signed by {}", signed.by)));
    }
    for line in summary {
        say!("      {}", paint::dim(line));
    }
    for pin in pins {
        say!("      {} {pin}", paint::error("gate failed"));
    }
    if let Some(Entry::Finish { outcome: Outcome::Partial { problems }, .. }) =
        end.map(|l| &l.entry)
    {
        for problem in problems {
            say!("      {problem}");
        }
    }
}
