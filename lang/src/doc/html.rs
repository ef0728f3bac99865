//! A reference as one HTML page that needs nothing else: no script but a filter, no font, no network.

use super::{Docs, ItemDoc, anchor};
use crate::fmt::{Kind, pieces};
use crate::syntax::is_keyword;
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");
const FILTER: &str = include_str!("page.js");

/// Writes the page.
pub(super) fn page(docs: &Docs) -> String {
    let mut out = String::new();
    let title = escaped(&docs.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    navigation(&mut out, docs);
    let _ = writeln!(out, "<main>\n<h1>{title}</h1>");
    for file in &docs.files {
        let _ = writeln!(out, "<section>\n<h2>{}</h2>", escaped(&file.path));
        paragraphs(&mut out, &file.intro, docs);
        for item in &file.items {
            article(&mut out, item, docs);
        }
        out.push_str("</section>\n");
    }
    let _ = write!(out, "</main>\n<script>\n{FILTER}</script>\n</body>\n</html>\n");
    out
}

fn navigation(out: &mut String, docs: &Docs) {
    out.push_str(
        "<nav>\n<input type=\"search\" id=\"filter\" placeholder=\"Filter\" aria-label=\"Filter the names\">\n",
    );
    for file in &docs.files {
        let _ = writeln!(out, "<h2>{}</h2>\n<ul>", escaped(&file.path));
        for item in &file.items {
            let _ = writeln!(
                out,
                "<li><a href=\"#{}\"><small>{}</small> {}</a></li>",
                escaped(&anchor(item)),
                escaped(&item.keyword),
                escaped(&item.name)
            );
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</nav>\n");
}

fn article(out: &mut String, item: &ItemDoc, docs: &Docs) {
    let id = escaped(&anchor(item));
    let _ = writeln!(
        out,
        "<article id=\"{id}\">\n<h3><small>{}</small> <a href=\"#{id}\">{}</a>{}</h3>",
        escaped(&item.keyword),
        escaped(&item.name),
        if item.public { " <em>pub</em>" } else { "" }
    );
    paragraphs(out, &item.text, docs);
    let _ = writeln!(out, "<pre><code>{}</code></pre>", code(&item.signature, docs));
    if item.fields.iter().any(|field| !field.text.is_empty()) {
        out.push_str("<dl>\n");
        for field in item.fields.iter().filter(|field| !field.text.is_empty()) {
            let ty = code(&field.ty, docs);
            let _ = write!(out, "<dt><code>{}</code> <code>{ty}</code>", escaped(&field.name));
            if !field.default.is_empty() {
                let _ = write!(
                    out,
                    " <small>default</small> <code>{}</code>",
                    code(&field.default, docs)
                );
            }
            let _ = writeln!(out, "</dt>\n<dd>{}</dd>", prose(&field.text.join(" "), docs));
        }
        out.push_str("</dl>\n");
    }
    out.push_str("</article>\n");
}

/// Lines of comments into paragraphs; an empty line parts two.
fn paragraphs(out: &mut String, lines: &[String], docs: &Docs) {
    for paragraph in lines.split(|line| line.trim().is_empty()).filter(|lines| !lines.is_empty()) {
        let _ = writeln!(out, "<p>{}</p>", prose(&paragraph.join(" "), docs));
    }
}

/// Words with `code` between backticks.
fn prose(text: &str, docs: &Docs) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 0 {
            out.push_str(&escaped(part));
        } else {
            let _ = write!(out, "<code>{}</code>", code(part, docs));
        }
    }
    out
}

/// Source text, with its words marked and its types linked.
fn code(text: &str, docs: &Docs) -> String {
    let mut out = String::new();
    let mut end = 0;
    for (index, piece) in pieces(text).iter().enumerate() {
        let between = text.get(end..piece.start).unwrap_or("");
        comments(&mut out, between);
        let words = escaped(piece.text);
        let declares = index < 2 && (piece.text == "pub" || is_keyword(piece.text));
        match (piece.kind, docs.types.get(piece.text)) {
            (Kind::Word, Some(anchor)) => {
                let _ = write!(out, "<a class=t href=\"#{}\">{words}</a>", escaped(anchor));
            }
            (Kind::Word, None) if declares => {
                let _ = write!(out, "<b>{words}</b>");
            }
            (Kind::Keyword, _) => {
                let _ = write!(out, "<b>{words}</b>");
            }
            (Kind::Str, _) => {
                let _ = write!(out, "<span class=s>{words}</span>");
            }
            (Kind::Number, _) => {
                let _ = write!(out, "<span class=n>{words}</span>");
            }
            (
                Kind::Word
                | Kind::Open(_)
                | Kind::Close(_)
                | Kind::Comma
                | Kind::Colon
                | Kind::Symbol,
                _,
            ) => out.push_str(&words),
        }
        end = piece.start + piece.text.len();
    }
    comments(&mut out, text.get(end..).unwrap_or(""));
    out
}

/// What stands between two tokens.
fn comments(out: &mut String, text: &str) {
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        match line.split_once('#') {
            Some((blanks, comment)) => {
                let _ = write!(out, "{blanks}<span class=c>#{}</span>", escaped(comment));
            }
            None => out.push_str(line),
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
