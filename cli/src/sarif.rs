//! Diagnostics as SARIF 2.1.0, the format that code hosts read: a rule a code, with its page; a result
//! a mistake, with its second place and its fix; a breach that is waived is a result with a suppression.
//!
//! Columns count characters, and the file says so (`columnKind`). Paths are relative to the project.

use std::collections::BTreeSet;

use berth_lang::{Diagnostic, Label, Severity, Snapshot, Span, Waived};
use serde_json::{Value, json};

/// The code of a breach of a policy.
const BREACH: &str = "E0409";

/// Prints every diagnostic, and what a waiver lets pass.
pub(crate) fn print(diagnostics: &[Diagnostic], waived: &[Waived], snapshot: &Snapshot) -> String {
    let codes: BTreeSet<&str> =
        diagnostics.iter().map(|found| found.code).chain(waived.iter().map(|_| BREACH)).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let found = diagnostics.iter().map(|found| result(found, &codes, snapshot));
    let suppressed = waived.iter().map(|waived| suppressed(waived, &codes, snapshot));
    let results: Vec<Value> = found.chain(suppressed).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "berth",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": { "PROJECT": {
                "description": { "text": "The folder of the Berth project." },
            } },
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).map_or_else(|error| error.to_string(), |text| text + "\n")
}

fn rule(code: &str) -> Value {
    let page = berth_lang::explain(code).or_else(|| berth_engine::plan::explain::explain(code));
    let page = page.unwrap_or(code);
    let title = page.lines().next().unwrap_or(code);
    let title = title.trim_start_matches("# ").trim_start_matches(code).trim_start_matches(": ");
    json!({
        "id": code,
        "shortDescription": { "text": title },
        "help": { "text": page, "markdown": page },
    })
}

fn result(diagnostic: &Diagnostic, codes: &[&str], snapshot: &Snapshot) -> Value {
    let Diagnostic { severity, code, message, primary, secondary, help, fix } = diagnostic;
    let text = match help {
        Some(help) => format!("{message}\n{help}"),
        None => message.clone(),
    };
    let mut result = json!({
        "ruleId": code,
        "ruleIndex": codes.iter().position(|known| known == code),
        "level": match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": { "text": text },
        "locations": [location(primary, snapshot)],
    });
    if let Some(secondary) = secondary {
        result["relatedLocations"] = json!([location(secondary, snapshot)]);
    }
    if let Some(fix) = fix {
        result["fixes"] = json!([{
            "description": { "text": help.clone().unwrap_or_else(|| "write this instead".to_owned()) },
            "artifactChanges": [{
                "artifactLocation": artifact(&fix.span.file),
                "replacements": [{
                    "deletedRegion": region(&fix.span, snapshot),
                    "insertedContent": { "text": fix.replacement },
                }],
            }],
        }]);
    }
    result
}

fn suppressed(waived: &Waived, codes: &[&str], snapshot: &Snapshot) -> Value {
    let Waived { policy, resource, message, until, owner, reason, span } = waived;
    let location = json!({ "physicalLocation": {
        "artifactLocation": artifact(&span.file),
        "region": region(span, snapshot),
    } });
    json!({
        "ruleId": BREACH,
        "ruleIndex": codes.iter().position(|known| *known == BREACH),
        "level": "error",
        "message": { "text": message },
        "locations": [location],
        "suppressions": [{
            "kind": "inSource",
            "status": "accepted",
            "justification": format!("{reason} (until {until}, by {owner})"),
            "location": location,
        }],
        "properties": { "policy": policy, "resource": resource },
    })
}

fn location(label: &Label, snapshot: &Snapshot) -> Value {
    let mut location = json!({ "physicalLocation": {
        "artifactLocation": artifact(&label.span.file),
        "region": region(&label.span, snapshot),
    } });
    if !label.text.is_empty() {
        location["message"] = json!({ "text": label.text });
    }
    location
}

fn region(span: &Span, snapshot: &Snapshot) -> Value {
    let Some(file) = snapshot.file(&span.file) else {
        return json!({ "byteOffset": span.start, "byteLength": span.end - span.start });
    };
    let (start, end) = (file.position(span.start), file.position(span.end));
    json!({
        "startLine": start.line, "startColumn": start.column,
        "endLine": end.line, "endColumn": end.column,
        "byteOffset": span.start, "byteLength": span.end - span.start,
    })
}

/// A file as a URI: relative to the project, or a name of its own for the standard library's.
fn artifact(path: &str) -> Value {
    match path.strip_prefix("<stdlib>/") {
        Some(name) => json!({ "uri": format!("berth-stdlib:{}", escaped(name)) }),
        None => json!({ "uri": escaped(path), "uriBaseId": "PROJECT" }),
    }
}

/// Percent-encodes what a path of a URI cannot hold (RFC 3986, `pchar` and `/`).
fn escaped(path: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
