//! How densely nodes are filled.

/// Prints the table.
pub(crate) fn packing() {}
