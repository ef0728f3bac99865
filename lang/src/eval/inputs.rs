//! Inputs: text from outside, by the type that the project declares.

use super::fields::Fields;
use super::machine::Machine;
use super::traced::{Data, Traced};
use crate::decimal::Decimal;
use crate::ids::{FileId, Loc};
use crate::nearest::nearest;
use crate::program::CompileRequest;
use crate::resolve::{Ty, TypeBody};
use crate::syntax::literal::{Unit, number, scaled, unit};
use crate::value::Scalar;
use std::collections::BTreeMap;

impl Machine<'_, '_> {
    /// Reads every input; gives those that have a value, as text.
    pub(super) fn take_inputs(&mut self, request: &CompileRequest) -> BTreeMap<String, String> {
        let decls = self.decls;
        let checked = self.checked;
        let mut texts = BTreeMap::new();
        let (chosen, key) = (self.selected.inputs, self.selected.key.clone());
        let names = || decls.inputs.iter().map(|decl| &*decl.name);
        let unknown = request.inputs.keys().filter(|name| names().all(|known| known != **name));
        let unknown: Vec<(&String, Option<&str>)> =
            unknown.map(|name| (name, nearest(name, names()))).collect();
        // What was misspelt has been, or will be, reported; that it is missing follows from that.
        let misspelt = |index: usize, name: &str| {
            self.selected.meant.iter().any(|id| id.index() == index)
                || unknown.iter().any(|(_, near)| *near == Some(name))
        };
        let misspelt: Vec<bool> =
            names().enumerate().map(|(index, name)| misspelt(index, name)).collect();
        for (index, (decl, default)) in decls.inputs.iter().zip(&checked.inputs).enumerate() {
            let named = key.as_ref().filter(|(id, _)| id.index() == index);
            let text = request.inputs.get(&*decl.name).map(String::as_str);
            let text = text.or(named.map(|(_, text)| &**text));
            let chosen = chosen.iter().find(|(id, _)| id.index() == index).map(|(_, typed)| typed);
            let default = chosen.or(default.as_ref());
            if decls.holds_secret(&decl.ty) {
                // Said already: an input is not a secret.
                self.inputs.push(None);
                continue;
            }
            let value = match (text, default) {
                (Some(text), _) => match self.read(&decl.ty, text, decl.at) {
                    Some(value) => self.under_rules(&decl.ty, value),
                    None if decl.ty == Ty::Error => None,
                    None => {
                        let diagnostic =
                            decls.input_malformed(decl.at, &decl.name, &decls.show(&decl.ty), text);
                        self.diagnostics.push(diagnostic);
                        None
                    }
                },
                (None, Some(default)) => self.eval(default, &mut Vec::new()).ok(),
                (None, None) => match decls.unalias(&decl.ty) {
                    Ty::Optional(_) => Some(Traced { at: decl.at, data: Data::Absent }),
                    Ty::Error => None,
                    _ if misspelt[index] => None,
                    other => {
                        let diagnostic =
                            decls.input_missing(decl.at, &decl.name, &decls.show(other));
                        self.diagnostics.push(diagnostic);
                        None
                    }
                },
            };
            if let Some(value) = &value {
                texts.insert(decl.name.to_string(), value.printed());
            }
            self.inputs.push(value);
        }
        for (name, near) in unknown {
            let first = u32::from(decls.files.len() > 1);
            let at = decls.start_of(FileId(first));
            let diagnostic = decls.unknown_input(at, name, near);
            self.diagnostics.push(diagnostic);
        }
        texts
    }

    fn read(&self, ty: &Ty, text: &str, at: Loc) -> Option<Traced> {
        let ty = match self.decls.unrefine(ty) {
            Ty::Optional(inner) => self.decls.unrefine(inner),
            other => other,
        };
        let quantity = || number(text).and_then(|number| Some((unit(&number)?, number)));
        let value = match ty {
            Ty::Str => Scalar::Str(text.into()),
            Ty::Decimal => Scalar::Decimal(Decimal::read(text)?),
            Ty::Text(notation) => Scalar::Str(notation.read(text).ok()?.into()),
            Ty::Bool => Scalar::Bool(text.parse().ok()?),
            Ty::Int => Scalar::Int(text.parse().ok()?),
            Ty::Cpu => match quantity()? {
                (Unit::None, number) => Scalar::Cpu(scaled(&number, 1000)?),
                (Unit::M, number) => Scalar::Cpu(scaled(&number, 1)?),
                (Unit::Percent | Unit::Time(_) | Unit::Size(_), _) => return None,
            },
            Ty::Bytes => match quantity()? {
                (Unit::Size(scale), number) => Scalar::Bytes(scaled(&number, scale)?),
                (Unit::None | Unit::M | Unit::Percent | Unit::Time(_), _) => return None,
            },
            Ty::Duration => match quantity()? {
                (Unit::Time(scale), number) => Scalar::Duration(scaled(&number, scale)?),
                (Unit::M, number) => Scalar::Duration(scaled(&number, 60_000)?),
                (Unit::None | Unit::Percent | Unit::Size(_), _) => return None,
            },
            Ty::Percent => match quantity()? {
                (Unit::Percent, number) => {
                    Scalar::Percent(u32::try_from(scaled(&number, 100)?).ok()?)
                }
                (Unit::None | Unit::M | Unit::Time(_) | Unit::Size(_), _) => return None,
            },
            Ty::Named(id) => match &self.decls.type_decl(*id)?.body {
                TypeBody::Enum(cases) => {
                    if let Some(bare) = self.checked.bare.iter().find(|bare| bare.of == *id) {
                        let case = cases.get(bare.case)?;
                        let [only] = &case.params[..] else { return None };
                        let given = (only.name.clone(), self.read(&bare.from, text, at)?);
                        return Some(Traced::case(at, case.name.clone(), Fields::new(vec![given])));
                    }
                    let case =
                        cases.iter().find(|case| &*case.name == text && case.params.is_empty())?;
                    return Some(Traced::case(at, case.name.clone(), Fields::new(Vec::new())));
                }
                TypeBody::Record(_)
                | TypeBody::Alias(_)
                | TypeBody::Refined { .. }
                | TypeBody::Broken => return None,
            },
            Ty::Error
            | Ty::Never
            | Ty::Secret(_)
            | Ty::List(_)
            | Ty::Map(_)
            | Ty::Optional(_)
            | Ty::Param(_)
            | Ty::Ref(_)
            | Ty::Record(_) => return None,
        };
        Some(Traced::scalar(at, value))
    }

    /// Holds a value to every rule between its type and what that refines.
    fn under_rules(&mut self, ty: &Ty, value: Traced) -> Option<Traced> {
        let decls = self.decls;
        let ty = match decls.unalias(ty) {
            Ty::Optional(inner) => decls.unalias(inner),
            other => other,
        };
        let Ty::Named(id) = ty else {
            return Some(value);
        };
        match &decls.type_decl(*id)?.body {
            TypeBody::Refined { base, .. } => {
                let value = self.under_rules(base, value)?;
                self.hold(*id, value).ok()
            }
            TypeBody::Record(_) | TypeBody::Enum(_) | TypeBody::Alias(_) | TypeBody::Broken => {
                Some(value)
            }
        }
    }
}
