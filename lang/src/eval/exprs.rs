//! Expressions into values.

use super::fields::Fields;
use super::machine::{Eval, Machine, Stop};
use super::overlays::known_keys;
use super::traced::{Data, Traced};
use crate::check::typed::{Arm, Bind, Comprehension, Kind, Match, Part, Test, Typed};
use crate::ids::{FnId, Loc, ResourceId, TypeId};
use crate::resolve::{Decls, FieldTy, Ty, TypeBody};
use crate::value::{Scalar, SecretPart};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a call costs beside what it does, in steps.
const CALL: u64 = 6;

impl Machine<'_, '_> {
    /// Evaluates in a frame of locals.
    pub(super) fn eval(&mut self, typed: &Typed, frame: &mut Vec<Traced>) -> Eval<Traced> {
        self.pay(1, typed.at)?;
        if let Kind::Constant(value) = &typed.kind {
            let value = if let Scalar::Str(text) = value {
                Scalar::Str(self.text(text))
            } else {
                value.clone()
            };
            return Ok(Traced::scalar(typed.at, value));
        }
        self.deeper(typed.at, |machine| machine.eval_kind(typed, frame))
    }

    fn eval_kind(&mut self, typed: &Typed, frame: &mut Vec<Traced>) -> Eval<Traced> {
        let at = typed.at;
        let data = match &typed.kind {
            Kind::Poison => return Err(Stop),
            Kind::Constant(value) => Data::Scalar(value.clone()),
            Kind::Interpolate(parts) => Data::Scalar(self.interpolate(parts, frame, at)?),
            Kind::List(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    list.push(self.eval(element, frame)?);
                }
                Data::List(Arc::new(list))
            }
            Kind::Map(entries) => {
                let mut map = BTreeMap::new();
                for (name, entry) in entries {
                    let entry = self.eval(entry, frame)?;
                    map.insert(self.text(name), entry);
                }
                Data::Map(Arc::new(map))
            }
            Kind::Record { of, fields } => {
                let decls = self.decls;
                let given = self.fields(fields, frame)?;
                match of.and_then(|of| record_fields(decls, of)) {
                    Some(declared) => Data::Record(Arc::new(self.filled(given, declared)?)),
                    None => {
                        let own = given.into_iter().map(|(name, field)| (name.clone(), field));
                        Data::Record(Arc::new(Fields::new(own.collect())))
                    }
                }
            }
            Kind::Case { of, case, fields } => {
                let given = self.fields(fields, frame)?;
                let decls = self.decls;
                let Some(TypeBody::Enum(cases)) = decls.type_decl(*of).map(|decl| &decl.body)
                else {
                    return Err(Stop);
                };
                let Some(case) = cases.get(*case) else {
                    return Err(Stop);
                };
                let fields = self.filled(given, &case.params)?;
                return Ok(Traced::case(at, self.name(&case.name), fields));
            }
            Kind::Local(slot) => return frame.get(*slot).cloned().ok_or(Stop),
            Kind::Let(id) => return self.binding(*id),
            Kind::Input(id) => return self.inputs.get(id.index()).cloned().flatten().ok_or(Stop),
            Kind::Secret(id) => {
                let name = self.decls.secrets.get(id.index()).ok_or(Stop)?.name.clone();
                Data::Scalar(Scalar::Secret([SecretPart::Secret(name)].into()))
            }
            Kind::Resource(id) => {
                let instances = self.instances(*id)?;
                Data::Ref(instances.first().cloned().ok_or(Stop)?)
            }
            Kind::Instance(id, key) => return self.instance(*id, key, frame, at),
            Kind::Every(kind) => {
                let decls = self.decls;
                let mut all = Vec::new();
                for decl in &decls.resources {
                    if decl.kind == *kind {
                        let instances = self.instances(decl.id)?;
                        all.extend(instances.iter().cloned());
                    }
                }
                self.pay(8 * all.len() as u64, at)?;
                all.sort_by(|a, b| (&a.name, &a.key).cmp(&(&b.name, &b.key)));
                let all = all.into_iter().map(|each| Traced { at, data: Data::Ref(each) });
                Data::List(Arc::new(all.collect()))
            }
            Kind::NameOf(reference) => {
                let reference = self.eval(reference, frame)?;
                let Data::Ref(target) = &reference.data else { return Err(Stop) };
                Data::Scalar(Scalar::Str(target.name.clone()))
            }
            Kind::Instances(id) => {
                let instances = self.instances(*id)?;
                let references =
                    instances.iter().map(|each| Traced { at, data: Data::Ref(each.clone()) });
                Data::List(Arc::new(references.collect()))
            }
            Kind::Follow(reference) => {
                let reference = self.eval(reference, frame)?;
                return self.follow(&reference);
            }
            Kind::Call { of, args, types } => return self.call(*of, args, types, frame, at),
            Kind::Field(base, name) => {
                let base = self.eval(base, frame)?;
                return Ok(base.get(name).cloned().unwrap_or(Traced { at, data: Data::Absent }));
            }
            Kind::Element(base, index) => {
                let base = self.eval(base, frame)?;
                let index = self.eval(index, frame)?;
                let (Data::List(elements), Data::Scalar(Scalar::Int(position))) =
                    (&base.data, &index.data)
                else {
                    return Err(Stop);
                };
                let found =
                    usize::try_from(*position).ok().and_then(|position| elements.get(position));
                let Some(found) = found else {
                    let diagnostic = self.decls.no_element(at, *position, elements.len());
                    return self.fail(diagnostic);
                };
                return Ok(found.clone());
            }
            Kind::Entry(base, key) => {
                let base = self.eval(base, frame)?;
                let key = self.eval(key, frame)?;
                let Data::Scalar(Scalar::Str(key)) = &key.data else {
                    return Err(Stop);
                };
                return Ok(base.get(key).cloned().unwrap_or(Traced { at, data: Data::Absent }));
            }
            Kind::Negate(inner) => {
                let inner = self.eval(inner, frame)?;
                return self.negate(&inner, at);
            }
            Kind::Not(inner) => Data::Scalar(Scalar::Bool(!self.eval(inner, frame)?.is_true())),
            Kind::Binary(op, left, right) => return self.binary(*op, left, right, frame, at),
            Kind::OrElse(left, right) => {
                let left = self.eval(left, frame)?;
                return match left.data {
                    Data::Absent => self.eval(right, frame),
                    Data::Scalar(_)
                    | Data::List(_)
                    | Data::Map(_)
                    | Data::Record(_)
                    | Data::Case(_)
                    | Data::Ref(_) => Ok(left),
                };
            }
            Kind::Range { from, to, inclusive } => {
                let from = self.eval(from, frame)?;
                let to = self.eval(to, frame)?;
                let (Data::Scalar(Scalar::Int(from)), Data::Scalar(Scalar::Int(to))) =
                    (&from.data, &to.data)
                else {
                    return Err(Stop);
                };
                let (from, end) = (*from, if *inclusive { to.checked_add(1) } else { Some(*to) });
                let end = end.unwrap_or(i64::MAX);
                let length = u64::try_from(end.saturating_sub(from)).unwrap_or(0);
                self.pay(length.saturating_mul(8), at)?;
                Data::List(Arc::new(
                    (from..end).map(|each| Traced::scalar(at, Scalar::Int(each))).collect(),
                ))
            }
            Kind::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let holds = self.eval(condition, frame)?.is_true();
                return self.eval(if holds { then } else { otherwise }, frame);
            }
            Kind::Comprehension(parts) => return self.comprehension(parts, frame, at),
            Kind::Bind(parts) => {
                let [value, body] = &**parts;
                let value = self.eval(value, frame)?;
                frame.push(value);
                let result = self.eval(body, frame);
                frame.pop();
                return result;
            }
            Kind::Match(parts) => return self.matched(parts, frame),
            Kind::Absent => Data::Absent,
            Kind::With(base, updates) => {
                let base = self.eval(base, frame)?;
                return self.updated(base, updates, frame);
            }
            Kind::Convert(conversion, inner) => {
                let inner = self.eval(inner, frame)?;
                return self.convert(conversion, inner);
            }
            Kind::Shared(number, inner) => return self.shared(*number, inner, frame),
        };
        Ok(Traced { at, data })
    }

    /// A part of a function that is the same in every call.
    fn shared(&mut self, number: usize, inner: &Typed, frame: &mut Vec<Traced>) -> Eval<Traced> {
        if let Some(Some(value)) = self.shared.get(number) {
            return Ok(value.clone());
        }
        let value = self.eval(inner, frame)?;
        if let Some(known) = self.shared.get_mut(number) {
            *known = Some(value.clone());
        }
        Ok(value)
    }

    fn fields<'t>(
        &mut self,
        fields: &'t [(Arc<str>, Typed)],
        frame: &mut Vec<Traced>,
    ) -> Eval<Vec<(&'t Arc<str>, Traced)>> {
        let mut given = Vec::with_capacity(fields.len());
        for (name, field) in fields {
            let value = self.eval(field, frame)?;
            if !matches!(value.data, Data::Absent) {
                given.push((name, value));
            }
        }
        Ok(given)
    }

    /// Puts fields into their declared order, with defaults for what is not given.
    pub(super) fn filled(
        &mut self,
        mut given: Vec<(&Arc<str>, Traced)>,
        declared: &[FieldTy],
    ) -> Eval<Fields> {
        let (mut there, mut values) = (0u64, Vec::with_capacity(declared.len()));
        let mut names = Vec::new();
        let few = declared.len() <= 64;
        for (index, field) in declared.iter().enumerate() {
            let position = given.iter().position(|(name, _)| **name == field.name);
            values.push(match (position, field.default) {
                (Some(position), _) => given.swap_remove(position).1,
                (None, Some(default)) => self.default(default)?,
                (None, None) => continue,
            });
            if few {
                there |= 1 << index;
            } else {
                names.push(field.name.clone());
            }
        }
        if !few {
            return Ok(Fields::new(names.into_iter().zip(values).collect()));
        }
        let own = declared.iter().enumerate().filter(|(index, _)| there >> index & 1 == 1);
        let names = own.map(|(_, field)| &field.name);
        Ok(self.shapes.fields(declared.as_ptr() as usize, there, names, values))
    }

    fn interpolate(&mut self, parts: &[Part], frame: &mut Vec<Traced>, at: Loc) -> Eval<Scalar> {
        let mut text = String::new();
        let mut pieces = Vec::new();
        let close = |text: &mut String, pieces: &mut Vec<SecretPart>| {
            if !text.is_empty() {
                pieces.push(SecretPart::Text(std::mem::take(text).into()));
            }
        };
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Expr(typed) => {
                    let value = self.eval(typed, frame)?;
                    let Data::Scalar(Scalar::Secret(inner)) = &value.data else {
                        text.push_str(&value.printed());
                        continue;
                    };
                    self.pay(8 * inner.len() as u64, at)?;
                    for part in &**inner {
                        match part {
                            SecretPart::Text(part) => text.push_str(part),
                            SecretPart::Secret(_) => {
                                close(&mut text, &mut pieces);
                                pieces.push(part.clone());
                            }
                        }
                    }
                }
            }
        }
        self.pay(text.len() as u64, at)?;
        if pieces.is_empty() {
            return Ok(Scalar::Str(text.into()));
        }
        close(&mut text, &mut pieces);
        Ok(Scalar::Secret(pieces.into()))
    }

    fn instance(
        &mut self,
        id: ResourceId,
        key: &Typed,
        frame: &mut Vec<Traced>,
        at: Loc,
    ) -> Eval<Traced> {
        let value = self.eval(key, frame)?;
        let key = self.key(&value)?;
        let instances = self.instances(id)?;
        let found = instances.binary_search_by(|each| each.key.as_ref().cmp(&Some(&key)));
        if let Some(found) = found.ok().and_then(|position| instances.get(position)) {
            return Ok(Traced { at, data: Data::Ref(found.clone()) });
        }
        let decl = self.decls.resource(id);
        let known = known_keys(&instances);
        let diagnostic = self.decls.no_instance(at, &decl.name, &key, &known, decl.at);
        self.fail(diagnostic)
    }

    /// The body that a reference leads to.
    pub(super) fn follow(&mut self, reference: &Traced) -> Eval<Traced> {
        match &reference.data {
            Data::Ref(target) => self.body(target, reference.at),
            Data::Absent
            | Data::Scalar(_)
            | Data::List(_)
            | Data::Map(_)
            | Data::Record(_)
            | Data::Case(_) => Err(Stop),
        }
    }

    fn call(
        &mut self,
        of: FnId,
        args: &[(usize, Typed)],
        types: &[Ty],
        frame: &mut Vec<Traced>,
        at: Loc,
    ) -> Eval<Traced> {
        self.pay(CALL, at)?;
        let (decls, checked) = (self.decls, self.checked);
        let (Some(decl), Some(body)) = (decls.fns.get(of.index()), checked.fns.get(of.index()))
        else {
            return Err(Stop);
        };
        let mut given: Vec<Option<Traced>> = vec![None; decl.params.len()];
        for (slot, arg) in args {
            let value = self.eval(arg, frame)?;
            if let Some(place) = given.get_mut(*slot) {
                *place = Some(value);
            }
        }
        let mut inner = Vec::with_capacity(given.len());
        for (param, value) in decl.params.iter().zip(given) {
            inner.push(match (value, param.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.default(default)?,
                (None, None) => Traced { at, data: Data::Absent },
            });
        }
        match decl.builtin {
            Some(builtin) => self.builtin(builtin, &inner, types, at),
            None => {
                self.calls += 1;
                let result = self.eval(body, &mut inner);
                self.calls -= 1;
                result
            }
        }
    }

    fn matched(&mut self, parts: &Match, frame: &mut Vec<Traced>) -> Eval<Traced> {
        let subject = self.eval(&parts.subject, frame)?;
        let opens = |arm: &&Arm| arm.tests.iter().any(|test| subject.passes(test));
        // Checking has seen that every value has its arm.
        let arm = parts.arms.iter().find(opens).ok_or(Stop)?;
        let outside = frame.len();
        for bind in &arm.binds {
            let missing = || Traced { at: subject.at, data: Data::Absent };
            frame.push(match bind {
                Bind::Whole => subject.clone(),
                Bind::Param(name) => subject.get(name).cloned().unwrap_or_else(missing),
            });
        }
        let result = self.eval(&arm.body, frame);
        frame.truncate(outside);
        result
    }

    fn comprehension(
        &mut self,
        parts: &Comprehension,
        frame: &mut Vec<Traced>,
        at: Loc,
    ) -> Eval<Traced> {
        let source = self.eval(&parts.source, frame)?;
        let mut list = Vec::new();
        let mut map: BTreeMap<Arc<str>, Traced> = BTreeMap::new();
        match &source.data {
            Data::List(elements) => {
                for (position, element) in elements.iter().enumerate() {
                    let position = Scalar::Int(position as i64);
                    self.turn(parts, position, element, frame, at, (&mut list, &mut map))?;
                }
            }
            Data::Map(entries) => {
                for (key, element) in &**entries {
                    let key = Scalar::Str(key.clone());
                    self.turn(parts, key, element, frame, at, (&mut list, &mut map))?;
                }
            }
            Data::Absent | Data::Scalar(_) | Data::Record(_) | Data::Case(_) | Data::Ref(_) => {
                return Err(Stop);
            }
        }
        let data = match parts.key {
            Some(_) => Data::Map(Arc::new(map)),
            None => Data::List(Arc::new(list)),
        };
        Ok(Traced { at, data })
    }

    /// One element of a comprehension.
    fn turn(
        &mut self,
        parts: &Comprehension,
        position: Scalar,
        element: &Traced,
        frame: &mut Vec<Traced>,
        at: Loc,
        (list, map): (&mut Vec<Traced>, &mut BTreeMap<Arc<str>, Traced>),
    ) -> Eval<()> {
        self.pay(8, at)?;
        let outside = frame.len();
        if parts.positioned {
            frame.push(Traced::scalar(element.at, position));
        }
        frame.push(element.clone());
        let made = self.kept(parts, frame);
        frame.truncate(outside);
        match made? {
            None => {}
            Some((None, value)) => list.push(value),
            Some((Some(key), value)) => {
                let Data::Scalar(Scalar::Str(name)) = &key.data else { return Err(Stop) };
                if map.insert(name.clone(), value).is_some() {
                    let diagnostic = self.decls.entry_twice(key.at, name);
                    return self.fail(diagnostic);
                }
            }
        }
        Ok(())
    }

    fn kept(
        &mut self,
        parts: &Comprehension,
        frame: &mut Vec<Traced>,
    ) -> Eval<Option<(Option<Traced>, Traced)>> {
        if let Some(condition) = &parts.condition
            && !self.eval(condition, frame)?.is_true()
        {
            return Ok(None);
        }
        let key = match &parts.key {
            Some(key) => Some(self.eval(key, frame)?),
            None => None,
        };
        Ok(Some((key, self.eval(&parts.element, frame)?)))
    }
}

impl Traced {
    /// Whether a pattern takes it.
    fn passes(&self, test: &Test) -> bool {
        match (test, &self.data) {
            (Test::Any, _) | (Test::Absent, Data::Absent) => true,
            (Test::Present, data) => !matches!(data, Data::Absent),
            (Test::Case(wanted), Data::Case(case)) => *wanted == case.name,
            (Test::Equals(wanted), Data::Scalar(value)) => wanted == value,
            (Test::Absent | Test::Case(_) | Test::Equals(_), _) => false,
        }
    }
}

/// The declared fields of a record.
fn record_fields<'d>(decls: &'d Decls<'_>, of: TypeId) -> Option<&'d [FieldTy]> {
    match &decls.type_decl(of)?.body {
        TypeBody::Record(fields) => Some(fields),
        TypeBody::Enum(_) | TypeBody::Alias(_) | TypeBody::Refined { .. } | TypeBody::Broken => {
            None
        }
    }
}
