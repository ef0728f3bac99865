//! The generated parser, and the limit on its work.

use pest::Parser as _;
use pest::iterators::{Pair, Pairs};
use std::num::NonZeroUsize;
use std::sync::Once;

/// Rules that one item may try; an item of 16 MiB stays below it, whatever it holds.
const CALL_LIMIT: usize = 2_000_000_000;

#[allow(missing_docs)]
mod generated {
    #[derive(pest_derive::Parser)]
    #[grammar = "syntax/parse/berth.pest"]
    pub(super) struct Grammar;
}

pub(super) use generated::Rule;

/// A node of pest's tree.
pub(super) type Node<'t> = Pair<'t, Rule>;
/// The nodes inside another.
pub(super) type Nodes<'t> = Pairs<'t, Rule>;
/// What pest says of a text that the grammar refuses.
pub(super) type Refusal = pest::error::Error<Rule>;

/// Parses a whole text by one rule.
pub(super) fn run(rule: Rule, text: &str) -> Result<Nodes<'_>, Box<Refusal>> {
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| pest::set_call_limit(NonZeroUsize::new(CALL_LIMIT)));
    generated::Grammar::parse(rule, text).map_err(Box::new)
}
