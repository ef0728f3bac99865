//! Names, fields, cases and arguments that are not there, or are there twice.

use crate::check::checker::Why;
use crate::diagnostic::Diagnostic;
use crate::ids::{FileId, FnId, Loc, TypeId};
use crate::nearest::nearest;
use crate::resolve::{CaseTy, Decls, Def, FieldTy, Ty, TypeBody};

impl Decls<'_> {
    pub(in crate::check) fn unknown_name(
        &self,
        file: FileId,
        at: Loc,
        name: &str,
        locals: &[&str],
    ) -> Diagnostic {
        // A capital means a type, as in `Protocol.tcp`.
        let of_type = name.starts_with(|c: char| c.is_ascii_uppercase());
        let visible = self.visible(file).filter(|(_, def)| matches!(def, Def::Type(_)) == of_type);
        let near = nearest(name, locals.iter().copied().chain(visible.map(|(name, _)| name)));
        let diagnostic = Diagnostic::error("E0202", self.span(at), format!("there is no `{name}`"))
            .label("unknown name");
        if near.is_some() {
            return self.suggested(diagnostic, at, near);
        }
        let has_case = |body: &TypeBody<'_>| match body {
            TypeBody::Enum(cases) => cases.iter().any(|case| &*case.name == name),
            TypeBody::Record(_)
            | TypeBody::Alias(_)
            | TypeBody::Refined { .. }
            | TypeBody::Broken => false,
        };
        match self.types.iter().find(|decl| has_case(&decl.body)) {
            Some(decl) => {
                diagnostic.help(format!("where no type is expected, write `{}.{name}`", decl.name))
            }
            None => diagnostic,
        }
    }

    pub(in crate::check) fn unknown_function(
        &self,
        file: FileId,
        at: Loc,
        name: &str,
    ) -> Diagnostic {
        let functions = self.visible(file).filter(|(_, def)| matches!(def, Def::Fn(_)));
        let near = nearest(name, functions.map(|(name, _)| name));
        let diagnostic =
            Diagnostic::error("E0202", self.span(at), format!("there is no function `{name}`"))
                .label("unknown function");
        self.suggested(diagnostic, at, near)
    }

    pub(in crate::check) fn unknown_case(
        &self,
        at: Loc,
        name: &str,
        of: TypeId,
        cases: &[CaseTy],
        why: Option<Why>,
    ) -> Diagnostic {
        let near = nearest(name, cases.iter().map(|case| &*case.name));
        let names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
        let of = self.show(&Ty::Named(of));
        let diagnostic =
            Diagnostic::error("E0306", self.span(at), format!("{of} has no case `{name}`"))
                .label("unknown case");
        let diagnostic = self.because(diagnostic, why);
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => diagnostic.help(format!("its cases are: {}", names.join(", "))),
        }
    }

    pub(in crate::check) fn unknown_field(
        &self,
        at: Loc,
        name: &str,
        ty: &Ty,
        fields: &[FieldTy],
        near: Option<&str>,
    ) -> Diagnostic {
        let of = self.show(ty);
        let diagnostic =
            Diagnostic::error("E0302", self.span(at), format!("{of} has no field `{name}`"))
                .label("unknown field");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => {
                let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
                diagnostic.help(format!("its fields are: {}", names.join(", ")))
            }
        }
    }

    pub(in crate::check) fn unknown_member(
        &self,
        at: Loc,
        name: &str,
        ty: &Ty,
        base: Loc,
    ) -> Diagnostic {
        let names: Vec<&str> = match self.unrefine(ty) {
            Ty::Record(fields) => fields.iter().map(|(name, _)| &**name).collect(),
            Ty::Named(id) => match self.type_decl(*id).map(|decl| &decl.body) {
                Some(TypeBody::Record(fields)) => fields.iter().map(|field| &*field.name).collect(),
                Some(TypeBody::Enum(cases)) => {
                    cases.iter().flat_map(|case| &case.params).map(|param| &*param.name).collect()
                }
                Some(TypeBody::Alias(_) | TypeBody::Refined { .. } | TypeBody::Broken) | None => {
                    Vec::new()
                }
            },
            _ => Vec::new(),
        };
        let near = nearest(name, names.iter().copied());
        let message = format!("{} has no field `{name}`", self.describe(ty));
        let diagnostic = Diagnostic::error("E0302", self.span(at), message).label("unknown field");
        let diagnostic = if base == at {
            diagnostic
        } else {
            diagnostic.also(self.span(base), format!("this is {}", self.describe(ty)))
        };
        if near.is_some() {
            return self.suggested(diagnostic, at, near);
        }
        match self.unalias(ty) {
            Ty::Optional(_) => {
                diagnostic.help("it may be absent: say what stands in for it, `(… or …).field`")
            }
            _ if names.is_empty() => diagnostic,
            _ => diagnostic.help(format!("its fields are: {}", names.join(", "))),
        }
    }

    pub(in crate::check) fn missing_field(&self, at: Loc, field: &FieldTy, of: &Ty) -> Diagnostic {
        let message = format!("missing field `{}: {}`", field.name, self.show(&field.ty));
        Diagnostic::error("E0303", self.span(at), message)
            .label(format!("this {} has no `{}`", self.show(of), field.name))
            .also(self.span(field.at), "declared here, without a default")
    }

    pub(in crate::check) fn missing_argument(
        &self,
        at: Loc,
        param: &FieldTy,
        callee: &str,
    ) -> Diagnostic {
        let message =
            format!("missing argument `{}: {}` of `{callee}`", param.name, self.show(&param.ty));
        Diagnostic::error("E0303", self.span(at), message)
            .label(format!("needs `{}`", param.name))
            .also(self.span(param.at), "declared here, without a default")
    }

    pub(in crate::check) fn field_twice(&self, at: Loc, name: &str, first: Loc) -> Diagnostic {
        Diagnostic::error("E0304", self.span(at), format!("`{name}` is given twice"))
            .label("given again here")
            .also(self.span(first), "first given here")
    }

    pub(in crate::check) fn not_callable(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0305", self.span(at), "this is not a function")
            .label("cannot be called")
    }

    pub(in crate::check) fn not_called(&self, at: Loc, id: FnId) -> Diagnostic {
        let name = self.fns.get(id.index()).map_or("", |decl| &*decl.name);
        Diagnostic::error("E0305", self.span(at), format!("`{name}` is a function"))
            .label("functions are called, not passed on")
            .help(format!("call it: `{name}(…)`"))
    }

    pub(in crate::check) fn type_as_value(&self, at: Loc, name: &str) -> Diagnostic {
        Diagnostic::error("E0305", self.span(at), format!("`{name}` is a type, not a value"))
            .label("a value is wanted here")
    }

    pub(in crate::check) fn not_an_enum(&self, at: Loc, ty: &Ty) -> Diagnostic {
        Diagnostic::error("E0306", self.span(at), format!("{} has no cases", self.show(ty)))
            .label("not an enum")
    }

    pub(in crate::check) fn too_many_arguments(
        &self,
        at: Loc,
        callee: &str,
        count: usize,
    ) -> Diagnostic {
        let plural = if count == 1 { "" } else { "s" };
        Diagnostic::error(
            "E0310",
            self.span(at),
            format!("`{callee}` takes {count} argument{plural}"),
        )
        .label("one too many")
    }

    pub(in crate::check) fn positional_after_named(&self, at: Loc) -> Diagnostic {
        Diagnostic::error("E0310", self.span(at), "an argument without a name follows a named one")
            .label("name this one too")
    }

    pub(in crate::check) fn unknown_argument(
        &self,
        at: Loc,
        name: &str,
        callee: &str,
        params: &[FieldTy],
        near: Option<&str>,
    ) -> Diagnostic {
        let diagnostic = Diagnostic::error(
            "E0310",
            self.span(at),
            format!("`{callee}` has no parameter `{name}`"),
        )
        .label("unknown parameter");
        match near {
            Some(_) => self.suggested(diagnostic, at, near),
            None => {
                let names: Vec<&str> = params.iter().map(|param| &*param.name).collect();
                diagnostic.help(format!("its parameters are: {}", names.join(", ")))
            }
        }
    }

    pub(in crate::check) fn not_keyed(&self, at: Loc, name: &str, declared: Loc) -> Diagnostic {
        Diagnostic::error("E0305", self.span(at), format!("`{name}` has no instances"))
            .label("it is not keyed")
            .also(self.span(declared), "declared here")
    }
}
