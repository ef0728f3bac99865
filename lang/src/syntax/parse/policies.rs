//! Policies out of pest's tree.

use super::exprs::Builder;
use super::grammar::{Node, Rule};
use crate::syntax::ast::{Clause, Each, Name, Policy};

impl Builder {
    /// Adds a part of a policy.
    pub(super) fn policy_part(&mut self, node: Node<'_>, into: &mut Policy) {
        match node.as_rule() {
            Rule::each => {
                let mut variable = None;
                let mut exprs = Vec::new();
                for part in node.into_inner() {
                    match part.as_rule() {
                        Rule::ident => variable = Some(self.name(&part)),
                        Rule::expr => exprs.push(self.expr(part)),
                        _ => {}
                    }
                }
                let mut exprs = exprs.into_iter();
                into.each = variable.zip(exprs.next()).map(|(variable, source)| Each {
                    variable,
                    source,
                    condition: exprs.next(),
                });
            }
            Rule::severity => {
                let name = node.into_inner().find(|n| n.as_rule() == Rule::ident);
                into.severity = name.map(|name| self.name(&name));
            }
            _ => into.clauses.extend(self.clause(node)),
        }
    }

    fn clause(&mut self, node: Node<'_>) -> Option<Clause> {
        let mut condition = None;
        let mut message = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::expr => condition = Some(self.expr(part)),
                Rule::string => message = Some(self.string(part)),
                Rule::waiver => return self.waiver(part),
                _ => {}
            }
        }
        Some(Clause::Expect { condition: condition?, message })
    }

    fn waiver(&mut self, node: Node<'_>) -> Option<Clause> {
        let mut resource = None;
        let mut texts = Vec::new();
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::expr => resource = Some(self.expr(part)),
                Rule::string => texts.push(self.literal_string(part)),
                _ => {}
            }
        }
        let [until, owner, reason] = <[Name; 3]>::try_from(texts).ok()?;
        Some(Clause::Waive { resource: resource?, until, owner, reason })
    }
}
