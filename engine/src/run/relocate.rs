//! Moving the ledger to the node that the text names as its keeper.
//!
//! *A move*, while the old keeper answers: under its lock the ledger's last line says where it goes, so
//! that the move can be gone on with after a kill, or taken back; then the new keeper gets the whole of it; then every
//! node is told, under a higher epoch.
//!
//! *A take-over*, when the old keeper is lost: every node that answers is locked under a higher epoch,
//! which fences off whoever still follows the old one. More than half of the fleet must answer, or be
//! declared off by a person, so that no two engines take over at once. The newest copy goes on;
//! generations continue far above all that it knows, since lines may be missing that named some. If
//! there is no copy either, the ledger can begin again with what the nodes say ([`rebuild`]). Then, and
//! if the newest copy is known to lack lines, every node must answer or be declared off, since nothing
//! else knows what may run there. What a newer Berth wrote is never taken for damage.
//!
//! Deliberately absent: any vote. A fleet of two whose keeper is lost needs a person's word.

use std::collections::BTreeSet;

use super::host::{Host, HostError, LockClaim};
use super::ledger::{COPIES, LedgerFault, Writer, believed, is_somewhere, newest, read};
use super::observe::observe;
use crate::plan::graph::Graph;
use crate::plan::ledger::{self, Entry, Head, Ledger, LedgerError, Line};
use crate::plan::names::NodeName;
use crate::plan::observation::{NodeView, Observation};
use crate::plan::rebuild;

/// Who moves the ledger, and what they may do.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A login and a machine.
    pub who: String,
    /// Now, in milliseconds since 1970.
    pub at_ms: u64,
    /// To go on without the old keeper.
    pub take_over: bool,
    /// Nodes that a person says are off, and stay off until they are told.
    pub fenced: BTreeSet<NodeName>,
    /// A ledger from elsewhere: an exported file, or what the local store remembers. It is weighed
    /// against the copies on the nodes.
    pub given: Option<Ledger>,
    /// To begin again with what the nodes say, if there is no copy anywhere.
    pub rebuild: bool,
}

/// Where the ledger came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its keeper.
    Keeper(NodeName),
    /// A copy on a node.
    Copy(NodeName),
    /// What was given.
    Given,
    /// What the nodes say, as far as they do; what is not known any more, one line each.
    Nodes(Vec<String>),
}

/// A ledger that has moved.
#[derive(Clone, Debug)]
pub struct Moved {
    /// From where.
    pub from: Source,
    /// The ledger as its keeper has it now.
    pub ledger: Ledger,
    /// Which nodes do not know of it yet, one line each; the next that locks them tells them.
    pub untold: Vec<String>,
}

/// Why the ledger was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// It is there already, and whole.
    #[error("{0} keeps the ledger already")]
    Here(NodeName),
    /// No node knows of one.
    #[error("no node knows a ledger of {0}; the first apply begins one")]
    Nothing(String),
    /// Its keeper does not answer, or has lost it.
    #[error("{keeper}, which keeps the ledger, {why}")]
    KeeperLost {
        /// The keeper.
        keeper: NodeName,
        /// What is the matter.
        why: String,
    },
    /// Its keeper answers: nothing needs to be taken over.
    #[error("{0} answers, and keeps the ledger whole")]
    KeeperThere(NodeName),
    /// The node that is to keep it does not answer.
    #[error("{node}, which is to keep the ledger, does not answer: {why}")]
    Named {
        /// Which.
        node: NodeName,
        /// Why.
        why: String,
    },
    /// Too few nodes answer to be sure that nobody else takes over.
    #[error("{answer} of {of} nodes answer or are declared off, and more than half must")]
    TooFew {
        /// How many do.
        answer: usize,
        /// Of how many.
        of: usize,
    },
    /// No ledger knows what runs on a node that does not answer.
    #[error("{0} does not answer, and no ledger that is left is sure to know what runs there")]
    Unknown(NodeName),
    /// No node that answers has a copy.
    #[error("no node that answers has a copy of the ledger")]
    NoCopy,
    /// There is a newer copy than what was given.
    #[error("{node} has a newer ledger than what was given: {has} lines, and {given} were given")]
    Newer {
        /// Who has it.
        node: NodeName,
        /// How many lines.
        has: u64,
        /// How many were given.
        given: u64,
    },
    /// A node could not be locked.
    #[error(transparent)]
    Lock(HostError),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
}

/// Moves the ledger to the node that the graph names as keeper.
///
/// # Errors
/// See [`MoveError`]; whatever happened, saying it again goes on from there.
pub async fn relocate<H: Host>(host: &H, graph: &Graph, wish: &Wish) -> Result<Moved, MoveError> {
    let observation = observe(host, graph).await;
    let named = &graph.keeper;
    if let Some(NodeView::Unknown { why, .. }) = observation.nodes.get(named) {
        return Err(MoveError::Named { node: named.clone(), why: why.clone() });
    }
    let keeper = newest(&observation).map_or(named, |mark| &mark.keeper);
    let old = match observation.nodes.get(keeper) {
        Some(NodeView::Seen(_)) => read(host, keeper, &graph.tenant).await,
        Some(NodeView::Unknown { why, .. }) => Err(LedgerFault::Keeper(HostError::Unreachable {
            node: keeper.clone(),
            layer: super::host::Layer::Tcp,
            why: why.clone(),
        })),
        None => Err(LedgerFault::Keeper(HostError::Unreachable {
            node: keeper.clone(),
            layer: super::host::Layer::Dns,
            why: "it is no node of this text any more".to_owned(),
        })),
    };
    // Whole, as far as its own word goes: a last line may say that it was about to move.
    let as_if = Graph { keeper: keeper.clone(), ..graph.clone() };
    let whole = old.and_then(|old| {
        let mut head = old.head.clone();
        head.keeper = None;
        believed(&as_if, &observation, &head).map(|()| old)
    });
    let whole = whole.map(|old| (old.head.lines > 0).then_some(old));
    if let Err(newer @ LedgerFault::Content(LedgerError::Newer { .. })) = whole {
        return Err(newer.into());
    }
    // Its last line may say that it was about to move, and nobody who answers knows that it did. Whoever was to keep it may.
    let about = whole.as_ref().ok().and_then(|old| old.as_ref()?.head.keeper.clone());
    let about = about.filter(|about| about != keeper && about != named);
    let unsure = about.filter(|about| observation.seen(about).is_none());
    match (whole, wish.take_over || wish.rebuild || wish.given.is_some()) {
        (Ok(None), false) => Err(MoveError::Nothing(graph.tenant.to_string())),
        (Ok(Some(_)), true) if unsure.is_some() => taken_over(host, graph, observation, wish).await,
        (Ok(Some(_)), false) if let Some(about) = unsure => {
            let why = "does not answer, and was about to keep it".to_owned();
            Err(MoveError::KeeperLost { keeper: about, why })
        }
        (Ok(Some(old)), _)
            if keeper == named && old.head.keeper.as_ref().is_some_and(|k| k != named) =>
        {
            moved(host, graph, &observation, keeper, old, wish).await
        }
        (Ok(Some(old)), _) if keeper == named => {
            tell(host, graph, &observation, &old.head, wish).await;
            Err(MoveError::Here(named.clone()))
        }
        (Ok(Some(_)), true) => Err(MoveError::KeeperThere(keeper.clone())),
        (Ok(Some(old)), false) => moved(host, graph, &observation, keeper, old, wish).await,
        (Err(fault), false) => Err(lost(keeper, &fault)),
        (Ok(None) | Err(_), true) => taken_over(host, graph, observation, wish).await,
    }
}

/// Tells nodes of the keeper that a move which was killed had not told. Who cannot be locked now learns
/// of it with the next lock.
async fn tell<H: Host>(
    host: &H,
    graph: &Graph,
    observation: &Observation,
    head: &Head,
    wish: &Wish,
) {
    let claim = claim(graph, wish, head.epoch, head.lines);
    for node in graph.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        let is_old = seen.ledger.as_ref().is_none_or(|mark| mark.epoch < head.epoch);
        if head.epoch > 0 && is_old {
            let _ = host.lock(node, &claim).await;
            host.unlock(node).await;
        }
    }
}

fn lost(keeper: &NodeName, fault: &LedgerFault) -> MoveError {
    let why = match fault {
        LedgerFault::Keeper(HostError::Unreachable { why, .. }) => {
            format!("does not answer: {why}")
        }
        other => format!("cannot be followed: {other}"),
    };
    MoveError::KeeperLost { keeper: keeper.clone(), why }
}

/// Moves it while its keeper answers.
async fn moved<H: Host>(
    host: &H,
    graph: &Graph,
    observation: &Observation,
    keeper: &NodeName,
    old: Ledger,
    wish: &Wish,
) -> Result<Moved, MoveError> {
    let named = &graph.keeper;
    let epoch = newest(observation).map_or(old.head.epoch, |mark| mark.epoch);
    let mut claim = claim(graph, wish, epoch, old.head.lines);
    claim.keeper = keeper.clone();
    let pair = [keeper.clone(), named.clone()];
    for (index, node) in pair.iter().enumerate() {
        if let Err(error) = host.lock(node, &claim).await {
            unlock(host, pair.iter().take(index + 1)).await;
            return Err(MoveError::Lock(error));
        }
    }
    let handed = hand_over(host, graph, (keeper, epoch), wish).await;
    unlock(host, pair.iter()).await;
    let ledger = handed?;
    let claim = self::claim(graph, wish, ledger.head.epoch, ledger.head.lines);
    let others = graph.nodes.keys().filter(|node| !pair.contains(node));
    let (mut untold, mut copies) = (Vec::new(), 1);
    // The old keeper first: nobody moves the ledger from it once more, as if this had not happened.
    for node in [keeper, named].into_iter().chain(others) {
        match host.lock(node, &claim).await {
            Err(error) => untold.push(error.to_string()),
            // The old keeper has it all. What is not written now the next writer writes.
            Ok(()) if copies < COPIES && !pair.contains(node) => {
                let copied = host.ledger_replace(node, &graph.tenant, &ledger.bytes()).await;
                copies += usize::from(copied.is_ok());
            }
            Ok(()) => {}
        }
        host.unlock(node).await;
    }
    Ok(Moved { from: Source::Keeper(keeper.clone()), ledger, untold })
}

async fn hand_over<H: Host>(
    host: &H,
    graph: &Graph,
    (keeper, epoch): (&NodeName, u64),
    wish: &Wish,
) -> Result<Ledger, MoveError> {
    let (named, tenant) = (&graph.keeper, &graph.tenant);
    let mut writer = Writer::open(host, keeper, tenant, &wish.who).await?;
    let head = &writer.ledger.head;
    if head.keeper.as_ref() != Some(named) || head.epoch <= epoch {
        let epoch = head.epoch.max(epoch) + 1;
        let entry = Entry::Keeper { keeper: named.clone(), epoch, taken_over: false };
        writer.append(wish.at_ms, entry).await?;
    }
    let whole = host.ledger_read(keeper, tenant).await.map_err(LedgerFault::Keeper)?;
    if keeper != named {
        host.ledger_replace(named, tenant, &whole).await.map_err(LedgerFault::Keeper)?;
    }
    Ok(read(host, named, tenant).await?)
}

/// Goes on without the old keeper.
async fn taken_over<H: Host>(
    host: &H,
    graph: &Graph,
    observation: Observation,
    wish: &Wish,
) -> Result<Moved, MoveError> {
    let seen = graph.nodes.keys().filter(|node| observation.seen(node).is_some());
    let seen: Vec<NodeName> = seen.cloned().collect();
    let off = wish.fenced.iter().filter(|node| graph.nodes.contains_key(*node));
    let answer = seen.iter().chain(off).collect::<BTreeSet<_>>().len();
    let of = graph.nodes.len();
    if answer * 2 <= of {
        return Err(MoveError::TooFew { answer, of });
    }
    // Before anybody is told of another epoch.
    if !wish.rebuild && wish.given.is_none() && !is_somewhere(&observation) {
        return Err(MoveError::NoCopy);
    }
    let mark = newest(&observation);
    let known = mark.map_or((0, 0), |mark| (mark.epoch, mark.lines));
    let given = wish.given.as_ref().map_or(0, |given| given.head.epoch);
    // The lines of another epoch are counted anew: what goes on may have fewer than there were.
    let chosen = best(host, graph, &observation, wish).await?;
    let lines = chosen.map_or(known.1, |(_, _, ledger)| ledger.head.lines);
    let claim = claim(graph, wish, known.0.max(given) + 1, lines);
    let mut locked: Vec<NodeName> = Vec::new();
    for node in &seen {
        if let Err(error) = host.lock(node, &claim).await {
            unlock(host, locked.iter().chain([node])).await;
            return Err(MoveError::Lock(error));
        }
        locked.push(node.clone());
    }
    let went_on = go_on(host, graph, &observation, (claim.epoch, known.1), wish).await;
    unlock(host, locked.iter()).await;
    let (from, ledger) = went_on?;
    let silent = graph.nodes.keys().filter(|node| !seen.contains(node));
    let untold = silent.map(|node| format!("{node} did not answer")).collect();
    Ok(Moved { from, ledger, untold })
}

/// Chooses the newest ledger that there is, with its bytes; nothing if there is none.
///
/// # Errors
/// If a newer Berth wrote one, if what was given is older, or if nobody is sure that it knows all.
async fn best<H: Host>(
    host: &H,
    graph: &Graph,
    observation: &Observation,
    wish: &Wish,
) -> Result<Option<(Source, Vec<u8>, Ledger)>, MoveError> {
    let tenant = &graph.tenant;
    let mut best: Option<(Source, Vec<u8>, Ledger)> = None;
    let key = |ledger: &Ledger| (ledger.head.epoch, ledger.head.lines);
    for (node, view) in &observation.nodes {
        let NodeView::Seen(seen) = view else { continue };
        if seen.ledger.as_ref().is_none_or(|mark| mark.bytes == 0) {
            continue;
        }
        let bytes = host.ledger_read(node, tenant).await.map_err(LedgerFault::Keeper)?;
        let copy = match ledger::parse(&bytes) {
            Ok(copy) => copy,
            Err(newer @ LedgerError::Newer { .. }) => return Err(LedgerFault::from(newer).into()),
            // A copy that cannot be believed is as good as none.
            Err(LedgerError::Unreadable { .. } | LedgerError::Broken { .. }) => continue,
        };
        if copy.head.lines > 0 && best.as_ref().is_none_or(|(_, _, best)| key(&copy) > key(best)) {
            best = Some((Source::Copy(node.clone()), bytes, copy));
        }
    }
    if let Some(given) = &wish.given {
        if let Some((Source::Copy(node), _, copy)) = &best
            && key(copy) > key(given)
        {
            let (node, has, given) = (node.clone(), copy.head.lines, given.head.lines);
            return Err(MoveError::Newer { node, has, given });
        }
        best = Some((Source::Given, given.bytes(), given.clone()));
    }
    if best.as_ref().is_none_or(|(_, _, best)| lacks_lines(observation, &best.head)) {
        let unseen =
            |node: &&NodeName| observation.seen(node).is_none() && !wish.fenced.contains(*node);
        if let Some(node) = graph.nodes.keys().find(unseen) {
            return Err(MoveError::Unknown(node.clone()));
        }
    }
    Ok(best)
}

/// Makes the newest ledger that there is the new keeper's, all at once.
async fn go_on<H: Host>(
    host: &H,
    graph: &Graph,
    observation: &Observation,
    (epoch, lines): (u64, u64),
    wish: &Wish,
) -> Result<(Source, Ledger), MoveError> {
    let (named, tenant) = (&graph.keeper, &graph.tenant);
    let (from, mut bytes, prev, entry) = match best(host, graph, observation, wish).await? {
        Some((from, mut bytes, ledger)) => {
            bytes.truncate(usize::try_from(ledger.length).unwrap_or(usize::MAX));
            let entry = Entry::Keeper { keeper: named.clone(), epoch, taken_over: true };
            (from, bytes, ledger.head.hash, entry)
        }
        None if wish.rebuild => {
            let (mut head, unknown) = rebuild::head(graph, observation);
            (head.epoch, head.lines) = (epoch, lines);
            head.keeper = Some(named.clone());
            let why = "the ledger was lost; this is what the nodes said".to_owned();
            let entry = Entry::Snapshot { head: Box::new(head), why };
            (Source::Nodes(unknown), Vec::new(), String::new(), entry)
        }
        None => return Err(MoveError::NoCopy),
    };
    bytes.extend(Line::new(&prev, wish.at_ms, &wish.who, entry).bytes());
    host.ledger_replace(named, tenant, &bytes).await.map_err(LedgerFault::Keeper)?;
    let ledger = read(host, named, tenant).await?;
    let others = observation.nodes.keys().filter(|node| observation.seen(node).is_some());
    for node in others.filter(|node| *node != named).take(COPIES) {
        // What is not written now the next writer writes.
        let _ = host.ledger_replace(node, tenant, &bytes).await;
    }
    Ok((from, ledger))
}

/// Whether the nodes know of lines that a ledger does not have.
fn lacks_lines(observation: &Observation, head: &Head) -> bool {
    observation.marks().any(|mark| mark.epoch >= head.epoch && mark.lines > head.lines)
}

fn claim(graph: &Graph, wish: &Wish, epoch: u64, lines: u64) -> LockClaim {
    let head = Head { epoch, lines, ..Head::default() };
    LockClaim::new((&wish.who, wish.at_ms), "moving the ledger", graph, &head)
}

async fn unlock<'a, H: Host>(host: &H, nodes: impl Iterator<Item = &'a NodeName>) {
    for node in nodes {
        host.unlock(node).await;
    }
}
