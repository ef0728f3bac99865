//! Measures placement, beside our own naive scan and beside the usual packers; prints tables in
//! markdown, which `docs/benchmarks/scheduler.md` keeps.
//!
//! `cargo run --release -p berth-tests --example scheduler [speed|large|plans|packing]`; and, for a
//! profiler, `speed racks` or another constraint alone, `speed preemption`, or `plans 300`.

#![allow(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a measurement, not part of a plan"
)]

mod packing;
mod plans;
mod speed;

/// The one that `berth` has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let part = std::env::args().nth(1);
    if let Some(one) = std::env::args().nth(2) {
        return if part.as_deref() == Some("plans") {
            plans::row(&one)
        } else {
            speed::again(&one)
        };
    }
    let wants = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wants("speed") {
        speed::constraints();
    }
    if wants("large") {
        speed::large();
    }
    if wants("plans") {
        plans::plans();
    }
    if wants("packing") {
        packing::packing();
    }
}
