//! Reading the ledger from its keeper, and appending to it and to its copies.
//!
//! Each line goes to the keeper first: then it counts. After that it goes to the copies, so that a keeper
//! that is lost for good takes no more with it than what nobody was told of. A copy that cannot be
//! written is left behind and said so; the next writer brings it up to date.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::host::{Host, HostError, LockClaim, Refusal};
use crate::plan::etcd;
use crate::plan::graph::{Graph, Intake};
use crate::plan::ledger::{self, Entry, Head, Ledger, LedgerError, Line, Mark};
use crate::plan::names::{NodeName, Tenant};
use crate::plan::observation::Observation;

/// How many nodes have a copy of the ledger, besides its keeper.
pub const COPIES: usize = 2;

/// Why the ledger could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// The nodes know another keeper than the text.
    #[error(
        "the text names {named} as the ledger's keeper, and the nodes know {keeper} (epoch {epoch})"
    )]
    Elsewhere {
        /// Whom the text names.
        named: NodeName,
        /// Whom they know.
        keeper: NodeName,
        /// Since which epoch.
        epoch: u64,
    },
    /// What the keeper has is older than what the nodes know that there was.
    #[error("{keeper} has lost lines of the ledger: it has {has} of at least {known}")]
    Behind {
        /// The keeper.
        keeper: NodeName,
        /// How many lines there are.
        has: u64,
        /// How many there were.
        known: u64,
    },
    /// No node that answers knows a ledger, and most of them do not answer.
    #[error(
        "no ledger is known to {seen} of {of} nodes, and the others do not answer: one of them may keep it"
    )]
    Unseen {
        /// How many answered.
        seen: usize,
        /// Of how many.
        of: usize,
    },
    /// No node that answers knows a ledger, and one of them has what only an apply makes.
    #[error("no node that answers knows a ledger, and {node} has replicas of this environment")]
    Gone {
        /// A node that has.
        node: NodeName,
    },
    /// The move to its keeper did not end.
    #[error("the ledger's move to {keeper} (epoch {epoch}) was interrupted")]
    Unfinished {
        /// The new keeper.
        keeper: NodeName,
        /// The epoch that was to begin.
        epoch: u64,
    },
    /// Its keeper did not answer, or answered no.
    #[error("the ledger's keeper: {0}")]
    Keeper(#[source] HostError),
    /// A copy, or what a node remembers, could not be removed. The ledger itself is still there.
    #[error("a copy of the ledger was not removed, so the ledger stays: {0}")]
    Copy(#[source] HostError),
    /// It cannot be believed.
    #[error(transparent)]
    Content(#[from] LedgerError),
}

/// Reads and verifies the whole ledger.
///
/// # Errors
/// If the keeper does not answer, or the chain does not hold.
pub async fn read<H: Host>(
    host: &H,
    keeper: &NodeName,
    tenant: &Tenant,
) -> Result<Ledger, LedgerFault> {
    let bytes = host.ledger_read(keeper, tenant).await.map_err(LedgerFault::Keeper)?;
    Ok(ledger::parse(&bytes)?)
}

/// Reads the ledger and its copies from every node that answered and has one, and from etcd if that keeps it.
pub async fn read_all<H: Host>(
    host: &H,
    graph: &Graph,
    observation: &Observation,
) -> Vec<(NodeName, Result<Ledger, LedgerFault>)> {
    let has = |node: &NodeName| {
        let mark = observation.seen(node).and_then(|seen| seen.ledger.as_ref());
        mark.is_some_and(|mark| mark.bytes > 0)
    };
    let cluster = Some(&graph.keeper).filter(|keeper| etcd::keeps(keeper));
    let nodes = graph.nodes.keys().filter(|node| has(node)).chain(cluster);
    let reads =
        nodes.map(|node| async move { (node.clone(), read(host, node, &graph.tenant).await) });
    let mut all = join_all(reads).await;
    all.retain(|(node, read)| {
        !etcd::keeps(node) || read.as_ref().map_or(true, |ledger| ledger.head.lines > 0)
    });
    all
}

/// What the nodes remember of the ledger under its highest epoch: the newest of it. What a first apply
/// left that was killed before its first line does not count, if its keeper shows that it has none.
pub fn newest(observation: &Observation) -> Option<&Mark> {
    let some = is_somewhere(observation);
    let counts = |mark: &&Mark| {
        some || (mark.epoch, mark.lines) != (0, 0) || observation.seen(&mark.keeper).is_none()
    };
    observation.marks().filter(counts).max_by_key(|mark| (mark.epoch, mark.lines))
}

/// Whether a node that says so has the ledger or a copy.
pub fn is_somewhere(observation: &Observation) -> bool {
    observation.marks().any(|mark| mark.bytes > 0)
}

/// Says whether a ledger that was read is the one that the nodes know, whole, from whom they know.
///
/// # Errors
/// If it is not; nothing may be planned on it.
pub fn believed(graph: &Graph, observation: &Observation, head: &Head) -> Result<(), LedgerFault> {
    let named = &graph.keeper;
    let elsewhere = |keeper: &NodeName, epoch| LedgerFault::Elsewhere {
        named: named.clone(),
        keeper: keeper.clone(),
        epoch,
    };
    match newest(observation) {
        Some(mark) if mark.epoch >= head.epoch && &mark.keeper != named => {
            Err(elsewhere(&mark.keeper, mark.epoch))
        }
        Some(mark) if mark.lines > head.lines && (mark.epoch == head.epoch || head.lines == 0) => {
            let (has, known) = (head.lines, mark.lines);
            Err(LedgerFault::Behind { keeper: named.clone(), has, known })
        }
        Some(mark) if mark.epoch > head.epoch => {
            Err(LedgerFault::Unfinished { keeper: named.clone(), epoch: mark.epoch })
        }
        Some(_) if head.lines == 0 && is_somewhere(observation) => {
            Err(LedgerFault::Behind { keeper: named.clone(), has: 0, known: 1 })
        }
        None if head.lines == 0 => {
            let mut all = observation.nodes.keys();
            let is_in_use = |node: &&NodeName| {
                let seen = observation.seen(node).map(|seen| &seen.spec);
                seen.is_some_and(|spec| spec.tenant || !spec.pods.is_empty())
            };
            if let Some(node) = all.find(is_in_use) {
                return Err(LedgerFault::Gone { node: node.clone() });
            }
            enough(graph, observation)
        }
        Some(_) | None => match &head.keeper {
            Some(keeper) if keeper != named => Err(elsewhere(keeper, head.epoch)),
            // One in which no apply ever began, only decisions, is as good as none: another may be known elsewhere.
            Some(_) | None if head.revision == 0 && !etcd::keeps(named) => {
                enough(graph, observation)
            }
            Some(_) | None => Ok(()),
        },
    }
}

/// Says whether enough nodes answer for a first apply.
fn enough(graph: &Graph, observation: &Observation) -> Result<(), LedgerFault> {
    let parts = || graph.nodes.keys().filter(|node| takes_part(graph, observation, node));
    let seen = parts().filter(|node| observation.seen(node).is_some()).count();
    let of = parts().count();
    if seen * 2 > of || of == 0 { Ok(()) } else { Err(LedgerFault::Unseen { seen, of }) }
}

/// Whether a node is one that may have the ledger or a copy: one that is retired, and that Berth has left, is none.
fn takes_part(graph: &Graph, observation: &Observation, node: &NodeName) -> bool {
    let retired = graph.nodes.get(node).is_some_and(|node| node.intake == Intake::Retired);
    let left = observation.seen(node).is_some_and(|seen| {
        seen.spec.network.is_none() && !seen.spec.tenant && seen.ledger.is_none()
    });
    !(retired && left)
}

/// Chooses who gets copies: the first nodes by name that answered and can be locked, besides the keeper.
/// Those that are not locked yet are added to `locked`. Which could not be, one line each.
pub async fn lock_copies<H: Host>(
    host: &H,
    graph: &Graph,
    observation: &Observation,
    claim: &LockClaim,
    locked: &mut Vec<NodeName>,
) -> (Vec<NodeName>, Vec<String>) {
    let (mut copies, mut not) = (Vec::new(), Vec::new());
    let seen = observation.nodes.keys().filter(|node| observation.seen(node).is_some());
    let seen = seen.filter(|node| takes_part(graph, observation, node));
    for node in seen.filter(|node| **node != claim.keeper) {
        if copies.len() == COPIES {
            break;
        }
        if !locked.contains(node) {
            if let Err(error) = host.lock(node, claim).await {
                // Its answer may have been lost after it was taken.
                host.unlock(node).await;
                not.push(format!("the ledger's copy on {node} was not written: {error}"));
                continue;
            }
            locked.push(node.clone());
        }
        copies.push(node.clone());
    }
    (copies, not)
}

/// Appends to a ledger whose keeper is locked.
#[derive(Debug)]
pub struct Writer<'a, H> {
    host: &'a H,
    keeper: NodeName,
    tenant: Tenant,
    who: String,
    /// Who gets a copy; locked too.
    copies: Vec<NodeName>,
    /// Which copies were not written, one line each.
    pub behind: Vec<String>,
    /// The ledger as last written or read.
    pub ledger: Ledger,
}

impl<'a, H: Host> Writer<'a, H> {
    /// Opens a ledger for appending.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn open(
        host: &'a H,
        keeper: &NodeName,
        tenant: &Tenant,
        who: &str,
    ) -> Result<Self, LedgerFault> {
        let ledger = read(host, keeper, tenant).await?;
        Ok(Self {
            host,
            keeper: keeper.clone(),
            tenant: tenant.clone(),
            who: who.to_owned(),
            copies: Vec::new(),
            behind: Vec::new(),
            ledger,
        })
    }

    /// Writes copies too, to nodes that are locked; those that could not be are `behind`.
    #[must_use]
    pub fn with_copies(mut self, (copies, behind): (Vec<NodeName>, Vec<String>)) -> Self {
        (self.copies, self.behind) = (copies, behind);
        self
    }

    /// Whether a line gets, or got, a copy, or there is nobody else who could have one.
    pub fn is_safe(&self, graph: &Graph, observation: &Observation) -> bool {
        let seen = |node: &NodeName| {
            observation.seen(node).is_some()
                && *node != self.keeper
                && takes_part(graph, observation, node)
        };
        !self.copies.is_empty() || !observation.nodes.keys().any(seen)
    }

    /// The node that keeps it.
    pub fn keeper(&self) -> &NodeName {
        &self.keeper
    }

    /// Appends an entry. If the answer is lost, the ledger is read back: the line is there, or
    /// it is appended again, once.
    ///
    /// # Errors
    /// If the keeper did not take it.
    pub async fn append(&mut self, at_ms: u64, entry: Entry) -> Result<(), LedgerFault> {
        let line = Line::new(&self.ledger.head.hash, at_ms, &self.who, entry);
        let bytes = line.bytes();
        let (at, prev) = (self.ledger.length, &line.prev);
        match self.host.ledger_append(&self.keeper, &self.tenant, at, prev, &bytes).await {
            Ok(()) => {}
            Err(HostError::Lost { .. }) => {
                let back = read(self.host, &self.keeper, &self.tenant).await?;
                if back.head.hash != line.hash {
                    let append =
                        self.host.ledger_append(&self.keeper, &self.tenant, at, prev, &bytes);
                    append.await.map_err(LedgerFault::Keeper)?;
                }
            }
            Err(error) => return Err(LedgerFault::Keeper(error)),
        }
        self.copy(at, prev, &bytes).await;
        self.ledger.length += bytes.len() as u64;
        self.ledger.head.advance(&line);
        self.ledger.lines.push(line);
        Ok(())
    }

    /// Appends to the copies, or writes those anew that are not what the keeper had. A copy that
    /// cannot be written is left out from here on.
    async fn copy(&mut self, at: u64, prev: &str, bytes: &[u8]) {
        let (host, tenant, keeper) = (self.host, &self.tenant, &self.keeper);
        let copies = self.copies.iter().map(|node| async move {
            match host.ledger_append(node, tenant, at, prev, bytes).await {
                // Written whole, it is what it should be, whatever became of the other write.
                Err(
                    HostError::Refused { refusal: Refusal::LedgerMoved, .. }
                    | HostError::Lost { .. },
                ) => {}
                written => return written,
            }
            let whole = host.ledger_read(keeper, tenant).await?;
            host.ledger_replace(node, tenant, &whole).await
        });
        let written = join_all(copies).await;
        let mut written = written.into_iter();
        let behind = &mut self.behind;
        self.copies.retain(|node| match written.next() {
            Some(Err(error)) => {
                behind.push(format!("the ledger's copy on {node} was not written: {error}"));
                false
            }
            Some(Ok(())) | None => true,
        });
    }

    /// Removes the ledger, from the copies and other nodes that are locked first: the tenant has left.
    ///
    /// # Errors
    /// If one of them did not: the keeper's stays then, so that somebody knows of it. Else if the keeper did not.
    pub async fn remove(self, others: &[NodeName]) -> Result<(), LedgerFault> {
        let (host, tenant) = (self.host, &self.tenant);
        let others: BTreeSet<&NodeName> = others.iter().filter(|n| **n != self.keeper).collect();
        let removed =
            join_all(others.into_iter().map(|node| host.ledger_remove(node, tenant))).await;
        removed.into_iter().collect::<Result<(), _>>().map_err(LedgerFault::Copy)?;
        host.ledger_remove(&self.keeper, tenant).await.map_err(LedgerFault::Keeper)
    }
}
