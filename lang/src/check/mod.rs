//! Untyped trees into typed ones. Expectations flow inwards: a field's type says what a literal, a
//! bare case or a record means; where nothing is expected, the type is inferred.
//!
//! Resources are checked one by one, when evaluation first looks at them, so that no more typed trees
//! are held than are being evaluated. Every item is checked, whether or not others failed; a mistake becomes [`typed::Kind::Poison`] and
//! the type `Error`, which agree with everything. Nothing is evaluated here: literals whose rule must
//! hold are handed to `eval` in [`typed::Checked::constants`].

mod calls;
mod checker;
mod convert;
mod data;
mod error;
mod exprs;
mod generics;
mod literals;
mod matching;
mod members;
mod operators;
mod overlays;
mod policies;
mod records;
mod shared;
mod tests;
pub(crate) mod typed;

pub(crate) use checker::{check, check_resource};
