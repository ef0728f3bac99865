//! Folding the ledger: its oldest lines give way to what they came to.
//!
//! A ledger holds every plan that was ever applied, so it grows; what is needed to go on is its head. The
//! new ledger is written whole and takes the old one's place at once, on the keeper first. The hash of the
//! last line that was folded stays what the next one follows, so a copy or a saved plan that knows later
//! lines goes on being right.

use super::host::{Host, HostError, LockClaim};
use super::ledger::{LedgerFault, lock_copies, read};
use super::observe::Survey;
use super::record::RecordError;
use crate::plan::graph::Graph;
use crate::plan::ledger::{Entry, Head, Ledger, Line};
use crate::plan::names::NodeName;

/// What folding came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// How many lines gave way.
    pub lines: usize,
    /// Bytes of the ledger before.
    pub before: u64,
    /// Bytes of it now.
    pub after: u64,
    /// Which copies were not written, one line each.
    pub behind: Vec<String>,
}

/// A ledger in which only the last `keep` revisions, and what was decided since, are told; nothing if it
/// has no more than these.
pub fn folded(ledger: &Ledger, keep: u64, at_ms: u64, who: &str) -> Option<Vec<Line>> {
    let first = (ledger.head.revision + 1).saturating_sub(keep.max(1));
    let is_kept = |line: &Line| match &line.entry {
        Entry::Begin { plan, .. } => plan.revision >= first,
        _ => false,
    };
    let cut = ledger.lines.iter().position(is_kept)?;
    let (old, rest) = ledger.lines.split_at(cut);
    // One line that stands for one is no gain.
    if old.len() < 2 {
        return None;
    }
    let mut head = Head::default();
    old.iter().for_each(|line| head.advance(line));
    let why = format!("{} lines, up to revision {}, were folded", old.len(), head.revision);
    let first = Line::new("", at_ms, who, Entry::Snapshot { head: Box::new(head), why });
    Some(std::iter::once(first).chain(rest.iter().cloned()).collect())
}

/// Folds the ledger on its keeper and on the copies.
///
/// # Errors
/// If the keeper is locked or does not answer, or somebody wrote meanwhile: it is as it was then.
pub async fn fold<H: Host>(
    host: &H,
    graph: &Graph,
    seen: &Survey,
    keep: u64,
    (at_ms, who): (u64, &str),
) -> Result<Folded, RecordError> {
    let head = &seen.ledger.head;
    let claim = LockClaim::new((who, at_ms), "folding the ledger", graph, head);
    if let Err(error) = host.lock(&graph.keeper, &claim).await {
        // Its answer may have been lost after it was taken.
        host.unlock(&graph.keeper).await;
        return Err(RecordError::Lock(error));
    }
    let mut locked = vec![graph.keeper.clone()];
    let (copies, behind) = lock_copies(host, graph, &seen.observation, &claim, &mut locked).await;
    let folded = under_locks(host, graph, head, (keep, at_ms, who), &copies).await;
    for node in &locked {
        host.unlock(node).await;
    }
    let mut folded = folded?;
    folded.behind.splice(0..0, behind);
    Ok(folded)
}

async fn under_locks<H: Host>(
    host: &H,
    graph: &Graph,
    head: &Head,
    (keep, at_ms, who): (u64, u64, &str),
    copies: &[NodeName],
) -> Result<Folded, RecordError> {
    let ledger = read(host, &graph.keeper, &graph.tenant).await?;
    if ledger.head.hash != head.hash {
        let who = ledger.lines.last().map(|last| last.who.clone());
        return Err(RecordError::Moved(who.unwrap_or_else(|| "somebody".to_owned())));
    }
    let size = ledger.length;
    let Some(lines) = folded(&ledger, keep, at_ms, who) else {
        return Ok(Folded { before: size, after: size, ..Folded::default() });
    };
    let bytes: Vec<u8> = lines.iter().flat_map(Line::bytes).collect();
    let replaced = host.ledger_replace(&graph.keeper, &graph.tenant, &bytes).await;
    if let Err(error) = replaced {
        // If its answer was lost, what is there says whether it happened.
        let back = read(host, &graph.keeper, &graph.tenant).await?;
        if back.length != bytes.len() as u64 {
            return Err(LedgerFault::Keeper(error).into());
        }
    }
    let mut behind = Vec::new();
    for node in copies {
        let copied: Result<(), HostError> = host.ledger_replace(node, &graph.tenant, &bytes).await;
        if let Err(error) = copied {
            behind.push(format!("the ledger's copy on {node} was not folded: {error}"));
        }
    }
    let gone = ledger.lines.len() + 1 - lines.len();
    Ok(Folded { lines: gone, before: size, after: bytes.len() as u64, behind })
}
