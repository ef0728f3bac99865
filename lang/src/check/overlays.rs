//! Overlays and environments: typed paths into resources, and typed inputs.

use super::checker::{Checker, Why, as_name};
use super::typed::{Key, Kind, Laid, TypedEnvironment, Update};
use crate::ids::{InputId, Loc, OverlayId};
use crate::nearest::nearest;
use crate::resolve::{Def, Ty};
use crate::syntax::ast::{ExprKind, Field, Name};
use crate::value::Scalar;

impl Checker<'_, '_> {
    /// What an overlay sets, in the order in which it says so.
    pub(super) fn check_overlay(&mut self, index: usize) -> Vec<Laid> {
        let decl = &self.decls.overlays[index];
        self.enter(decl.site);
        let mut seen: Vec<(Vec<&str>, Option<Key>, Loc)> = Vec::new();
        let mut updates = Vec::with_capacity(decl.fields.len());
        for field in decl.fields {
            let Some((first, rest)) = field.path.split_first() else { continue };
            let last = rest.last().unwrap_or(first);
            let whole = Loc { end: self.loc(last.at).end, ..self.loc(first.at) };
            let steps: Vec<&str> = field.path.iter().map(|step| &*step.text).collect();
            // A path and a path inside it would leave open which of the two counts.
            let key = self.instance_key(field);
            let overlapping = seen.iter().find(|(other, other_key, _)| {
                let shared = other.len().min(steps.len());
                let one = other_key.is_none() || key.is_none() || *other_key == key;
                one && other[..shared] == steps[..shared]
            });
            if let Some((other, other_key, earlier)) = overlapping {
                let diagnostic = self.decls.set_twice(
                    whole,
                    &written(&steps, key.as_ref()),
                    &written(other, other_key.as_ref()),
                    *earlier,
                );
                self.report(diagnostic);
                continue;
            }
            seen.push((steps, key.clone(), whole));
            updates.extend(self.overlaid(field, first, rest, key));
        }
        updates
    }

    fn overlaid(
        &mut self,
        field: &Field,
        first: &Name,
        rest: &[Name],
        key: Option<Key>,
    ) -> Option<Laid> {
        let at = self.loc(first.at);
        let id = match self.decls.lookup(self.site.file, &first.text) {
            Some(Def::Resource(id)) => id,
            Some(Def::Broken) => return None,
            Some(Def::Type(_) | Def::Let(_) | Def::Fn(_) | Def::Input(_) | Def::Secret(_))
            | None => {
                let names = self.decls.resources.iter().map(|decl| &*decl.name);
                let near = nearest(&first.text, names);
                let diagnostic = self.decls.not_a_resource(at, &first.text, near);
                self.report(diagnostic);
                self.silently(&field.value);
                return None;
            }
        };
        if rest.is_empty() {
            let diagnostic = self.decls.whole_resource(at, &first.text);
            self.report(diagnostic);
            return None;
        }
        let declared = self.decls.resource(id);
        let key_at = field.key.as_ref().map(|key| self.loc(key.at));
        if let (Some(key_at), None) = (key_at, declared.key) {
            let whole = Loc { end: key_at.end, ..at };
            let diagnostic = self.decls.not_keyed(whole, &declared.name, declared.at);
            self.report(diagnostic);
            self.silently(&field.value);
            return None;
        }
        let ty = self.decls.body_type(declared.kind);
        let Some((path, ty, why)) = self.path(rest, &ty) else {
            self.silently(&field.value);
            return None;
        };
        let value = self.check(&field.value, &ty, why);
        if field.key.is_some() && key.is_none() {
            return None;
        }
        let update = Update { path, value };
        Some(Laid { resource: id, key: key.zip(key_at), update })
    }

    /// The key of the instance that a path starts at; one that is none is reported.
    fn instance_key(&mut self, field: &Field) -> Option<Key> {
        let written = field.key.as_deref()?;
        let (typed, ty) = self.infer(written, None);
        match typed.kind {
            Kind::Constant(Scalar::Int(key)) => Some(Key::Int(key)),
            Kind::Constant(Scalar::Str(key)) => Some(Key::Str(key)),
            _ if matches!(ty, Ty::Error) => None,
            _ => {
                let diagnostic = self.decls.key_not_literal(typed.at);
                self.report(diagnostic);
                None
            }
        }
    }

    /// An environment: `overlay: name` and `inputs: { name: value }`.
    pub(super) fn check_environment(&mut self, index: usize) -> TypedEnvironment {
        let decl = &self.decls.environments[index];
        self.enter(decl.site);
        let mut typed = TypedEnvironment::default();
        if let Some(key) = decl.key {
            typed.key = self.input_named(key);
        }
        for (name, field) in self.distinct(decl.fields) {
            match (&*name, &field.value.kind) {
                ("overlay", ExprKind::Name(_)) => {
                    let at = self.loc(field.value.at);
                    typed.overlay = as_name(&field.value).and_then(|name| self.overlay(name, at));
                }
                ("inputs", ExprKind::Record(inputs)) => {
                    for (_, input) in self.distinct(inputs) {
                        let Some(name) = input.path.first() else { continue };
                        let Some(id) = self.input_named(name) else {
                            typed.meant.extend(self.input_meant(name));
                            self.silently(&input.value);
                            continue;
                        };
                        let declared = &self.decls.inputs[id.index()];
                        let why = Why { at: declared.at, text: "the input is declared here" };
                        let value = self.check(&input.value, &declared.ty, Some(why));
                        typed.inputs.push((id, value));
                    }
                }
                ("overlay" | "inputs", _) => {
                    let diagnostic = self.decls.environment_field(self.loc(field.value.at), &name);
                    self.report(diagnostic);
                }
                _ => {
                    let at = field.path.first().map_or(decl.at, |step| self.loc(step.at));
                    let diagnostic = self.decls.unknown_environment_field(at, &name);
                    self.report(diagnostic);
                }
            }
        }
        typed
    }

    fn overlay(&mut self, name: &str, at: Loc) -> Option<OverlayId> {
        let overlays = &self.decls.overlays;
        let found = overlays.iter().position(|overlay| &*overlay.name == name);
        if found.is_none() {
            let near = nearest(name, overlays.iter().map(|overlay| &*overlay.name));
            let diagnostic = self.decls.unknown_overlay(at, name, near);
            self.report(diagnostic);
        }
        found.map(|found| OverlayId(found as u32))
    }

    fn input_meant(&self, name: &Name) -> Option<InputId> {
        let inputs = &self.decls.inputs;
        let near = nearest(&name.text, inputs.iter().map(|input| &*input.name))?;
        let found = inputs.iter().position(|input| &*input.name == near)?;
        Some(InputId(found as u32))
    }

    pub(super) fn input_named(&mut self, name: &Name) -> Option<InputId> {
        let inputs = &self.decls.inputs;
        let found = inputs.iter().position(|input| input.name == name.text);
        if found.is_none() {
            let near = nearest(&name.text, inputs.iter().map(|input| &*input.name));
            let diagnostic = self.decls.no_such_input(self.loc(name.at), &name.text, near);
            self.report(diagnostic);
        }
        found.map(|found| InputId(found as u32))
    }
}

/// A path as it is written: `n[1].labels.zone`.
fn written(steps: &[&str], key: Option<&Key>) -> String {
    let path = steps.join(".");
    let first = steps.first().map_or(0, |first| first.len());
    let (head, tail) = path.split_at_checked(first).unwrap_or((&path, ""));
    match key {
        None => path,
        Some(Key::Int(key)) => format!("{head}[{key}]{tail}"),
        Some(Key::Str(key)) => format!("{head}[{key:?}]{tail}"),
    }
}
