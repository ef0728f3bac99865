//! The record of every write that was sent to a node: which, and in which words.
//!
//! A lab test compares it with what the plan's actions declared. Nothing is read back from here.

use std::sync::{Arc, Mutex, PoisonError};

use berth_engine::plan::action::Write;
use berth_engine::plan::names::NodeName;

/// A mutating call or command that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// To which node.
    pub node: NodeName,
    /// What it may change, named as [`berth_engine::plan::action::Action::writes`] names it.
    pub write: Write,
    /// The call, or the command without its data.
    pub call: String,
}

/// Collects writes of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Recorded>>>);

impl Record {
    pub(crate) fn push(&self, node: &NodeName, write: &Write, call: impl Into<String>) {
        let recorded = Recorded { node: node.clone(), write: write.clone(), call: call.into() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
