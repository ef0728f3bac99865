//! Valid nesting costs what it is long: twice the depth, about twice the time, for every kind of bracket.

use berth_lang::{CompileRequest, Workspace};
use berth_tests::nesting;
use std::time::{Duration, Instant};

/// The least of several times that parsing an item of so much nesting takes.
fn parse(kind: (&str, &str, &str), depth: usize) -> Duration {
    let text = nesting::text(kind, depth);
    let once = |text: String| {
        let mut workspace = Workspace::new();
        let start = Instant::now();
        workspace.set_file("a.berth", text);
        (start.elapsed(), workspace)
    };
    let compiled = once(text.clone()).1.snapshot().compile(&CompileRequest::default());
    let syntax = compiled.diagnostics.iter().find(|found| found.code.starts_with("E01"));
    assert!(syntax.is_none(), "{text}: {syntax:?}");
    (0..40).map(|_| once(text.clone()).0).min().unwrap_or_default()
}

#[test]
fn nesting_costs_what_it_is_long() {
    for kind in nesting::KINDS {
        let (half, whole) = (parse(kind, 32), parse(kind, 64));
        // What is read again at each level would cost 2^32 times as much; a tenth of a millisecond is noise.
        let bound = half * 8 + Duration::from_micros(100);
        assert!(whole < bound, "`{}`: {half:?} for 32 deep, {whole:?} for 64", kind.0);
    }
}
