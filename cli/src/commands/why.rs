//! `berth why`: which texts set a field and what each set it to; of a replica, why it is where it is.

use super::Ended;
use super::show::{choose, said};
use super::why_placement;
use crate::Global;
use crate::exit::Exit;
use crate::project::{Compiled, compile};
use crate::provenance::{Field, Set, fields};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A field, such as `web.replicas`, `n[1].ssh.port` (`n.ssh.port` for every instance) or
    /// `web.ports.0`; a resource, for all of its fields; or a replica, such as `web[1]`, for its place
    what: String,
    /// Of a replica: only this node
    node: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let Args { what, node, json } = args;
    if node.is_some() {
        return why_placement::run(global, what, node.as_deref(), *json);
    }
    let compiled = compile(global)?;
    if is_replica(&compiled, what) {
        return why_placement::run(global, what, None, *json);
    }
    field(&compiled, what, *json)
}

/// Whether it is a service and a number in brackets, and no resource's own name.
fn is_replica(compiled: &Compiled, what: &str) -> bool {
    let names = || compiled.program.resources.iter().map(|resource| &*resource.name);
    let bare = what.split_once('/').map_or(what, |(_, name)| name);
    let number = bare.strip_suffix(']').and_then(|head| head.rsplit_once('['));
    let service = number.filter(|(_, number)| number.parse::<u32>().is_ok());
    service.is_some_and(|(service, _)| names().any(|name| name == service))
        && names().all(|name| name != bare)
}

/// Tells of a field; of a keyed resource's, for every instance.
fn field(compiled: &Compiled, what: &str, json: bool) -> Ended {
    let (name, path) = split(compiled, what);
    let chosen = choose(&compiled.program, Some(name))?;
    let keyed = chosen.len() > 1;
    let mut answers = Vec::new();
    for (index, resource) in chosen.into_iter().enumerate() {
        let all = fields(resource, &compiled.snapshot);
        let Some(found) = all.iter().find(|field| field.path == path) else {
            return Err(unset(&all, name, path).into());
        };
        let dot = if path.is_empty() { "" } else { "." };
        let own = if keyed { format!("{}{dot}{path}", resource.name) } else { what.to_owned() };
        if json {
            answers.push(answer(&own, found));
            continue;
        }
        if index > 0 {
            say!("");
        }
        tell(&own, found, &all, compiled);
    }
    if json {
        let shown = if keyed { answers.into() } else { answers.pop().unwrap_or_default() };
        say!("{}", serde_json::to_string_pretty(&shown)?);
    }
    Ok(Exit::Done)
}

/// What a field is, what set it, and the fields within it.
fn tell(what: &str, found: &Field, all: &[Field], compiled: &Compiled) {
    let path = &found.path;
    say!("{}", crate::paint::bold(&format!("{what} = {}", found.value)));
    for (index, set) in found.set.iter().enumerate() {
        explain(index, set, compiled);
    }
    let within = format!("{path}.");
    let below = all.iter().filter(|field| {
        field.leaf && !field.path.is_empty() && (path.is_empty() || field.path.starts_with(&within))
    });
    for field in below.filter(|field| field.path != *path) {
        say!("  {} = {}  {}", field.path, field.value, crate::paint::dim(&said(field)));
    }
}

/// The same for machines.
fn answer(what: &str, field: &Field) -> serde_json::Value {
    let set: Vec<_> = field
        .set
        .iter()
        .map(|set| {
            serde_json::json!({
                "file": set.place.file,
                "line": set.place.line,
                "column": set.place.column,
                "overlay": set.overlay,
                "value": set.value,
            })
        })
        .collect();
    serde_json::json!({ "schema": "berth.why-field/1", "field": what, "value": field.value, "set": set })
}

/// A resource's name, which may hold dots in its key, and the path in it.
fn split<'f>(compiled: &Compiled, what: &'f str) -> (&'f str, &'f str) {
    let bare = what.split_once('/').map_or(what, |(_, name)| name);
    let start = what.len() - bare.len();
    let names = compiled.program.resources.iter().filter_map(|resource| {
        let rest = bare.strip_prefix(&*resource.name)?;
        (rest.is_empty() || rest.starts_with('.')).then_some(resource.name.len())
    });
    let end = match names.max() {
        Some(length) => start + length,
        None => start + bare.find('.').unwrap_or(bare.len()),
    };
    let (name, path) = what.split_at_checked(end).unwrap_or((what, ""));
    (name, path.trim_start_matches('.'))
}

/// What is said of a path that nothing sets.
fn unset(all: &[Field], name: &str, path: &str) -> String {
    let paths = || all.iter().map(|field| field.path.as_str());
    let parent = |path: &str| path.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned();
    let beside: Vec<&str> = paths()
        .filter(|other| !other.is_empty() && parent(other) == parent(path))
        .map(|other| other.rsplit('.').next().unwrap_or(other))
        .collect();
    match berth_lang::nearest(path, paths()) {
        Some(near) => format!("nothing sets `{path}` of {name}; did you mean `{near}`?"),
        None if beside.is_empty() => {
            format!("nothing sets `{path}` of {name}; `berth why {name}` lists what is set")
        }
        None => format!("nothing sets `{path}` of {name}; there is {}", beside.join(", ")),
    }
}

/// A text that set the field, with its line: first the one that counts, then what it replaced.
fn explain(index: usize, set: &Set, compiled: &Compiled) {
    let Set { overlay, value, place } = set;
    let by = overlay.as_ref().map_or_else(String::new, |name| format!(" by the overlay `{name}`"));
    let value = value.as_deref().unwrap_or("absent");
    match (index, place.library()) {
        (0, true) => say!("  by default{by}, at {place}"),
        (0, false) => say!("  set{by} at {place}"),
        (_, true) => say!("  instead of the default {value}, at {place}"),
        (_, false) => say!("  instead of {value}, set{by} at {place}"),
    }
    if let Some(file) = compiled.snapshot.file(&place.file) {
        let line = file.line(place.line).replace('\t', " ");
        let from = (place.column as usize).saturating_sub(1);
        let rest = line.chars().count().saturating_sub(from).max(1);
        let width = (place.width as usize).clamp(1, rest);
        say!("{:>6} | {line}", place.line);
        say!("       | {}{}", " ".repeat(from), "^".repeat(width));
    }
}
