//! The files of a project as they are now, parsed once, and snapshots of them to compile.
//!
//! A file is parsed when it is set; items whose text has not changed keep their trees. Nothing here
//! follows imports: that is `resolve`'s.

use crate::check;
use crate::data;
use crate::diagnostic::Severity;
use crate::eval::{self, Evaluated};
use crate::program::{CompileRequest, Compiled, Program};
use crate::resolve::{self, Roots};
use crate::span::SourceFile;
use crate::syntax::ast::{Expr, ItemKind};
use crate::syntax::{ItemTree, Slice, SyntaxError, parse_item, split};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// The files of a project, by path. A copy shares what neither changes.
#[derive(Clone, Debug)]
pub struct Workspace {
    files: Arc<BTreeMap<Arc<str>, Arc<ParsedFile>>>,
    prelude: Arc<ParsedFile>,
}

/// A workspace at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) files: Arc<BTreeMap<Arc<str>, Arc<ParsedFile>>>,
    pub(crate) prelude: Arc<ParsedFile>,
}

/// A file cut into items, each with its tree.
#[derive(Debug)]
pub(crate) struct ParsedFile {
    pub(crate) source: SourceFile,
    pub(crate) items: Vec<ParsedItem>,
    /// What a data file says; nothing for a file of items.
    pub(crate) data: Option<Expr>,
    /// Mistakes in the cutting, placed from the file's start.
    pub(crate) errors: Vec<SyntaxError>,
}

/// A slice, and its tree if it could be parsed.
#[derive(Debug)]
pub(crate) struct ParsedItem {
    pub(crate) slice: Slice,
    pub(crate) tree: Option<Arc<ItemTree>>,
}

impl Workspace {
    /// Starts with the standard library and no files.
    pub fn new() -> Self {
        let texts: Vec<&str> = berth_stdlib::FILES.iter().map(|(_, text)| *text).collect();
        let prelude =
            ParsedFile::parse("<stdlib>/prelude.berth".into(), texts.join("\n").into(), None);
        Self { files: Arc::default(), prelude: Arc::new(prelude) }
    }

    /// Sets the text of a file, under its path from the project's root, with `/`.
    pub fn set_file(&mut self, path: &str, text: impl Into<Arc<str>>) {
        let text = text.into();
        let old = self.files.get(path);
        if old.is_some_and(|old| *old.source.text() == text) {
            return;
        }
        let path: Arc<str> = path.into();
        let parsed = ParsedFile::parse(path.clone(), text, old.map(|old| &**old));
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
        let mut wanted = BTreeSet::new();
        for file in self.files.values() {
            let trees = file.items.iter().filter_map(|item| item.tree.as_ref()?.item.as_ref());
            for item in trees {
                if matches!(item.kind, ItemKind::Data { .. }) {
                    wanted.extend(resolve::join(file.source.path(), &item.name.text));
                }
            }
        }
        wanted.retain(|path| data::is_data(path));
        wanted
    }

    /// The files as they are now; later changes do not touch it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { files: self.files.clone(), prelude: self.prelude.clone() }
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
        let (decls, mut diagnostics) = resolve::resolve(&self.prelude, &self.files, roots);
        let checked = check::check(&decls, &mut diagnostics);
        let Evaluated { resources, secrets, inputs, waived } =
            eval::evaluate(&decls, &checked, request, &mut diagnostics);
        diagnostics.sort_by(|a, b| {
            (&a.primary, a.code, &a.message).cmp(&(&b.primary, b.code, &b.message))
        });
        diagnostics.dedup();
        let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let program = (!failed).then(|| {
            let user_files = decls.files.iter().skip(1);
            let mut sources: Vec<(String, [u8; 32])> = user_files
                .map(|file| {
                    (
                        file.source.path().to_string(),
                        Sha256::digest(file.source.text().as_bytes()).into(),
                    )
                })
                .collect();
            sources.sort();
            Program { resources, secrets, waived, sources, inputs, digest: OnceLock::new() }
        });
        Compiled { program, diagnostics }
    }

    /// The same, with another text of one file.
    pub(crate) fn with_text(&self, path: &Arc<str>, text: Arc<str>) -> Self {
        let mut files = (*self.files).clone();
        let old = files.get(path).cloned();
        let parsed = ParsedFile::parse(path.clone(), text, old.as_deref());
        files.insert(path.clone(), Arc::new(parsed));
        Self { files: Arc::new(files), prelude: self.prelude.clone() }
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

impl ParsedFile {
    fn parse(path: Arc<str>, text: Arc<str>, old: Option<&ParsedFile>) -> Self {
        if data::is_data(&path) {
            let (value, errors) = data::read(&path, &text);
            let source = SourceFile::new(path, text);
            return Self { source, items: Vec::new(), data: Some(value), errors };
        }
        let known: BTreeMap<&str, &Arc<ItemTree>> = old.map(ParsedFile::trees).unwrap_or_default();
        let (slices, errors) = split(&text);
        let parse = |slice: Slice| {
            let body = text.get(slice.start as usize..slice.end as usize).unwrap_or("");
            let keyword = slice.keyword.filter(|_| !slice.broken);
            let tree = keyword.map(|keyword| {
                known
                    .get(body)
                    .map_or_else(|| Arc::new(parse_item(keyword, body)), |&tree| tree.clone())
            });
            ParsedItem { slice, tree }
        };
        let items = in_parallel(slices, parse);
        Self { source: SourceFile::new(path, text), items, data: None, errors }
    }

    fn trees(&self) -> BTreeMap<&str, &Arc<ItemTree>> {
        let text = self.source.text();
        self.items
            .iter()
            .filter_map(|item| {
                let body = text.get(item.slice.start as usize..item.slice.end as usize)?;
                Some((body, item.tree.as_ref()?))
            })
            .collect()
    }
}

/// Items below which a file is parsed by one thread.
const FEW: usize = 128;

/// Maps every element, on as many threads as the machine has; the order stays.
fn in_parallel<T: Send, U: Send>(all: Vec<T>, map: impl Fn(T) -> U + Sync) -> Vec<U> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    if all.len() < FEW || threads < 2 {
        return all.into_iter().map(map).collect();
    }
    let share = all.len().div_ceil(threads);
    let mut rest = all.into_iter();
    let mut shares = Vec::with_capacity(threads);
    loop {
        let next: Vec<T> = rest.by_ref().take(share).collect();
        if next.is_empty() {
            break;
        }
        shares.push(next);
    }
    std::thread::scope(|scope| {
        let map = &map;
        let work = |share: Vec<T>| move || share.into_iter().map(map).collect::<Vec<U>>();
        let running: Vec<_> = shares.into_iter().map(|share| scope.spawn(work(share))).collect();
        let joined = running.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    })
}
