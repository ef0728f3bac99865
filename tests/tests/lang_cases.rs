//! The language's cases: markdown in `cases/lang`, a heading a case, a fence a stage.
//!
//! ` ```berth web.berth ` is a file, ` ```inputs ` holds `name=value` lines, ` ```diagnostics ` and
//! ` ```value ` are what is expected. Absent stages go unchecked; `UPDATE=1` rewrites them in place.

use berth_lang::{CODES, CompileRequest, Workspace};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A fence: its info string, and the lines inside it.
struct Fence {
    info: String,
    body: String,
}

/// A line of prose, or a fence.
enum Part {
    Line(String),
    Fence(Fence),
}

fn parts(text: &str) -> Vec<Part> {
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

/// Runs one case; rewrites its expectations, and says whether they were right.
fn run(case: &mut [Part]) -> Vec<String> {
    let mut workspace = Workspace::new();
    let mut request = CompileRequest::default();
    for part in &*case {
        let Part::Fence(fence) = part else { continue };
        if let Some(path) = fence.info.strip_prefix("berth ") {
            workspace.set_file(path, fence.body.as_str());
        }
        if fence.info == "inputs" {
            let lines = fence.body.lines().filter_map(|line| line.split_once('='));
            request.inputs.extend(lines.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
    let snapshot = workspace.snapshot();
    let compiled = snapshot.compile(&request);
    let again = snapshot.compile(&request);
    assert_eq!(compiled.diagnostics, again.diagnostics, "the same files gave other diagnostics");
    let digest = |program: Option<&berth_lang::Program>| program.map(|program| program.digest);
    assert_eq!(digest(compiled.program.as_ref()), digest(again.program.as_ref()));
    let rendered: Vec<String> =
        compiled.diagnostics.iter().map(|diagnostic| diagnostic.render_plain(&snapshot)).collect();
    let mut wrong = Vec::new();
    for part in case {
        let Part::Fence(fence) = part else { continue };
        let found = match fence.info.as_str() {
            "diagnostics" => rendered.join("\n"),
            "value" => compiled
                .program
                .as_ref()
                .map_or_else(|| "no program\n".to_owned(), |program| program.print()),
            "origins" => fence
                .body
                .lines()
                .map(|line| {
                    let wanted = line.split(" = ").next().unwrap_or("");
                    format!("{wanted} = {}\n", origin(&compiled, &snapshot, wanted))
                })
                .collect(),
            _ => continue,
        };
        if found != fence.body {
            wrong.push(format!("expected {}:\n{}found:\n{found}", fence.info, fence.body));
            fence.body = found;
        }
    }
    wrong
}

/// The text that set a field: `web replicas`.
fn origin(
    compiled: &berth_lang::Compiled,
    snapshot: &berth_lang::Snapshot,
    wanted: &str,
) -> String {
    let (resource, path) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let resources = compiled.program.iter().flat_map(|program| &program.resources);
    let span =
        resources.filter(|found| found.name == resource).find_map(|found| found.origins.get(path));
    let Some(span) = span else {
        return "nothing".to_owned();
    };
    let Some(file) = snapshot.file(&span.file) else {
        return span.file.to_string();
    };
    let text = file.text().get(span.start as usize..span.end as usize).unwrap_or("?");
    format!("{}:{} {text}", span.file, file.position(span.start))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the cases' folder");
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
}

#[test]
fn cases_hold() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut report = String::new();
    for path in files("cases/lang") {
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

/// A page per code: it says something, and its example (if it has one) yields that code.
#[test]
fn pages_explain_every_code() {
    for code in CODES {
        let page = berth_lang::explain(code).expect("a page");
        assert!(page.starts_with(&format!("# {code}")), "{code}'s page starts with its code");
        let mut workspace = Workspace::new();
        let mut sources = 0;
        for part in parts(page) {
            let Part::Fence(fence) = part else { continue };
            if let Some(path) = fence.info.strip_prefix("berth ") {
                workspace.set_file(path, fence.body);
                sources += 1;
            }
        }
        if sources > 0 {
            let found = workspace.snapshot().compile(&CompileRequest::default()).diagnostics;
            let codes: Vec<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
            assert_eq!(codes, [*code], "{code}'s example");
        }
    }
}
