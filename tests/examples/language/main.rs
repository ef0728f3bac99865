//! Measures the language: N services from a typed template to JSON, beside the languages that are
//! installed here, and one edit of a large project; prints tables in Markdown, which
//! `docs/benchmarks/language.md` keeps.
//!
//! `cargo run --release -p berth-tests --example language [compile|edits|nesting|peers]`; `peers` wants the
//! command line built (`cargo build --release`), and takes the peers that it finds on the path.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a measurement, not part of a plan"
)]

mod compile;
mod edits;
mod nesting;
mod peers;
mod workload;

/// The command line's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut args = std::env::args().skip(1);
    let part = args.next();
    match part.as_deref() {
        // One compilation in a process of its own, for its memory.
        Some("once") => compile::once(args.next().and_then(|n| n.parse().ok()).unwrap_or(1000)),
        Some("compile") => compile::table(),
        Some("edits") => edits::table(),
        Some("nesting") => nesting::table(),
        Some("peers") => peers::table(),
        _ => {
            compile::table();
            edits::table();
            nesting::table();
            peers::table();
        }
    }
}

/// The middle of some measurements.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The exponent e of the best fit of `y = c · x^e`, by least squares over the logarithms.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / n;
    let (mx, my) = (mean(&|p| p.0), mean(&|p| p.1));
    let above: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    above / logs.iter().map(|(x, _)| (x - mx) * (x - mx)).sum::<f64>()
}

/// The most memory that a process has had, in KiB, as the kernel counts it.
fn peak_kib(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
