//! Which files belong to a compilation: those in the root, and whatever they import.

use crate::ids::FileId;
use crate::nearest::nearest;
use crate::syntax::Keyword;
use crate::syntax::ast::{ItemKind, Rel};
use crate::workspace::ParsedFile;
use std::collections::BTreeMap;
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
    /// Those, and every file with a test, wherever it is.
    Tests,
}

/// Where an import leads.
pub(super) enum Target {
    File(FileId),
    Missing { path: String, near: Option<String> },
    BadPath,
}

/// Follows imports from the files in the root, breadth first.
pub(super) fn follow<'s>(
    prelude: &'s ParsedFile,
    all: &'s BTreeMap<Arc<str>, Arc<ParsedFile>>,
    roots: Roots,
) -> Files<'s> {
    let tests =
        |file: &ParsedFile| file.items.iter().any(|item| item.text.keyword == Some(Keyword::Test));
    let roots = all.iter().filter(|(path, file)| {
        file.data.is_none() && !path.contains('/') || (roots == Roots::Tests && tests(file))
    });
    let mut files: Vec<&ParsedFile> =
        std::iter::once(prelude).chain(roots.map(|(_, file)| &**file)).collect();
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
            let Some(tree) = item.text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
                continue;
            };
            if !matches!(tree.kind, ItemKind::Use { .. } | ItemKind::Data { .. }) {
                continue;
            }
            let target = match join(file.source.path(), &tree.name.text) {
                None => Target::BadPath,
                Some(path) => match (known.get(path.as_str()), all.get(path.as_str())) {
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

/// The path that an import means; nothing if it is not relative, or leaves the root.
pub(crate) fn join(from: &str, import: &str) -> Option<String> {
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
