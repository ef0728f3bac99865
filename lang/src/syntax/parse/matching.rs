//! `match` out of pest's tree.

use super::exprs::{Builder, number};
use super::grammar::{Node, Rule};
use crate::syntax::ast::{Arm, Binder, Expr, ExprKind, Match, Pattern, PatternKind, Rel, UnaryOp};

impl Builder {
    pub(super) fn matching(&mut self, node: Node<'_>) -> Expr {
        let at = self.rel(&node);
        let mut subject = None;
        let mut arms = Vec::new();
        let mut close = at;
        let mut previous = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::expr => subject = Some(self.expr(part)),
                Rule::comma => self.comma(),
                Rule::arm => {
                    let start = self.rel(&part);
                    self.separated(previous, start, &part);
                    let Some(arm) = self.arm(part) else { continue };
                    previous = Some(Rel { end: arm.body.at.end, ..start });
                    arms.push(arm);
                }
                Rule::rbrace => close = self.rel(&part),
                _ => {}
            }
        }
        self.end_of_elements();
        let kind = subject.map_or(ExprKind::Error, |subject| {
            ExprKind::Match(Box::new(Match { subject, arms, close }))
        });
        Expr { kind, at }
    }

    fn arm(&mut self, node: Node<'_>) -> Option<Arm> {
        let mut patterns = Vec::new();
        let mut body = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::pattern => patterns.extend(self.pattern(part)),
                Rule::expr => body = Some(self.expr(part)),
                _ => {}
            }
        }
        Some(Arm { patterns, body: body? })
    }

    fn pattern(&mut self, node: Node<'_>) -> Option<Pattern> {
        let whole = self.rel(&node);
        let mut parts = node.into_inner();
        let first = parts.next()?;
        let at = self.rel(&first);
        let kind = match first.as_rule() {
            Rule::string => PatternKind::Literal(self.string(first)),
            Rule::raw => PatternKind::Literal(self.raw(&first)),
            Rule::number => {
                let kind = ExprKind::Number(number(first.as_str()));
                PatternKind::Literal(Expr { kind, at })
            }
            Rule::negative => {
                let digits = first.into_inner().next()?;
                let inner =
                    Expr { kind: ExprKind::Number(number(digits.as_str())), at: self.rel(&digits) };
                let kind = ExprKind::Unary(UnaryOp::Negate, Box::new(inner));
                PatternKind::Literal(Expr { kind, at })
            }
            _ => match first.as_str() {
                "true" => PatternKind::Literal(Expr { kind: ExprKind::Bool(true), at }),
                "false" => PatternKind::Literal(Expr { kind: ExprKind::Bool(false), at }),
                "absent" => PatternKind::Literal(Expr { kind: ExprKind::Absent, at }),
                _ => {
                    let name = self.name(&first);
                    let mut parts = parts.peekable();
                    if parts.peek().is_none() {
                        return Some(Pattern { kind: PatternKind::Name(name), at });
                    }
                    let mut binders = Vec::new();
                    let mut previous = None;
                    for part in parts {
                        match part.as_rule() {
                            Rule::comma => self.comma(),
                            Rule::binder => {
                                let start = self.rel(&part);
                                self.separated(previous, start, &part);
                                let mut names =
                                    part.into_inner().filter(|n| n.as_rule() == Rule::ident);
                                let param = names.next().map(|n| self.name(&n))?;
                                let name = names.next().map(|n| self.name(&n));
                                let name = name.unwrap_or_else(|| param.clone());
                                previous = Some(name.at);
                                binders.push(Binder { param, name });
                            }
                            _ => {}
                        }
                    }
                    self.end_of_elements();
                    return Some(Pattern {
                        kind: PatternKind::Case(name, binders),
                        at: Rel { end: whole.end, ..at },
                    });
                }
            },
        };
        Some(Pattern { kind, at })
    }
}
