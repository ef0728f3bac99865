//! A node into an observation: one burst of gRPC lists and one call of the node's shell, at once.
//!
//! Nothing here writes or needs a lock. What a node says is data: it is bounded, and what can't
//! be read is left out rather than believed.

pub(crate) mod burst;
pub(crate) mod kernel;
pub(crate) mod node;
