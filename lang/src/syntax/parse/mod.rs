//! One item's text into its tree. Only this module knows pest.

mod exprs;
mod grammar;
mod items;
mod matching;
mod policies;
mod quick;
mod report;
mod strings;
mod tests;

pub(crate) use items::{ItemTree, parse_item};
