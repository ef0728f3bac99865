//! From text to JSON in one process: how long, how much memory, and how both grow.

use crate::{exponent, median, peak_kib, workload};
use berth_lang::{CompileRequest, Workspace};
use std::process::Command;
use std::time::Instant;

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
const ROUNDS: usize = 5;

/// Compiles a text as the command line does, and gives how many bytes of JSON came out.
fn compile(text: &str) -> usize {
    let mut workspace = Workspace::new();
    // A file is read up to 16 MiB, so that a large project has several.
    let (head, services) = text.split_at(text.find("service ").unwrap_or(0));
    workspace.set_file("lib/app.berth", public(head));
    let lines: Vec<&str> = services.lines().collect();
    for (index, part) in lines.chunks(20_000).enumerate() {
        let uses = "use \"./lib/app.berth\" { app }\n";
        workspace.set_file(&format!("part{index}.berth"), format!("{uses}{}\n", part.join("\n")));
    }
    let compiled = workspace.snapshot().compile(&CompileRequest::default());
    let program = compiled.program.expect("the workload compiles");
    let mut json = String::new();
    let mut bytes = 0;
    for resource in &program.resources {
        json.clear();
        resource.write_json(&mut json);
        json.push('\n');
        bytes += json.len();
    }
    bytes
}

fn public(head: &str) -> String {
    head.replace("enum Tier", "pub enum Tier").replace("fn ", "pub fn ")
}

/// Compiles once and prints the process's peak memory, for [`table`] to read.
pub(crate) fn once(n: usize) {
    let bytes = compile(&workload::berth(n));
    println!("{bytes} {}", peak_kib("self").unwrap_or(0));
}

pub(crate) fn table() {
    println!("\n## From text to JSON, in one process\n");
    println!(
        "| services | text | JSON | median of {ROUNDS} | µs a service | peak memory of a process |"
    );
    println!("|---|---|---|---|---|---|");
    let mut points = Vec::new();
    for n in SIZES {
        let text = workload::berth(n);
        let mut bytes = 0;
        let time = median(
            (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    bytes = compile(&text);
                    start.elapsed().as_secs_f64()
                })
                .collect(),
        );
        let own = std::env::current_exe().expect("this program");
        let out = Command::new(own).args(["once", &n.to_string()]).output().expect("a run");
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        let peak: f64 = out.split_whitespace().nth(1).and_then(|k| k.parse().ok()).unwrap_or(0.0);
        println!(
            "| {n} | {:.2} MB | {:.2} MB | {:.1} ms | {:.1} | {:.0} MiB |",
            text.len() as f64 / 1e6,
            bytes as f64 / 1e6,
            time * 1e3,
            time * 1e6 / n as f64,
            peak / 1024.0
        );
        points.push((n as f64, time));
    }
    println!(
        "\nFitted exponent: {:.3} over all, {:.3} from 1,000 on.",
        exponent(&points),
        exponent(&points[1..])
    );
}
