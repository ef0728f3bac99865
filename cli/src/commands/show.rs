//! `berth show`: what the text says once everything is worked out.

use std::fmt::Write as _;
use std::io::Write as _;

use berth_lang::{Program, Resource, write_in_order};
use serde_json::{Value as Json, json};

use super::Ended;
use crate::Global;
use crate::exit::Exit;
use crate::project::{Compiled, compile};
use crate::provenance::{Field, fields};
use crate::yaml::Yaml;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A resource: `web`, `service/web`, `n[1]`, or `n` for all its instances; everything if absent
    resource: Option<String>,
    /// Print JSON (berth.values/1); quantities are numbers of their base units
    #[arg(long)]
    json: bool,
    /// Print the same as YAML
    #[arg(long, conflicts_with = "json")]
    yaml: bool,
    /// Say for each field which text set it, and what that replaced
    #[arg(long)]
    origin: bool,
}

/// The name of the format.
const SCHEMA: &str = "berth.values/1";

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let compiled = compile(global)?;
    let chosen = choose(&compiled.program, args.resource.as_deref())?;
    // A reader that went away is not missed.
    let _ = write(&chosen, &compiled, args);
    // The process ends here: the system takes back memory faster than it can be given back by parts.
    std::mem::forget(compiled);
    Ok(Exit::Done)
}

fn write(chosen: &[&Resource], compiled: &Compiled, args: &Args) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if args.yaml {
        return stdout.write_all(yaml(chosen, compiled, args.origin).print().as_bytes());
    }
    if args.json {
        write!(stdout, "{{\"schema\":\"{SCHEMA}\",\"resources\":[")?;
    }
    let make = |out: &mut String, index: usize, resource: &&Resource| {
        if args.json {
            out.push_str(if index > 0 { ",\n" } else { "\n" });
            write_json(out, resource, compiled, args.origin);
        } else if args.origin {
            write_origins(out, resource, compiled);
        } else {
            out.push_str(&resource.print());
        }
    };
    write_in_order(chosen, make, |text| stdout.write_all(text.as_bytes()))?;
    if args.json {
        stdout.write_all(b"\n]}\n")?;
    }
    Ok(())
}

/// The resources that a word names.
pub(crate) fn choose<'p>(
    program: &'p Program,
    wanted: Option<&str>,
) -> Result<Vec<&'p Resource>, String> {
    let Some(wanted) = wanted else { return Ok(program.resources.iter().collect()) };
    let (kind, name) = match wanted.split_once('/') {
        Some((kind, name)) => (Some(kind), name),
        None => (None, wanted),
    };
    let named = |resource: &&Resource| {
        let own = *resource.name == *name
            || resource.name.strip_prefix(name).is_some_and(|key| key.starts_with('['));
        own && kind.is_none_or(|kind| resource.kind.keyword() == kind)
    };
    let chosen: Vec<&Resource> = program.resources.iter().filter(named).collect();
    if chosen.is_empty() {
        let names = program.resources.iter().map(|resource| &*resource.name);
        return Err(match berth_lang::nearest(name, names) {
            Some(near) => format!("there is no `{wanted}`; did you mean `{near}`?"),
            None => format!("there is no `{wanted}`; `berth show` prints what there is"),
        });
    }
    Ok(chosen)
}

/// A resource on a line, so that lines can be compared and searched.
fn write_json(out: &mut String, resource: &Resource, compiled: &Compiled, origin: bool) {
    let name = Json::from(&*resource.name);
    let kind = resource.kind.keyword();
    let _ = write!(out, "{{\"kind\":\"{kind}\",\"name\":{name},\"value\":");
    resource.write_json(out);
    if origin {
        let _ = write!(out, ",\"origins\":{}", origins(resource, compiled));
    }
    out.push('}');
}

/// The paths of a resource's fields, each with the texts that set it, the last word first.
fn origins(resource: &Resource, compiled: &Compiled) -> Json {
    let places = |field: Field| {
        let set = field.set.iter().map(|set| {
            let place = &set.place;
            let mut shown =
                json!({ "file": place.file, "line": place.line, "column": place.column });
            if let Some(overlay) = &set.overlay {
                shown["overlay"] = overlay.as_str().into();
            }
            shown
        });
        let set: Vec<Json> = set.collect();
        (field.path, Json::from(set))
    };
    fields(resource, &compiled.snapshot)
        .into_iter()
        .map(places)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn yaml<'v>(chosen: &[&'v Resource], compiled: &Compiled, origin: bool) -> Yaml<'v> {
    let resource = |resource: &&'v Resource| {
        let mut fields = vec![
            ("kind".into(), Yaml::text(resource.kind.keyword())),
            ("name".into(), Yaml::text(&resource.name)),
            ("value".into(), Yaml::of(resource.value())),
        ];
        if origin {
            fields.push(("origins".into(), Yaml::of_json(origins(resource, compiled))));
        }
        Yaml::Fields(fields)
    };
    let resources = chosen.iter().map(resource).collect();
    let schema = ("schema".into(), Yaml::text(SCHEMA));
    Yaml::Fields(vec![schema, ("resources".into(), Yaml::Items(resources))])
}

/// A line a field: its path, its value, and where it was set.
fn write_origins(out: &mut String, resource: &Resource, compiled: &Compiled) {
    let all = fields(resource, &compiled.snapshot);
    let lines: Vec<(String, String)> = all
        .iter()
        .filter(|field| field.leaf)
        .map(|field| (format!("  {}: {}", field.path, field.value), said(field)))
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count().min(60)).max().unwrap_or(0);
    let _ = writeln!(out, "{} {}", resource.kind.keyword(), resource.name);
    for (line, places) in lines {
        let _ = writeln!(out, "{line:width$}  {places}");
    }
}

/// Where a field was set, and what that replaced, on one line.
pub(crate) fn said(field: &Field) -> String {
    let mut words = String::new();
    for (index, set) in field.set.iter().enumerate() {
        if index > 0 {
            let before = set.value.as_deref().unwrap_or("absent");
            let _ = write!(words, ", instead of {before} at ");
        }
        let _ = write!(words, "{set}");
    }
    words
}
