//! What the tests share: small projects in code, and one way of driving an engine.

pub mod cases;
pub mod drive;
pub mod fake;
pub mod fleets;
pub mod history;
pub mod nesting;
pub mod planted;
pub mod project;

/// A plan was turned down for that, whatever else was found.
#[macro_export]
macro_rules! finds {
    ($found:expr, $pattern:pat) => {{
        let found = $found;
        let other = found.iter().filter(|violation| !matches!(violation, $pattern)).count();
        assert!(found.len() > other, "expected {}, found {found:?}", stringify!($pattern));
    }};
}
