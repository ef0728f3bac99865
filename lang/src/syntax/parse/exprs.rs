//! Expressions out of pest's tree: chains into operators by precedence, within limits of length.

use super::grammar::{Node, Rule};
use super::report;
use crate::syntax::ast::{
    Arg, BinaryOp, Comprehension, Expr, ExprKind, Field, Local, Name, Number, Rel, TypeExpr,
    UnaryOp,
};
use crate::syntax::error::{SyntaxError, SyntaxErrorKind};
use std::sync::Arc;

/// Operators, members and calls on one way from an item to a leaf; brackets are limited before.
const MAX_CHAIN: usize = 256;

/// Words that are never names of values.
pub(super) const RESERVED: [&str; 14] = [
    "for", "in", "if", "then", "else", "and", "or", "not", "with", "where", "pub", "let", "match",
    "absent",
];

/// What the names of a record's fields may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Paths {
    /// Single names.
    None,
    /// Paths of names.
    Plain,
    /// Paths that may start at an instance: `n[1].host`.
    Keyed,
}

/// Builds trees and collects what the grammar alone cannot refuse.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) errors: Vec<SyntaxError>,
    /// The types of local bindings, in the order in which they were met.
    pub(super) local_types: Vec<TypeExpr>,
    comma: bool,
    /// Links of the chains that enclose what is being built.
    links: usize,
}

impl Builder {
    pub(super) fn rel(&self, node: &Node<'_>) -> Rel {
        let span = node.as_span();
        Rel { start: span.start() as u32, end: span.end() as u32 }
    }

    pub(super) fn name(&mut self, node: &Node<'_>) -> Name {
        let at = self.rel(node);
        if RESERVED.contains(&node.as_str()) {
            self.errors.push(report::reserved(node.as_str(), at, "a name"));
        }
        Name { text: node.as_str().into(), at }
    }

    /// Notes a comma before the next element.
    pub(super) fn comma(&mut self) {
        self.comma = true;
    }

    /// Forgets a trailing comma.
    pub(super) fn end_of_elements(&mut self) {
        self.comma = false;
    }

    /// Refuses two elements on one line with no comma between them.
    pub(super) fn separated(&mut self, previous: Option<Rel>, at: Rel, node: &Node<'_>) {
        let comma = std::mem::take(&mut self.comma);
        let Some(previous) = previous.filter(|_| !comma) else {
            return;
        };
        let between =
            node.get_input().get(previous.end as usize..at.start as usize).unwrap_or("\n");
        if !between.contains('\n') {
            self.errors.push(SyntaxError { kind: SyntaxErrorKind::MissingComma, at });
        }
    }

    pub(super) fn expr(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let links = node.clone().into_inner().filter(|n| n.as_rule() == Rule::operator).count();
        if links == 0 {
            return match node.into_inner().next() {
                Some(only) => self.operand(only),
                None => Expr { kind: ExprKind::Error, at },
            };
        }
        self.chain(links, at, |builder| builder.operators(node, at))
    }

    /// Builds a chain, unless it is one link too many.
    fn chain(&mut self, links: usize, at: Rel, build: impl FnOnce(&mut Self) -> Expr) -> Expr {
        if self.links + links > MAX_CHAIN {
            self.errors
                .push(SyntaxError { kind: SyntaxErrorKind::TooLong { limit: MAX_CHAIN }, at });
            return Expr { kind: ExprKind::Error, at };
        }
        self.links += links;
        let expr = build(self);
        self.links -= links;
        expr
    }

    fn operators(&mut self, node: Node<'_>, at: Rel) -> Expr {
        let mut operands = Vec::new();
        let mut operators = Vec::new();
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::operator => operators.push((operator(&inner), self.rel(&inner))),
                _ => operands.push(self.operand(inner)),
            }
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else {
            return Expr { kind: ExprKind::Error, at };
        };
        let mut rest = operators.into_iter().zip(operands).peekable();
        self.climb(first, &mut rest, 0)
    }

    /// Precedence climbing: folds operators that bind at least as tightly as `floor`.
    fn climb<I>(&mut self, mut left: Expr, rest: &mut std::iter::Peekable<I>, floor: u8) -> Expr
    where
        I: Iterator<Item = ((Operator, Rel), Expr)>,
    {
        let mut compared = false;
        while let Some(((operator, operator_at), mut right)) =
            rest.next_if(|((op, _), _)| op.binding() >= floor)
        {
            let binding = operator.binding();
            let chained = binding == COMPARING && std::mem::replace(&mut compared, true);
            if chained {
                self.errors.push(SyntaxError {
                    kind: SyntaxErrorKind::ChainedComparison,
                    at: operator_at,
                });
            }
            while rest.peek().is_some_and(|((next, _), _)| next.binding() > binding) {
                right = self.climb(right, rest, binding + 1);
            }
            let at = Rel { start: left.at.start, end: right.at.end };
            let (left_box, right_box) = (Box::new(left), Box::new(right));
            let kind = match operator {
                Operator::Binary(_) if chained => ExprKind::Error,
                Operator::Binary(op) => ExprKind::Binary(op, operator_at, left_box, right_box),
                Operator::Range { inclusive } => {
                    ExprKind::Range { from: left_box, to: right_box, inclusive }
                }
            };
            left = Expr { kind, at };
        }
        left
    }

    fn operand(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let mut inner = node.clone().into_inner();
        let first = inner.next();
        let links = inner.count();
        match first {
            // Most operands are bare.
            Some(only) if links == 0 => self.postfix(only),
            Some(_) | None => self.chain(links, at, |builder| builder.prefixed(node, at)),
        }
    }

    fn prefixed(&mut self, node: Node<'_>, at: Rel) -> Expr {
        let mut prefixes = Vec::new();
        let mut expr = Expr { kind: ExprKind::Error, at };
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::prefix => {
                    let op = if inner.as_str().starts_with('-') {
                        UnaryOp::Negate
                    } else {
                        UnaryOp::Not
                    };
                    prefixes.push((op, self.rel(&inner).start));
                }
                Rule::with => {
                    let end = self.rel(&inner).end;
                    let record = inner.into_inner().find(|n| n.as_rule() == Rule::record);
                    let fields = record.map(|n| self.fields(n, Paths::Plain)).unwrap_or_default();
                    let at = Rel { start: expr.at.start, end };
                    expr = Expr { kind: ExprKind::With(Box::new(expr), fields), at };
                }
                _ => expr = self.postfix(inner),
            }
        }
        for (op, start) in prefixes.into_iter().rev() {
            let at = Rel { start, end: expr.at.end };
            expr = Expr { kind: ExprKind::Unary(op, Box::new(expr)), at };
        }
        expr
    }

    fn postfix(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let mut inner = node.clone().into_inner();
        let first = inner.next();
        let links = inner.count();
        match first {
            Some(only) if links == 0 => self.primary(only),
            Some(_) | None => self.chain(links, at, |builder| builder.suffixed(node, at)),
        }
    }

    fn suffixed(&mut self, node: Node<'_>, at: Rel) -> Expr {
        let mut inner = node.into_inner();
        let Some(first) = inner.next() else {
            return Expr { kind: ExprKind::Error, at };
        };
        let mut expr = self.primary(first);
        for suffix in inner {
            let at = Rel { start: expr.at.start, end: self.rel(&suffix).end };
            let base = Box::new(expr);
            let kind = match suffix.as_rule() {
                Rule::call => ExprKind::Call(base, self.args(suffix)),
                Rule::index => match suffix.into_inner().find(|n| n.as_rule() == Rule::expr) {
                    Some(key) => ExprKind::Index(base, Box::new(self.expr(key))),
                    None => ExprKind::Error,
                },
                _ => match suffix.into_inner().next() {
                    Some(member) => {
                        let at = self.rel(&member);
                        ExprKind::Field(base, Name { text: member.as_str().into(), at })
                    }
                    None => ExprKind::Error,
                },
            };
            expr = Expr { kind, at };
        }
        expr
    }

    fn args(&mut self, node: Node<'_>) -> Vec<Arg> {
        let mut args: Vec<Arg> = Vec::new();
        let mut previous = None;
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::comma => self.comma(),
                Rule::arg => {
                    let at = self.rel(&inner);
                    self.separated(previous, at, &inner);
                    let mut parts = inner.into_inner().filter(|n| n.as_rule() == Rule::expr);
                    let Some(first) = parts.next() else { continue };
                    let first_at = self.rel(&first);
                    let Some(second) = parts.next() else {
                        let value = self.expr(first);
                        previous = Some(value.at);
                        args.push(Arg { name: None, value });
                        continue;
                    };
                    let text: Arc<str> = first.as_str().trim_end().into();
                    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                        self.errors.push(report::argument_name(first_at));
                    }
                    let end = first_at.start + text.len() as u32;
                    let name = Name { text, at: Rel { start: first_at.start, end } };
                    let value = self.expr(second);
                    previous = Some(value.at);
                    args.push(Arg { name: Some(name), value });
                }
                _ => {}
            }
        }
        self.comma = false;
        args
    }

    fn primary(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let kind = match node.as_rule() {
            Rule::number => ExprKind::Number(number(node.as_str())),
            Rule::string => return self.string(node),
            Rule::block => return self.block(node),
            Rule::raw => return self.raw(&node),
            Rule::local => return self.local(node),
            Rule::matching => return self.matching(node),
            Rule::list => self.list(node),
            Rule::record => return self.record(node),
            Rule::parens => match node.into_inner().find(|n| n.as_rule() == Rule::expr) {
                Some(inner) => self.expr(inner).kind,
                None => ExprKind::Error,
            },
            Rule::conditional => {
                let parts = node.into_inner().filter(|n| n.as_rule() == Rule::expr);
                let parts: Vec<Expr> = parts.map(|n| self.expr(n)).collect();
                match <[Expr; 3]>::try_from(parts) {
                    Ok(parts) => {
                        let at = Rel { end: parts[2].at.end, ..at };
                        return Expr { kind: ExprKind::If(Box::new(parts)), at };
                    }
                    Err(_) => ExprKind::Error,
                }
            }
            _ => match node.as_str() {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                "absent" => ExprKind::Absent,
                word if RESERVED.contains(&word) => {
                    self.errors.push(report::reserved(word, at, "a value"));
                    ExprKind::Error
                }
                word => ExprKind::Name(word.into()),
            },
        };
        Expr { kind, at }
    }

    fn local(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let mut name = None;
        let mut ty = None;
        let mut exprs = Vec::new();
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::ident => name = Some(self.name(&part)),
                Rule::type_expr => {
                    if let Some(written) = self.type_expr(part) {
                        ty = Some(self.local_types.len());
                        self.local_types.push(written);
                    }
                }
                Rule::expr => exprs.push(self.expr(part)),
                _ => {}
            }
        }
        match (name, <[Expr; 2]>::try_from(exprs)) {
            (Some(name), Ok([value, body])) => {
                let at = Rel { end: body.at.end, ..at };
                Expr { kind: ExprKind::Let(Box::new(Local { name, ty, value, body })), at }
            }
            (_, _) => Expr { kind: ExprKind::Error, at },
        }
    }

    fn list(&mut self, node: Node<'_>) -> ExprKind {
        let mut elements: Vec<Expr> = Vec::new();
        let mut previous = None;
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::comma => self.comma(),
                Rule::expr => {
                    let at = self.rel(&inner);
                    self.separated(previous, at, &inner);
                    let element = self.expr(inner);
                    previous = Some(element.at);
                    elements.push(element);
                }
                Rule::comprehension => {
                    let Some(element) = elements.pop() else { return ExprKind::Error };
                    return match self.comprehension(element, inner) {
                        Some(parts) => ExprKind::Comprehension(Box::new(parts)),
                        None => ExprKind::Error,
                    };
                }
                _ => {}
            }
        }
        self.comma = false;
        ExprKind::List(elements)
    }

    /// What follows the element of a comprehension.
    fn comprehension(&mut self, element: Expr, node: Node<'_>) -> Option<Comprehension> {
        let mut names = Vec::new();
        let mut exprs = Vec::new();
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::ident => names.push(self.name(&part)),
                Rule::expr => exprs.push(self.expr(part)),
                _ => {}
            }
        }
        let variable = names.pop()?;
        let mut exprs = exprs.into_iter();
        let source = exprs.next()?;
        let condition = exprs.next();
        Some(Comprehension { element, position: names.pop(), variable, source, condition })
    }

    /// `{ key: element for … }`.
    fn entries(&mut self, field: Node<'_>, rest: Node<'_>) -> ExprKind {
        let mut key = None;
        let mut element = None;
        for part in field.into_inner() {
            match part.as_rule() {
                Rule::path => {
                    let at = self.rel(&part);
                    let mut steps = part.into_inner();
                    key = steps.next().map(|step| match step.as_rule() {
                        Rule::string => self.string(step),
                        _ => Expr { kind: ExprKind::Name(step.as_str().into()), at },
                    });
                    if let Some(second) = steps.next() {
                        let at = self.rel(&second);
                        self.errors
                            .push(SyntaxError { kind: SyntaxErrorKind::PathOutsideWith, at });
                    }
                }
                Rule::expr => element = Some(self.expr(part)),
                _ => {}
            }
        }
        let parts = element.and_then(|element| self.comprehension(element, rest));
        match (key, parts) {
            (Some(key), Some(parts)) => ExprKind::Entries(Box::new((key, parts))),
            (_, _) => ExprKind::Error,
        }
    }

    pub(super) fn record(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let mut inner = node.clone().into_inner();
        let field = inner.find(|n| n.as_rule() == Rule::field);
        if let (Some(field), Some(rest)) = (field, inner.next())
            && rest.as_rule() == Rule::comprehension
        {
            return Expr { kind: self.entries(field, rest), at };
        }
        Expr { kind: ExprKind::Record(self.fields(node, Paths::None)), at }
    }

    pub(super) fn fields(&mut self, node: Node<'_>, paths: Paths) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::new();
        let mut previous = None;
        for inner in node.into_inner() {
            match inner.as_rule() {
                Rule::comma => self.comma(),
                Rule::field => {
                    let at = self.rel(&inner);
                    self.separated(previous, at, &inner);
                    let mut path = Vec::new();
                    let mut key = None;
                    let mut value = None;
                    for part in inner.into_inner() {
                        match part.as_rule() {
                            Rule::path => (path, key) = self.steps(part),
                            Rule::expr => value = Some(self.expr(part)),
                            _ => {}
                        }
                    }
                    let second = path.get(1).map(|step: &Name| step.at);
                    let second = second.or(key.as_deref().map(|key: &Expr| key.at));
                    let refused = match paths {
                        Paths::None => second.map(|at| (SyntaxErrorKind::PathOutsideWith, at)),
                        Paths::Plain => {
                            key.as_ref().map(|key| (SyntaxErrorKind::KeyOutsideOverlay, key.at))
                        }
                        Paths::Keyed => None,
                    };
                    self.errors.extend(refused.map(|(kind, at)| SyntaxError { kind, at }));
                    if let Some(value) = value {
                        previous = Some(value.at);
                        fields.push(Field { path, key, value });
                    }
                }
                _ => {}
            }
        }
        self.comma = false;
        fields
    }
}

impl Builder {
    /// The steps of a path, and the key after the first.
    fn steps(&mut self, node: Node<'_>) -> (Vec<Name>, Option<Box<Expr>>) {
        let mut path = Vec::new();
        let mut key = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::instance => {
                    let inside = part.into_inner().find(|n| n.as_rule() == Rule::expr);
                    key = inside.map(|inside| Box::new(self.expr(inside)));
                }
                _ => path.push(self.step(part)),
            }
        }
        (path, key)
    }
}

/// A number and its unit.
pub(super) fn number(text: &str) -> Number {
    let digits = text.trim_end_matches(|c: char| c == '%' || c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or("");
    Number { digits: digits.replace('_', "").into(), unit: unit.into() }
}

#[derive(Clone, Copy)]
enum Operator {
    Binary(BinaryOp),
    Range { inclusive: bool },
}

/// How tightly comparisons bind.
const COMPARING: u8 = 2;

impl Operator {
    fn binding(self) -> u8 {
        match self {
            Self::Binary(op) => match op {
                BinaryOp::Or => 0,
                BinaryOp::And => 1,
                BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Less
                | BinaryOp::LessEqual
                | BinaryOp::Greater
                | BinaryOp::GreaterEqual => COMPARING,
                BinaryOp::Add | BinaryOp::Subtract => 4,
                BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => 5,
            },
            Self::Range { .. } => 3,
        }
    }
}

fn operator(node: &Node<'_>) -> Operator {
    Operator::Binary(match node.as_str().trim_end() {
        "..=" => return Operator::Range { inclusive: true },
        ".." => return Operator::Range { inclusive: false },
        "+" => BinaryOp::Add,
        "-" => BinaryOp::Subtract,
        "*" => BinaryOp::Multiply,
        "/" => BinaryOp::Divide,
        "%" => BinaryOp::Remainder,
        "==" => BinaryOp::Equal,
        "!=" => BinaryOp::NotEqual,
        "<=" => BinaryOp::LessEqual,
        ">=" => BinaryOp::GreaterEqual,
        "<" => BinaryOp::Less,
        ">" => BinaryOp::Greater,
        "and" => BinaryOp::And,
        _ => BinaryOp::Or,
    })
}
