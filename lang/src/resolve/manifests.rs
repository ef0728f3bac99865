//! `package` items as they are written: what a folder is, and what it needs.
//!
//! Their fields are plain texts, since they are read before any expression is. Nothing here knows
//! which folders there are.

use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::span::Span;
use crate::syntax::Keyword;
use crate::syntax::ast::{Expr, ExprKind, Field, ItemKind, Piece, Rel};
use crate::workspace::ParsedFile;
use std::sync::Arc;

/// The fields of a `package`.
const FIELDS: [&str; 2] = ["path", "version"];

/// A `package` item.
pub(super) struct Written {
    pub(super) name: Arc<str>,
    /// The place of its name.
    pub(super) at: Span,
    pub(super) says: Says,
}

/// What an item says of its package.
pub(super) enum Says {
    /// It is needed, and lies there.
    Needed(Text),
    /// It is this folder.
    This { version: Arc<str> },
    /// Nothing that can be used: said already.
    Nothing,
}

/// A plain text, and the place inside its quotes.
pub(super) struct Text {
    pub(super) text: Arc<str>,
    pub(super) at: Span,
}

/// The `package` items of a file.
pub(super) fn written(file: &ParsedFile, diagnostics: &mut Vec<Diagnostic>) -> Vec<Written> {
    let mut found = Vec::new();
    for parsed in &file.items {
        if parsed.text.keyword != Some(Keyword::Package) {
            continue;
        }
        let Some(item) = parsed.text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
            continue;
        };
        let ItemKind::Package { fields } = &item.kind else { continue };
        let reader = Reader { file, base: parsed.start };
        let at = reader.span(item.name.at);
        let says = reader.says(&at, fields, diagnostics);
        found.push(Written { name: item.name.text.clone(), at, says });
    }
    found
}

struct Reader<'a> {
    file: &'a ParsedFile,
    base: u32,
}

impl Reader<'_> {
    fn says(&self, item: &Span, fields: &[Field], diagnostics: &mut Vec<Diagnostic>) -> Says {
        let mut path: Option<Text> = None;
        let mut version: Option<Text> = None;
        let before = diagnostics.len();
        for field in fields {
            let Some(name) = field.path.first() else { continue };
            let at = self.span(name.at);
            let slot = match &*name.text {
                "path" => &mut path,
                "version" => &mut version,
                other => {
                    diagnostics.push(unknown_field(at, other));
                    continue;
                }
            };
            if let Some(first) = slot {
                diagnostics.push(given_twice(at, &name.text, first.at.clone()));
                continue;
            }
            match plain(&field.value) {
                Some(text) => *slot = Some(Text { text, at: self.span(field.value.at) }),
                // A value with a mistake of syntax has been reported.
                None if matches!(field.value.kind, ExprKind::Error) => return Says::Nothing,
                None => diagnostics.push(not_plain(self.span(field.value.at), &name.text)),
            }
        }
        if diagnostics.len() > before {
            return Says::Nothing;
        }
        match (path, version) {
            (Some(path), None) => Says::Needed(path),
            (None, Some(version)) if is_version(&version.text) => {
                Says::This { version: version.text }
            }
            (None, Some(version)) => {
                diagnostics.push(bad_version(version.at));
                Says::Nothing
            }
            (Some(_), Some(version)) => {
                diagnostics.push(both(version.at));
                Says::Nothing
            }
            (None, None) => {
                diagnostics.push(neither(item.clone()));
                Says::Nothing
            }
        }
    }

    fn span(&self, rel: Rel) -> Span {
        let at = |offset: u32| self.base.saturating_add(offset);
        Span { file: self.file.source.path().clone(), start: at(rel.start), end: at(rel.end) }
    }
}

/// A text without interpolations.
fn plain(value: &Expr) -> Option<Arc<str>> {
    let ExprKind::Str(pieces) = &value.kind else { return None };
    match pieces.as_slice() {
        [] => Some("".into()),
        [Piece::Text(text)] => Some(text.clone()),
        _ => None,
    }
}

/// Whether a text is a version, `1.2.0`.
fn is_version(text: &str) -> bool {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && part.len() <= 9 && (part == "0" || !part.starts_with('0'))
    };
    text.split('.').count() == 3 && text.split('.').all(number)
}

fn unknown_field(at: Span, name: &str) -> Diagnostic {
    let message = format!("a package has no field `{name}`");
    let diagnostic = Diagnostic::error("E0302", at.clone(), message).label("unknown field");
    match nearest(name, FIELDS) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(at, near),
        None => diagnostic.help(format!("its fields are: {}", FIELDS.join(", "))),
    }
}

fn given_twice(at: Span, name: &str, first: Span) -> Diagnostic {
    Diagnostic::error("E0304", at, format!("`{name}` is given twice"))
        .label("given again here")
        .also(first, "first given here")
}

fn not_plain(at: Span, name: &str) -> Diagnostic {
    Diagnostic::error("E0216", at, format!("the {name} of a package is a plain text"))
        .label("needs quotes, and nothing to work out")
        .help("packages are found before anything is evaluated")
}

fn bad_version(at: Span) -> Diagnostic {
    Diagnostic::error("E0216", at, "this is not a version")
        .label("three numbers are wanted, as in `1.2.0`")
}

fn both(at: Span) -> Diagnostic {
    Diagnostic::error("E0216", at, "the version stands in the package's own `package.berth`")
        .label("not here")
        .help("`berth.lock` pins what is used, by its digest")
}

fn neither(at: Span) -> Diagnostic {
    Diagnostic::error("E0216", at, "this package has neither a path nor a version")
        .label("says nothing")
        .help(
            "write `path: \"vendor/…\"` for a package that is needed; in a package's own \
             `package.berth`, `version: \"0.1.0\"`",
        )
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn versions_are_three_numbers() {
        assert!(is_version("0.1.0") && is_version("10.20.30"));
        for bad in ["", "1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "1..2", "v1.2.3", "1.2.3-rc"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
