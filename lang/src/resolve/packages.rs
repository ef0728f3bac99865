//! Packages: the folders that a project is made of besides its own, and what each calls the others.
//!
//! A package is a folder with a `package.berth`, which says its name, its version, and which other
//! packages it needs. Folders are paths from the project's root, without `.`, and with `..` only at
//! the front. Nothing here looks at a disk: which folders are wanted, the command line asks.

use super::cycles::order;
use super::manifests::{Says, Text, Written, written};
use crate::diagnostic::Diagnostic;
use crate::ids::PackageId;
use crate::nearest::nearest;
use crate::span::Span;
use crate::workspace::ParsedFile;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The file of a folder that says which package it is.
pub(crate) const MANIFEST: &str = "package.berth";
/// Packages that a project may need, with what they need.
const MAX_PACKAGES: usize = 128;

/// The packages of a project.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    /// In the order in which they are first needed, breadth first.
    pub(crate) list: Vec<Package>,
    /// What the project's own folder is, where it is a package.
    pub(crate) own: Option<Manifest>,
    /// Which package a name means, by who needs it; nothing for one that cannot be used: said already.
    needs: BTreeMap<(Option<PackageId>, Arc<str>), Option<PackageId>>,
    folders: BTreeMap<String, PackageId>,
}

/// A folder that something needs.
#[derive(Debug)]
pub(crate) struct Package {
    /// The name by which it was first needed.
    pub(crate) name: Arc<str>,
    /// Where that stands.
    pub(crate) needed: Span,
    pub(crate) folder: String,
    /// Nothing where there is no such package.
    pub(crate) manifest: Option<Manifest>,
}

/// What a folder says that it is.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) at: Span,
}

impl Packages {
    /// Whose file a path is; nothing for the project's own.
    pub(crate) fn owner(&self, path: &str) -> Option<PackageId> {
        if self.folders.is_empty() {
            return None;
        }
        let ends = path.rmatch_indices('/').map(|(at, _)| at);
        ends.filter_map(|end| self.folders.get(path.get(..end)?)).next().copied()
    }

    /// Whether a folder is that of a package.
    pub(super) fn is_folder(&self, folder: Option<&str>) -> bool {
        folder.is_some_and(|folder| self.folders.contains_key(folder))
    }

    /// A package.
    pub(crate) fn get(&self, id: PackageId) -> Option<&Package> {
        self.list.get(id.index())
    }

    /// What a package, or the project, calls another; nothing inside if that cannot be used.
    pub(super) fn needed(&self, by: Option<PackageId>, name: &str) -> Option<Option<PackageId>> {
        self.needs.get(&(by, name.into())).copied()
    }

    /// The names that a package, or the project, may import from.
    pub(super) fn names(
        &self,
        by: Option<PackageId>,
    ) -> impl Iterator<Item = (&str, Option<PackageId>)> {
        let own = self.needs.iter().filter(move |((owner, _), _)| *owner == by);
        own.map(|((_, name), id)| (&**name, *id))
    }

    /// The path of a package's manifest.
    pub(super) fn manifest_path(&self, id: PackageId) -> Option<String> {
        self.get(id).map(|package| format!("{}/{MANIFEST}", package.folder))
    }
}

/// Finds the packages that the files in the root need, and what those need.
pub(crate) fn find(files: &BTreeMap<Arc<str>, Arc<ParsedFile>>) -> (Packages, Vec<Diagnostic>) {
    let mut finder = Finder {
        files,
        packages: Packages::default(),
        edges: Vec::new(),
        spoilt: BTreeSet::new(),
        said: Vec::new(),
    };
    let root: Vec<Written> = files
        .iter()
        .filter(|(path, file)| !path.contains('/') && file.data.is_none())
        .flat_map(|(_, file)| written(file, &mut finder.said))
        .collect();
    finder.packages.own = finder.own(&root, MANIFEST);
    let mut waiting = VecDeque::new();
    finder.needs(None, &root, &mut waiting);
    while let Some(id) = waiting.pop_front() {
        let path = finder.packages.manifest_path(id).unwrap_or_default();
        let Some(file) = files.get(path.as_str()) else { continue };
        let items = written(file, &mut finder.said);
        let own = finder.own(&items, &path);
        if !parsed(file) || items.iter().any(|item| matches!(item.says, Says::Nothing)) {
            finder.spoilt.insert(id);
        }
        if let Some(package) = finder.packages.list.get_mut(id.index()) {
            package.manifest = own;
        }
        finder.needs(Some(id), &items, &mut waiting);
    }
    finder.judge();
    finder.cut_rings();
    (finder.packages, finder.said)
}

struct Finder<'s> {
    files: &'s BTreeMap<Arc<str>, Arc<ParsedFile>>,
    packages: Packages,
    edges: Vec<Edge>,
    /// Packages whose manifests have mistakes: said already.
    spoilt: BTreeSet<PackageId>,
    said: Vec<Diagnostic>,
}

/// That somebody needs a package.
struct Edge {
    by: Option<PackageId>,
    name: Arc<str>,
    at: Span,
    path_at: Span,
    target: PackageId,
}

impl Finder<'_> {
    /// What a folder says that it is.
    fn own(&mut self, items: &[Written], manifest: &str) -> Option<Manifest> {
        let mut found: Option<Manifest> = None;
        for item in items {
            let Says::This { version } = &item.says else { continue };
            if &*item.at.file != manifest {
                self.said.push(misplaced(item.at.clone()));
                continue;
            }
            if let Some(first) = &found {
                self.said.push(twice(item.at.clone(), "there are two packages", first.at.clone()));
                continue;
            }
            let (name, at) = (item.name.clone(), item.at.clone());
            found = Some(Manifest { name, version: version.clone(), at });
        }
        found
    }

    fn needs(
        &mut self,
        by: Option<PackageId>,
        items: &[Written],
        waiting: &mut VecDeque<PackageId>,
    ) {
        let mut places: BTreeMap<&str, &Span> = BTreeMap::new();
        for item in items {
            let target = match &item.says {
                Says::This { .. } => continue,
                Says::Nothing => None,
                Says::Needed(path) => {
                    if let Some(first) = places.insert(&item.name, &item.at) {
                        let words = format!("`{}` is declared twice", item.name);
                        self.said.push(twice(item.at.clone(), &words, first.clone()));
                        continue;
                    }
                    self.need(by, item, path, waiting)
                }
            };
            self.packages.needs.entry((by, item.name.clone())).or_insert(target);
        }
    }

    fn need(
        &mut self,
        by: Option<PackageId>,
        item: &Written,
        path: &Text,
        waiting: &mut VecDeque<PackageId>,
    ) -> Option<PackageId> {
        let is_manifest = &*item.at.file == MANIFEST;
        if by.is_none() && self.packages.own.is_some() && !is_manifest {
            self.said.push(misplaced(item.at.clone()));
            return None;
        }
        let from = by.and_then(|by| self.packages.get(by)).map_or("", |by| by.folder.as_str());
        let folder = match folder(from, &path.text) {
            Ok(folder) => folder,
            Err(why) => {
                self.said.push(bad_folder(path.at.clone(), why));
                return None;
            }
        };
        let known = self.packages.folders.get(&folder).copied();
        if known.is_none() && self.packages.list.len() == MAX_PACKAGES {
            self.said.push(too_many(item.at.clone()));
            return None;
        }
        let target = known.unwrap_or_else(|| {
            let id = PackageId(self.packages.list.len() as u32);
            self.packages.folders.insert(folder.clone(), id);
            let (name, needed) = (item.name.clone(), item.at.clone());
            self.packages.list.push(Package { name, needed, folder, manifest: None });
            waiting.push_back(id);
            id
        });
        let (name, at, path_at) = (item.name.clone(), item.at.clone(), path.at.clone());
        self.edges.push(Edge { by, name, at, path_at, target });
        Some(target)
    }

    /// Compares what is needed with what is there.
    fn judge(&mut self) {
        for edge in &self.edges {
            let Some(package) = self.packages.get(edge.target) else { continue };
            let wrong = match &package.manifest {
                Some(manifest) if manifest.name == edge.name => continue,
                Some(manifest) => Some(named_otherwise(edge, manifest)),
                None => {
                    let path = format!("{}/{MANIFEST}", package.folder);
                    match self.files.get(path.as_str()) {
                        None => Some(self.not_there(edge, &package.folder)),
                        Some(_) if self.spoilt.contains(&edge.target) => None,
                        Some(_) => Some(nameless(edge, &path)),
                    }
                }
            };
            self.said.extend(wrong);
            self.packages.needs.insert((edge.by, edge.name.clone()), None);
        }
    }

    fn not_there(&self, edge: &Edge, folder: &str) -> Diagnostic {
        let message = format!("there is no package in `{folder}`");
        let at = edge.path_at.clone();
        let diagnostic = Diagnostic::error("E0216", at, message).label("no `package.berth` there");
        let manifests = self.files.keys().filter_map(|path| path.strip_suffix("/package.berth"));
        match nearest(folder, manifests) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!(
                "a package is a folder with a `package.berth` that says \
                 `package {} {{ version: \"0.1.0\" }}`",
                edge.name
            )),
        }
    }

    /// Reports packages that need each other, and forgets the need that closes each ring.
    fn cut_rings(&mut self) {
        let mut edges = vec![Vec::new(); self.packages.list.len()];
        for edge in &self.edges {
            if let Some(by) = edge.by {
                edges[by.index()].push(edge.target.index());
            }
        }
        for ring in order(&edges).rings {
            let (Some(&first), Some(&last)) = (ring.first(), ring.last()) else { continue };
            let closes = self.edges.iter().find(|edge| {
                edge.by.is_some_and(|by| by.index() == last) && edge.target.index() == first
            });
            let Some(edge) = closes else { continue };
            let name = |&index: &usize| self.packages.list.get(index).map(|each| &*each.name);
            let path: Vec<&str> = ring.iter().chain([&first]).filter_map(name).collect();
            self.said.push(ring_of(edge.at.clone(), &path));
            self.packages.needs.insert((edge.by, edge.name.clone()), None);
        }
    }
}

/// Whether every item of a file could be read.
fn parsed(file: &ParsedFile) -> bool {
    let mut trees = file.items.iter().map(|item| item.text.tree.as_ref());
    file.errors.is_empty() && trees.all(|tree| tree.is_some_and(|tree| tree.item.is_some()))
}

/// The folder that a path means, from the folder of whoever needs it.
fn folder(from: &str, path: &str) -> Result<String, &'static str> {
    if path.starts_with('/') || path.contains(['\\', ':', '\0']) {
        return Err("is relative to the folder that it is written in");
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    let path = path.strip_suffix('/').unwrap_or(path);
    for part in path.split('/') {
        match part {
            "" => return Err("has no empty parts"),
            "." => {}
            ".." => {
                if parts.last().is_none_or(|last| *last == "..") {
                    parts.push("..");
                } else {
                    parts.pop();
                }
            }
            name => parts.push(name),
        }
    }
    let found = parts.join("/");
    let holds = parts.iter().all(|part| *part == "..")
        || from == found
        || from.strip_prefix(&found).is_some_and(|rest| rest.starts_with('/'));
    if holds {
        Err("leads to another folder than the one that needs it, or one above that")
    } else {
        Ok(found)
    }
}

pub(super) fn misplaced(at: Span) -> Diagnostic {
    Diagnostic::error("E0216", at, "a package says what it is and needs in its `package.berth`")
        .label("not in this file")
        .help("move it to the file `package.berth` in the package's folder")
}

fn twice(at: Span, words: &str, first: Span) -> Diagnostic {
    Diagnostic::error("E0201", at, words)
        .label("declared again here")
        .also(first, "first declared here")
}

fn bad_folder(at: Span, why: &str) -> Diagnostic {
    Diagnostic::error("E0216", at, "this path leads to no package")
        .label(format!("the path of a package {why}"))
}

fn too_many(at: Span) -> Diagnostic {
    Diagnostic::error("E0105", at, format!("more than {MAX_PACKAGES} packages"))
        .label("this is one too many")
}

fn named_otherwise(edge: &Edge, manifest: &Manifest) -> Diagnostic {
    let message = format!("this package is called `{}`, not `{}`", manifest.name, edge.name);
    Diagnostic::error("E0216", edge.at.clone(), message)
        .label(format!("needed as `{}`", edge.name))
        .also(manifest.at.clone(), "called so by itself")
        .help("a package has one name, wherever it is needed")
}

fn nameless(edge: &Edge, path: &str) -> Diagnostic {
    Diagnostic::error(
        "E0216",
        edge.at.clone(),
        format!("`{path}` does not say which package it is"),
    )
    .label("needed here")
    .help(format!("it wants `package {} {{ version: \"0.1.0\" }}`", edge.name))
}

fn ring_of(at: Span, path: &[&str]) -> Diagnostic {
    let message = format!("these packages need each other: {}", path.join(" → "));
    Diagnostic::error("E0217", at, message)
        .label("this closes the ring")
        .help("move what both need into a third package")
}

#[cfg(test)]
mod tests {
    use super::folder;

    #[test]
    fn folders_count_from_whoever_needs_them() {
        assert_eq!(folder("", "vendor/acme").as_deref(), Ok("vendor/acme"));
        assert_eq!(folder("", "./vendor/acme/").as_deref(), Ok("vendor/acme"));
        assert_eq!(folder("", "../acme").as_deref(), Ok("../acme"));
        assert_eq!(folder("vendor/acme", "../log").as_deref(), Ok("vendor/log"));
        assert_eq!(folder("../acme", "../../log").as_deref(), Ok("../../log"));
        for bad in ["", ".", "..", "../..", "/opt/acme", "a//b", "https://x/y"] {
            assert!(folder("", bad).is_err(), "{bad}");
        }
        assert!(folder("vendor/acme", "..").is_err());
        assert!(folder("vendor/acme", "../acme").is_err());
        assert!(folder("vendor/acme", "../..").is_err());
    }
}
