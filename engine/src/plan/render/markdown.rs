//! A plan as Markdown, for a comment on the change that it comes from.
//!
//! What is destroyed and what is blocked stands in the open; everything else is folded, a resource each,
//! and left out from the end where the whole would be too long for a comment.

use std::fmt::Write as _;

use super::{Places, change_and_waves, counts, head, nodes, one_line, plural};
use crate::plan::body::{Change, PlanBody, Verb};
use crate::plan::observation::Observation;

/// Characters of a comment: GitHub refuses longer ones ("body is too long (maximum is 65536 characters)").
pub const LIMIT: usize = 65_536;
/// Of them, those kept for what says how much was left out.
const REST: usize = 512;
/// Characters of what is blocked or put off, after which it is left out.
const ASIDE: usize = 8_192;

/// The whole plan, at most [`LIMIT`] characters. `observation` tells which nodes answered.
pub fn markdown(body: &PlanBody, observation: &Observation, places: &Places) -> String {
    let mut out = String::new();
    let mut title = String::new();
    head(&mut title, body, observation);
    let _ = writeln!(out, "### {}\n", escaped(title.trim_end()));
    if body.is_empty() && body.blocked.is_empty() && body.deferred.is_empty() {
        out.push_str("Nothing to do: the nodes are what the text says.\n");
        return out;
    }
    let _ = writeln!(out, "**{}**\n", counts(body));
    destroyed(&mut out, body);
    if body.leaves_nothing() && body.steps.is_empty() {
        out.push_str("- `ledger`: all that is left\n\n");
    }
    let blocked = body.blocked.iter().map(|blocked| {
        let mut words = String::new();
        super::blocked(&mut words, body, blocked);
        words
    });
    aside(&mut out, "Blocked", blocked.collect());
    let deferred = body.deferred.iter().map(|deferred| format!("! {deferred}\n"));
    aside(&mut out, "Put off", deferred.collect());
    let mut parts: Vec<String> =
        body.changes.iter().map(|change| folded(change, body, places)).collect();
    let mut lines = String::new();
    nodes(&mut lines, body);
    if !lines.is_empty() {
        parts.push(fold("nodes and endpoints", &lines));
    }
    let mut length = out.chars().count();
    for (index, part) in parts.iter().enumerate() {
        length += part.chars().count();
        if length > LIMIT - REST {
            let more = parts.len() - index;
            let _ = writeln!(
                out,
                "_{more} more part{} of this plan would make this comment too long; `berth plan` shows all of it._",
                plural(more)
            );
            break;
        }
        out.push_str(part);
    }
    out
}

/// Every resource that goes, by name. Where even the names are too many, it says that it is no plan to
/// agree to.
fn destroyed(out: &mut String, body: &PlanBody) {
    let gone = body.changes.iter().filter(|change| matches!(change.verb, Verb::Destroy));
    let names: Vec<&str> = gone.map(|change| change.resource.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let _ = writeln!(out, "> [!CAUTION]\n> **{} destroyed:**", names.len());
    let mut length = out.chars().count();
    for (index, name) in names.iter().enumerate() {
        let line = format!("> - `{name}`\n");
        length += line.chars().count();
        if length > LIMIT - 3 * ASIDE - 2 * REST {
            let more = names.len() - index;
            let _ = writeln!(
                out,
                "> - **and {more} more, which this comment has no room to name: read `berth plan` before you agree to it**"
            );
            break;
        }
        out.push_str(&line);
    }
    out.push('\n');
}

/// Lines that stand in the open under a heading.
fn aside(out: &mut String, heading: &str, all: Vec<String>) {
    if all.is_empty() {
        return;
    }
    let (mut lines, mut length) = (String::new(), 0);
    for (index, words) in all.iter().enumerate() {
        length += words.chars().count();
        if length > ASIDE {
            let _ = writeln!(lines, "! and {} more; `berth plan` shows them", all.len() - index);
            break;
        }
        lines.push_str(words);
    }
    let _ = writeln!(out, "**{heading}**\n");
    fence(out, &lines);
    out.push('\n');
}

/// A resource's change, folded under its line.
fn folded(change: &Change, body: &PlanBody, places: &Places) -> String {
    let mut lines = String::new();
    change_and_waves(&mut lines, change, body, places);
    fold(&one_line(change), &lines)
}

fn fold(title: &str, lines: &str) -> String {
    let mut out = format!("<details><summary><code>{}</code></summary>\n\n", escaped(title));
    fence(&mut out, lines);
    out.push_str("\n</details>\n\n");
    out
}

/// Lines as a block of a difference, in a fence that nothing in them closes.
fn fence(out: &mut String, lines: &str) {
    let longest = lines.split(|c| c != '~').map(str::len).max().unwrap_or(0);
    let fence = "~".repeat(longest.max(2) + 1);
    let _ = writeln!(out, "{fence}diff\n{}\n{fence}", lines.trim_end());
}

/// Text that Markdown and HTML read as it stands.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '`' => out.push_str("&#96;"),
            '*' => out.push_str("&#42;"),
            '_' => out.push_str("&#95;"),
            '@' => out.push_str("&#64;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
