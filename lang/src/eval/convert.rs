//! Conversions that checking asked for.

use super::machine::{Eval, Machine, Stop};
use super::traced::{Data, Traced};
use crate::check::typed::Conversion;
use crate::decimal::Decimal;
use crate::resolve::TypeBody;
use crate::value::{Scalar, SecretPart};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Machine<'_, '_> {
    /// Converts a value; what is absent stays absent.
    pub(super) fn convert(&mut self, conversion: &Conversion, value: Traced) -> Eval<Traced> {
        if matches!(value.data, Data::Absent) {
            return Ok(value);
        }
        let at = value.at;
        match conversion {
            Conversion::Bare(number) => {
                let bare = self.checked.bare.get(*number).ok_or(Stop)?;
                let decls = self.decls;
                let body = decls.type_decl(bare.of).map(|decl| &decl.body);
                let Some(TypeBody::Enum(cases)) = body else {
                    return Err(Stop);
                };
                let case = cases.get(bare.case).ok_or(Stop)?;
                let given = case.params.first().map(|param| (&param.name, value));
                let fields = self.filled(given.into_iter().collect(), &case.params)?;
                Ok(Traced::case(at, self.name(&case.name), fields))
            }
            Conversion::Read(notation) => {
                let Data::Scalar(Scalar::Str(text)) = &value.data else { return Err(Stop) };
                self.pay(text.len() as u64 + 1, at)?;
                match notation.read(text) {
                    Ok(read) => Ok(Traced::scalar(at, Scalar::Str(read.into()))),
                    Err(bad) => {
                        let diagnostic = self.decls.malformed(at, *notation, text, &bad);
                        self.fail(diagnostic)
                    }
                }
            }
            Conversion::Widen => {
                let Data::Scalar(Scalar::Int(number)) = &value.data else { return Err(Stop) };
                let number = Decimal::new((*number).into(), 0).ok_or(Stop)?;
                Ok(Traced::scalar(at, Scalar::Decimal(number)))
            }
            Conversion::Hide => {
                let Data::Scalar(Scalar::Str(text)) = value.data else { return Err(Stop) };
                Ok(Traced::scalar(at, Scalar::Secret([SecretPart::Text(text)].into())))
            }
            Conversion::Refine(of) => self.hold(*of, value),
            Conversion::Follow => self.follow(&value),
            Conversion::Then(first, second) => {
                let value = self.convert(first, value)?;
                self.convert(second, value)
            }
            Conversion::Each(inner) => match &value.data {
                Data::List(elements) => {
                    let converted: Eval<Vec<Traced>> = elements
                        .iter()
                        .map(|element| self.convert(inner, element.clone()))
                        .collect();
                    Ok(Traced { at, data: Data::List(Arc::new(converted?)) })
                }
                Data::Map(entries) => {
                    let converted: Eval<BTreeMap<Arc<str>, Traced>> = entries
                        .iter()
                        .map(|(name, entry)| {
                            Ok((name.clone(), self.convert(inner, entry.clone())?))
                        })
                        .collect();
                    Ok(Traced { at, data: Data::Map(Arc::new(converted?)) })
                }
                Data::Absent | Data::Scalar(_) | Data::Record(_) | Data::Case(_) | Data::Ref(_) => {
                    Err(Stop)
                }
            },
            Conversion::Fields { of, fields } => {
                let given = self.converted_fields(fields, &value)?;
                let decls = self.decls;
                let Some(TypeBody::Record(declared)) = decls.type_decl(*of).map(|decl| &decl.body)
                else {
                    return Err(Stop);
                };
                Ok(Traced { at, data: Data::Record(Arc::new(self.filled(given, declared)?)) })
            }
            Conversion::IntoMap(fields) => {
                let given = self.converted_fields(fields, &value)?;
                Ok(Traced {
                    at,
                    data: Data::Map(Arc::new(
                        given.into_iter().map(|(name, field)| (name.clone(), field)).collect(),
                    )),
                })
            }
        }
    }

    fn converted_fields<'v>(
        &mut self,
        conversions: &[(Arc<str>, Conversion)],
        value: &'v Traced,
    ) -> Eval<Vec<(&'v Arc<str>, Traced)>> {
        let Data::Record(fields) = &value.data else {
            return Err(Stop);
        };
        let mut converted = Vec::new();
        for (name, field) in fields.iter() {
            let field = match conversions.iter().find(|(other, _)| other == name) {
                Some((_, conversion)) => self.convert(conversion, field.clone())?,
                None => field.clone(),
            };
            converted.push((name, field));
        }
        Ok(converted)
    }
}
