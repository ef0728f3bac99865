//! Tests out of pest's tree. What `expect fails` holds stays text: it is another version of the file.

use super::exprs::Builder;
use super::grammar::{Node, Rule};
use crate::syntax::ast::{Expectation, Setting, Test};

impl Builder {
    /// Adds a part of a test.
    pub(super) fn test_part(&mut self, node: Node<'_>, into: &mut Test) {
        match node.as_rule() {
            Rule::setting => into.settings.extend(self.setting(node)),
            _ => into.expectations.extend(self.expectation(node)),
        }
    }

    fn setting(&mut self, node: Node<'_>) -> Option<Setting> {
        let mut name = None;
        let mut key = None;
        let mut value = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::ident => name = Some(self.name(&part)),
                Rule::expr => value = Some(self.expr(part)),
                Rule::string => key = Some(self.literal_string(part)),
                _ => {}
            }
        }
        let name = name?;
        Some(match value {
            Some(value) => Setting::Input { name, value },
            None => Setting::Environment { name, key },
        })
    }

    fn expectation(&mut self, node: Node<'_>) -> Option<Expectation> {
        let mut condition = None;
        let mut message = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::expr => condition = Some(self.expr(part)),
                Rule::string => message = Some(self.string(part)),
                Rule::fails => return self.fails(part),
                _ => {}
            }
        }
        Some(Expectation::Holds { condition: condition?, message })
    }

    fn fails(&mut self, node: Node<'_>) -> Option<Expectation> {
        let mut code = None;
        let mut fragment = None;
        for part in node.into_inner() {
            match part.as_rule() {
                Rule::ident => code = Some(self.name(&part)),
                Rule::fragment => {
                    let inside = part.into_inner().find(|n| n.as_rule() == Rule::inside);
                    fragment = inside.map(|inside| self.rel(&inside));
                }
                _ => {}
            }
        }
        Some(Expectation::Fails { code: code?, fragment: fragment? })
    }
}
