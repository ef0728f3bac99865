//! The guarded session: one framed loop of the node's own shell, and how words get into it.

pub(crate) mod quote;
pub(crate) mod shell;
