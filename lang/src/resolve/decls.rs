//! The tables of declarations that checking and evaluating read.

use super::packages::Packages;
use super::ty::{Ty, TypeParam};
use crate::builtin::Builtin;
use crate::ids::{
    DefaultId, FileId, FnId, InputId, ItemId, LetId, Loc, OverlayId, PRELUDE, PackageId,
    ResourceId, SecretId, TypeId,
};
use crate::places::Places;
use crate::program::ResourceKind;
use crate::span::{SourceFile, Span};
use crate::syntax::Keyword;
use crate::syntax::ast::{Expr, Field, Key, Name, Policy, Rel, Rule, Test};
use crate::workspace::ParsedFile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// An item and the file whose names it sees; turns ranges relative to it into places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site {
    pub(crate) file: FileId,
    pub(crate) item: ItemId,
}

impl Site {
    /// The place of a range of the item.
    pub(crate) fn loc(self, rel: Rel) -> Loc {
        Loc { item: self.item, start: rel.start, end: rel.end }
    }
}

/// Every declaration of a compilation.
pub(crate) struct Decls<'s> {
    /// By [`FileId`]; the prelude first.
    pub(crate) files: Vec<&'s ParsedFile>,
    pub(crate) places: Arc<Places>,
    /// Whose each file is, by [`FileId`]; nothing for the project's own.
    pub(crate) owners: Vec<Option<PackageId>>,
    pub(crate) packages: Packages,
    /// How often a name was looked for among all that are visible.
    pub(crate) guesses: Guesses,
    /// By [`FileId`].
    pub(crate) scopes: Vec<BTreeMap<Arc<str>, Entry>>,
    /// Resources and secrets of the project, visible everywhere in it.
    pub(crate) project: Shared,
    pub(crate) types: Vec<TypeDecl<'s>>,
    pub(crate) lets: Vec<LetDecl<'s>>,
    pub(crate) fns: Vec<FnDecl<'s>>,
    pub(crate) inputs: Vec<InputDecl<'s>>,
    pub(crate) secrets: Vec<SecretDecl<'s>>,
    pub(crate) overlays: Vec<OverlayDecl<'s>>,
    pub(crate) environments: Vec<EnvironmentDecl<'s>>,
    pub(crate) policies: Vec<PolicyDecl<'s>>,
    pub(crate) tests: Vec<TestDecl<'s>>,
    pub(crate) resources: Vec<ResourceDecl<'s>>,
    /// The rows of the resources by kind, and by name within a kind.
    pub(crate) order: Vec<usize>,
    /// By [`ResourceId`]: the row among the resources.
    pub(crate) rows: Vec<u32>,
    pub(crate) defaults: Vec<DefaultDecl<'s>>,
    /// The types of local bindings, by their item and their position in it.
    pub(crate) local_types: BTreeMap<(Site, usize), Ty>,
    /// Lets in an order in which each comes after those that it reads.
    pub(crate) let_order: Vec<LetId>,
}

/// Names that every file of the project sees, in order.
#[derive(Debug, Default)]
pub(crate) struct Shared(Vec<(Arc<str>, Entry)>);

impl Shared {
    /// Adds a name after all that come before it.
    pub(crate) fn add(&mut self, name: Arc<str>, entry: Entry) {
        self.0.push((name, entry));
    }

    fn get(&self, name: &str) -> Option<&Entry> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        self.0.get(at).map(|(_, entry)| entry)
    }
}

/// A name of a scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) def: Def,
    pub(crate) public: bool,
    pub(crate) at: Loc,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Def {
    Type(TypeId),
    Let(LetId),
    Fn(FnId),
    Input(InputId),
    Secret(SecretId),
    Resource(ResourceId),
    /// An item that did not parse, or an import that was not found: said already.
    Broken,
}

/// A type that was declared, or written in place.
pub(crate) struct TypeDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) body: TypeBody<'s>,
}

/// What a type is made of.
pub(crate) enum TypeBody<'s> {
    Record(Vec<FieldTy>),
    Enum(Vec<CaseTy>),
    Alias(Ty),
    Refined {
        base: Ty,
        rule: &'s Rule,
        site: Site,
    },
    /// Part of a cycle: said already.
    Broken,
}

/// A field of a record, or a parameter of a case or of a function.
#[derive(Clone)]
pub(crate) struct FieldTy {
    pub(crate) name: Arc<str>,
    pub(crate) ty: Ty,
    pub(crate) at: Loc,
    pub(crate) default: Option<DefaultId>,
}

/// A case of an enum.
pub(crate) struct CaseTy {
    pub(crate) name: Arc<str>,
    pub(crate) params: Vec<FieldTy>,
}

/// A default and the type that it must have.
pub(crate) struct DefaultDecl<'s> {
    pub(crate) expr: &'s Expr,
    pub(crate) site: Site,
    pub(crate) ty: Ty,
}

/// A `let`.
pub(crate) struct LetDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) ty: Option<(Ty, Loc)>,
    pub(crate) value: &'s Expr,
    /// Part of a cycle: said already.
    pub(crate) cyclic: bool,
}

/// A `fn`.
pub(crate) struct FnDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) generics: Vec<Arc<TypeParam>>,
    /// Where each type parameter stands.
    pub(crate) generics_at: Vec<Loc>,
    pub(crate) params: Vec<FieldTy>,
    pub(crate) result: Ty,
    pub(crate) result_at: Loc,
    pub(crate) body: &'s Expr,
    /// The evaluator's own function, in the place of the body.
    pub(crate) builtin: Option<Builtin>,
    /// Part of a cycle: said already.
    pub(crate) cyclic: bool,
}

/// An `input`.
pub(crate) struct InputDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) ty: Ty,
    pub(crate) default: Option<&'s Expr>,
}

/// A `secret`: its name, and where what it holds is kept.
pub(crate) struct SecretDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) source: &'s Expr,
}

/// An `overlay`.
pub(crate) struct OverlayDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    /// The overlay that comes before it, as written.
    pub(crate) on: Option<&'s Name>,
    /// The same, found; nothing too where it was not, or where it would close a ring.
    pub(crate) base: Option<OverlayId>,
    pub(crate) fields: &'s [Field],
}

/// An `environment`.
pub(crate) struct EnvironmentDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    /// The input that its name goes on with: `preview[branch]`.
    pub(crate) key: Option<&'s Name>,
    pub(crate) fields: &'s [Field],
}

/// A `policy`.
pub(crate) struct PolicyDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) policy: &'s Policy,
    pub(crate) public: bool,
    /// Whether it is asked: a package's only where the project imports it.
    pub(crate) asked: bool,
}

/// A `test`.
pub(crate) struct TestDecl<'s> {
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) test: &'s Test,
}

/// A resource, keyed or not.
pub(crate) struct ResourceDecl<'s> {
    pub(crate) id: ResourceId,
    pub(crate) kind: ResourceKind,
    pub(crate) name: Arc<str>,
    pub(crate) at: Loc,
    pub(crate) site: Site,
    pub(crate) key: Option<&'s Key>,
    pub(crate) body: &'s Expr,
}

/// Counts the names that guesses at what was meant have looked at, so that a large text of nothing but
/// mistakes gets a few of them.
#[derive(Debug, Default)]
pub(crate) struct Guesses(AtomicU32);

/// The most names that guesses look at in one compilation: a guess is made while fewer were.
const MAX_GUESSED: u32 = 1_000_000;

impl Guesses {
    /// Whether one more may be made, that looks at so many names.
    fn one_more(&self, names: usize) -> bool {
        let names = u32::try_from(names).unwrap_or(MAX_GUESSED);
        let looked = self.0.load(Ordering::Relaxed);
        self.0.store(looked.saturating_add(names), Ordering::Relaxed);
        looked < MAX_GUESSED
    }
}

impl<'s> Decls<'s> {
    /// What a name stands for in a file: its own items and imports, the project's resources (except in
    /// a package), the prelude.
    pub(crate) fn lookup(&self, file: FileId, name: &str) -> Option<Def> {
        let own = self.scope(file).and_then(|scope| scope.get(name));
        let entry =
            own.or_else(|| self.shared(file)?.get(name)).or_else(|| self.scope(PRELUDE)?.get(name));
        entry.map(|entry| entry.def)
    }

    /// The row of a resource.
    pub(crate) fn row(&self, id: ResourceId) -> usize {
        self.rows[id.index()] as usize
    }

    /// The declaration of a resource.
    pub(crate) fn resource(&self, id: ResourceId) -> &ResourceDecl<'s> {
        &self.resources[self.row(id)]
    }

    /// What a file itself declares, or imports, under a name.
    pub(crate) fn own(&self, file: FileId, name: &str) -> Option<&Entry> {
        let here = |entry: &&Entry| self.places.base(entry.at.item).0 == file;
        let scope = self.scope(file).and_then(|scope| scope.get(name));
        scope.or_else(|| self.project.get(name).filter(here))
    }

    /// Every name that a file sees, for suggestions; none once there were many.
    pub(crate) fn visible(&self, file: FileId) -> impl Iterator<Item = (&str, Def)> {
        let scopes = [self.scope(file), self.scope(PRELUDE)];
        let shared = self.shared(file).into_iter();
        let names: usize = scopes.iter().flatten().map(|scope| scope.len()).sum();
        let all = shared.clone().map(|shared| shared.0.len()).sum::<usize>() + names;
        let guess = self.guesses.one_more(all);
        let scopes = scopes.into_iter().flatten().flatten();
        let shared = shared.flat_map(|shared| &shared.0);
        scopes
            .chain(shared.map(|(name, entry)| (name, entry)))
            .take(if guess { usize::MAX } else { 0 })
            .map(|(name, entry)| (&**name, entry.def))
    }

    /// The prelude's type of a resource's body.
    pub(crate) fn body_type(&self, kind: ResourceKind) -> Ty {
        self.prelude_type(kind.type_name())
    }

    /// A type of the prelude.
    pub(crate) fn prelude_type(&self, name: &str) -> Ty {
        match self.scope(PRELUDE).and_then(|scope| scope.get(name)).map(|entry| entry.def) {
            Some(Def::Type(id)) => Ty::Named(id),
            Some(
                Def::Let(_)
                | Def::Fn(_)
                | Def::Input(_)
                | Def::Secret(_)
                | Def::Resource(_)
                | Def::Broken,
            )
            | None => Ty::Error,
        }
    }

    /// The declaration of a type.
    pub(crate) fn type_decl(&self, id: TypeId) -> Option<&TypeDecl<'s>> {
        self.types.get(id.index())
    }

    /// Whether an item of this name is there that could not be parsed.
    pub(crate) fn is_broken_item(&self, keyword: Keyword, name: &str) -> bool {
        self.files.iter().flat_map(|file| &file.items).any(|item| {
            let text = &item.text;
            let parsed = text.tree.as_ref().is_some_and(|tree| tree.item.is_some());
            let named = text.name.as_ref().is_some_and(|(other, _)| &**other == name);
            !parsed && named && text.keyword == Some(keyword)
        })
    }

    /// A place with its file's path.
    pub(crate) fn span(&self, loc: Loc) -> Span {
        self.places.span(loc)
    }

    /// The file of a place, and its first and last byte there.
    pub(crate) fn within(&self, loc: Loc) -> Option<(&SourceFile, usize, usize)> {
        let (file, base) = self.places.base(loc.item);
        let source = &self.files.get(file.0 as usize)?.source;
        Some((source, (base + loc.start) as usize, (base + loc.end) as usize))
    }

    /// The text of a place.
    pub(crate) fn text(&self, loc: Loc) -> &str {
        let found = self.within(loc);
        found.and_then(|(source, start, end)| source.text().get(start..end)).unwrap_or("")
    }

    /// A file as a whole, from its first byte.
    pub(crate) fn start_of(&self, file: FileId) -> Loc {
        let item = self.files.get(file.0 as usize).map_or(ItemId(0), |file| file.id);
        Loc { item, start: 0, end: 0 }
    }

    /// The package that a file is part of; nothing for the project's own.
    pub(crate) fn owner(&self, file: FileId) -> Option<PackageId> {
        self.owners.get(file.0 as usize).copied().flatten()
    }

    /// What every file of the project sees.
    fn shared(&self, file: FileId) -> Option<&Shared> {
        self.owner(file).is_none().then_some(&self.project)
    }

    fn scope(&self, file: FileId) -> Option<&BTreeMap<Arc<str>, Entry>> {
        self.scopes.get(file.0 as usize)
    }
}
