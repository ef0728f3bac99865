//! Recording decisions: lines in the ledger, under its keeper's lock.
//!
//! The lines are made first, so that the plan which follows from them can be shown before anything is
//! written; they are appended only to the very ledger that they were made for.

use super::host::{Host, HostError, LockClaim};
use super::ledger::{LedgerFault, Writer, lock_copies};
use super::observe::Survey;
use crate::plan::graph::Graph;
use crate::plan::ledger::{Entry, Ledger, Line};
use crate::plan::names::NodeName;

/// Why a decision was not recorded. The ledger is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The keeper could not be locked.
    #[error("{0}")]
    Lock(#[source] HostError),
    /// Somebody wrote to the ledger in between.
    #[error("{0} has written to the ledger meanwhile; nothing was recorded: say it again")]
    Moved(String),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
}

/// Makes the lines that record decisions in a ledger, one after the other.
pub fn lines(ledger: &Ledger, at_ms: u64, who: &str, entries: Vec<Entry>) -> Vec<Line> {
    let mut prev = ledger.head.hash.clone();
    let line = |entry| {
        let line = Line::new(&prev, at_ms, who, entry);
        prev.clone_from(&line.hash);
        line
    };
    entries.into_iter().map(line).collect()
}

/// Appends lines that [`lines`] made on what was read; the ledger after them, and which copies of it were
/// not written.
///
/// # Errors
/// If the keeper is locked or does not answer, or the ledger is not the one that the lines follow. What
/// was appended before an answer was lost stays, whole lines of it.
pub async fn record<H: Host>(
    host: &H,
    graph: &Graph,
    seen: &Survey,
    lines: &[Line],
) -> Result<(Ledger, Vec<String>), RecordError> {
    let keeper = &graph.keeper;
    let first = lines.first().map_or(("", 0), |line| (line.who.as_str(), line.at_ms));
    let claim = LockClaim::new(first, "an override", graph, &seen.ledger.head);
    if let Err(error) = host.lock(keeper, &claim).await {
        // Its answer may have been lost after it was taken.
        host.unlock(keeper).await;
        return Err(RecordError::Lock(error));
    }
    let mut locked = vec![keeper.clone()];
    let copies = lock_copies(host, graph, &seen.observation, &claim, &mut locked).await;
    let appended = append(host, graph, &claim.holder, copies, lines).await;
    for node in &locked {
        host.unlock(node).await;
    }
    appended
}

async fn append<H: Host>(
    host: &H,
    graph: &Graph,
    who: &str,
    copies: (Vec<NodeName>, Vec<String>),
    lines: &[Line],
) -> Result<(Ledger, Vec<String>), RecordError> {
    let writer = Writer::open(host, &graph.keeper, &graph.tenant, who).await?;
    let mut writer = writer.with_copies(copies);
    for line in lines {
        if writer.ledger.head.hash != line.prev {
            let who = writer.ledger.lines.last().map(|last| last.who.clone());
            return Err(RecordError::Moved(who.unwrap_or_else(|| "somebody".to_owned())));
        }
        writer.append(line.at_ms, line.entry.clone()).await?;
    }
    Ok((writer.ledger, writer.behind))
}
