//! `with`: a value with some paths set anew. What is not named is shared, not copied.

use super::fields::Fields;
use super::machine::{Eval, Machine};
use super::traced::{Data, Traced};
use crate::check::typed::{Step, Update};
use crate::resolve::{FieldTy, Ty, TypeBody};
use std::sync::Arc;

impl Machine<'_, '_> {
    pub(super) fn updated(
        &mut self,
        base: Traced,
        updates: &[Update],
        frame: &mut Vec<Traced>,
    ) -> Eval<Traced> {
        let mut result = base;
        for update in updates {
            let value = self.eval(&update.value, frame)?;
            self.set(&mut result, &update.path, value)?;
        }
        Ok(result)
    }

    pub(super) fn set(&mut self, target: &mut Traced, path: &[Step], value: Traced) -> Eval<()> {
        let Some((step, rest)) = path.split_first() else {
            *target = value;
            return Ok(());
        };
        if matches!(target.data, Data::Absent) {
            *target = self.blank(step)?;
        }
        match &mut target.data {
            Data::Record(fields) => self.set_field(Arc::make_mut(fields), step, rest, value),
            Data::Map(entries) => {
                let entries = Arc::make_mut(entries);
                let mut entry = entries
                    .remove(&step.name)
                    .unwrap_or(Traced { at: step.at, data: Data::Absent });
                self.set(&mut entry, rest, value)?;
                if !matches!(entry.data, Data::Absent) {
                    entries.insert(step.name.clone(), entry);
                }
                Ok(())
            }
            Data::Case(case) if case.fields.get(&step.name).is_some() => {
                self.set_field(&mut Arc::make_mut(case).fields, step, rest, value)
            }
            Data::Absent | Data::Scalar(_) | Data::List(_) | Data::Case(_) | Data::Ref(_) => {
                let diagnostic = self.decls.absent_path(step.at, &step.name);
                self.fail(diagnostic)
            }
        }
    }

    fn set_field(
        &mut self,
        fields: &mut Fields,
        step: &Step,
        rest: &[Step],
        value: Traced,
    ) -> Eval<()> {
        let blank = Traced { at: step.at, data: Data::Absent };
        let mut field = fields.take(&step.name).unwrap_or(blank);
        self.set(&mut field, rest, value)?;
        fields.put(&step.name, field);
        Ok(())
    }

    /// A record of defaults, to set a field of; refused where the type demands more.
    fn blank(&mut self, step: &Step) -> Eval<Traced> {
        let decls = self.decls;
        let declared = step.of.and_then(|of| decls.type_decl(of)).map(|decl| &decl.body);
        let Some(TypeBody::Record(fields)) = declared else {
            let diagnostic = decls.absent_path(step.at, &step.name);
            return self.fail(diagnostic);
        };
        let required = |field: &&FieldTy| {
            field.default.is_none()
                && field.name != step.name
                && !matches!(decls.unalias(&field.ty), Ty::Optional(_))
        };
        if fields.iter().any(|field| required(&field)) {
            let diagnostic = decls.absent_path(step.at, &step.name);
            return self.fail(diagnostic);
        }
        let filled = self.filled(Vec::new(), fields)?;
        Ok(Traced { at: step.at, data: Data::Record(Arc::new(filled)) })
    }
}
