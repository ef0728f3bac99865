//! Observing the whole fleet at once, and planning on what was seen.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::host::{Host, HostError, Layer};
use super::ledger::{self, LedgerFault};
use crate::plan::body::{Goal, PlanBody};
use crate::plan::check::{self, Violation};
use crate::plan::graph::Graph;
use crate::plan::ledger::Ledger;
use crate::plan::names::WorkloadName;
use crate::plan::observation::{NodeView, Observation};
use crate::plan::planner::{self, Inputs};

/// Reads every node of the graph, all at once. A node that does not answer is unknown, with its
/// reason; what it remembers of the ledger it may say nevertheless. Nothing here fails.
pub async fn observe<H: Host>(host: &H, graph: &Graph) -> Observation {
    let reads = graph.nodes.keys().map(|name| async move {
        let mut mark = None;
        let view = match host.observe(name, &graph.tenant).await {
            Ok(seen) => NodeView::Seen(Box::new(seen)),
            Err(error) => {
                let silent = error.is_silence();
                let why = match error {
                    HostError::Unreachable { node: _, layer, why } => {
                        if matches!(
                            layer,
                            Layer::Containerd | Layer::Forwarding | Layer::Permission
                        ) {
                            mark = host.ledger_mark(name, &graph.tenant).await.ok().flatten();
                        }
                        format!("{layer}: {why}")
                    }
                    other => other.to_string(),
                };
                NodeView::Unknown { why, silent }
            }
        };
        (name, view, mark)
    });
    let mut observation = Observation::default();
    for (name, view, mark) in join_all(reads).await {
        observation.marks.extend(mark.map(|mark| (name.clone(), mark)));
        observation.nodes.insert(name.clone(), view);
    }
    observation
}

/// The world as it was read: nodes and ledger.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The nodes.
    pub observation: Observation,
    /// The ledger.
    pub ledger: Ledger,
}

/// Reads the nodes and the ledger, all at once, without a lock.
///
/// # Errors
/// If the ledger's keeper does not answer, its chain does not hold, or it is not the ledger that the
/// nodes know.
pub async fn survey<H: Host>(host: &H, graph: &Graph) -> Result<Survey, LedgerFault> {
    let ledger = ledger::read(host, &graph.keeper, &graph.tenant);
    let (observation, ledger) = tokio::join!(observe(host, graph), ledger);
    if let (Err(_), Some(mark)) = (&ledger, ledger::newest(&observation))
        && mark.keeper != graph.keeper
    {
        let (named, keeper) = (graph.keeper.clone(), mark.keeper.clone());
        return Err(LedgerFault::Elsewhere { named, keeper, epoch: mark.epoch });
    }
    let mut ledger = ledger?;
    let fault = ledger::believed(graph, &observation, &ledger.head).err();
    if let Some(LedgerFault::Behind { .. } | LedgerFault::Unfinished { .. }) = fault {
        // Lines that were written after it was read, and before the nodes were, are no loss.
        ledger = ledger::read(host, &graph.keeper, &graph.tenant).await?;
    }
    ledger::believed(graph, &observation, &ledger.head)?;
    Ok(Survey { observation, ledger })
}

impl Survey {
    /// Plans on what was seen, and has the plan judged.
    ///
    /// # Errors
    /// The promises that the plan would break; such a plan is a fault of Berth's, and is not run.
    pub fn plan(
        &self,
        graph: &Graph,
        program: &str,
        goal: Goal,
        only: &BTreeSet<WorkloadName>,
        now_ms: u64,
    ) -> Result<PlanBody, Vec<Violation>> {
        let Self { observation, ledger } = self;
        let head = &ledger.head;
        let body = planner::plan(&Inputs { graph, program, observation, head, goal, only, now_ms });
        let violations = check::check(&body, graph, observation, head);
        if violations.is_empty() { Ok(body) } else { Err(violations) }
    }
}
