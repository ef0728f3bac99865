//! Which text set which field of a resource, as the commands print it.

use std::fmt;

use berth_engine::plan::body::{FieldChange, PlanBody, Verb};
use berth_engine::plan::render::Places;
use berth_lang::{Resource, Setting, Snapshot, Span, Value};

use crate::project::Project;

/// A field, its value, and everything that set it.
pub(crate) struct Field {
    /// The path in the resource: `rollout.surge`, `ports.0.container`; empty for the whole.
    pub(crate) path: String,
    /// The value in the language's own notation.
    pub(crate) value: String,
    /// Whether no field below it was set by a text of its own.
    pub(crate) leaf: bool,
    /// From the one that had the last word to the text of the resource itself.
    pub(crate) set: Vec<Set>,
}

/// One text that set a field.
pub(crate) struct Set {
    /// The overlay that it stands in.
    pub(crate) overlay: Option<String>,
    /// What it set the field to; nothing where it made it absent.
    pub(crate) value: Option<String>,
    /// Where it stands.
    pub(crate) place: Place,
}

/// A place in a text.
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// How many characters of its line it takes.
    pub(crate) width: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        match &self.overlay {
            Some(name) => write!(f, " (overlay {name})"),
            None => Ok(()),
        }
    }
}

impl Place {
    /// Whether it is in the standard library.
    pub(crate) fn library(&self) -> bool {
        self.file.starts_with("<stdlib>")
    }

    fn of(span: &Span, snapshot: &Snapshot) -> Self {
        let file = span.file.to_string();
        let Some(source) = snapshot.file(&span.file) else {
            return Self { file, line: 1, column: 1, width: 1 };
        };
        let (from, to) = (source.position(span.start), source.position(span.end));
        let width = if from.line == to.line { to.column - from.column } else { u32::MAX };
        Self { file, line: from.line, column: from.column, width }
    }
}

/// Every field with everything that set it, parents before what is in them.
pub(crate) fn fields(resource: &Resource, snapshot: &Snapshot) -> Vec<Field> {
    let found: Vec<(String, Span)> = resource.origins().iter().collect();
    let mut fields = Vec::new();
    for (index, (path, _)) in found.iter().enumerate() {
        let Some(value) = at(resource.value(), path) else { continue };
        let next = found.get(index + 1).map(|(path, _)| path.as_str());
        let below = next.and_then(|next| next.strip_prefix(path.as_str()));
        let leaf = !path.is_empty() && !below.is_some_and(|rest| rest.starts_with('.'));
        let (path, value) = (path.clone(), value.to_string());
        let set = set(resource, &path, snapshot);
        fields.push(Field { path, value, leaf, set });
    }
    fields
}

/// Everything that set a field, the last word first. A list or a record in which an overlay changed
/// something is still the text's: its fields name the overlay.
fn set(resource: &Resource, path: &str, snapshot: &Snapshot) -> Vec<Set> {
    let mut chain = resource.origins().chain(path);
    chain.dedup_by(|later, earlier| later.span == earlier.span);
    let one = |setting: Setting| Set {
        place: Place::of(&setting.span, snapshot),
        value: setting.value.map(|value| value.to_string()),
        overlay: setting.overlay,
    };
    chain.into_iter().rev().map(one).collect()
}

/// Where the text sets what a plan changes.
pub(crate) fn places(project: &Project, body: &PlanBody) -> Places {
    let changed = body.changes.iter().filter(|change| change.verb == Verb::Change);
    let found = changed.filter_map(|change| {
        let named = |resource: &&Resource| {
            let name = change.resource.strip_prefix(resource.kind.keyword());
            name.and_then(|name| name.strip_prefix('/')) == Some(&*resource.name)
        };
        let resource = project.resources.iter().find(named)?;
        let fields = change.fields.iter().filter(|field| field.after.is_some());
        let place = |field: &FieldChange| {
            let place = place(resource, &field.path, &project.snapshot)?;
            Some((field.path.clone(), format!("{}:{}", place.file, place.line)))
        };
        Some((change.resource.clone(), fields.filter_map(place).collect()))
    });
    found.collect()
}

/// The place that had the last word on a field, or on what it is in; none where that is a default.
fn place(resource: &Resource, path: &str, snapshot: &Snapshot) -> Option<Place> {
    // A file's own lines, and whose it is, are where the file is.
    let mut path = path.split_once(" line ").map_or(path, |(file, _)| file);
    path = path.strip_suffix(" mode").unwrap_or(path);
    while !path.is_empty() {
        if let Some(last) = resource.origins().chain(path).last() {
            return Some(Place::of(&last.span, snapshot)).filter(|place| !place.library());
        }
        path = path.rfind('.').map_or("", |dot| path.split_at(dot).0);
    }
    None
}

/// The value at a path; the key of a map may hold dots.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(value);
    }
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let (name, rest) = path.split_at_checked(end)?;
        let next = match value {
            Value::List(elements) => name.parse().ok().and_then(|index: usize| elements.get(index)),
            other => other.get(name),
        };
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(found) = next.and_then(|next| at(next, rest)) {
            return Some(found);
        }
    }
    None
}
