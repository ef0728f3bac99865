//! Policies over the resources that the program evaluates to.

use super::machine::{Eval, Machine, Stop};
use super::traced::{Data, Traced};
use crate::check::typed::{Kind, TypedPolicy, TypedWaiver};
use crate::ids::ItemId;
use crate::program::{ResourceKind, Waived};
use std::sync::Arc;

/// The milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

impl Machine<'_, '_> {
    /// Judges everything by every policy; gives what is waived. Without `now_ms`, waivers stand.
    pub(super) fn policies(&mut self, now_ms: Option<u64>) -> Vec<Waived> {
        let checked = self.checked;
        let mut waived = Vec::new();
        let decls = self.decls;
        let asked = |index: usize| decls.policies.get(index).is_some_and(|decl| decl.asked);
        for (index, policy) in checked.policies.iter().filter(|(index, _)| asked(*index)) {
            // What fails has been reported, and stops this policy only.
            let _ = self.policy(*index, policy, now_ms, &mut waived);
        }
        waived
    }

    fn policy(
        &mut self,
        index: usize,
        policy: &TypedPolicy,
        now_ms: Option<u64>,
        waived: &mut Vec<Waived>,
    ) -> Eval<()> {
        let decls = self.decls;
        let Some(decl) = decls.policies.get(index) else { return Err(Stop) };
        let elements = match &policy.source.kind {
            Kind::Every(kind) if policy.alone => self.unjudged(*kind, decl.site.item),
            _ => {
                let source = self.eval(&policy.source, &mut Vec::new())?;
                let Data::List(elements) = source.data else { return Err(Stop) };
                elements
            }
        };
        let mut waivers = Vec::with_capacity(policy.waivers.len());
        for waiver in &policy.waivers {
            waivers.push((self.eval(&waiver.resource, &mut Vec::new())?, waiver));
        }
        for element in &*elements {
            self.pay(8, policy.source.at)?;
            let before = (self.diagnostics.len(), waived.len());
            // An element that cannot be judged has been reported; the others are.
            let judged = self.judge(index, policy, element, &waivers, now_ms, waived);
            if let Data::Ref(reference) = &element.data
                && policy.alone
            {
                let silent = before == (self.diagnostics.len(), waived.len());
                let passes = judged.is_ok() && silent;
                self.judged.push((reference.id, decl.site.item, passes));
            }
        }
        Ok(())
    }

    /// The instances of a kind of resources that a policy has not passed before, by name.
    fn unjudged(&mut self, kind: ResourceKind, policy: ItemId) -> Arc<Vec<Traced>> {
        let decls = self.decls;
        let passed = |id| self.kept.get(id).is_some_and(|made| made.passed.contains(&policy));
        let rows = decls.resources.iter().filter(|decl| decl.kind == kind && !passed(decl.id));
        let mut ids: Vec<_> = rows.map(|decl| (&decl.name, decl.id)).collect();
        ids.sort();
        let mut all = Vec::new();
        for (_, id) in ids {
            // Instances that could not be made have been reported.
            let Ok(instances) = self.instances(id) else { continue };
            let at = decls.resource(id).at;
            all.extend(instances.iter().map(|each| Traced { at, data: Data::Ref(each.clone()) }));
        }
        Arc::new(all)
    }

    fn judge(
        &mut self,
        index: usize,
        policy: &TypedPolicy,
        element: &Traced,
        waivers: &[(Traced, &TypedWaiver)],
        now_ms: Option<u64>,
        waived: &mut Vec<Waived>,
    ) -> Eval<()> {
        let mut frame = vec![element.clone()];
        if let Some(condition) = &policy.condition
            && !self.eval(condition, &mut frame)?.is_true()
        {
            return Ok(());
        }
        let decls = self.decls;
        let Some(decl) = decls.policies.get(index) else { return Err(Stop) };
        for (condition, message) in &policy.expects {
            if self.eval(condition, &mut frame)?.is_true() {
                continue;
            }
            let (at, name) = match &element.data {
                Data::Ref(reference) => {
                    (decls.resource(reference.id).at, reference.name.to_string())
                }
                Data::Absent
                | Data::Scalar(_)
                | Data::List(_)
                | Data::Map(_)
                | Data::Record(_)
                | Data::Case(_) => (element.at, "this".to_owned()),
            };
            let message = match message {
                Some(message) => self.eval(message, &mut frame)?.printed(),
                None => format!("`{name}` breaks the policy `{}`", decl.name),
            };
            let same = |resource: &Traced| match (&resource.data, &element.data) {
                (Data::Ref(a), Data::Ref(b)) => a == b,
                (_, _) => false,
            };
            let waiver = waivers.iter().filter(|(resource, _)| same(resource));
            let waiver = waiver.map(|(_, waiver)| *waiver).max_by_key(|waiver| waiver.last);
            let today = now_ms.map(|now| i64::try_from(now / DAY_MS).unwrap_or(i64::MAX));
            let stands = |waiver: &TypedWaiver| today.is_none_or(|today| today <= waiver.last);
            if let Some(waiver) = waiver.filter(|waiver| stands(waiver)) {
                waived.push(Waived {
                    policy: decl.name.to_string(),
                    resource: name,
                    message,
                    until: waiver.until.to_string(),
                    owner: waiver.owner.to_string(),
                    reason: waiver.reason.to_string(),
                    span: decls.span(waiver.at),
                });
                continue;
            }
            let expired = waiver.map(|waiver| (&*waiver.owner, &*waiver.until));
            let diagnostic = decls.policy_broken(
                policy.severity,
                (at, message),
                (condition.at, &decl.name),
                expired,
            );
            self.diagnostics.push(diagnostic);
        }
        Ok(())
    }
}
