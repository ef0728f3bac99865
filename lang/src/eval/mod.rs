//! Typed trees into values, once each, strictly; every value remembers the text that made it.
//!
//! What fails has been reported and stops only what needs it. Work, depth and size are bounded, so
//! that no text can make it run for ever or out of stack. Nothing here decides about types.

mod arithmetic;
mod builtins;
mod convert;
mod environment;
mod error;
mod exprs;
mod fields;
mod forks;
mod inputs;
mod machine;
mod origins;
mod overlays;
mod policies;
mod resources;
mod tests;
mod traced;
mod update;

pub(crate) use machine::{Evaluated, FUEL, evaluate};
pub use origins::{Origins, Setting};
pub(crate) use resources::{Kept, Made};
pub(crate) use tests::{run_tests, test_inputs};
pub(crate) use traced::Traced;
