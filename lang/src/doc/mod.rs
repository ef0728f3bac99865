//! Files into a reference of what they declare: names, signatures, fields, and the comments above them.
//!
//! It reads tokens and brackets, as the formatter does, so that new syntax shows up without a change
//! here. What has a mistake of syntax is left out. Nothing here knows values.

mod html;
mod items;
mod markdown;

use crate::workspace::Snapshot;
use std::collections::BTreeMap;

/// What a project and the standard library declare.
#[derive(Clone, Debug)]
pub struct Docs {
    /// The title of the page.
    title: String,
    files: Vec<FileDoc>,
    /// Where each documented type is: its name, and the anchor of its place on the page.
    types: BTreeMap<String, String>,
}

/// A file.
#[derive(Clone, Debug)]
struct FileDoc {
    path: String,
    /// The comment at its head that no item follows.
    intro: Vec<String>,
    items: Vec<ItemDoc>,
}

/// An item.
#[derive(Clone, Debug)]
struct ItemDoc {
    keyword: String,
    name: String,
    public: bool,
    /// The lines of the comment right above it, without their `#`.
    text: Vec<String>,
    /// Its declaration, laid out; bodies of functions, bindings and resources are left out.
    signature: String,
    /// The fields of a record, the parameters of a function, the cases of an enum.
    fields: Vec<FieldDoc>,
}

/// A field, a parameter or a case.
#[derive(Clone, Debug)]
struct FieldDoc {
    name: String,
    ty: String,
    default: String,
    text: Vec<String>,
}

/// Reads what the files declare; with `library`, the standard library too. The title is the project's
/// name, or the one given where no file has a `project` item.
pub fn document(snapshot: &Snapshot, title: &str, library: bool) -> Docs {
    let sources = snapshot.sources().skip(usize::from(!library));
    let package = snapshot.package_of();
    let file = |path: &str, text: &str| {
        let mut file = items::file(path, text);
        let is_manifest = path.rsplit('/').next() == Some("package.berth");
        // Nobody outside a package sees what it keeps to itself.
        let kept = package(path).is_none();
        file.items.retain(|item| match item.keyword.as_str() {
            "package" => is_manifest,
            _ => kept || item.public,
        });
        file
    };
    let files: Vec<FileDoc> = sources.map(|source| file(source.path(), source.text())).collect();
    let mut types = BTreeMap::new();
    for item in files.iter().flat_map(|file| &file.items) {
        if matches!(item.keyword.as_str(), "type" | "enum") {
            types.insert(item.name.clone(), anchor(item));
        }
    }
    let project = files.iter().flat_map(|file| &file.items).find(|item| item.keyword == "project");
    let title = project.map_or(title, |item| &item.name).to_owned();
    let files = files.into_iter().filter(|file| !file.items.is_empty()).collect();
    Docs { title, files, types }
}

impl Docs {
    /// How many items are documented.
    pub fn len(&self) -> usize {
        self.files.iter().map(|file| file.items.len()).sum()
    }

    /// Whether there is nothing to document.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// One page that needs nothing else.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// One Markdown file.
    pub fn markdown(&self) -> String {
        markdown::page(self)
    }
}

fn anchor(item: &ItemDoc) -> String {
    format!("{}-{}", item.keyword, item.name)
}
