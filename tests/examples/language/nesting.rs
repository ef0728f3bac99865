//! How long deep nesting takes to read.

use crate::median;
use berth_lang::Workspace;
use berth_tests::nesting::{KINDS, text};
use std::time::Instant;

const ROUNDS: usize = 101;

/// Milliseconds that setting a file of so much nesting takes, by the median.
fn read(kind: (&str, &str, &str), depth: usize) -> f64 {
    let text = text(kind, depth);
    let once = || {
        let mut workspace = Workspace::new();
        let text = text.clone();
        let start = Instant::now();
        workspace.set_file("a.berth", text);
        start.elapsed().as_secs_f64() * 1e3
    };
    median((0..ROUNDS).map(|_| once()).collect())
}

pub(crate) fn table() {
    println!("\n## Brackets in each other\n");
    println!("From text to tree, median of {ROUNDS}.\n");
    println!("| what nests | 16 deep | 32 deep | 64 deep |");
    println!("|---|---|---|---|");
    for kind in KINDS {
        let times = [16, 32, 64].map(|depth| format!("{:.3} ms", read(kind, depth)));
        println!("| `{} … {}` | {} |", kind.0.trim(), kind.2.trim(), times.join(" | "));
    }
}
