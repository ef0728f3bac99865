//! Imports into the scopes of the files that they stand in, through whatever hands them on.

use super::decls::{Decls, Def, Entry, LetDecl, Site};
use super::imports::{Import, Target};
use super::scopes::insert;
use crate::data::is_too_large;
use crate::diagnostic::Diagnostic;
use crate::ids::{FileId, LetId, Loc};
use crate::nearest::nearest;
use crate::syntax::ast::{Item, ItemKind, TypeExpr, TypeKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Declares what data files are imported as; gives each with the type that is still to be lowered.
pub(super) fn bind_data<'s>(
    decls: &mut Decls<'s>,
    imports: &[Import],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(LetId, Site, &'s TypeExpr)> {
    let mut declared = Vec::new();
    let mut judged = BTreeSet::new();
    for import in imports {
        let Some((site, item)) = written(decls, import) else { continue };
        let ItemKind::Data { name, ty } = &item.kind else { continue };
        let (path_at, at) = (site.loc(import.at), site.loc(name.at));
        let value = match &import.target {
            Target::File(id) => {
                let file = decls.files[id.0 as usize];
                let is_text = is_str(ty) && !is_too_large(file.source.text());
                let value =
                    file.data.as_ref().map(|data| if is_text { file.whole() } else { data });
                if value.is_none() {
                    diagnostics.push(decls.data_of_items(path_at));
                } else if !is_text && judged.insert(*id) {
                    let path = file.source.path();
                    diagnostics.extend(file.errors.iter().map(|error| error.diagnostic(path, 0)));
                }
                value.map(|value| (Site { file: *id, item: file.id }, value))
            }
            Target::Missing { path, near } => {
                diagnostics.push(decls.missing_file(path_at, path, near.as_deref()));
                None
            }
            Target::Bad(why) => {
                diagnostics.extend(decls.bad_path(path_at, why));
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

/// Whether a type is written as `Str`: such data is the text of its file.
fn is_str(ty: &TypeExpr) -> bool {
    matches!(&ty.kind, TypeKind::Name(name) if &**name == "Str")
}

/// A name that a file imports, and where it leads.
struct Link {
    /// Nothing where that is not found: said already.
    target: Option<FileId>,
    public: bool,
    at: Loc,
}

type Links<'s> = BTreeMap<(FileId, &'s Arc<str>), Link>;

/// Puts every imported name into its file's scope; a policy is asked from then on.
pub(super) fn bind_imports(
    decls: &mut Decls<'_>,
    imports: &[Import],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut links: Links<'_> = BTreeMap::new();
    let mut wanted = Vec::new();
    for import in imports {
        let Some((site, item)) = written(decls, import) else { continue };
        let ItemKind::Use { names } = &item.kind else { continue };
        let at = site.loc(import.at);
        let target = match &import.target {
            Target::File(id) if decls.files[id.0 as usize].data.is_some() => {
                diagnostics.push(decls.items_of_data(at));
                None
            }
            Target::File(id) => Some(*id),
            Target::Missing { path, near } => {
                diagnostics.push(decls.missing_file(at, path, near.as_deref()));
                None
            }
            Target::Bad(why) => {
                diagnostics.extend(decls.bad_path(at, why));
                None
            }
        };
        for name in names {
            let (at, public) = (site.loc(name.at), item.public);
            links.entry((import.from, &name.text)).or_insert(Link { target, public, at });
            wanted.push((import.from, target, &name.text, Entry { def: Def::Broken, public, at }));
        }
    }
    let mut bound = Vec::new();
    let mut asked = Vec::new();
    for (from, target, name, entry) in wanted {
        let finder = Finder { decls, links: &links, from, at: entry.at };
        match target.map(|target| finder.find(target, name, diagnostics)) {
            Some(Found::Policy(index)) => {
                asked.extend(decls.owner(from).is_none().then_some(index));
            }
            Some(Found::Item(def)) => bound.push((from, name, Entry { def, ..entry })),
            None => bound.push((from, name, entry)),
        }
    }
    for (file, name, entry) in bound {
        if let Some(first) = insert(&mut decls.scopes[file.0 as usize], name, entry) {
            diagnostics.push(decls.duplicate(name, first, entry.at));
        }
    }
    for index in asked {
        if let Some(policy) = decls.policies.get_mut(index) {
            policy.asked = true;
        }
    }
}

fn written<'s>(decls: &Decls<'s>, import: &Import) -> Option<(Site, &'s Item)> {
    let parsed = &decls.files.get(import.from.0 as usize)?.items.get(import.item)?.text;
    let site = Site { file: import.from, item: parsed.id };
    Some((site, parsed.tree.as_ref()?.item.as_ref()?))
}

/// What an imported name is.
enum Found {
    Item(Def),
    /// The position of a policy.
    Policy(usize),
}

/// A name to find in another file.
struct Finder<'f, 's> {
    decls: &'f Decls<'s>,
    links: &'f Links<'f>,
    from: FileId,
    at: Loc,
}

impl Finder<'_, '_> {
    /// Looks in a file, and in what it hands on by `pub use`.
    fn find(&self, target: FileId, name: &Arc<str>, diagnostics: &mut Vec<Diagnostic>) -> Found {
        let decls = self.decls;
        let mut file = target;
        // A ring of imports is reported elsewhere; here it only has to end.
        for _ in 0..=decls.files.len() {
            if let Some(entry) = decls.own(file, name) {
                let shared = matches!(
                    entry.def,
                    Def::Resource(_) | Def::Input(_) | Def::Secret(_) | Def::Broken
                );
                if !entry.public && !shared {
                    diagnostics.push(self.private(file, name, entry.at));
                }
                return Found::Item(entry.def);
            }
            let policy = decls.policies.iter().position(|p| p.site.file == file && p.name == *name);
            if let Some(index) = policy {
                let policy = &decls.policies[index];
                if policy.public {
                    return Found::Policy(index);
                }
                diagnostics.push(self.private(file, name, policy.at));
                return Found::Item(Def::Broken);
            }
            let Some(link) = self.links.get(&(file, name)) else {
                // Of several files on the way, the one before the last has said so itself.
                if file == target {
                    let path = decls.files[target.0 as usize].source.path();
                    let near = nearest(name, self.offered(target));
                    diagnostics.push(decls.missing_import(self.at, name, path, near));
                }
                break;
            };
            if !link.public {
                diagnostics.push(self.private(file, name, link.at));
                return Found::Item(Def::Broken);
            }
            match link.target {
                Some(next) => file = next,
                None => return Found::Item(Def::Broken),
            }
        }
        Found::Item(Def::Broken)
    }

    /// What a file offers, for suggestions.
    fn offered(&self, file: FileId) -> impl Iterator<Item = &str> {
        let scope = self.decls.scopes.get(file.0 as usize).into_iter().flatten();
        let items = scope.filter(|(_, entry)| entry.public).map(|(name, _)| &**name);
        let policies = self.decls.policies.iter();
        let policies = policies.filter(move |p| p.site.file == file && p.public).map(|p| &*p.name);
        let links = self.links.iter().filter(move |((of, _), link)| *of == file && link.public);
        items.chain(policies).chain(links.map(|((_, name), _)| &***name))
    }

    /// The mistake of taking what is private; in a file of one's own, `pub` mends it.
    fn private(&self, file: FileId, name: &str, declared: Loc) -> Diagnostic {
        let decls = self.decls;
        let own = decls.owner(file) == decls.owner(self.from);
        let insert = own.then_some(Loc { start: 0, end: 0, ..declared });
        decls.private_import(self.at, name, file, declared, insert)
    }
}
