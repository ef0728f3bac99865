//! Policies: what each of a list must hold to, how bad it is where one does not, and who waives it.

use super::checker::Checker;
use super::typed::{Kind, TypedPolicy, TypedWaiver};
use crate::diagnostic::Severity;
use crate::resolve::Ty;
use crate::syntax::ast::Clause;

impl Checker<'_, '_> {
    /// A policy, with its position; nothing where it does not say what it looks at.
    pub(super) fn check_policy(&mut self, index: usize) -> Option<(usize, TypedPolicy)> {
        let decl = &self.decls.policies[index];
        self.enter(decl.site);
        self.judging = true;
        let typed = self.policy(index);
        self.judging = false;
        typed.map(|typed| (index, typed))
    }

    fn policy(&mut self, index: usize) -> Option<TypedPolicy> {
        let policy = self.decls.policies[index].policy;
        let each = policy.each.as_ref()?;
        let (source, ty) = self.infer(&each.source, None);
        let element = match self.decls.unrefine(&ty) {
            Ty::List(element) => (**element).clone(),
            Ty::Error | Ty::Never => Ty::Error,
            other => {
                let diagnostic = self.decls.not_iterable(source.at, &other.clone());
                self.report(diagnostic);
                Ty::Error
            }
        };
        let severity = match policy.severity.as_ref() {
            None => Severity::Error,
            Some(name) => match &*name.text {
                "error" => Severity::Error,
                "warning" => Severity::Warning,
                other => {
                    let diagnostic = self.decls.unknown_severity(self.loc(name.at), other);
                    self.report(diagnostic);
                    Severity::Error
                }
            },
        };
        let every = matches!(source.kind, Kind::Every(_));
        self.sees_all = false;
        self.locals.push((each.variable.text.clone(), element));
        let condition = each.condition.as_ref().map(|c| self.check(c, &Ty::Bool, None));
        let mut expects = Vec::new();
        let mut waivers = Vec::new();
        for clause in &policy.clauses {
            match clause {
                Clause::Expect { condition, message } => {
                    let condition = self.check(condition, &Ty::Bool, None);
                    let message = message.as_ref().map(|m| self.check(m, &Ty::Str, None));
                    expects.push((condition, message));
                }
                Clause::Waive { resource, until, owner, reason } => {
                    let variable = self.locals.pop();
                    let (resource, ty) = self.infer(resource, None);
                    self.locals.extend(variable);
                    if !matches!(self.decls.unrefine(&ty), Ty::Ref(_) | Ty::Error) {
                        let diagnostic = self.decls.waives_no_resource(resource.at, &ty);
                        self.report(diagnostic);
                    }
                    let last = days(&until.text);
                    if last.is_none() {
                        let diagnostic = self.decls.not_a_date(self.loc(until.at), &until.text);
                        self.report(diagnostic);
                    }
                    for (said, what) in [(owner, "owner"), (reason, "reason")] {
                        if said.text.trim().is_empty() {
                            let diagnostic = self.decls.waiver_lacks(self.loc(said.at), what);
                            self.report(diagnostic);
                        }
                    }
                    waivers.extend(last.map(|last| TypedWaiver {
                        at: resource.at,
                        resource,
                        last,
                        until: until.text.clone(),
                        owner: owner.text.clone(),
                        reason: reason.text.clone(),
                    }));
                }
            }
        }
        let alone = every && !self.sees_all;
        Some(TypedPolicy { source, condition, expects, severity, waivers, alone })
    }
}

/// A date as days since 1970 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut number = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || !(1..=longest).contains(&day) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::days;

    #[test]
    fn dates_are_days() {
        assert_eq!(days("1970-01-01"), Some(0));
        assert_eq!(days("2026-11-25"), Some(20_782));
        assert_eq!(days("2024-02-29"), Some(19_782));
        for bad in ["2025-02-29", "2025-13-01", "2025-1-01", "tomorrow", "2025-01-01-01", ""] {
            assert_eq!(days(bad), None, "{bad}");
        }
    }
}
