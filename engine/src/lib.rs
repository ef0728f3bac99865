//! Desired state against observed state: plans, and their execution through ports.
//!
//! The pipeline: a checked program is lowered to a desired [`plan::graph::Graph`]; the graph, an
//! [`plan::observation::Observation`] and the ledger's [`plan::ledger::Head`] become a
//! [`plan::body::PlanBody`]; an independent checker judges it; [`run`] carries it out through the
//! [`run::host::Host`] port.
//!
//! Invariants:
//! - `plan` is pure and synchronous: same inputs, same bytes. It never imports `run`.
//! - A plan leaves the executor no choices: a step holds the very [`plan::action::Action`] that
//!   the port performs, and an action names what it writes.
//! - Every write to a node carries a generation, and a node never goes back to a lower one.
//!
//! Deliberately absent: SSH, containerd's wire, the terminal. The clock is a port.

pub mod plan;
pub mod run;
