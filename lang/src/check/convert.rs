//! From the type that was found to the type that is expected, by an explicit conversion or not at all.

use super::checker::{Checker, Why};
use super::typed::{Conversion, Kind, Typed};
use crate::notation::Notation;
use crate::resolve::{FieldTy, Ty, TypeBody};
use crate::value::Scalar;
use std::sync::Arc;

/// How a type becomes another.
enum Way {
    /// As it is.
    Same,
    By(Conversion),
    No,
}

impl Checker<'_, '_> {
    /// Makes an expression of one type into one of another, or reports a mismatch.
    pub(super) fn convert(
        &mut self,
        typed: Typed,
        found: &Ty,
        wanted: &Ty,
        why: Option<Why>,
    ) -> Typed {
        match self.way(found, wanted) {
            Way::Same => typed,
            Way::By(Conversion::Refine(id)) => self.refine(id, typed),
            Way::By(Conversion::Read(notation)) => self.read_text(notation, typed),
            Way::By(Conversion::Then(first, second)) => {
                let first = match *first {
                    Conversion::Read(notation) => self.read_text(notation, typed),
                    other => {
                        let at = typed.at;
                        Typed { kind: Kind::Convert(other, Box::new(typed)), at }
                    }
                };
                match *second {
                    Conversion::Refine(id) => self.refine(id, first),
                    other => {
                        let at = first.at;
                        Typed { kind: Kind::Convert(other, Box::new(first)), at }
                    }
                }
            }
            Way::By(conversion) => {
                let at = typed.at;
                Typed { kind: Kind::Convert(conversion, Box::new(typed)), at }
            }
            Way::No => {
                let diagnostic = self.decls.mismatch(typed.at, found, wanted, why);
                self.report(diagnostic);
                self.poison(typed.at)
            }
        }
    }

    /// Reads a text of a kind; a literal is read here and now.
    fn read_text(&mut self, notation: Notation, typed: Typed) -> Typed {
        let at = typed.at;
        let Kind::Constant(Scalar::Str(text)) = &typed.kind else {
            let kind = Kind::Convert(Conversion::Read(notation), Box::new(typed));
            return Typed { kind, at };
        };
        match notation.read(text) {
            Ok(read) => Typed { kind: Kind::Constant(Scalar::Str(read.into())), at },
            Err(bad) => {
                let diagnostic = self.decls.malformed(at, notation, text, &bad);
                self.report(diagnostic);
                self.poison(at)
            }
        }
    }

    /// Whether one type becomes another.
    pub(super) fn converts(&self, found: &Ty, wanted: &Ty) -> bool {
        !matches!(self.way(found, wanted), Way::No)
    }

    fn way(&self, found: &Ty, wanted: &Ty) -> Way {
        let decls = self.decls;
        let (found, wanted) = (decls.unalias(found), decls.unalias(wanted));
        if found == wanted {
            return Way::Same;
        }
        match (found, wanted) {
            (Ty::Error | Ty::Never, _) | (_, Ty::Error | Ty::Never) => Way::Same,
            (Ty::Optional(found), Ty::Optional(wanted)) => match self.way(found, wanted) {
                // Absent values pass through every conversion.
                way @ (Way::Same | Way::By(_) | Way::No) => way,
            },
            (_, Ty::Optional(wanted)) => self.way(found, wanted),
            (Ty::List(found), Ty::List(wanted)) | (Ty::Map(found), Ty::Map(wanted)) => {
                each(self.way(found, wanted))
            }
            (Ty::Record(fields), Ty::Map(value)) => {
                let fields = fields.iter().map(|(name, ty)| (name.clone(), self.way(ty, value)));
                named(fields, Conversion::IntoMap)
            }
            (Ty::Str, Ty::Text(notation)) => Way::By(Conversion::Read(*notation)),
            (Ty::Text(_), Ty::Str) => Way::Same,
            (Ty::Int, Ty::Decimal) => Way::By(Conversion::Widen),
            (Ty::Secret(found), Ty::Secret(wanted)) => match self.way(found, wanted) {
                Way::Same => Way::Same,
                Way::By(_) | Way::No => Way::No,
            },
            (_, Ty::Secret(inner)) => match self.way(found, inner) {
                Way::Same if *decls.unrefine(inner) == Ty::Str => Way::By(Conversion::Hide),
                Way::Same | Way::By(_) | Way::No => Way::No,
            },
            (Ty::Ref(kind), _) if decls.body_type(*kind) == *wanted => Way::By(Conversion::Follow),
            (_, Ty::Named(id)) => {
                let Some(decl) = decls.type_decl(*id) else {
                    return Way::Same;
                };
                match &decl.body {
                    TypeBody::Refined { base, .. } => match self.way(found, base) {
                        Way::Same => Way::By(Conversion::Refine(*id)),
                        Way::By(first) => Way::By(then(first, Conversion::Refine(*id))),
                        Way::No => Way::No,
                    },
                    TypeBody::Enum(_) => {
                        let bare = self.bare.iter().enumerate().filter(|(_, it)| it.of == *id);
                        let mut ways =
                            bare.map(|(number, bare)| match self.way(found, &bare.from) {
                                Way::Same => Way::By(Conversion::Bare(number)),
                                Way::By(first) => Way::By(then(first, Conversion::Bare(number))),
                                Way::No => Way::No,
                            });
                        ways.find(|way| !matches!(way, Way::No)).unwrap_or(Way::No)
                    }
                    TypeBody::Record(declared) => {
                        let Ty::Record(fields) = found else { return Way::No };
                        let conversion = |fields| Conversion::Fields { of: *id, fields };
                        self.record_way(fields, declared, conversion)
                    }
                    TypeBody::Broken => Way::Same,
                    TypeBody::Alias(_) => Way::No,
                }
            }
            // A refined value is also a value of what it refines.
            (Ty::Named(id), _) => match decls.type_decl(*id).map(|decl| &decl.body) {
                Some(TypeBody::Refined { base, .. }) => self.way(base, wanted),
                Some(
                    TypeBody::Record(_) | TypeBody::Enum(_) | TypeBody::Alias(_) | TypeBody::Broken,
                )
                | None => Way::No,
            },
            _ => Way::No,
        }
    }

    fn record_way(
        &self,
        found: &[(Arc<str>, Ty)],
        declared: &[FieldTy],
        conversion: impl FnOnce(Vec<(Arc<str>, Conversion)>) -> Conversion,
    ) -> Way {
        let known = |name: &Arc<str>| declared.iter().find(|field| field.name == *name);
        if found.iter().any(|(name, _)| known(name).is_none()) {
            return Way::No;
        }
        let required = |field: &&FieldTy| {
            field.default.is_none() && !matches!(self.decls.unalias(&field.ty), Ty::Optional(_))
        };
        if declared
            .iter()
            .filter(required)
            .any(|field| found.iter().all(|(name, _)| *name != field.name))
        {
            return Way::No;
        }
        let ways = found.iter().map(|(name, ty)| {
            let way = known(name).map_or(Way::No, |field| self.way(ty, &field.ty));
            (name.clone(), way)
        });
        named(ways, conversion)
    }
}

fn each(way: Way) -> Way {
    match way {
        Way::Same => Way::Same,
        Way::By(inner) => Way::By(Conversion::Each(Box::new(inner))),
        Way::No => Way::No,
    }
}

fn named(
    ways: impl Iterator<Item = (Arc<str>, Way)>,
    conversion: impl FnOnce(Vec<(Arc<str>, Conversion)>) -> Conversion,
) -> Way {
    let mut fields = Vec::new();
    for (name, way) in ways {
        match way {
            Way::Same => {}
            Way::By(inner) => fields.push((name, inner)),
            Way::No => return Way::No,
        }
    }
    Way::By(conversion(fields))
}

fn then(first: Conversion, second: Conversion) -> Conversion {
    Conversion::Then(Box::new(first), Box::new(second))
}
