//! Which packages a workspace needs: folders to be read, and what each says that it is.

use crate::resolve::find_packages;
use crate::span::Span;
use crate::workspace::Snapshot;

/// A package that a project needs, or that one of its packages does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededPackage {
    /// Its name, as it is first needed.
    pub name: String,
    /// Its folder from the project's root, with `/`; it may begin with `../`.
    pub folder: String,
    /// Its version, by its manifest; nothing where there is no manifest, or none that can be read.
    pub version: Option<String>,
    /// The place of its name where it is first needed.
    pub span: Span,
}

/// The name and the version of the package that a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPackage {
    /// Its name.
    pub name: String,
    /// Its version, `1.2.0`.
    pub version: String,
}

/// The standard library's files, by path, with their texts; a package like any other.
pub fn library() -> &'static [(&'static str, &'static str)] {
    berth_stdlib::FILES
}

impl Snapshot {
    /// The packages that the project needs, with what they need, each before what only it needs.
    pub fn packages(&self) -> Vec<NeededPackage> {
        let (packages, _) = find_packages(&self.files);
        let needed = packages.list.into_iter().map(|package| NeededPackage {
            name: package.name.to_string(),
            folder: package.folder,
            version: package.manifest.map(|manifest| manifest.version.to_string()),
            span: package.needed,
        });
        needed.collect()
    }

    /// What the project's own folder is, if it is a package.
    pub fn own_package(&self) -> Option<OwnPackage> {
        let own = find_packages(&self.files).0.own?;
        Some(OwnPackage { name: own.name.to_string(), version: own.version.to_string() })
    }

    /// The name of the package that a file is part of; nothing for the project's own.
    pub(crate) fn package_of(&self) -> impl Fn(&str) -> Option<String> + use<> {
        let (packages, _) = find_packages(&self.files);
        move |path| Some(packages.get(packages.owner(path)?)?.name.to_string())
    }
}
