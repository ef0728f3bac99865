//! Items into tables: identities first, then imports, then types, so that order in a file never matters.

use super::binding::{bind_data, bind_imports};
use super::decls::{
    CaseTy, Decls, Def, Entry, EnvironmentDecl, FnDecl, Guesses, InputDecl, LetDecl, OverlayDecl,
    PolicyDecl, ResourceDecl, SecretDecl, Shared, Site, TestDecl, TypeBody, TypeDecl,
};
use super::imports::{Files, Roots, follow};
use super::packages::{MANIFEST, find};
use super::rings::{break_type_rings, break_value_rings, import_rings, order_overlays};
use super::ty::{Bound, Ty, TypeParam};
use super::types::{Resources, TypeScope, lower, lower_fields};
use crate::builtin::Builtin;
use crate::diagnostic::Diagnostic;
use crate::ids::{
    FileId, FnId, InputId, LetId, Loc, PRELUDE, PackageId, ResourceId, SecretId, TypeId,
};
use crate::places::Places;
use crate::program::ResourceKind;
use crate::syntax::Keyword;
use crate::syntax::ast::{ExprKind, Generic, Item, ItemKind, TypeKind};
use crate::workspace::Snapshot;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Entries;
use std::sync::Arc;

/// The most cases of an enum; a `match` may have as many patterns.
pub(crate) const MAX_CASES: usize = 256;

/// Resolves a project.
pub(crate) fn resolve<'s>(snapshot: &'s Snapshot, roots: Roots) -> (Decls<'s>, Vec<Diagnostic>) {
    let (packages, mut diagnostics) = find(&snapshot.files);
    let Files { files, imports } = follow(&snapshot.prelude, &snapshot.files, &packages, roots);
    let mut decls = Decls {
        scopes: vec![BTreeMap::new(); files.len()],
        owners: files.iter().map(|file| packages.owner(file.source.path())).collect(),
        packages,
        guesses: Guesses::default(),
        places: Arc::new(Places::of(&files, snapshot.ids.count())),
        files,
        project: Shared::default(),
        types: Vec::new(),
        lets: Vec::new(),
        fns: Vec::new(),
        inputs: Vec::new(),
        secrets: Vec::new(),
        overlays: Vec::new(),
        environments: Vec::new(),
        policies: Vec::new(),
        tests: Vec::new(),
        resources: Vec::new(),
        order: Vec::new(),
        rows: vec![0; snapshot.ids.count()],
        defaults: Vec::new(),
        local_types: BTreeMap::new(),
        let_order: Vec::new(),
    };
    let items = declare(&mut decls, &mut diagnostics);
    let data = bind_data(&mut decls, &imports, &mut diagnostics);
    bind_imports(&mut decls, &imports, &mut diagnostics);
    import_rings(&decls, &imports, &mut diagnostics);
    order_overlays(&mut decls, &mut diagnostics);
    lower_items(&mut decls, &items, &mut diagnostics);
    for (id, site, written) in data {
        let ty =
            lower(&mut decls, &mut diagnostics, site, written, &TypeScope::of(Resources::Bodies));
        decls.lets[id.index()].ty = Some((ty, site.loc(written.at)));
    }
    break_type_rings(&mut decls, &mut diagnostics);
    break_value_rings(&mut decls, &mut diagnostics);
    (decls, diagnostics)
}

/// An item with what it became.
struct Declared<'s> {
    site: Site,
    item: &'s Item,
    def: Def,
}

fn declare<'s>(decls: &mut Decls<'s>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Declared<'s>> {
    let mut declared = Vec::new();
    let count = decls.files.iter().map(|file| file.items.len()).sum();
    let mut offers = Vec::with_capacity(count);
    decls.resources.reserve(count);
    let mut seen = Seen::new();
    for (index, file) in decls.files.clone().into_iter().enumerate() {
        let id = FileId(index as u32);
        let path = file.source.path();
        // What is wrong with data depends on what it is imported as.
        if file.data.is_none() {
            diagnostics.extend(file.errors.iter().map(|error| error.diagnostic(path, 0)));
        }
        for parsed in &file.items {
            let text = &parsed.text;
            let site = Site { file: id, item: text.id };
            if let Some(tree) = &text.tree {
                let errors = tree.errors.iter();
                diagnostics.extend(errors.map(|error| error.diagnostic(path, parsed.start)));
            }
            let Some(item) = text.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
                let nameless = matches!(
                    text.keyword,
                    Some(
                        Keyword::Overlay
                            | Keyword::Environment
                            | Keyword::Policy
                            | Keyword::Test
                            | Keyword::Package
                    )
                );
                if let Some((name, rel)) = text.name.as_ref().filter(|_| !nameless) {
                    let at = site.loc(*rel);
                    let entry = Entry { def: Def::Broken, public: true, at };
                    decls.scopes[index].entry(name.clone()).or_insert(entry);
                    if decls.owner(id).is_none() {
                        offers.push(Offer { name, entry, file: id, said: true });
                    }
                }
                continue;
            };
            let at = site.loc(item.name.at);
            if let ItemKind::Package { .. } = item.kind {
                let folder = path.strip_suffix(MANIFEST).and_then(|path| path.strip_suffix('/'));
                let known = !path.contains('/')
                    || decls.owner(id).is_some() && decls.packages.is_folder(folder);
                diagnostics.extend((!known).then(|| decls.misplaced_package(at)));
                continue;
            }
            if let Some(what) = decls.foreign(id, &item.kind) {
                diagnostics.push(decls.not_in_package(&item.name.text, what, at));
                let entry = Entry { def: Def::Broken, public: true, at };
                insert(&mut decls.scopes[index], &item.name.text, entry);
                continue;
            }
            if aside(decls, &mut seen, diagnostics, site, item) {
                continue;
            }
            let Some(def) = identify(decls, site, item) else {
                continue;
            };
            let entry = Entry { def, public: item.public, at };
            let name = &item.name.text;
            if let ItemKind::Resource { .. } = item.kind {
                if path.contains('/') {
                    diagnostics.push(decls.misplaced_resource(name, at));
                }
                offers.push(Offer { name, entry, file: id, said: false });
                if item.local_types.is_empty() {
                    continue;
                }
            } else {
                let first = insert(&mut decls.scopes[index], name, entry);
                diagnostics.extend(first.map(|first| decls.duplicate(name, first, at)));
                if matches!(item.kind, ItemKind::Secret { .. }) {
                    offers.push(Offer { name, entry, file: id, said: first.is_some() });
                }
            }
            declared.push(Declared { site, item, def });
        }
    }
    share(decls, offers, diagnostics);
    declared
}

/// A name for every file of the project.
struct Offer<'s> {
    name: &'s Arc<str>,
    entry: Entry,
    file: FileId,
    /// Whether it needs no mistake of its own where somebody else has the name.
    said: bool,
}

/// Gives each name to the first who offers it. In a file, what is declared first has its name.
fn share(decls: &mut Decls<'_>, mut offers: Vec<Offer<'_>>, diagnostics: &mut Vec<Diagnostic>) {
    // The order of equal names stays that of the files and their items.
    offers.sort_by(|a, b| a.name.cmp(b.name));
    let resource = |offer: &Offer<'_>| match offer.entry.def {
        Def::Resource(id) => Some(decls.row(id)),
        Def::Let(_) | Def::Input(_) | Def::Secret(_) | Def::Fn(_) | Def::Type(_) | Def::Broken => {
            None
        }
    };
    let mut order: Vec<usize> = offers.iter().filter_map(resource).collect();
    order.sort_by_key(|&row| decls.resources[row].kind);
    decls.order = order;
    let mut taken: Vec<Loc> = Vec::new();
    for same in offers.chunk_by(|a, b| a.name == b.name) {
        let mut first: Option<Loc> = None;
        for offer in same {
            let own = offer.entry.at;
            let scope = &mut decls.scopes[offer.file.0 as usize];
            let local = scope.get(offer.name).map(|local| local.at).filter(|local| *local != own);
            let before = |a: Loc, b: Loc| decls.places.base(a.item).1 < decls.places.base(b.item).1;
            let earlier = local.filter(|local| before(*local, own));
            if let Some(later) = local.filter(|local| !before(*local, own)) {
                scope.remove(offer.name);
                diagnostics.push(decls.duplicate(offer.name, own, later));
            }
            match earlier.or(first) {
                Some(other) if !offer.said => {
                    diagnostics.push(decls.duplicate(offer.name, other, own));
                    taken.push(own);
                }
                Some(_) => {}
                None => {
                    first = Some(own);
                    decls.project.add(offer.name.clone(), offer.entry);
                }
            }
        }
    }
    let mut project = None;
    for decl in decls.resources.iter().filter(|decl| decl.kind == ResourceKind::Project) {
        match project {
            Some(first) if !taken.contains(&decl.at) => {
                diagnostics.push(decls.second_project(first, decl.at));
            }
            Some(_) | None => {}
        }
        project = Some(decl.at);
    }
}

/// Adds a name; gives the place of an earlier one, which stays.
pub(super) fn insert(
    scope: &mut BTreeMap<Arc<str>, Entry>,
    name: &Arc<str>,
    entry: Entry,
) -> Option<Loc> {
    if let Some(first) = scope.get(name) {
        return Some(first.at);
    }
    scope.insert(name.clone(), entry);
    None
}

/// The names of items that no expression names, by their kind and whose they are.
type Seen = BTreeMap<(u8, Option<PackageId>, Arc<str>), Loc>;

/// Where an item of the same name stands that came before.
fn first(seen: &mut Seen, key: (u8, Option<PackageId>, Arc<str>), at: Loc) -> Option<Loc> {
    match seen.entry(key) {
        Entries::Occupied(first) => Some(*first.get()),
        Entries::Vacant(new) => {
            new.insert(at);
            None
        }
    }
}

/// Gives an item that no expression names its row; false for every other item.
fn aside<'s>(
    decls: &mut Decls<'s>,
    seen: &mut Seen,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    item: &'s Item,
) -> bool {
    let name = item.name.text.clone();
    let at = site.loc(item.name.at);
    let earlier = match &item.kind {
        ItemKind::Overlay { on, fields } => {
            let earlier = first(seen, (0, None, name.clone()), at);
            let (on, base) = (on.as_ref(), None);
            decls.overlays.push(OverlayDecl { name: name.clone(), at, site, on, base, fields });
            earlier
        }
        ItemKind::Environment { key, fields } => {
            let earlier = first(seen, (1, None, name.clone()), at);
            let key = key.as_ref();
            decls.environments.push(EnvironmentDecl { name: name.clone(), at, site, key, fields });
            earlier
        }
        ItemKind::Policy(policy) => {
            let owner = decls.owner(site.file);
            let earlier = first(seen, (2, owner, name.clone()), at);
            let (public, asked) = (item.public, owner.is_none());
            let name = name.clone();
            decls.policies.push(PolicyDecl { name, at, site, policy, public, asked });
            earlier
        }
        ItemKind::Test(_) if decls.owner(site.file).is_some() => None,
        ItemKind::Test(test) => {
            let earlier = first(seen, (3, None, name.clone()), at);
            decls.tests.push(TestDecl { name: name.clone(), at, site, test });
            earlier
        }
        ItemKind::Use { .. }
        | ItemKind::Data { .. }
        | ItemKind::Package { .. }
        | ItemKind::Resource { .. }
        | ItemKind::Let { .. }
        | ItemKind::Input { .. }
        | ItemKind::Secret { .. }
        | ItemKind::Type { .. }
        | ItemKind::Enum { .. }
        | ItemKind::Fn { .. } => return false,
    };
    if let Some(first) = earlier {
        diagnostics.push(decls.duplicate(&name, first, at));
    }
    true
}

/// Gives an item its row, with types still to be lowered.
fn identify<'s>(decls: &mut Decls<'s>, site: Site, item: &'s Item) -> Option<Def> {
    let name = item.name.text.clone();
    let at = site.loc(item.name.at);
    Some(match &item.kind {
        ItemKind::Use { .. }
        | ItemKind::Data { .. }
        | ItemKind::Package { .. }
        | ItemKind::Overlay { .. }
        | ItemKind::Environment { .. }
        | ItemKind::Policy(_)
        | ItemKind::Test(_) => {
            return None;
        }
        ItemKind::Resource { kind, key, body } => {
            let id = ResourceId(site.item.0);
            decls.rows[id.index()] = decls.resources.len() as u32;
            decls.resources.push(ResourceDecl {
                id,
                kind: *kind,
                name,
                at,
                site,
                key: key.as_ref(),
                body,
            });
            Def::Resource(id)
        }
        ItemKind::Let { value, .. } => {
            decls.lets.push(LetDecl { name, at, site, ty: None, value, cyclic: false });
            Def::Let(LetId(decls.lets.len() as u32 - 1))
        }
        ItemKind::Input { default, .. } => {
            decls.inputs.push(InputDecl {
                name,
                at,
                site,
                ty: Ty::Error,
                default: default.as_ref(),
            });
            Def::Input(InputId(decls.inputs.len() as u32 - 1))
        }
        ItemKind::Secret { source } => {
            decls.secrets.push(SecretDecl { name, at, site, source });
            Def::Secret(SecretId(decls.secrets.len() as u32 - 1))
        }
        ItemKind::Type { .. } | ItemKind::Enum { .. } => {
            decls.types.push(TypeDecl { name, at, body: TypeBody::Broken });
            Def::Type(TypeId(decls.types.len() as u32 - 1))
        }
        ItemKind::Fn { generics: _, params: _, body, result } => {
            let result_at = site.loc(result.at);
            let own = site.file == PRELUDE
                && matches!(&body.kind, ExprKind::Name(word) if &**word == "builtin");
            let builtin = Builtin::named(&name).filter(|_| own);
            decls.fns.push(FnDecl {
                name,
                at,
                site,
                generics: Vec::new(),
                generics_at: Vec::new(),
                params: Vec::new(),
                builtin,
                result: Ty::Error,
                result_at,
                body,
                cyclic: false,
            });
            Def::Fn(FnId(decls.fns.len() as u32 - 1))
        }
    })
}

fn lower_items<'s>(
    decls: &mut Decls<'s>,
    declared: &[Declared<'s>],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for Declared { site, item, def } in declared {
        let site = *site;
        let mut scope = TypeScope::of(Resources::Bodies);
        if let (ItemKind::Fn { generics, .. }, Def::Fn(id)) = (&item.kind, *def) {
            declare_generics(decls, diagnostics, site, id, generics);
            scope.generics = decls.fns[id.index()].generics.clone();
        }
        for (index, written) in item.local_types.iter().enumerate() {
            let ty = lower(decls, diagnostics, site, written, &scope);
            decls.local_types.insert((site, index), ty);
        }
        match (&item.kind, *def) {
            (ItemKind::Let { ty: Some(ty), .. }, Def::Let(id)) => {
                let lowered = lower(decls, diagnostics, site, ty, &scope);
                decls.lets[id.index()].ty = Some((lowered, site.loc(ty.at)));
            }
            (ItemKind::Input { ty, .. }, Def::Input(id)) => {
                decls.inputs[id.index()].ty =
                    lower(decls, diagnostics, site, ty, &TypeScope::of(Resources::References));
            }
            (ItemKind::Type { body, rule }, Def::Type(id)) => {
                let lowered = match (rule, &body.kind) {
                    (Some(rule), _) => {
                        let base = lower(decls, diagnostics, site, body, &scope);
                        TypeBody::Refined { base, rule, site }
                    }
                    (None, TypeKind::Record(fields)) => TypeBody::Record(lower_fields(
                        decls,
                        diagnostics,
                        site,
                        fields,
                        &TypeScope::of(Resources::References),
                    )),
                    (
                        None,
                        TypeKind::Name(_)
                        | TypeKind::Of(..)
                        | TypeKind::List(_)
                        | TypeKind::Map(_)
                        | TypeKind::Optional(_),
                    ) => TypeBody::Alias(lower(decls, diagnostics, site, body, &scope)),
                };
                decls.types[id.index()].body = lowered;
            }
            (ItemKind::Enum { cases }, Def::Type(id)) => {
                let mut lowered: Vec<CaseTy> = Vec::new();
                let mut places: BTreeMap<Arc<str>, Loc> = BTreeMap::new();
                for case in cases {
                    let at = site.loc(case.name.at);
                    if lowered.len() == MAX_CASES {
                        diagnostics.push(decls.too_many_cases(at, MAX_CASES));
                        break;
                    }
                    if let Some(first) = places.insert(case.name.text.clone(), at) {
                        diagnostics.push(decls.duplicate(&case.name.text, first, at));
                        continue;
                    }
                    let params = lower_fields(
                        decls,
                        diagnostics,
                        site,
                        &case.params,
                        &TypeScope::of(Resources::References),
                    );
                    lowered.push(CaseTy { name: case.name.text.clone(), params });
                }
                decls.types[id.index()].body = TypeBody::Enum(lowered);
            }
            (ItemKind::Fn { generics: _, params, result, body: _ }, Def::Fn(id)) => {
                let params = lower_fields(decls, diagnostics, site, params, &scope);
                let result = lower(decls, diagnostics, site, result, &scope);
                let row = &mut decls.fns[id.index()];
                row.params = params;
                row.result = result;
            }
            (
                ItemKind::Use { .. }
                | ItemKind::Data { .. }
                | ItemKind::Package { .. }
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
                | ItemKind::Fn { .. },
                _,
            ) => {}
        }
    }
}

fn declare_generics(
    decls: &mut Decls<'_>,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    of: FnId,
    generics: &[Generic],
) {
    let mut declared: Vec<Arc<TypeParam>> = Vec::new();
    let mut places: Vec<Loc> = Vec::new();
    for generic in generics {
        let at = site.loc(generic.name.at);
        let name = generic.name.text.clone();
        if let Some(first) = declared.iter().position(|other| other.name == name) {
            diagnostics.push(decls.duplicate(&name, places[first], at));
            continue;
        }
        let bound = generic.bound.as_ref().and_then(|bound| {
            let found = Bound::ALL.into_iter().find(|(name, _)| *name == &*bound.text);
            if found.is_none() {
                diagnostics.push(decls.unknown_bound(site.loc(bound.at), &bound.text));
            }
            found.map(|(_, bound)| bound)
        });
        declared.push(Arc::new(TypeParam { of, index: declared.len(), name, bound }));
        places.push(at);
    }
    let row = &mut decls.fns[of.index()];
    row.generics = declared;
    row.generics_at = places;
}
