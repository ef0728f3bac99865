//! `berth inspect`: everything of one replica, down to its process and its runtime specification.

use berth_agentless::Inspected;
use berth_engine::plan::change::bytes;
use berth_engine::plan::names::ContainerId;
use berth_engine::run::observe::observe;
use serde_json::{Value, json};

use super::Ended;
use super::ps::described;
use crate::exit::Exit;
use crate::pins::Pins;
use crate::project::Project;
use crate::replicas::{self, Replica};
use crate::{Global, fleet, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The replica: `web[1]`, or a pod such as `web-1.g3`
    what: String,
    /// The container of that name beside the replica's own: a sidecar
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Print JSON, with the runtime specification
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let graph = &project.graph;
    let (replica, found) = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let found = async {
            let observation = observe(&host, graph).await;
            let replica = replicas::one(&args.what, graph, &observation)
                .inspect_err(|_| _ = replicas::tell_unknown(&observation))?;
            let container =
                ContainerId { pod: replica.pod.clone(), beside: args.container.clone() };
            let found = host.inspect(&replica.node, &graph.tenant, &container).await?;
            Ok::<_, Box<dyn std::error::Error>>((replica, found))
        };
        let found = found.await;
        host.close().await;
        found
    })??;
    if args.json {
        let mut answer = described(&replica, graph);
        if let Some(object) = answer.as_object_mut() {
            object.insert("schema".to_owned(), json!("berth.inspect/1"));
            object.insert("created_at_ms".to_owned(), json!(found.created_at_ms));
            object.insert("requests".to_owned(), json!(replica.seen.requests));
            object.insert("grace_ms".to_owned(), json!(replica.seen.grace_ms));
            object.insert("spec_digest".to_owned(), json!(replica.seen.digest));
            object.insert("labels".to_owned(), json!(found.labels));
            object.insert("task".to_owned(), task(&found));
            object.insert("runtime".to_owned(), found.spec.clone());
        }
        say!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        let beside = args.container.as_deref();
        print(&replica, beside, &found, &graph.tenant.namespace());
    }
    Ok(Exit::Done)
}

fn task(found: &Inspected) -> Value {
    found.task.map_or(Value::Null, |task| {
        json!({ "pid": task.pid, "state": task.state, "exit_code": task.exit_code, "exited_at_ms": task.exited_at_ms })
    })
}

fn print(replica: &Replica, beside: Option<&str>, found: &Inspected, namespace: &str) {
    let Replica { node, pod, seen, status: _, serves } = replica;
    let field = |name: &str, value: &str| {
        for (index, line) in value.lines().enumerate() {
            let name = if index == 0 { name } else { "" };
            say!("  {}  {line}", paint::dim(&format!("{name:11}")));
        }
    };
    let container = ContainerId { pod: pod.clone(), beside: beside.map(str::to_owned) };
    let which = beside.map(|name| format!("{name} of ")).unwrap_or_default();
    say!("{}", paint::bold(&format!("{which}{} on {node}", replica.name())));
    field("pod", &format!("{container}, in containerd's namespace {namespace}"));
    let state = match found.task {
        Some(task) if task.state == "stopped" => {
            let at = task.exited_at_ms.map(paint::time).unwrap_or_default();
            format!("stopped with exit code {} at {at}", task.exit_code.unwrap_or_default())
        }
        Some(task) => format!("{}, process {} of the node", task.state, task.pid),
        None => "not started".to_owned(),
    };
    field("state", &state);
    if let Some(count) = found.labels.get("containerd.io/restart.count") {
        field("restarts", count);
    }
    field(
        "created",
        &format!("{}, by revision {}", paint::time(found.created_at_ms), seen.revision),
    );
    field("traffic", if *serves { "its endpoint leads to it" } else { "none" });
    field("address", &format!("{} {}", seen.ip4, seen.ip6));
    let image = found.labels.get("berth.dev/image").map(String::as_str);
    field("image", image.unwrap_or(seen.image.as_str()));
    let process = &found.spec["process"];
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten();
        words.filter_map(|word| word.as_str()).map(|word| word.escape_debug().to_string()).collect()
    };
    field("command", &words(&process["args"]).join(" "));
    field("directory", process["cwd"].as_str().unwrap_or("/"));
    for (name, label) in [("init", "berth.dev/init"), ("sidecars", "berth.dev/sidecars")] {
        if let Some(names) = found.labels.get(label).filter(|names| !names.is_empty()) {
            field(name, &names.replace(',', ", "));
        }
    }
    field("user", &format!("{}:{}", process["user"]["uid"], process["user"]["gid"]));
    field("environment", &words(&process["env"]).join("\n"));
    let requests = &seen.requests;
    let limit = |amount: u64, words: String| if amount == 0 { "none".to_owned() } else { words };
    field("CPU", &limit(requests.cpu_millis, format!("{}m", requests.cpu_millis)));
    field("memory", &limit(requests.memory_bytes, bytes(requests.memory_bytes)));
    let mounts = found.spec["mounts"].as_array().into_iter().flatten();
    let binds = mounts.filter(|mount| mount["type"] == "bind").map(|mount| {
        let of = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        format!("{} from {}", of("destination"), of("source"))
    });
    field("mounts", &binds.collect::<Vec<_>>().join("\n"));
    field("log", &format!("/var/log/berth/{namespace}/{container}.log"));
    if !seen.intact {
        field("", &paint::error("it was changed by hand: `berth drift` says how"));
    }
}
