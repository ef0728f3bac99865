//! Conversions that checking asked for.

use super::machine::{Eval, Machine, Stop};
use super::traced::{Data, Traced};
use crate::check::typed::Conversion;
use crate::decimal::Decimal;
use crate::resolve::TypeBody;
use crate::value::{SecretPart, Value};
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
            Conversion::Registry => {
                let fields = vec![("ref".into(), value)];
                Ok(Traced { at, data: Data::Case("registry".into(), Arc::new(fields)) })
            }
            Conversion::Read(notation) => {
                let Data::Scalar(Value::Str(text)) = &value.data else { return Err(Stop) };
                self.pay(text.len() as u64 + 1, at)?;
                match notation.read(text) {
                    Ok(read) => Ok(Traced::scalar(at, Value::Str(read.into()))),
                    Err(bad) => {
                        let diagnostic = self.decls.malformed(at, *notation, text, &bad);
                        self.fail(diagnostic)
                    }
                }
            }
            Conversion::Widen => {
                let Data::Scalar(Value::Int(number)) = &value.data else { return Err(Stop) };
                let number = Decimal::new((*number).into(), 0).ok_or(Stop)?;
                Ok(Traced::scalar(at, Value::Decimal(number)))
            }
            Conversion::Hide => {
                let Data::Scalar(Value::Str(text)) = value.data else { return Err(Stop) };
                Ok(Traced::scalar(at, Value::Secret(vec![SecretPart::Text(text)])))
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
                Data::Absent
                | Data::Scalar(_)
                | Data::Record(_)
                | Data::Case(..)
                | Data::Ref(_) => Err(Stop),
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
                Ok(Traced { at, data: Data::Map(Arc::new(given.into_iter().collect())) })
            }
        }
    }

    fn converted_fields(
        &mut self,
        conversions: &[(Arc<str>, Conversion)],
        value: &Traced,
    ) -> Eval<Vec<(Arc<str>, Traced)>> {
        let Data::Record(fields) = &value.data else {
            return Err(Stop);
        };
        let mut converted = Vec::with_capacity(fields.len());
        for (name, field) in &**fields {
            let field = match conversions.iter().find(|(other, _)| other == name) {
                Some((_, conversion)) => self.convert(conversion, field.clone())?,
                None => field.clone(),
            };
            converted.push((name.clone(), field));
        }
        Ok(converted)
    }
}
