//! What the tests share: small projects in code, and one way of driving an engine.

pub mod cases;
pub mod drive;
pub mod fleets;
pub mod history;
pub mod nesting;
pub mod planted;
pub mod project;
