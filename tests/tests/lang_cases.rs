//! The language's cases: markdown in `cases/lang`, a heading a case, a fence a stage.
//!
//! ` ```berth web.berth ` is a file, ` ```data a.json ` a data file, ` ```inputs ` holds `name=value` lines, ` ```environment ` a name, ` ```now_ms ` a
//! time; ` ```diagnostics `, ` ```value `, ` ```origins `, ` ```chain ` and ` ```tests ` are what is expected. Absent stages go unchecked; `UPDATE=1` rewrites them in place.

use berth_lang::{CODES, CompileRequest, TestReport, TestRequest, Workspace};
use berth_tests::cases::{Part, parts, run_all};

/// Runs one case; rewrites its expectations, and says whether they were right.
fn run(case: &mut [Part]) -> Vec<String> {
    let mut workspace = Workspace::new();
    let mut request = CompileRequest::default();
    for part in &*case {
        let Part::Fence(fence) = part else { continue };
        if let Some(path) = fence.info.strip_prefix("berth ") {
            workspace.set_file(path, fence.body.as_str());
        }
        if let Some(path) = fence.info.strip_prefix("data ") {
            workspace.set_file(path, fence.body.as_str());
        }
        if fence.info == "environment" {
            request.environment = Some(fence.body.trim().to_owned());
        }
        if fence.info == "now_ms" {
            request.now_ms = fence.body.trim().parse().ok();
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
    let digest = |program: Option<&berth_lang::Program>| program.map(|program| program.digest());
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
            "tests" => tests(&snapshot.test(&TestRequest::default()), &snapshot),
            "origins" => fence
                .body
                .lines()
                .map(|line| {
                    let wanted = line.split(" = ").next().unwrap_or("");
                    format!("{wanted} = {}\n", origin(&compiled, &snapshot, wanted))
                })
                .collect(),
            "waived" => {
                let waived = compiled.program.iter().flat_map(|program| &program.waived);
                let line = |w: &berth_lang::Waived| {
                    format!(
                        "{} of {} until {} by {}: {} ({})\n",
                        w.policy, w.resource, w.until, w.owner, w.reason, w.message
                    )
                };
                waived.map(line).collect()
            }
            "chain" => {
                let wanted = fence.body.lines().filter(|line| !line.starts_with(' '));
                wanted.map(|wanted| chain(&compiled, &snapshot, wanted)).collect()
            }
            _ => continue,
        };
        if found != fence.body {
            wrong.push(format!("expected {}:\n{}found:\n{found}", fence.info, fence.body));
            fence.body = found;
        }
    }
    wrong
}

/// A line a test, and why it failed.
fn tests(report: &TestReport, snapshot: &berth_lang::Snapshot) -> String {
    let mut out = String::new();
    for mistake in &report.diagnostics {
        out.push_str(&mistake.render_plain(snapshot));
    }
    for test in &report.tests {
        let word = if test.failures.is_empty() { "ok  " } else { "FAIL" };
        out.push_str(&format!("{word} {}\n", test.name));
        for failure in &test.failures {
            out.push_str(&failure.render_plain(snapshot));
        }
    }
    out
}

/// The text that set a field: `web replicas`.
fn origin(
    compiled: &berth_lang::Compiled,
    snapshot: &berth_lang::Snapshot,
    wanted: &str,
) -> String {
    let (resource, path) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let resources = compiled.program.iter().flat_map(|program| &program.resources);
    let span = resources
        .filter(|found| *found.name == *resource)
        .find_map(|found| found.origins().get(path));
    let Some(span) = span else {
        return "nothing".to_owned();
    };
    let Some(file) = snapshot.file(&span.file) else {
        return span.file.to_string();
    };
    let text = file.text().get(span.start as usize..span.end as usize).unwrap_or("?");
    format!("{}:{} {text}", span.file, file.position(span.start))
}

/// Everything that set a field, the last word last.
fn chain(compiled: &berth_lang::Compiled, snapshot: &berth_lang::Snapshot, wanted: &str) -> String {
    let (resource, path) = wanted.split_once(' ').unwrap_or((wanted, ""));
    let resources = compiled.program.iter().flat_map(|program| &program.resources);
    let settings = resources
        .filter(|found| *found.name == *resource)
        .flat_map(|found| found.origins().chain(path))
        .map(|setting| {
            let place = snapshot.file(&setting.span.file).map_or_else(String::new, |file| {
                format!("{}:{}", setting.span.file, file.position(setting.span.start))
            });
            let value = setting.value.map_or_else(|| "absent".to_owned(), |value| value.to_json());
            format!("  {} {place} = {value}\n", setting.overlay.as_deref().unwrap_or("base"))
        });
    format!("{wanted}\n{}", settings.collect::<String>())
}

#[test]
fn cases_hold() {
    run_all("cases/lang", run);
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
            let snapshot = workspace.snapshot();
            let mut found = snapshot.compile(&CompileRequest::default()).diagnostics;
            let tested = snapshot.test(&TestRequest::default()).tests;
            found.extend(tested.into_iter().flat_map(|test| test.failures));
            let codes: Vec<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
            assert_eq!(codes, [*code], "{code}'s example");
        }
    }
}

/// Every code that the sources give has a page, and every page is in the list.
#[test]
fn no_code_goes_unexplained() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../lang");
    let mut given = std::collections::BTreeSet::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for quoted in text.split('"').filter(|quoted| is_code(quoted)) {
                given.insert(quoted.to_owned());
            }
        }
    }
    let pages = std::fs::read_dir(root.join("explain")).expect("the pages");
    for page in pages {
        let path = page.expect("an entry").path();
        given.insert(path.file_stem().expect("a name").to_string_lossy().into_owned());
    }
    let known: std::collections::BTreeSet<String> = CODES.iter().map(|&code| code.into()).collect();
    assert_eq!(known, given);
}

fn is_code(word: &str) -> bool {
    let digits = word.strip_prefix(['E', 'W']).unwrap_or_default();
    digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
}
