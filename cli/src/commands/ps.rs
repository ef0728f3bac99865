//! `berth ps`: every replica, where it is and how it does.

use berth_engine::plan::graph::Graph;
use berth_engine::plan::observation::{Observation, PodStatus};
use serde_json::{Value, json};

use super::Ended;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::replicas::{self, Replica};
use crate::table::{Cell, Tone, render};
use crate::{Global, fleet, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these: services such as `web`, or replicas such as `web[1]`; all of them otherwise
    what: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let graph = &project.graph;
    let observation = fleet::seen(&project, global)?;
    let mut chosen = Vec::new();
    for what in &args.what {
        chosen.push(replicas::parse(what, graph, &observation)?);
    }
    let mut replicas = replicas::all(&observation);
    replicas.retain(|r| chosen.is_empty() || chosen.iter().any(|wanted| wanted.matches(&r.pod)));
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer(&replicas, graph, &observation))?);
    } else {
        print(&replicas, graph);
        replicas::tell_unknown(&observation);
    }
    let whole = replicas::unknown(&observation).is_empty();
    Ok(if whole { Exit::Done } else { Exit::Partial })
}

fn print(replicas: &[Replica], graph: &Graph) {
    if replicas.is_empty() {
        say!("{}: no replica is on a node that answered", graph.tenant);
        return;
    }
    let rows: Vec<Vec<Cell>> = replicas.iter().map(|replica| row(replica, graph)).collect();
    let heads =
        ["REPLICA", "NODE", "POD", "STATE", ">RESTARTS", ">AGE", "IMAGE", "ADDRESS", "TRAFFIC"];
    for line in render(&heads, &rows) {
        say!("{line}");
    }
}

fn row(replica: &Replica, graph: &Graph) -> Vec<Cell> {
    let Replica { node, pod, seen, status, serves } = replica;
    let (state, restarts, age) = match status {
        Some(PodStatus::Running { restarts, started_at_ms }) => {
            ("running".into(), Some(*restarts), age_ms(*started_at_ms))
        }
        Some(PodStatus::Stopped { exit_code: 0, .. }) if seen.ends => ("done".into(), None, None),
        Some(PodStatus::Stopped { exit_code, .. }) if seen.ends => {
            (Cell::toned(format!("failed ({exit_code})"), Tone::Bad), None, None)
        }
        Some(PodStatus::Created) | None if seen.ends => ("not running".into(), None, None),
        Some(PodStatus::Stopped { exit_code, restarts }) => {
            (Cell::toned(format!("stopped ({exit_code})"), Tone::Bad), Some(*restarts), None)
        }
        Some(PodStatus::Waiting { next_at_ms, last }) => {
            let (words, well) = replicas::between_runs(*next_at_ms, last.as_ref());
            (Cell::toned(words, if well { Tone::Plain } else { Tone::Notice }), None, None)
        }
        Some(PodStatus::Created) | None => (Cell::toned("not started", Tone::Bad), None, None),
    };
    let restarts = match restarts {
        Some(0) => "0".into(),
        Some(count) => Cell::toned(count.to_string(), Tone::Notice),
        None => "-".into(),
    };
    let image = match source(replica, graph) {
        Some(path) => format!("{} {path}", seen.image.short()),
        None => seen.image.short().to_owned(),
    };
    vec![
        replica.name().into(),
        node.to_string().into(),
        pod.to_string().into(),
        state,
        restarts,
        age.map_or("-".to_owned(), paint::duration).into(),
        image.into(),
        seen.ip4.to_string().into(),
        match serves {
            _ if seen.ends || seen.cron => "-".into(),
            true => "yes".into(),
            false => Cell::toned("none", Tone::Notice),
        },
    ]
}

/// How long ago, by this machine's clock; nothing if it is not known.
fn age_ms(started_at_ms: u64) -> Option<u64> {
    (started_at_ms > 0).then(|| fleet::now_ms().saturating_sub(started_at_ms))
}

/// Where the image comes from, if it is what the text says now.
fn source<'a>(replica: &Replica, graph: &'a Graph) -> Option<&'a str> {
    let template = &graph.workloads.get(&replica.seen.workload)?.template;
    (template.image == replica.seen.image).then(|| template.source.name())?
}

/// A replica for machines.
pub(super) fn described(replica: &Replica, graph: &Graph) -> Value {
    let Replica { node, pod, seen, status, serves } = replica;
    let (state, exit_code, restarts, started_at_ms) = match status {
        Some(PodStatus::Running { restarts, started_at_ms }) => {
            ("running", None, Some(restarts), Some(*started_at_ms).filter(|ms| *ms > 0))
        }
        Some(PodStatus::Stopped { exit_code: 0, restarts }) if seen.ends => {
            ("done", Some(&0), Some(restarts), None)
        }
        Some(PodStatus::Stopped { exit_code, restarts }) => {
            ("stopped", Some(exit_code), Some(restarts), None)
        }
        Some(PodStatus::Waiting { .. }) => ("waiting", None, None, None),
        Some(PodStatus::Created) | None => ("not_started", None, None, None),
    };
    let (next, last) = match status {
        Some(PodStatus::Waiting { next_at_ms, last }) => {
            (Some(*next_at_ms).filter(|ms| *ms > 0), last.as_ref())
        }
        _ => (None, None),
    };
    let mut described = json!({
        "replica": replica.name(),
        "service": seen.workload,
        "ordinal": pod.ordinal,
        "generation": pod.generation,
        "pod": pod,
        "node": node,
        "state": state,
        "exit_code": exit_code,
        "restarts": restarts,
        "started_at_ms": started_at_ms,
        "age_ms": started_at_ms.and_then(age_ms),
        "image": seen.image,
        "source": source(replica, graph),
        "address4": seen.ip4,
        "address6": seen.ip6,
        "serves": serves,
        "revision": seen.revision,
        "changed_by_hand": !seen.intact,
    });
    if let (true, Some(fields)) = (seen.cron, described.as_object_mut()) {
        fields.insert("next_at_ms".to_owned(), json!(next));
        fields.insert("last".to_owned(), json!(last));
    }
    described
}

fn answer(replicas: &[Replica], graph: &Graph, observation: &Observation) -> Value {
    let unknown = replicas::unknown(observation);
    json!({
        "schema": "berth.ps/1",
        "tenant": graph.tenant.to_string(),
        "replicas": replicas.iter().map(|r| described(r, graph)).collect::<Vec<_>>(),
        "unknown": unknown.iter().map(|(node, why)| json!({ "node": node, "why": why })).collect::<Vec<_>>(),
    })
}
