//! Rings of imports, overlays, types and values: each is reported once, with its whole path, and cut.

use super::cycles::order;
use super::decls::{Decls, Def, Site, TypeBody};
use super::imports::{Import, Target};
use super::names::each_name;
use super::ty::Ty;
use crate::diagnostic::Diagnostic;
use crate::ids::{LetId, OverlayId};
use crate::nearest::nearest;
use crate::syntax::Keyword;
use std::collections::BTreeMap;

/// Types that may stand on each other by `type A = B`, with or without a rule.
const MAX_REFINEMENTS: usize = 32;

pub(super) fn import_rings(
    decls: &Decls<'_>,
    imports: &[Import],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut edges = vec![Vec::new(); decls.files.len()];
    for import in imports {
        if let Target::File(target) = import.target {
            edges[import.from.0 as usize].push(target.0 as usize);
        }
    }
    for ring in order(&edges).rings {
        let (Some(&first), Some(&last)) = (ring.first(), ring.last()) else {
            continue;
        };
        let closes = imports.iter().find(|import| {
            import.from.0 as usize == last
                && matches!(import.target, Target::File(target) if target.0 as usize == first)
        });
        let Some(import) = closes else { continue };
        let item = decls.files[last].items[import.item].text.id;
        let at = Site { file: import.from, item }.loc(import.at);
        let name = |&file: &usize| decls.files[file].source.path().to_string();
        let path: Vec<String> = ring.iter().chain([&first]).map(name).collect();
        diagnostics.push(decls.import_cycle(at, &path));
    }
}

/// Finds what each overlay stands on; rings are cut and reported.
pub(super) fn order_overlays(decls: &mut Decls<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut bases = Vec::with_capacity(decls.overlays.len());
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, overlay) in decls.overlays.iter().enumerate() {
        known.entry(&*overlay.name).or_insert(index);
    }
    for overlay in &decls.overlays {
        let base = overlay.on.and_then(|on| {
            let found = known.get(&*on.text).copied();
            if found.is_none() && !decls.is_broken_item(Keyword::Overlay, &on.text) {
                let near = nearest(&on.text, decls.overlays.iter().map(|other| &*other.name));
                diagnostics.push(decls.unknown_overlay(overlay.site.loc(on.at), &on.text, near));
            }
            found
        });
        bases.push(base);
    }
    let edges: Vec<Vec<usize>> = bases.iter().map(|base| base.iter().copied().collect()).collect();
    for ring in order(&edges).rings {
        let Some(&first) = ring.first() else { continue };
        let name = |&overlay: &usize| decls.overlays[overlay].name.to_string();
        let path: Vec<String> = ring.iter().chain([&first]).map(name).collect();
        diagnostics.push(decls.cycle(decls.overlays[first].at, "overlays", &path));
        ring.iter().for_each(|&overlay| bases[overlay] = None);
    }
    for (overlay, base) in decls.overlays.iter_mut().zip(bases) {
        overlay.base = base.map(|base| OverlayId(base as u32));
    }
}

pub(super) fn break_type_rings(decls: &mut Decls<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let edges: Vec<Vec<usize>> = decls
        .types
        .iter()
        .map(|decl| {
            let mut mentioned = Vec::new();
            match &decl.body {
                TypeBody::Record(fields) => {
                    fields.iter().for_each(|field| mention(&field.ty, &mut mentioned))
                }
                TypeBody::Enum(cases) => {
                    let params = cases.iter().flat_map(|case| &case.params);
                    params.for_each(|param| mention(&param.ty, &mut mentioned));
                }
                TypeBody::Alias(target) => mention(target, &mut mentioned),
                TypeBody::Refined { base, .. } => mention(base, &mut mentioned),
                TypeBody::Broken => {}
            }
            mentioned
        })
        .collect();
    let found = order(&edges);
    for ring in found.rings {
        let Some(&first) = ring.first() else { continue };
        let name = |&id: &usize| decls.types[id].name.to_string();
        let path: Vec<String> = ring.iter().chain([&first]).map(name).collect();
        diagnostics.push(decls.cycle(decls.types[first].at, "types", &path));
        for id in ring {
            decls.types[id].body = TypeBody::Broken;
        }
    }
    // Refinements of refinements are followed by recursion later, so their number is limited here.
    let mut heights = vec![0usize; decls.types.len()];
    for id in found.order {
        let decl = &decls.types[id];
        if matches!(decl.body, TypeBody::Refined { .. } | TypeBody::Alias(_)) {
            heights[id] = 1 + edges[id].iter().map(|&below| heights[below]).max().unwrap_or(0);
        }
        if heights[id] > MAX_REFINEMENTS {
            diagnostics.push(decls.too_refined(decl.at, MAX_REFINEMENTS));
            decls.types[id].body = TypeBody::Broken;
            heights[id] = 0;
        }
    }
}

fn mention(ty: &Ty, found: &mut Vec<usize>) {
    match ty {
        Ty::List(inner) | Ty::Map(inner) | Ty::Optional(inner) | Ty::Secret(inner) => {
            mention(inner, found);
        }
        Ty::Named(id) => found.push(id.index()),
        Ty::Record(fields) => fields.iter().for_each(|(_, ty)| mention(ty, found)),
        Ty::Error
        | Ty::Never
        | Ty::Bool
        | Ty::Int
        | Ty::Str
        | Ty::Cpu
        | Ty::Bytes
        | Ty::Duration
        | Ty::Percent
        | Ty::Decimal
        | Ty::Text(_)
        | Ty::Param(_)
        | Ty::Ref(_) => {}
    }
}

/// Orders lets and functions by what they mention. Lets come first in the numbering.
pub(super) fn break_value_rings(decls: &mut Decls<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let lets = decls.lets.len();
    let bodies = decls.lets.iter().map(|decl| (decl.site.file, decl.value, &[][..]));
    let bodies =
        bodies.chain(decls.fns.iter().map(|decl| (decl.site.file, decl.body, &decl.params[..])));
    let edges: Vec<Vec<usize>> = bodies
        .map(|(file, body, params)| {
            let mut needs = Vec::new();
            let mut bound = params.iter().map(|param| param.name.clone()).collect();
            each_name(body, &mut bound, &mut |name| match decls.lookup(file, name) {
                Some(Def::Let(id)) => needs.push(id.index()),
                Some(Def::Fn(id)) => needs.push(lets + id.index()),
                Some(
                    Def::Type(_) | Def::Input(_) | Def::Secret(_) | Def::Resource(_) | Def::Broken,
                )
                | None => {}
            });
            needs
        })
        .collect();
    let found = order(&edges);
    for ring in found.rings {
        let Some(&first) = ring.first() else { continue };
        let name = |&node: &usize| {
            let of_fn = |index: usize| &decls.fns[index].name;
            node.checked_sub(lets).map_or_else(|| &decls.lets[node].name, of_fn).to_string()
        };
        let path: Vec<String> = ring.iter().chain([&first]).map(name).collect();
        let at = first
            .checked_sub(lets)
            .map_or_else(|| decls.lets[first].at, |index| decls.fns[index].at);
        diagnostics.push(decls.cycle(at, "items", &path));
        for node in ring {
            match node.checked_sub(lets) {
                Some(index) => decls.fns[index].cyclic = true,
                None => decls.lets[node].cyclic = true,
            }
        }
    }
    decls.let_order = found
        .order
        .into_iter()
        .filter(|&node| node < lets)
        .map(|node| LetId(node as u32))
        .collect();
}
