//! The mistakes that resolving finds, in words.

use super::decls::Decls;
use super::imports::BadPath;
use super::packages::misplaced;
use super::ty::Bound;
use crate::diagnostic::Diagnostic;
use crate::ids::{FileId, Loc, PRELUDE};
use crate::nearest::nearest;
use crate::syntax::ast::ItemKind;

impl Decls<'_> {
    /// Two items of one name.
    pub(super) fn duplicate(&self, name: &str, first: Loc, second: Loc) -> Diagnostic {
        Diagnostic::error("E0201", self.span(second), format!("`{name}` is declared twice"))
            .label("declared again here")
            .also(self.span(first), "first declared here")
    }

    /// A second `project`.
    pub(super) fn second_project(&self, first: Loc, second: Loc) -> Diagnostic {
        Diagnostic::error("E0201", self.span(second), "there are two projects")
            .label("declared again here")
            .also(self.span(first), "first declared here")
    }

    /// A resource below the project's root.
    pub(super) fn misplaced_resource(&self, name: &str, at: Loc) -> Diagnostic {
        Diagnostic::error("E0209", self.span(at), format!("`{name}` is a resource in a sub-folder"))
            .label("resources belong in a file in the project's root")
            .help("make it a `pub fn` or `pub let` that a file in the root uses")
    }

    /// An imported file that is not there.
    pub(super) fn missing_file(&self, at: Loc, path: &str, near: Option<&str>) -> Diagnostic {
        let diagnostic =
            Diagnostic::error("E0204", self.span(at), format!("there is no file `{path}`"))
                .label("not found in the project");
        match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        }
    }

    /// `use "./sizes.json" { a }`.
    pub(super) fn items_of_data(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0204", self.span(at), "this file holds data, not items")
            .label("has no names to import")
            .help("write `use \"…\" as NAME: TYPE`")
    }

    /// `use "./sizes.berth" as sizes: Int`.
    pub(super) fn data_of_items(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0204", self.span(at), "this file holds items, not data")
            .label("has no value of its own")
            .help("write `use \"…\" { NAME }`")
    }

    /// An import that leads nowhere it may; nothing where that was said already.
    pub(super) fn bad_path(&self, at: Loc, why: &BadPath) -> Option<Diagnostic> {
        let error = |code, message: String| Diagnostic::error(code, self.span(at), message);
        Some(match why {
            BadPath::Said => return None,
            BadPath::NotInProject { meant } => {
                let diagnostic =
                    error("E0204", "this path does not lead to a file of the project".into())
                        .label("must start with `./` or `../`, or with a package's name");
                match meant {
                    Some(meant) => diagnostic
                        .help(format!("did you mean `{meant}`?"))
                        .fix(self.span(at), format!("\"{meant}\"")),
                    None => diagnostic.help(
                        "imports are relative to the file that they stand in, and stay inside the project",
                    ),
                }
            }
            BadPath::NotInPackage { package } => {
                error("E0204", format!("this path leads out of the package `{package}`"))
                    .label("a package reads only files of its own folder")
                    .help("take what it needs as a parameter, or need another package")
            }
            BadPath::IntoPackage { package, write } => {
                let message = format!("this file is part of the package `{package}`");
                let diagnostic = error("E0204", message).label("a package is imported by its name");
                match write {
                    Some(write) => diagnostic
                        .help(format!("write `\"{write}\"`"))
                        .fix(self.span(at), format!("\"{write}\"")),
                    None => diagnostic,
                }
            }
            BadPath::Unknown { package, near, own } => {
                let diagnostic = error("E0215", format!("there is no package `{package}`"))
                    .label("nothing here is called so");
                match near {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None if own.is_empty() => diagnostic.help(format!(
                        "write `package {package} {{ path: \"vendor/{package}\" }}`, or start with \
                         `./` for a file of the project",
                    )),
                    None => diagnostic.help(format!("the packages here are: {}", own.join(", "))),
                }
            }
            BadPath::DataOfPackage { package } => {
                error("E0206", format!("this file of data is private to the package `{package}`"))
                    .label("only items can be taken from a package")
                    .help("the package can offer it, by `pub use \"./…\" as NAME: TYPE`")
            }
        })
    }

    /// A `package` item in another file than those that are looked at.
    pub(super) fn misplaced_package(&self, at: Loc) -> Diagnostic {
        misplaced(self.span(at))
    }

    /// What a file of a package holds that only a project can have; nothing for everything else.
    pub(super) fn foreign(&self, file: FileId, kind: &ItemKind) -> Option<&'static str> {
        let package = self.owner(file).is_some() || self.packages.own.is_some() && file != PRELUDE;
        let what = match kind {
            ItemKind::Resource { .. } => "a resource",
            ItemKind::Input { .. } => "an input",
            ItemKind::Secret { .. } => "a secret",
            ItemKind::Overlay { .. } => "an overlay",
            ItemKind::Environment { .. } => "an environment",
            ItemKind::Use { .. }
            | ItemKind::Data { .. }
            | ItemKind::Package { .. }
            | ItemKind::Let { .. }
            | ItemKind::Policy(_)
            | ItemKind::Test(_)
            | ItemKind::Type { .. }
            | ItemKind::Enum { .. }
            | ItemKind::Fn { .. } => return None,
        };
        package.then_some(what)
    }

    /// An item of a package that only a project can have.
    pub(super) fn not_in_package(&self, name: &str, what: &str, at: Loc) -> Diagnostic {
        let message = format!("`{name}` is {what}, and a package has none");
        Diagnostic::error("E0218", self.span(at), message)
            .label("only a project can have it")
            .help("offer a `pub fn` that takes or gives it, and let the project declare it")
    }

    /// An imported name that the file does not declare.
    pub(super) fn missing_import(
        &self,
        at: Loc,
        name: &str,
        path: &str,
        near: Option<&str>,
    ) -> Diagnostic {
        let diagnostic =
            Diagnostic::error("E0205", self.span(at), format!("`{path}` declares no `{name}`"))
                .label("not there");
        match near {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(self.span(at), near)
            }
            None => diagnostic,
        }
    }

    /// An imported name that is not `pub`.
    pub(super) fn private_import(
        &self,
        at: Loc,
        name: &str,
        file: FileId,
        declared: Loc,
        insert: Option<Loc>,
    ) -> Diagnostic {
        let path = self.files.get(file.0 as usize).map_or("?", |file| file.source.path());
        let diagnostic =
            Diagnostic::error("E0206", self.span(at), format!("`{name}` of `{path}` is not `pub`"))
                .also(self.span(declared), "declared here");
        match insert {
            Some(insert) => diagnostic.label("private to its file").fix(self.span(insert), "pub "),
            None => diagnostic
                .label("private to its package")
                .help("a package offers what it marks `pub`, and nothing else"),
        }
    }

    /// Files that import each other in a ring.
    pub(super) fn import_cycle(&self, at: Loc, path: &[String]) -> Diagnostic {
        Diagnostic::error(
            "E0207",
            self.span(at),
            format!("these files import each other: {}", ring(path)),
        )
        .label("this import closes the ring")
        .help("move what both need into a third file")
    }

    /// Items that need each other in a ring.
    pub(super) fn cycle(&self, at: Loc, what: &str, path: &[String]) -> Diagnostic {
        let message = match path {
            [only, _] => format!("`{only}` needs itself"),
            _ => format!("these {what} need each other: {}", ring(path)),
        };
        Diagnostic::error("E0208", self.span(at), message)
            .label("part of the ring")
            .help("the language has no recursion: every evaluation ends")
    }

    /// Aliases of aliases, or refinements of refinements, beyond the limit.
    pub(super) fn too_refined(&self, at: Loc, limit: usize) -> Diagnostic {
        Diagnostic::error(
            "E0105",
            self.span(at),
            format!("more than {limit} types stand on each other"),
        )
        .label("this is one too many")
    }

    /// An enum, or a `match`, beyond the limit.
    pub(crate) fn too_many_cases(&self, at: Loc, limit: usize) -> Diagnostic {
        Diagnostic::error("E0105", self.span(at), format!("more than {limit} cases"))
            .label("this is one too many")
    }

    /// A type that nothing declares.
    pub(super) fn unknown_type(&self, at: Loc, name: &str, near: Option<&str>) -> Diagnostic {
        let diagnostic =
            Diagnostic::error("E0203", self.span(at), format!("there is no type `{name}`"))
                .label("unknown type");
        match near {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(self.span(at), near)
            }
            None => diagnostic,
        }
    }

    /// A bound that nothing declares.
    pub(super) fn unknown_bound(&self, at: Loc, name: &str) -> Diagnostic {
        let names = Bound::ALL.map(|(name, _)| name);
        let diagnostic =
            Diagnostic::error("E0203", self.span(at), format!("there is no bound `{name}`"))
                .label("unknown bound");
        match nearest(name, names) {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(self.span(at), near)
            }
            None => diagnostic.help(format!("the bounds are: {}", names.join(", "))),
        }
    }

    /// A type parameter inside a record type.
    pub(super) fn generic_in_record(&self, at: Loc, name: &str) -> Diagnostic {
        let message = format!("the type parameter `{name}` cannot stand inside a record's type");
        Diagnostic::error("E0212", self.span(at), message)
            .label("records have no type parameters")
            .help("take the record's parts as parameters of their own")
    }

    /// `Port<Int>`.
    pub(super) fn takes_no_types(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0203", self.span(at), format!("`{name}` takes no type in `<…>`"))
            .label("only `Secret<…>` does")
    }

    /// An overlay that nothing declares.
    pub(crate) fn unknown_overlay(&self, at: Loc, name: &str, near: Option<&str>) -> Diagnostic {
        let diagnostic =
            Diagnostic::error("E0213", self.span(at), format!("there is no overlay `{name}`"))
                .label("unknown overlay");
        match near {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).fix(self.span(at), near)
            }
            None => diagnostic,
        }
    }

    /// A value where a type is wanted.
    pub(super) fn not_a_type(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0203", self.span(at), format!("`{name}` is not a type"))
            .label("a type is wanted here")
    }
}

/// The most names of a ring that are written out.
const MAX_RING: usize = 64;

/// A ring in words; of one that nobody would read, both ends.
fn ring(path: &[String]) -> String {
    match path {
        [first @ .., last] if path.len() > MAX_RING => {
            let shown = first.get(..MAX_RING / 2).unwrap_or_default().join(" → ");
            let left = first.len() - MAX_RING / 2;
            format!("{shown} → … {left} more … → {last}")
        }
        path => path.join(" → "),
    }
}
