//! Items into tables: identities first, then imports, then types, so that order in a file never matters.

use super::decls::{
    CaseTy, Decls, Def, Entry, EnvironmentDecl, FnDecl, InputDecl, LetDecl, OverlayDecl,
    PolicyDecl, ResourceDecl, SecretDecl, Site, TestDecl, TypeBody, TypeDecl,
};
use super::imports::{Files, Import, Roots, Target, follow};
use super::rings::{break_type_rings, break_value_rings, import_rings, order_overlays};
use super::ty::{Bound, Ty, TypeParam};
use super::types::{Resources, TypeScope, lower, lower_fields};
use crate::builtin::Builtin;
use crate::diagnostic::Diagnostic;
use crate::ids::{FileId, FnId, InputId, LetId, Loc, PRELUDE, ResourceId, SecretId, TypeId};
use crate::nearest::nearest;
use crate::places::Places;
use crate::program::ResourceKind;
use crate::syntax::Keyword;
use crate::syntax::ast::{ExprKind, Generic, Item, ItemKind, TypeExpr, TypeKind};
use crate::workspace::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Resolves a project.
pub(crate) fn resolve<'s>(snapshot: &'s Snapshot, roots: Roots) -> (Decls<'s>, Vec<Diagnostic>) {
    let Files { files, imports } = follow(&snapshot.prelude, &snapshot.files, roots);
    let mut diagnostics = Vec::new();
    let mut decls = Decls {
        scopes: vec![BTreeMap::new(); files.len()],
        places: Arc::new(Places::of(&files, snapshot.ids.count())),
        files,
        project: BTreeMap::new(),
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
    let mut project: Option<Loc> = None;
    for (index, file) in decls.files.clone().into_iter().enumerate() {
        let id = FileId(index as u32);
        let path = file.source.path();
        diagnostics.extend(file.errors.iter().map(|error| error.diagnostic(path, 0)));
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
                    Some(Keyword::Overlay | Keyword::Environment | Keyword::Policy | Keyword::Test)
                );
                if let Some((name, rel)) = text.name.as_ref().filter(|_| !nameless) {
                    let at = site.loc(*rel);
                    let entry = Entry { def: Def::Broken, public: true, at };
                    decls.scopes[index].entry(name.clone()).or_insert(entry);
                    decls.project.entry(name.clone()).or_insert(entry);
                }
                continue;
            };
            let at = site.loc(item.name.at);
            if aside(decls, diagnostics, site, item) {
                continue;
            }
            let Some(def) = identify(decls, site, item) else {
                continue;
            };
            let entry = Entry { def, public: item.public, at };
            let mut duplicate = insert(&mut decls.scopes[index], &item.name.text, entry);
            if matches!(item.kind, ItemKind::Secret { .. }) && duplicate.is_none() {
                duplicate = insert(&mut decls.project, &item.name.text, entry);
            }
            if let ItemKind::Resource { kind, .. } = &item.kind {
                if path.contains('/') {
                    diagnostics.push(decls.misplaced_resource(&item.name.text, at));
                }
                if duplicate.is_none() {
                    duplicate = insert(&mut decls.project, &item.name.text, entry);
                }
                if *kind == ResourceKind::Project
                    && let Some(first) = project.replace(at)
                    && duplicate.is_none()
                {
                    diagnostics.push(decls.second_project(first, at));
                }
            }
            if let Some(first) = duplicate {
                diagnostics.push(decls.duplicate(&item.name.text, first, at));
            }
            declared.push(Declared { site, item, def });
        }
    }
    declared
}

/// Adds a name; gives the place of an earlier one, which stays.
fn insert(scope: &mut BTreeMap<Arc<str>, Entry>, name: &Arc<str>, entry: Entry) -> Option<Loc> {
    if let Some(first) = scope.get(name) {
        return Some(first.at);
    }
    scope.insert(name.clone(), entry);
    None
}

/// Gives an item that no expression names its row; false for every other item.
fn aside<'s>(
    decls: &mut Decls<'s>,
    diagnostics: &mut Vec<Diagnostic>,
    site: Site,
    item: &'s Item,
) -> bool {
    let name = item.name.text.clone();
    let at = site.loc(item.name.at);
    let earlier = match &item.kind {
        ItemKind::Overlay { on, fields } => {
            let earlier = decls.overlays.iter().find(|other| other.name == name).map(|o| o.at);
            let (on, base) = (on.as_ref(), None);
            decls.overlays.push(OverlayDecl { name: name.clone(), at, site, on, base, fields });
            earlier
        }
        ItemKind::Environment { key, fields } => {
            let earlier = decls.environments.iter().find(|other| other.name == name).map(|e| e.at);
            let key = key.as_ref();
            decls.environments.push(EnvironmentDecl { name: name.clone(), at, site, key, fields });
            earlier
        }
        ItemKind::Policy(policy) => {
            let earlier = decls.policies.iter().find(|other| other.name == name).map(|p| p.at);
            decls.policies.push(PolicyDecl { name: name.clone(), at, site, policy });
            earlier
        }
        ItemKind::Test(test) => {
            let earlier = decls.tests.iter().find(|other| other.name == name).map(|t| t.at);
            decls.tests.push(TestDecl { name: name.clone(), at, site, test });
            earlier
        }
        ItemKind::Use { .. }
        | ItemKind::Data { .. }
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

/// Declares what data files are imported as; gives each with the type that is still to be lowered.
fn bind_data<'s>(
    decls: &mut Decls<'s>,
    imports: &[Import],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(LetId, Site, &'s TypeExpr)> {
    let mut declared = Vec::new();
    for import in imports {
        let file = decls.files[import.from.0 as usize];
        let parsed = &file.items[import.item].text;
        let site = Site { file: import.from, item: parsed.id };
        let Some(item) = parsed.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
            continue;
        };
        let ItemKind::Data { name, ty } = &item.kind else { continue };
        let (path_at, at) = (site.loc(import.at), site.loc(name.at));
        let value = match &import.target {
            Target::File(id) => {
                let value = decls.files[id.0 as usize].data.as_ref();
                if value.is_none() {
                    diagnostics.push(decls.data_of_items(path_at));
                }
                value.map(|value| (Site { file: *id, item: decls.files[id.0 as usize].id }, value))
            }
            Target::Missing { path, near } => {
                diagnostics.push(decls.missing_file(path_at, path, near.as_deref()));
                None
            }
            Target::BadPath => {
                diagnostics.push(decls.bad_path(path_at));
                None
            }
        };
        let def = match value {
            None => Def::Broken,
            Some((data, value)) => {
                let name = name.text.clone();
                decls.lets.push(LetDecl { name, at, site: data, ty: None, value, cyclic: false });
                let id = LetId(decls.lets.len() as u32 - 1);
                declared.push((id, site, ty));
                Def::Let(id)
            }
        };
        let entry = Entry { def, public: item.public, at };
        if let Some(first) = insert(&mut decls.scopes[import.from.0 as usize], &name.text, entry) {
            diagnostics.push(decls.duplicate(&name.text, first, at));
        }
    }
    declared
}

fn bind_imports(decls: &mut Decls<'_>, imports: &[Import], diagnostics: &mut Vec<Diagnostic>) {
    let mut bound = Vec::new();
    for import in imports {
        let parsed = &decls.files[import.from.0 as usize].items[import.item].text;
        let site = Site { file: import.from, item: parsed.id };
        let Some(tree) = parsed.tree.as_ref().and_then(|tree| tree.item.as_ref()) else {
            continue;
        };
        let ItemKind::Use { names } = &tree.kind else {
            continue;
        };
        let target = match &import.target {
            Target::File(id) if decls.files[id.0 as usize].data.is_some() => {
                diagnostics.push(decls.items_of_data(site.loc(import.at)));
                None
            }
            Target::File(id) => Some(*id),
            Target::Missing { path, near } => {
                diagnostics.push(decls.missing_file(site.loc(import.at), path, near.as_deref()));
                None
            }
            Target::BadPath => {
                diagnostics.push(decls.bad_path(site.loc(import.at)));
                None
            }
        };
        for name in names {
            let at = site.loc(name.at);
            let def = target
                .map_or(Def::Broken, |target| imported(decls, target, &name.text, at, diagnostics));
            bound.push((import.from, name.text.clone(), Entry { def, public: false, at }));
        }
    }
    for (file, name, entry) in bound {
        if let Some(first) = insert(&mut decls.scopes[file.0 as usize], &name, entry) {
            diagnostics.push(decls.duplicate(&name, first, entry.at));
        }
    }
}

fn imported(
    decls: &Decls<'_>,
    target: FileId,
    name: &Arc<str>,
    at: Loc,
    diagnostics: &mut Vec<Diagnostic>,
) -> Def {
    let file = decls.files[target.0 as usize];
    let path = file.source.path();
    let Some(entry) = decls.scopes[target.0 as usize].get(name) else {
        let public = decls.scopes[target.0 as usize].iter().filter(|(_, entry)| entry.public);
        let near = nearest(name, public.map(|(name, _)| &**name));
        diagnostics.push(decls.missing_import(at, name, path, near));
        return Def::Broken;
    };
    let visible = entry.public
        || matches!(entry.def, Def::Resource(_) | Def::Input(_) | Def::Secret(_) | Def::Broken);
    if !visible {
        let item = Loc { start: 0, end: 0, ..entry.at };
        diagnostics.push(decls.private_import(at, name, path, entry.at, item));
    }
    entry.def
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
