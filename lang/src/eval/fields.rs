//! The fields of records and cases: values, and a shape that all records with the same names share.
//!
//! A project has as many records as services and more, and few shapes: a record holds its values and
//! nothing else of its own.

use super::traced::{Data, Traced};
use crate::value::json_key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Named values in order of declaration.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    shape: Arc<Shape>,
    /// Parallel to the shape's names.
    values: Vec<Traced>,
}

/// Names, and their order.
#[derive(Debug, Default)]
struct Shape {
    names: Vec<Arc<str>>,
    /// Positions of names, in the order of the names, each with what JSON writes before its value.
    sorted: Vec<(u32, Box<str>)>,
}

impl Shape {
    fn new(names: Vec<Arc<str>>) -> Self {
        let mut order: Vec<u32> = (0..names.len() as u32).collect();
        order.sort_by(|&a, &b| names[a as usize].cmp(&names[b as usize]));
        let key = |at: u32| {
            let mut key = String::new();
            json_key(&mut key, &names[at as usize]);
            (at, key.into())
        };
        let sorted = order.into_iter().map(key).collect();
        Self { names, sorted }
    }
}

impl Fields {
    /// Fields in their order of declaration.
    pub(super) fn new(fields: Vec<(Arc<str>, Traced)>) -> Self {
        let (names, values) = fields.into_iter().unzip();
        Self { shape: Arc::new(Shape::new(names)), values }
    }

    /// Every field, in order of declaration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Traced)> {
        self.shape.names.iter().zip(&self.values)
    }

    /// Every value by its name, with what JSON writes before it.
    pub(super) fn by_name(&self) -> impl Iterator<Item = (&str, &Traced)> {
        let sorted = self.shape.sorted.iter();
        sorted.filter_map(|(at, key)| Some((&**key, self.values.get(*at as usize)?)))
    }

    /// A field.
    pub(crate) fn get(&self, name: &str) -> Option<&Traced> {
        self.values.get(self.position(name)?)
    }

    /// Whether they are the same in every name and value, wherever the values come from.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.values.len() == other.values.len()
            && (Arc::ptr_eq(&self.shape, &other.shape) || self.shape.names == other.shape.names)
            && self.values.iter().zip(&other.values).all(|(a, b)| a.same(b))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.shape.names.iter().position(|own| **own == *name)
    }

    /// Takes a field's value out, to be put back: what is absent has no field.
    pub(super) fn take(&mut self, name: &str) -> Option<Traced> {
        let position = self.position(name)?;
        let value = self.values.get_mut(position)?;
        let at = value.at;
        Some(std::mem::replace(value, Traced { at, data: Data::Absent }))
    }

    /// Puts a value in its place, or after all others; an absent one leaves no field.
    pub(super) fn put(&mut self, name: &Arc<str>, value: Traced) {
        let absent = matches!(value.data, Data::Absent);
        match self.position(name) {
            Some(at) if !absent => self.values[at] = value,
            Some(at) => {
                self.values.remove(at);
                let mut names = self.shape.names.clone();
                names.remove(at);
                self.shape = Arc::new(Shape::new(names));
            }
            None if absent => {}
            None => {
                self.values.push(value);
                let names = self.shape.names.iter().chain([name]).cloned();
                self.shape = Arc::new(Shape::new(names.collect()));
            }
        }
    }
}

/// The shapes that an evaluation has come across.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    /// By where the names are declared, and which are there.
    known: BTreeMap<(usize, u64), Arc<Shape>>,
}

impl Shapes {
    /// The values that are there of declared names, in their order; the bits of `there` say which.
    ///
    /// `declared` tells declarations apart; nothing goes wrong if it does not, since names are compared.
    pub(super) fn fields<'n>(
        &mut self,
        declared: usize,
        there: u64,
        names: impl Iterator<Item = &'n Arc<str>> + Clone,
        values: Vec<Traced>,
    ) -> Fields {
        let shape = self.known.entry((declared, there)).or_default();
        if shape.names.len() != values.len() || !shape.names.iter().eq(names.clone()) {
            *shape = Arc::new(Shape::new(names.cloned().collect()));
        }
        Fields { shape: shape.clone(), values }
    }
}
