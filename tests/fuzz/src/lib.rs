//! Bytes into projects for the fuzz targets, and what must hold of every project.
//!
//! The parser and the formatter get the bytes as they are. The checker and the evaluator get sentences
//! of the grammar that the bytes choose ([`Sentence`]), so that time goes into what comes after parsing.

mod sentence;

pub use sentence::Sentence;

use berth_lang::{CompileRequest, Compiled, Workspace};

/// Compiles one text, as a project of one file with an empty data file beside it.
pub fn compile(text: &str, request: &CompileRequest) -> Compiled {
    let mut workspace = Workspace::new();
    workspace.set_file("main.berth", text);
    workspace.snapshot().compile(request)
}

/// What does not depend on the text: every place lies within it and between characters, every
/// mistake has a page, and a program is there exactly when nothing is wrong.
pub fn sound(text: &str, compiled: &Compiled) {
    for diagnostic in &compiled.diagnostics {
        assert!(berth_lang::explain(diagnostic.code).is_some(), "{} has no page", diagnostic.code);
        for label in std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary) {
            if &*label.span.file != "main.berth" {
                continue;
            }
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            assert!(text.get(start..end).is_some(), "{start}..{end} in {} bytes", text.len());
        }
    }
    let failed = 
        compiled.diagnostics.iter().any(|found| found.severity == berth_lang::Severity::Error);
    assert_eq!(failed, compiled.program.is_none());
}

/// Everything that a compilation says, to compare.
pub fn said(compiled: &Compiled) -> String {
    let mut out = String::new();
    for diagnostic in &compiled.diagnostics {
        out.push_str(&format!("{diagnostic:?}\n"));
    }
    if let Some(program) = &compiled.program {
        out.push_str(&program.print());
    }
    out
}
