//! Pure planning: desired graph, observation and ledger head into a plan that can be read.

pub mod action;
pub mod graph;
pub mod names;
pub mod observation;
