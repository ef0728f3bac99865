//! Which files belong to a compilation: those in the root, the manifests of packages, and whatever
//! they import.

use super::packages::{MANIFEST, Packages};
use crate::ids::{FileId, PackageId};
use crate::nearest::nearest;
use crate::syntax::Keyword;
use crate::syntax::ast::{ItemKind, Rel};
use crate::workspace::ParsedFile;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The files of a compilation, and the imports between them.
pub(super) struct Files<'s> {
    pub(super) files: Vec<&'s ParsedFile>,
    pub(super) imports: Vec<Import>,
}

/// A `use` whose path was looked up.
pub(super) struct Import {
    pub(super) from: FileId,
    /// The item's position in its file.
    pub(super) item: usize,
    /// The place of the path, relative to the item.
    pub(super) at: Rel,
    pub(super) target: Target,
}

/// Which files a compilation starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those in the project's root.
    Project,
    /// Those, and every file of the project with a test, wherever it is.
    Tests,
}

/// Where an import leads.
pub(super) enum Target {
    File(FileId),
    Missing { path: String, near: Option<String> },
    Bad(BadPath),
}

/// Why an import leads nowhere.
pub(super) enum BadPath {
    /// Out of the project, or to no place at all; with what was probably meant.
    NotInProject { meant: Option<String> },
    /// Out of a package.
    NotInPackage { package: String },
    /// By its path into a package, whose files are imported by its name.
    IntoPackage { package: String, write: Option<String> },
    /// From a package that nothing here needs.
    Unknown { package: String, near: Option<String>, own: Vec<String> },
    /// From a file of data of another package.
    DataOfPackage { package: String },
    /// From a package that cannot be used: said already.
    Said,
}

/// Follows imports from the files in the root, breadth first.
pub(super) fn follow<'s>(
    prelude: &'s ParsedFile,
    all: &'s BTreeMap<Arc<str>, Arc<ParsedFile>>,
    packages: &Packages,
    roots: Roots,
) -> Files<'s> {
    let tests =
        |file: &ParsedFile| file.items.iter().any(|item| item.text.keyword == Some(Keyword::Test));
    let roots = all.iter().filter(|(path, file)| {
        let tested = roots == Roots::Tests && tests(file) && packages.owner(path).is_none();
        file.data.is_none() && !path.contains('/') || tested
    });
    let ids = (0..packages.list.len()).map(|index| PackageId(index as u32));
    let manifests = ids.filter_map(|id| all.get(packages.manifest_path(id)?.as_str()));
    let mut files: Vec<&ParsedFile> = std::iter::once(prelude)
        .chain(roots.map(|(_, file)| &**file))
        .chain(manifests.map(|file| &**file))
        .collect();
    let mut known: BTreeMap<&str, FileId> = files
        .iter()
        .enumerate()
        .map(|(index, file)| (&**file.source.path(), FileId(index as u32)))
        .collect();
    let mut imports = Vec::new();
    let mut next = 1;
    while let Some(&file) = files.get(next) {
        let from = FileId(next as u32);
        next += 1;
        for (index, item) in file.items.iter().enumerate() {
            if item.text.keyword != Some(Keyword::Use) {
                continue;
            }
            let Some(tree) = item.text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
                continue;
            };
            let is_data = match &tree.kind {
                ItemKind::Use { .. } => false,
                ItemKind::Data { .. } => true,
                ItemKind::Package { .. }
                | ItemKind::Resource { .. }
                | ItemKind::Let { .. }
                | ItemKind::Input { .. }
                | ItemKind::Secret { .. }
                | ItemKind::Overlay { .. }
                | ItemKind::Environment { .. }
                | ItemKind::Policy(_)
                | ItemKind::Test(_)
                | ItemKind::Type { .. }
                | ItemKind::Enum { .. }
                | ItemKind::Fn { .. } => continue,
            };
            let path = locate(packages, file.source.path(), &tree.name.text, is_data);
            let target = match path {
                Err(why @ (BadPath::NotInProject { .. } | BadPath::Unknown { .. })) => {
                    // What is there but for its `./` is what was meant.
                    let meant = format!("./{}", tree.name.text);
                    let there = join(file.source.path(), &meant);
                    let there = there.is_some_and(|path| all.contains_key(path.as_str()));
                    let meant = there.then_some(meant);
                    Target::Bad(match meant {
                        Some(meant) => BadPath::NotInProject { meant: Some(meant) },
                        None => why,
                    })
                }
                Err(why) => Target::Bad(why),
                Ok(path) => match (known.get(path.as_str()), all.get(path.as_str())) {
                    (Some(&id), _) => Target::File(id),
                    (None, Some(found)) => {
                        let id = FileId(files.len() as u32);
                        files.push(found);
                        known.insert(found.source.path(), id);
                        Target::File(id)
                    }
                    (None, None) => {
                        let near =
                            nearest(&path, all.keys().map(|path| &**path)).map(str::to_owned);
                        Target::Missing { path, near }
                    }
                },
            };
            imports.push(Import { from, item: index, at: tree.name.at, target });
        }
    }
    Files { files, imports }
}

/// The data files that a project imports, by path.
pub(crate) fn data_files(files: &BTreeMap<Arc<str>, Arc<ParsedFile>>) -> BTreeSet<String> {
    let (packages, _) = super::packages::find(files);
    let mut wanted = BTreeSet::new();
    for file in files.values() {
        let trees = file.items.iter().filter_map(|item| item.text.tree.as_ref()?.item.as_ref());
        for item in trees {
            if matches!(item.kind, ItemKind::Data { .. }) {
                wanted.extend(locate(&packages, file.source.path(), &item.name.text, true).ok());
            }
        }
    }
    wanted
}

/// The path that an import means.
fn locate(packages: &Packages, from: &str, import: &str, data: bool) -> Result<String, BadPath> {
    let owner = packages.owner(from);
    if !(import.starts_with("./") || import.starts_with("../")) {
        return by_name(packages, owner, import, data);
    }
    let name = |id| packages.get(id).map_or_else(String::new, |package| package.name.to_string());
    // Inside a package, paths go from its folder on, so that none leads out of it.
    let folder = owner.and_then(|owner| packages.get(owner)).map(|owner| owner.folder.as_str());
    let inner = folder.and_then(|folder| from.strip_prefix(folder)?.strip_prefix('/'));
    let path = match (join(inner.unwrap_or(from), import), folder) {
        (Some(path), Some(folder)) => format!("{folder}/{path}"),
        (Some(path), None) => path,
        (None, _) => {
            return Err(match owner {
                Some(owner) => BadPath::NotInPackage { package: name(owner) },
                None => BadPath::NotInProject { meant: None },
            });
        }
    };
    match packages.owner(&path) {
        target if target == owner => Ok(path),
        None => Ok(path),
        Some(target) => {
            let known = packages.names(owner).find(|(_, id)| *id == Some(target));
            let folder = packages.get(target).map_or("", |package| &package.folder);
            let rest = path.strip_prefix(folder).unwrap_or_default();
            let write = known.map(|(name, _)| match rest.trim_start_matches('/') {
                MANIFEST => name.to_owned(),
                rest => format!("{name}/{rest}"),
            });
            Err(BadPath::IntoPackage { package: name(target), write: write.filter(|_| !data) })
        }
    }
}

/// The path that `acme` or `acme/web.berth` means.
fn by_name(
    packages: &Packages,
    owner: Option<PackageId>,
    import: &str,
    data: bool,
) -> Result<String, BadPath> {
    let (name, rest) = match import.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (import, None),
    };
    let id = match packages.needed(owner, name) {
        Some(Some(id)) => id,
        Some(None) => return Err(BadPath::Said),
        None if is_name(name) => {
            let own: Vec<&str> = packages.names(owner).map(|(name, _)| name).collect();
            let near = nearest(name, own.iter().copied()).map(str::to_owned);
            let own = own.into_iter().map(str::to_owned).collect();
            return Err(BadPath::Unknown { package: name.to_owned(), near, own });
        }
        None => return Err(BadPath::NotInProject { meant: None }),
    };
    let package = || name.to_owned();
    if data {
        return Err(BadPath::DataOfPackage { package: package() });
    }
    let Some(folder) = packages.get(id).map(|package| package.folder.as_str()) else {
        return Err(BadPath::Said);
    };
    let Some(inner) = join(MANIFEST, &format!("./{}", rest.unwrap_or(MANIFEST))) else {
        return Err(BadPath::NotInPackage { package: package() });
    };
    let path = format!("{folder}/{inner}");
    if packages.owner(&path) != Some(id) {
        let inside = packages.owner(&path).and_then(|id| packages.get(id));
        let package = inside.map_or_else(package, |inside| inside.name.to_string());
        return Err(BadPath::IntoPackage { package, write: None });
    }
    Ok(path)
}

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The path that a relative import means; nothing if it is not relative, or leaves the root.
fn join(from: &str, import: &str) -> Option<String> {
    if !(import.starts_with("./") || import.starts_with("../")) {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in import.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            "" => return None,
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn imports_are_relative_and_stay_inside() {
        assert_eq!(join("a.berth", "./lib/b.berth").as_deref(), Some("lib/b.berth"));
        assert_eq!(join("lib/b.berth", "../c.berth").as_deref(), Some("c.berth"));
        assert_eq!(join("a.berth", "../c.berth"), None);
        assert_eq!(join("a.berth", "/etc/c.berth"), None);
    }
}
