//! Which text set which field, read from the traced value when someone asks.

use super::fields::Fields;
use super::traced::{Data, Traced};
use crate::ids::Loc;
use crate::places::Places;
use crate::program::Body;
use crate::span::Span;
use crate::value::Value;

/// The places of the expressions that set a resource's fields, by path: `rollout.surge`,
/// `ports.0.container`, `env.LOG`.
#[derive(Clone, Copy, Debug)]
pub struct Origins<'r> {
    body: &'r Body,
    places: &'r Places,
}

/// Who set a field once, and to what.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The overlay that set it; nothing for the text of the resource and the defaults of its type.
    pub overlay: Option<String>,
    /// The expression that it was set by.
    pub span: Span,
    /// What it was set to; nothing where it was made absent.
    pub value: Option<Value>,
}

impl<'r> Origins<'r> {
    pub(crate) fn new(body: &'r Body, places: &'r Places) -> Self {
        Self { body, places }
    }

    /// Everything that set a field, from the text itself to the overlay that had the last word.
    pub fn chain(&self, path: &str) -> Vec<Setting> {
        let Body { layers, traced, .. } = self.body;
        let bodies = layers.iter().map(|(_, before)| before).chain([traced]);
        let names = std::iter::once(None).chain(layers.iter().map(|(name, _)| Some(name)));
        let mut chain: Vec<Setting> = Vec::new();
        for (overlay, body) in names.zip(bodies) {
            let found = find(body, path);
            let Some(span) = found.map(|value| self.places.span(value.at)) else { continue };
            let value = found.and_then(Traced::to_value);
            let same = chain.last().is_some_and(|last| last.span == span && last.value == value);
            if !same {
                chain.push(Setting { overlay: overlay.map(|name| name.to_string()), span, value });
            }
        }
        chain
    }

    /// The place of the expression that set a field; the empty path is the whole body.
    pub fn get(&self, path: &str) -> Option<Span> {
        Some(self.places.span(find(&self.body.traced, path)?.at))
    }

    /// Every path with its place, parents before their fields.
    pub fn iter(&self) -> impl Iterator<Item = (String, Span)> + use<'r> {
        let places = self.places;
        let mut found = Vec::new();
        collect(&self.body.traced, String::new(), &mut found);
        found.into_iter().map(|(path, at)| (path, places.span(at)))
    }
}

/// The value at a path.
fn find<'v>(root: &'v Traced, path: &str) -> Option<&'v Traced> {
    let mut value = root;
    let mut rest = path;
    while !rest.is_empty() {
        let (next, after) = step(value, rest)?;
        value = next;
        rest = after;
    }
    Some(value)
}

/// One step into a value, and what is left of the path; the key of a map may hold dots.
fn step<'v, 'p>(value: &'v Traced, path: &'p str) -> Option<(&'v Traced, &'p str)> {
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let (name, rest) = path.split_at_checked(end)?;
        let found = match &value.data {
            Data::List(elements) => elements.get(name.parse::<usize>().ok()?),
            Data::Map(_) | Data::Record(_) | Data::Case(_) => value.get(name),
            Data::Absent | Data::Scalar(_) | Data::Ref(_) => None,
        };
        if let Some(found) = found {
            return Some((found, rest.strip_prefix('.').unwrap_or(rest)));
        }
    }
    None
}

fn collect(value: &Traced, path: String, found: &mut Vec<(String, Loc)>) {
    let join = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match &value.data {
        Data::Absent => return,
        Data::Scalar(_) | Data::Ref(_) => {}
        Data::List(elements) => {
            found.push((path.clone(), value.at));
            for (index, element) in elements.iter().enumerate() {
                collect(element, join(&index.to_string()), found);
            }
            return;
        }
        Data::Map(entries) => {
            found.push((path.clone(), value.at));
            for (name, entry) in &**entries {
                collect(entry, join(name), found);
            }
            return;
        }
        Data::Record(_) | Data::Case(_) => {
            found.push((path.clone(), value.at));
            for (name, field) in value.fields().into_iter().flat_map(Fields::iter) {
                collect(field, join(name), found);
            }
            return;
        }
    }
    found.push((path, value.at));
}
