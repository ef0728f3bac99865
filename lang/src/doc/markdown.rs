//! A reference as Markdown: a section a file, a heading an item, a table of its fields.

use super::{Docs, ItemDoc, anchor};
use std::fmt::Write as _;

/// Writes the page.
pub(super) fn page(docs: &Docs) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {}\n", docs.title);
    for file in &docs.files {
        let _ = writeln!(out, "## {}\n", file.path);
        if !file.intro.is_empty() {
            let _ = writeln!(out, "{}\n", file.intro.join("\n"));
        }
        for item in &file.items {
            self::item(&mut out, item, docs);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn item(out: &mut String, item: &ItemDoc, docs: &Docs) {
    let _ = writeln!(out, "### <a id=\"{}\"></a>{} `{}`\n", anchor(item), item.keyword, item.name);
    if !item.text.is_empty() {
        let _ = writeln!(out, "{}\n", item.text.join("\n"));
    }
    let _ = writeln!(out, "```berth\n{}\n```\n", item.signature);
    let tabled = item.fields.iter().any(|field| !field.text.is_empty() || !field.ty.is_empty());
    if !tabled {
        return;
    }
    let _ = writeln!(out, "| | type | default | |\n|---|---|---|---|");
    for field in &item.fields {
        let ty = linked(&field.ty, docs);
        let default = if field.default.is_empty() { String::new() } else { code(&field.default) };
        let text = field.text.join(" ").replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {ty} | {default} | {text} |", field.name);
    }
    out.push('\n');
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// A type, with a link where all of it is one documented name.
fn linked(ty: &str, docs: &Docs) -> String {
    if ty.is_empty() {
        return String::new();
    }
    let name = ty.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    match docs.types.get(name) {
        Some(anchor) => format!("[{}](#{anchor})", code(ty)),
        None => code(ty),
    }
}
