//! The files of a project as they are now, parsed once, and snapshots of them to compile.
//!
//! A file is parsed when it is set; items whose text has not changed keep their trees and their
//! identity. Nothing here follows imports: that is `resolve`'s.

mod file;

pub(crate) use file::{Ids, ItemText, ParsedFile, ParsedItem};

use crate::check;
use crate::data;
use crate::diagnostic::Severity;
use crate::eval::{self, Evaluated, Kept, Made};
use crate::ids::{ItemId, ResourceId};
use crate::program::{CompileRequest, Compiled, Program};
use crate::resolve::{self, Roots};
use crate::span::SourceFile;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, OnceLock};

/// The files of a project, by path. A copy shares what neither changes.
#[derive(Clone, Debug)]
pub struct Workspace {
    files: Arc<BTreeMap<Arc<str>, Arc<ParsedFile>>>,
    prelude: Arc<ParsedFile>,
    ids: Ids,
}

/// The standard library, which no text changes, and the identities that it takes.
static PRELUDE: LazyLock<(Arc<ParsedFile>, Ids)> = LazyLock::new(|| {
    let texts: Vec<&str> = berth_stdlib::FILES.iter().map(|(_, text)| *text).collect();
    let mut ids = Ids::default();
    let path = "<stdlib>/prelude.berth".into();
    let prelude = ParsedFile::new(path, texts.join("\n").into(), &mut ids);
    (Arc::new(prelude), ids)
});

/// What a compilation leaves to the next.
pub(crate) struct Remains {
    /// Resources that were evaluated without a word.
    pub(crate) made: Vec<(ResourceId, Made)>,
    /// Which policies looked at which resources alone, and whether they had nothing to say.
    pub(crate) judged: Vec<(ResourceId, ItemId, bool)>,
    /// The work that was done.
    pub(crate) spent: u64,
}

/// A workspace at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) files: Arc<BTreeMap<Arc<str>, Arc<ParsedFile>>>,
    pub(crate) prelude: Arc<ParsedFile>,
    pub(crate) ids: Ids,
}

impl Workspace {
    /// Starts with the standard library and no files.
    pub fn new() -> Self {
        let (prelude, ids) = &*PRELUDE;
        Self { files: Arc::default(), prelude: prelude.clone(), ids: *ids }
    }

    /// Sets the text of a file, under its path from the project's root, with `/`.
    pub fn set_file(&mut self, path: &str, text: impl Into<Arc<str>>) {
        let text = text.into();
        let old = self.files.get(path);
        if old.is_some_and(|old| *old.source.text() == text) {
            return;
        }
        let path: Arc<str> = path.into();
        let parsed = match old {
            Some(old) => old.edited(text, &mut self.ids),
            None => ParsedFile::new(path.clone(), text, &mut self.ids),
        };
        Arc::make_mut(&mut self.files).insert(path, Arc::new(parsed));
    }

    /// The text of a file of the project.
    pub fn text(&self, path: &str) -> Option<&Arc<str>> {
        self.files.get(path).map(|file| file.source.text())
    }

    /// Forgets a file.
    pub fn remove_file(&mut self, path: &str) {
        if self.files.contains_key(path) {
            Arc::make_mut(&mut self.files).remove(path);
        }
    }

    /// The data files that the project imports, by path: what has to be set besides `.berth` files.
    pub fn data_files(&self) -> BTreeSet<String> {
        let mut wanted = resolve::data_files(&self.files);
        wanted.retain(|path| data::is_data(path));
        wanted
    }

    /// The files as they are now; later changes do not touch it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { files: self.files.clone(), prelude: self.prelude.clone(), ids: self.ids }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshot {
    /// Checks and evaluates the project: the files in its root and whatever they import.
    pub fn compile(&self, request: &CompileRequest) -> Compiled {
        self.compile_from(Roots::Project, request)
    }

    /// Checks and evaluates from some files on.
    pub(crate) fn compile_from(&self, roots: Roots, request: &CompileRequest) -> Compiled {
        self.compile_keeping(roots, request, &Kept::default()).0
    }

    /// Checks and evaluates what was not kept; gives what may be kept of it.
    pub(crate) fn compile_keeping(
        &self,
        roots: Roots,
        request: &CompileRequest,
        kept: &Kept,
    ) -> (Compiled, Remains) {
        let (decls, mut diagnostics) = resolve::resolve(self, roots);
        let checked = check::check(&decls, &mut diagnostics);
        let Evaluated { resources, made, judged, spent, secrets, inputs, waived } =
            eval::evaluate(&decls, &checked, request, kept, &mut diagnostics);
        diagnostics.sort_by(|a, b| {
            (&a.primary, a.code, &a.message).cmp(&(&b.primary, b.code, &b.message))
        });
        diagnostics.dedup();
        let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let program = (!failed).then(|| {
            let read = decls.files.iter().skip(1).map(|file| file.source.path());
            let mut files: Vec<_> = read.filter_map(|path| self.files.get(path).cloned()).collect();
            files.sort_by(|a, b| a.source.path().cmp(b.source.path()));
            Program { resources, secrets, waived, files, inputs, digest: OnceLock::new() }
        });
        (Compiled { program, diagnostics }, Remains { made, judged, spent })
    }

    /// The same, with another text of one file.
    pub(crate) fn with_text(&self, path: &Arc<str>, text: Arc<str>) -> Self {
        let mut files = (*self.files).clone();
        let mut ids = self.ids;
        let parsed = match files.get(path) {
            Some(old) => old.edited(text, &mut ids),
            None => ParsedFile::new(path.clone(), text, &mut ids),
        };
        files.insert(path.clone(), Arc::new(parsed));
        Self { files: Arc::new(files), prelude: self.prelude.clone(), ids }
    }

    /// The standard library, then every file of the project by path.
    pub fn sources(&self) -> impl Iterator<Item = &SourceFile> {
        std::iter::once(&self.prelude.source).chain(self.files.values().map(|file| &file.source))
    }

    /// A file of the project, or of the standard library where a diagnostic points there.
    pub fn file(&self, path: &str) -> Option<&SourceFile> {
        if path == &**self.prelude.source.path() {
            return Some(&self.prelude.source);
        }
        self.files.get(path).map(|file| &file.source)
    }
}
