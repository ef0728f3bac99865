//! Items, types and declarations out of pest's tree.

use super::exprs::{Builder, Paths};
use super::grammar::{Node, Nodes, Rule, run};
use super::{quick, report};
use crate::program::ResourceKind;
use crate::syntax::ast::{
    Case, Expr, ExprKind, Field, FieldDecl, Generic, Item, ItemKind, Key, Name, Policy, Rel,
    Rule as Refinement, Test, TypeExpr, TypeKind,
};
use crate::syntax::error::{SyntaxError, SyntaxErrorKind};
use crate::syntax::split::Keyword;

/// What an item's text says, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct ItemTree {
    /// The tree; nothing where the grammar refused the text.
    pub(crate) item: Option<Item>,
    /// Mistakes, placed from the item's first byte.
    pub(crate) errors: Vec<SyntaxError>,
}

/// Parses one item by its keyword. Brackets and strings are already known to be balanced.
pub(crate) fn parse_item(keyword: Keyword, text: &str) -> ItemTree {
    match quick::item(keyword, text) {
        Some(item) => ItemTree { item: Some(item), errors: Vec::new() },
        None => parse_by_grammar(keyword, text),
    }
}

pub(super) fn parse_by_grammar(keyword: Keyword, text: &str) -> ItemTree {
    let rule = match keyword {
        Keyword::Project
        | Keyword::Node
        | Keyword::Service
        | Keyword::Job
        | Keyword::Cron
        | Keyword::Volume => Rule::resource_item,
        Keyword::Let => Rule::let_item,
        Keyword::Input => Rule::input_item,
        Keyword::Secret => Rule::secret_item,
        Keyword::Overlay => Rule::overlay_item,
        Keyword::Environment => Rule::environment_item,
        Keyword::Policy => Rule::policy_item,
        Keyword::Test => Rule::test_item,
        Keyword::Type => Rule::type_item,
        Keyword::Enum => Rule::enum_item,
        Keyword::Fn => Rule::fn_item,
        Keyword::Use => Rule::use_item,
        Keyword::Package => Rule::package_item,
    };
    let mut nodes = match run(rule, text) {
        Ok(nodes) => nodes,
        Err(refusal) => {
            return ItemTree { item: None, errors: vec![report::refusal(&refusal, text)] };
        }
    };
    let mut builder = Builder::default();
    let item = nodes.next().and_then(|node| builder.item(keyword, node.into_inner()));
    // Two elements with nothing between them are seldom two elements: what follows from it is noise.
    let torn =
        builder.errors.iter().find(|error| matches!(error.kind, SyntaxErrorKind::MissingComma));
    match torn.cloned() {
        Some(error) => ItemTree { item: None, errors: vec![error] },
        None => ItemTree { item, errors: builder.errors },
    }
}

impl Builder {
    fn item(&mut self, keyword: Keyword, nodes: Nodes<'_>) -> Option<Item> {
        let mut nodes = nodes.peekable();
        let public = nodes.next_if(|node| node.as_rule() == Rule::public).is_some();
        nodes.next_if(|node| node.as_rule() == Rule::resource_word);
        let name = match keyword {
            Keyword::Use | Keyword::Test => self.literal_string(nodes.next()?),
            Keyword::Project
            | Keyword::Node
            | Keyword::Service
            | Keyword::Job
            | Keyword::Cron
            | Keyword::Volume
            | Keyword::Let
            | Keyword::Input
            | Keyword::Secret
            | Keyword::Overlay
            | Keyword::Environment
            | Keyword::Policy
            | Keyword::Type
            | Keyword::Enum
            | Keyword::Fn
            | Keyword::Package => self.name(&nodes.next()?),
        };
        let mut rest = Parts::default();
        for node in nodes {
            match node.as_rule() {
                // Only here do the fields of an item have paths.
                Rule::record if keyword == Keyword::Overlay => {
                    rest.fields = self.fields(node, Paths::Keyed);
                }
                Rule::record if matches!(keyword, Keyword::Environment | Keyword::Package) => {
                    rest.fields = self.fields(node, Paths::Plain);
                }
                Rule::each | Rule::severity | Rule::clause => {
                    self.policy_part(node, &mut rest.policy);
                }
                Rule::setting | Rule::expectation => self.test_part(node, &mut rest.test),
                _ => self.part(node, &mut rest),
            }
        }
        let resource =
            |kind, rest: Parts| Some(ItemKind::Resource { kind, key: rest.key, body: rest.expr? });
        let kind = match keyword {
            Keyword::Project => resource(ResourceKind::Project, rest)?,
            Keyword::Node => resource(ResourceKind::Node, rest)?,
            Keyword::Service => resource(ResourceKind::Service, rest)?,
            Keyword::Job => resource(ResourceKind::Job, rest)?,
            Keyword::Cron => resource(ResourceKind::Cron, rest)?,
            Keyword::Volume => resource(ResourceKind::Volume, rest)?,
            Keyword::Let => ItemKind::Let { ty: rest.ty, value: rest.expr? },
            Keyword::Input => ItemKind::Input { ty: rest.ty?, default: rest.expr },
            Keyword::Secret => ItemKind::Secret { source: rest.expr? },
            Keyword::Overlay => ItemKind::Overlay { on: rest.names.pop(), fields: rest.fields },
            Keyword::Environment => {
                ItemKind::Environment { key: rest.names.pop(), fields: rest.fields }
            }
            Keyword::Policy => ItemKind::Policy(Box::new(rest.policy)),
            Keyword::Test => ItemKind::Test(Box::new(rest.test)),
            Keyword::Type => ItemKind::Type { body: rest.ty?, rule: rest.rule },
            Keyword::Enum => ItemKind::Enum { cases: rest.cases },
            Keyword::Fn => ItemKind::Fn {
                generics: rest.generics,
                params: rest.params,
                result: rest.ty?,
                body: rest.expr?,
            },
            Keyword::Package => ItemKind::Package { fields: rest.fields },
            Keyword::Use => match rest.ty {
                Some(ty) => ItemKind::Data { name: rest.names.pop()?, ty },
                None => ItemKind::Use { names: rest.names },
            },
        };
        let local_types = std::mem::take(&mut self.local_types);
        Some(Item { public, name, kind, local_types })
    }

    fn part(&mut self, node: Node<'_>, parts: &mut Parts) {
        match node.as_rule() {
            Rule::ident => {
                let name = self.name(&node);
                self.separated(parts.names.last().map(|n| n.at), name.at, &node);
                parts.names.push(name);
            }
            Rule::comma => self.comma(),
            Rule::expr => parts.expr = Some(self.expr(node)),
            Rule::record => parts.expr = Some(self.record(node)),
            Rule::type_expr => parts.ty = self.type_expr(node),
            Rule::refinement => {
                let mut inner =
                    node.into_inner().filter(|n| matches!(n.as_rule(), Rule::expr | Rule::string));
                if let Some(condition) = inner.next() {
                    let condition = self.expr(condition);
                    let message = inner.next().map(|string| self.string(string));
                    parts.rule = Some(Refinement { condition, message });
                }
            }
            Rule::case => {
                let at = self.rel(&node);
                let source = node.clone();
                let mut inner = node.into_inner();
                let Some(name) = inner.next().map(|n| self.name(&n)) else {
                    return;
                };
                let params = inner.find(|n| n.as_rule() == Rule::params).map(|n| self.params(n));
                self.separated(parts.cases.last().map(|case| case.at), at, &source);
                let end = source.into_inner().last().map_or(at.end, |last| self.rel(&last).end);
                parts.cases.push(Case {
                    name,
                    params: params.unwrap_or_default(),
                    at: Rel { end, ..at },
                });
            }
            Rule::type_params => parts.generics = self.generics(node),
            Rule::params => parts.params = self.params(node),
            Rule::keyed => {
                let mut inner = node.into_inner();
                let names: Vec<Name> = inner
                    .by_ref()
                    .filter(|n| n.as_rule() == Rule::ident)
                    .take(2)
                    .map(|n| self.name(&n))
                    .collect();
                let keys = inner.find(|n| n.as_rule() == Rule::expr).map(|n| self.expr(n));
                if let ([index, variable], Some(keys)) = (names.as_slice(), keys) {
                    if index.text != variable.text {
                        self.errors.push(report::key_names(index, variable));
                    }
                    parts.key = Some(Key { variable: variable.clone(), keys });
                }
            }
            // Punctuation and the end of the text.
            _ => {}
        }
    }

    fn generics(&mut self, node: Node<'_>) -> Vec<Generic> {
        let mut generics: Vec<Generic> = Vec::new();
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::comma => self.comma(),
                Rule::type_param => {
                    let at = self.rel(&inner);
                    self.separated(generics.last().map(|generic| generic.name.at), at, &inner);
                    let mut names = inner.into_inner().filter(|n| n.as_rule() == Rule::ident);
                    let name = names.next().map(|n| self.name(&n));
                    let bound = names.next().map(|n| self.name(&n));
                    generics.extend(name.map(|name| Generic { name, bound }));
                }
                _ => {}
            }
        }
        self.end_of_elements();
        generics
    }

    fn params(&mut self, node: Node<'_>) -> Vec<FieldDecl> {
        let mut decls: Vec<FieldDecl> = Vec::new();
        for inner in node.into_inner() {
            if inner.as_rule() == Rule::comma {
                self.comma();
                continue;
            }
            let at = self.rel(&inner);
            let previous = decls
                .last()
                .map(|decl| decl.default.as_ref().map_or(decl.ty.at, |default| default.at));
            self.separated(previous, at, &inner);
            let mut parts = inner.into_inner();
            let name = parts.next().map(|n| self.name(&n));
            let ty = parts.find(|n| n.as_rule() == Rule::type_expr).and_then(|n| self.type_expr(n));
            let default = parts.find(|n| n.as_rule() == Rule::expr).map(|n| self.expr(n));
            if let (Some(name), Some(ty)) = (name, ty) {
                decls.push(FieldDecl { name, ty, default });
            }
        }
        self.comma();
        decls
    }

    pub(super) fn type_expr(&mut self, node: Node<'_>) -> Option<TypeExpr> {
        let at = self.rel(&node);
        let mut inner = node.into_inner();
        let base = inner.next()?;
        let mut base_at = self.rel(&base);
        let kind = match base.as_rule() {
            Rule::type_list => {
                let element = base.into_inner().find(|n| n.as_rule() == Rule::type_expr)?;
                TypeKind::List(Box::new(self.type_expr(element)?))
            }
            Rule::type_record => {
                let params = base.into_inner().find(|n| n.as_rule() == Rule::params)?;
                let mut fields = self.params(params);
                match fields.as_slice() {
                    [only] if &*only.name.text == "Str" && only.default.is_none() => {
                        TypeKind::Map(Box::new(fields.pop()?.ty))
                    }
                    _ => TypeKind::Record(fields),
                }
            }
            _ => {
                let mut parts = base.into_inner();
                let name = parts.next().map(|n| self.name(&n))?;
                match parts.find(|n| n.as_rule() == Rule::type_expr) {
                    Some(argument) => {
                        base_at.end = parts.next().map_or(base_at.end, |n| self.rel(&n).end);
                        TypeKind::Of(name, Box::new(self.type_expr(argument)?))
                    }
                    None => {
                        base_at = name.at;
                        TypeKind::Name(name.text)
                    }
                }
            }
        };
        let base = TypeExpr { kind, at: base_at };
        Some(if let Some(question) = inner.next() {
            let at = Rel { end: self.rel(&question).end, ..at };
            TypeExpr { kind: TypeKind::Optional(Box::new(base)), at }
        } else {
            base
        })
    }

    /// A string that must be plain, as the path of `use`.
    pub(super) fn literal_string(&mut self, node: Node<'_>) -> Name {
        let at = self.rel(&node);
        let text = node.as_str().trim_matches('"').into();
        if let Expr { kind: ExprKind::Str(pieces), .. } = self.string(node)
            && pieces
                .iter()
                .any(|piece| matches!(piece, crate::syntax::ast::Piece::Interpolation(_)))
        {
            self.errors.push(report::path_interpolated(at));
        }
        Name { text, at }
    }
}

/// The parts of an item, as they come.
#[derive(Default)]
struct Parts {
    names: Vec<Name>,
    fields: Vec<Field>,
    policy: Policy,
    test: Test,
    cases: Vec<Case>,
    generics: Vec<Generic>,
    params: Vec<FieldDecl>,
    key: Option<Key>,
    ty: Option<TypeExpr>,
    rule: Option<Refinement>,
    expr: Option<Expr>,
}
