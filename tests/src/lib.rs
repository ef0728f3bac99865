//! What the tests share: small projects in code, and one way of driving an engine.

pub mod cases;
pub mod drive;
pub mod fleets;
pub mod nesting;
pub mod project;
