//! Values while they are made: shared, and each with the place of the text that made it.

use super::fields::Fields;
use crate::ids::{Loc, ResourceId};
use crate::program::ResourceKind;
use crate::value::{Scalar, Value, json_key, open_json_record, write_json_ref};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    pub(crate) at: Loc,
    pub(crate) data: Data,
}

/// The forms of values, in 24 bytes.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// An optional value that is not there.
    Absent,
    Scalar(Scalar),
    List(Arc<Vec<Traced>>),
    Map(Arc<BTreeMap<Arc<str>, Traced>>),
    Record(Arc<Fields>),
    Case(Arc<Case>),
    Ref(Arc<Reference>),
}

/// A case of an enum and its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: Arc<str>,
    pub(crate) fields: Fields,
}

/// A reference to a resource, or to one instance of a keyed one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) id: ResourceId,
    pub(crate) key: Option<Key>,
    pub(crate) kind: ResourceKind,
    /// As in [`crate::Resource::name`].
    pub(crate) name: Arc<str>,
}

/// The key of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Int(i64),
    Str(Arc<str>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(key) => write!(f, "{key}"),
            Self::Str(key) => write!(f, "{key:?}"),
        }
    }
}

impl Traced {
    /// A case.
    pub(crate) fn case(at: Loc, name: Arc<str>, fields: Fields) -> Self {
        Self { at, data: Data::Case(Arc::new(Case { name, fields })) }
    }

    /// A scalar.
    pub(crate) fn scalar(at: Loc, value: Scalar) -> Self {
        Self { at, data: Data::Scalar(value) }
    }

    /// A field of a record or a case, or an entry of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Traced> {
        match &self.data {
            Data::Map(entries) => entries.get(name),
            Data::Absent
            | Data::Scalar(_)
            | Data::List(_)
            | Data::Record(_)
            | Data::Case(_)
            | Data::Ref(_) => self.fields()?.get(name),
        }
    }

    /// The fields of a record or of a case.
    pub(crate) fn fields(&self) -> Option<&Fields> {
        match &self.data {
            Data::Record(fields) => Some(fields),
            Data::Case(case) => Some(&case.fields),
            Data::Absent | Data::Scalar(_) | Data::List(_) | Data::Map(_) | Data::Ref(_) => None,
        }
    }

    /// An element of a list.
    pub(crate) fn element(&self, index: usize) -> Option<&Traced> {
        match &self.data {
            Data::List(elements) => elements.get(index),
            Data::Absent
            | Data::Scalar(_)
            | Data::Map(_)
            | Data::Record(_)
            | Data::Case(_)
            | Data::Ref(_) => None,
        }
    }

    /// The plain value; nothing if it is absent.
    pub(crate) fn to_value(&self) -> Option<Value> {
        Some(match &self.data {
            Data::Absent => return None,
            Data::Scalar(value) => value.clone().into(),
            Data::List(elements) => {
                Value::List(elements.iter().filter_map(Traced::to_value).collect())
            }
            Data::Map(entries) => {
                let plain = entries
                    .iter()
                    .filter_map(|(name, entry)| Some((name.clone(), entry.to_value()?)));
                Value::Map(plain.collect())
            }
            Data::Record(fields) => Value::Record(plain(fields)),
            Data::Case(case) => {
                Value::Case { name: case.name.clone(), fields: plain(&case.fields) }
            }
            Data::Ref(reference) => {
                Value::Ref { kind: reference.kind, name: reference.name.clone() }
            }
        })
    }

    /// Appends what [`Value::to_json`] prints of it; nothing if it is absent.
    pub(crate) fn write_json(&self, out: &mut String) {
        match &self.data {
            Data::Absent => {}
            Data::Scalar(value) => value.write_json(out),
            Data::List(elements) => {
                out.push('[');
                let there = elements.iter().filter(|each| !matches!(each.data, Data::Absent));
                for (index, element) in there.enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.write_json(out);
                }
                out.push(']');
            }
            Data::Map(entries) => {
                out.push('{');
                let there = |entry: &&Traced| !matches!(entry.data, Data::Absent);
                let entries = entries.iter().filter(|(_, entry)| there(entry));
                for (index, (name, entry)) in entries.enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    json_key(out, name);
                    entry.write_json(out);
                }
                out.push('}');
            }
            Data::Record(fields) => write_fields(out, None, fields.by_name()),
            Data::Case(case) => write_fields(out, Some(&case.name), case.fields.by_name()),
            Data::Ref(reference) => write_json_ref(out, reference.kind, &reference.name),
        }
    }

    /// Whether it is the same value, wherever it comes from.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.data, &other.data) {
            (Data::Absent, Data::Absent) => true,
            (Data::Scalar(a), Data::Scalar(b)) => a == b,
            (Data::List(a), Data::List(b)) => {
                a.len() == b.len() && a.iter().zip(&**b).all(|(a, b)| a.same(b))
            }
            (Data::Map(a), Data::Map(b)) => {
                a.len() == b.len() && a.iter().zip(&**b).all(|((a, x), (b, y))| a == b && x.same(y))
            }
            (Data::Record(a), Data::Record(b)) => a.same(b),
            (Data::Case(a), Data::Case(b)) => a.name == b.name && a.fields.same(&b.fields),
            (Data::Ref(a), Data::Ref(b)) => (a.kind, &a.name) == (b.kind, &b.name),
            (
                Data::Absent
                | Data::Scalar(_)
                | Data::List(_)
                | Data::Map(_)
                | Data::Record(_)
                | Data::Case(_)
                | Data::Ref(_),
                _,
            ) => false,
        }
    }

    /// Counts values down to a depth, giving up when a budget is spent.
    pub(crate) fn fits(&self, depth: u32, budget: &mut u64) -> bool {
        if depth == 0 || *budget == 0 {
            return false;
        }
        *budget -= 1;
        match &self.data {
            Data::Absent | Data::Scalar(_) | Data::Ref(_) => true,
            Data::List(elements) => elements.iter().all(|element| element.fits(depth - 1, budget)),
            Data::Map(entries) => entries.values().all(|entry| entry.fits(depth - 1, budget)),
            Data::Record(fields) => fields.iter().all(|(_, field)| field.fits(depth - 1, budget)),
            Data::Case(case) => case.fields.iter().all(|(_, field)| field.fits(depth - 1, budget)),
        }
    }
}

/// Appends fields, each after its key.
fn write_fields<'v>(
    out: &mut String,
    case: Option<&str>,
    fields: impl Iterator<Item = (&'v str, &'v Traced)>,
) {
    open_json_record(out, case);
    let there = fields.filter(|(_, field)| !matches!(field.data, Data::Absent));
    for (index, (key, field)) in there.enumerate() {
        if index > 0 || case.is_some() {
            out.push(',');
        }
        out.push_str(key);
        field.write_json(out);
    }
    out.push('}');
}

fn plain(fields: &Fields) -> BTreeMap<Arc<str>, Value> {
    fields.iter().filter_map(|(name, field)| Some((name.clone(), field.to_value()?))).collect()
}
