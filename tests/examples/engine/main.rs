//! Measures plans that change little, and what is durable of an apply, beside Terraform where it is on the machine;
//! prints tables in markdown, which `docs/benchmarks/engine.md` keeps.
//!
//! `cargo run --release -p berth-tests --example engine [plans|durable]`

#![allow(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measurement, not part of a plan"
)]

mod durable;
mod plans;
mod terraform;

use std::time::Duration;

use berth_engine::plan::graph::Graph;
use berth_engine::run::twin::Twin;
use berth_tests::project::{self, ROLLING, image, web, with};

fn main() {
    let part = std::env::args().nth(1);
    let wants = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wants("plans") {
        plans::plans();
    }
    if wants("durable") {
        durable::durable();
    }
}

/// So many services of a replica each, on thirty large nodes; the first is of the release `first`.
fn shop(services: u32, first: char) -> Graph {
    (0..services).fold(project::fleet(30), |graph, number| {
        let letter = if number == 0 { first } else { 'a' };
        with(graph, &format!("s{number:05}"), web(image(letter), 1, ROLLING))
    })
}

/// Empty nodes with room for all of them.
fn world(graph: &Graph) -> Twin {
    let twin = Twin::new();
    for name in graph.nodes.keys() {
        twin.world().add_node(name, 512_000, 1 << 40);
    }
    twin
}

/// The middle one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
