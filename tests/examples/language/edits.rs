//! One edit of a large project, from the new text to fresh diagnostics and the graph's difference.

use crate::{median, workload};
use berth_lang::{CompileRequest, Session, Workspace};
use std::time::Instant;

const ROUNDS: usize = 51;

/// A text after the edit of a round.
type Edit = fn(&str, usize) -> String;

pub(crate) fn table() {
    println!("\n## One edit, in a warm session\n");
    println!(
        "From the whole new text to diagnostics, program and graph difference; median (worst) of {ROUNDS}.\n"
    );
    println!("| edit | 1,000 services | 10,000 services | evaluated again | changed |");
    println!("|---|---|---|---|---|");
    let kinds: [(&str, Edit); 6] = [
        ("one word of one service", |text, round| {
            let from = text.len() / 2;
            let at = from + text[from..].find("registry.example.com").unwrap_or(0);
            format!("{}mirror{round}{}", &text[..at], &text[at + 8..])
        }),
        ("a mistake in one service", |text, round| {
            let from = text.len() / 2;
            let at = from + text[from..].find(", \"team-").unwrap_or(0);
            format!("{}, {round}{}", &text[..at], &text[at..])
        }),
        ("a line at the top", |text, round| format!("# {round}\n{text}")),
        ("one more service", |text, round| {
            format!("{text}service more_{round} {{ image: \"more:{round}\" }}\n")
        }),
        ("an open bracket in one service", |text, round| {
            let from = text.len() / 2;
            let at = from + text[from..].find("= app(").unwrap_or(0) + 2;
            format!("{}{}{}", &text[..at], "(".repeat(1 + round % 2), &text[at..])
        }),
        ("the template, which every service calls", |text, round| {
            text.replacen("grace: 30s", &format!("grace: {}s", 31 + round), 1)
        }),
    ];
    for (name, edit) in kinds {
        let mut row = format!("| {name} |");
        let (mut evaluated, mut changed) = (0, 0);
        for n in [1_000, 10_000] {
            let text = workload::berth(n);
            let mut workspace = Workspace::new();
            workspace.set_file("main.berth", text.as_str());
            let mut session = Session::default();
            let request = CompileRequest::default();
            session.step(&workspace.snapshot(), &request);
            let mut times = Vec::new();
            let rounds = if name.starts_with("the template") { 5 } else { ROUNDS };
            for round in 0..rounds {
                let new = edit(&text, round);
                let start = Instant::now();
                workspace.set_file("main.berth", new);
                let step = session.step(&workspace.snapshot(), &request);
                times.push(start.elapsed().as_secs_f64() * 1e3);
                evaluated = step.evaluated;
                changed = step.delta.map_or(0, |delta| delta.changed.len() + delta.removed.len());
            }
            let worst = times.iter().copied().fold(0.0, f64::max);
            row.push_str(&format!(" {:.2} ms ({worst:.2}) |", median(times)));
        }
        println!("{row} {evaluated} | {changed} |");
    }
}
