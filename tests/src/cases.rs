//! Cases as data: markdown, a heading a case, a fence a stage.
//!
//! A runner is given each case's parts, compares the stages that it knows, and puts what it found
//! into those that differ; `UPDATE=1` then rewrites the file in place.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A fence: its info string, and the lines inside it.
pub struct Fence {
    /// The words after the backticks.
    pub info: String,
    /// The lines inside.
    pub body: String,
}

/// A line of prose, or a fence.
pub enum Part {
    /// Prose.
    Line(String),
    /// A stage.
    Fence(Fence),
}

/// Cuts a text into prose and fences.
pub fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Option<Fence> = None;
    for line in text.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(info)) => Some(Fence { info: info.trim().to_owned(), body: String::new() }),
            (None, None) => {
                parts.push(Part::Line(line.to_owned()));
                None
            }
            (Some(fence), Some(_)) => {
                parts.push(Part::Fence(fence));
                None
            }
            (Some(mut fence), None) => {
                fence.body.push_str(line);
                fence.body.push('\n');
                Some(fence)
            }
        };
    }
    parts
}

/// Runs every case of a folder below the crate; `run` gives one text for each stage that differs.
///
/// # Panics
/// If a case differs and `UPDATE` is not set, or a case file cannot be read.
pub fn run_all(folder: &str, mut run: impl FnMut(&mut [Part]) -> Vec<String>) {
    let update = std::env::var_os("UPDATE").is_some();
    let mut report = String::new();
    for path in files(folder) {
        let text = std::fs::read_to_string(&path).expect("a case file");
        let mut parts = parts(&text);
        let mut heading = String::new();
        let starts: Vec<usize> = (0..parts.len())
            .filter(|&index| matches!(&parts[index], Part::Line(line) if line.starts_with("# ") || line.starts_with("## ")))
            .chain([parts.len()])
            .collect();
        for window in starts.windows(2) {
            let case = &mut parts[window[0]..window[1]];
            if let Some(Part::Line(line)) = case.first() {
                heading.clone_from(line);
            }
            for wrong in run(case) {
                let _ = writeln!(report, "{} {heading}\n{wrong}", path.display());
            }
        }
        if update {
            let mut out = String::new();
            for part in &parts {
                match part {
                    Part::Line(line) => writeln!(out, "{line}"),
                    Part::Fence(fence) => writeln!(out, "```{}\n{}```", fence.info, fence.body),
                }
                .expect("writing to a string");
            }
            if out != text {
                std::fs::write(&path, out).expect("rewriting a case file");
            }
        }
    }
    assert!(update || report.is_empty(), "{report}");
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the cases' folder");
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
}
