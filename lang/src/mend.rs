//! Mistakes into edits that were tried: what a diagnostic offers is applied, compiled, and kept only
//! if less is wrong than before.
//!
//! Nothing here knows files on a disk, or what any fix is about.

use crate::diagnostic::{Diagnostic, Fix, Severity};
use crate::program::CompileRequest;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often everything is applied and compiled again: a fix may uncover what another mends.
const MAX_ROUNDS: usize = 64;
/// How many fixes are tried one by one where all of a round together made nothing better.
const MAX_TRIES: usize = 256;

/// What became of a project.
#[derive(Clone, Debug, Default)]
pub struct Mended {
    /// The new text of each file that changed, by path.
    pub files: BTreeMap<Arc<str>, Arc<str>>,
    /// How many fixes were applied.
    pub applied: usize,
}

/// Applies the fixes of every diagnostic, again and again until nothing more gets better. The
/// workspace holds the result. Less is wrong after than before, or nothing has changed.
pub fn mend(workspace: &mut Workspace, request: &CompileRequest) -> Mended {
    let mut mended = Mended::default();
    let mut found = diagnostics(workspace, request);
    let package = workspace.snapshot().package_of();
    for _ in 0..MAX_ROUNDS {
        // What a package holds is its author's to mend.
        let mut fixes = apart(&found);
        fixes.retain(|fix| package(&fix.span.file).is_none());
        if fixes.is_empty() {
            break;
        }
        let together = Attempt { fixes: &fixes, request };
        let tried =
            together.run(workspace, &found).map(|(found, texts)| (found, texts, fixes.len()));
        let one_by_one = || {
            fixes.iter().take(MAX_TRIES).find_map(|fix| {
                let alone = Attempt { fixes: std::slice::from_ref(fix), request };
                alone.run(workspace, &found).map(|(found, texts)| (found, texts, 1))
            })
        };
        let Some((better, texts, applied)) = tried.or_else(one_by_one) else { break };
        for (path, text) in texts {
            workspace.set_file(&path, text.clone());
            mended.files.insert(path, text);
        }
        mended.applied += applied;
        found = better;
    }
    mended
}

fn diagnostics(workspace: &Workspace, request: &CompileRequest) -> Vec<Diagnostic> {
    workspace.snapshot().compile(request).diagnostics
}

/// The fixes that do not touch each other, in order of place.
fn apart(found: &[Diagnostic]) -> Vec<Fix> {
    let mut fixes: Vec<&Fix> = found.iter().filter_map(|found| found.fix.as_ref()).collect();
    fixes.sort();
    fixes.dedup();
    let mut kept: Vec<Fix> = Vec::new();
    for fix in fixes {
        let clear = kept.last().is_none_or(|last| {
            let insertion = last.span.start == fix.span.start;
            last.span.file != fix.span.file || last.span.end <= fix.span.start && !insertion
        });
        if clear {
            kept.push(fix.clone());
        }
    }
    kept
}

/// Fixes to try, apart from each other.
struct Attempt<'a> {
    fixes: &'a [Fix],
    request: &'a CompileRequest,
}

type Better = (Vec<Diagnostic>, BTreeMap<Arc<str>, Arc<str>>);

impl Attempt<'_> {
    /// What is wrong with the fixes applied, and the new texts; nothing if that is no better.
    fn run(&self, workspace: &Workspace, before: &[Diagnostic]) -> Option<Better> {
        let mut texts: BTreeMap<Arc<str>, String> = BTreeMap::new();
        // From the end, so that the places before stay what they are.
        for fix in self.fixes.iter().rev() {
            let text = match texts.remove(&fix.span.file) {
                Some(text) => text,
                None => workspace.text(&fix.span.file)?.to_string(),
            };
            let range = fix.span.start as usize..fix.span.end as usize;
            let (head, tail) = (text.get(..range.start)?, text.get(range.end..)?);
            texts.insert(fix.span.file.clone(), format!("{head}{}{tail}", fix.replacement));
        }
        let texts: BTreeMap<Arc<str>, Arc<str>> =
            texts.into_iter().map(|(path, text)| (path, text.into())).collect();
        let mut tried = workspace.clone();
        for (path, text) in &texts {
            tried.set_file(path, text.clone());
        }
        let after = diagnostics(&tried, self.request);
        (weight(&after) < weight(before)).then_some((after, texts))
    }
}

/// How bad it is, by the phase that found it: a later phase speaks only where the earlier are silent,
/// so that mending a bracket may well uncover ten wrong types.
fn weight(found: &[Diagnostic]) -> [usize; 5] {
    let mut weight = [0; 5];
    for diagnostic in found {
        let phase = match (diagnostic.severity, diagnostic.code.get(1..3)) {
            (Severity::Warning, _) => 4,
            (Severity::Error, Some("01")) => 0,
            (Severity::Error, Some("02")) => 1,
            (Severity::Error, Some("03")) => 2,
            (Severity::Error, _) => 3,
        };
        weight[phase] += 1;
    }
    weight
}
