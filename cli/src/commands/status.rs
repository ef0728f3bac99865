//! `berth status`: what runs.

use std::collections::BTreeMap;

use berth_engine::plan::canon::template_digest;
use berth_engine::plan::change::{self, bytes};
use berth_engine::plan::graph::{Graph, Node, Workload};
use berth_engine::plan::ledger::{Entry, Head, Ledger, Outcome};
use berth_engine::plan::names::{NodeName, PodId, WorkloadName};
use berth_engine::plan::observation::{NodeView, Observation, PodSeen, PodStatus};
use berth_engine::plan::overrides;
use berth_engine::plan::rollout;
use berth_engine::plan::schedule::Cron;
use berth_engine::plan::volume::{self, Home, InText};
use berth_engine::run::observe::survey;

use super::Ended;
use crate::exit::Exit;
use crate::paint;
use crate::pins::Pins;
use crate::project::Project;
use crate::replicas::{self, serves};
use crate::{Global, fleet};

/// Runs the command.
pub(crate) fn run(global: &Global) -> Ended {
    let project = Project::load(global, Pins::Keep)?;
    let seen = fleet::block_on(async {
        let host = fleet::host(&project, global);
        let seen = survey(&host, &project.graph).await;
        host.close().await;
        seen
    })??;
    let store = fleet::store(&project).filter(|_| !seen.ledger.lines.is_empty());
    if let Some(store) = store {
        store.remember(&project.graph.tenant, &seen.ledger.lines)?;
    }
    let overridden = &seen.ledger.head.overrides;
    let graph = &*overrides::in_force(&project.graph, overridden, fleet::now_ms());
    head(&project.graph, &seen.ledger);
    let mut whole = true;
    for (name, workload) in &graph.workloads {
        let service = (name, workload);
        whole &= self::service(service, &graph.nodes, &seen.observation, &seen.ledger.head);
    }
    strangers(graph, &seen.observation);
    volumes(graph, &seen.observation, &seen.ledger.head);
    for (name, view) in &seen.observation.nodes {
        whole &= node(name, view, seen.ledger.head.silent.get(name).copied());
    }
    Ok(if whole { Exit::Done } else { Exit::Partial })
}

fn head(graph: &Graph, ledger: &Ledger) {
    let last = ledger.lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Finish { revision, outcome, .. } => {
            let words = match outcome {
                Outcome::Done => paint::good("done"),
                Outcome::Reverted { .. } => paint::error("taken back"),
                Outcome::Partial { .. } => paint::notice("partly done"),
            };
            Some(format!(
                "revision {revision} {words} by {} at {}",
                line.who,
                paint::time(line.at_ms)
            ))
        }
        Entry::Begin { .. }
        | Entry::Pin { .. }
        | Entry::Override { .. }
        | Entry::Lift { .. }
        | Entry::Restart { .. }
        | Entry::Forget { .. }
        | Entry::Keeper { .. }
        | Entry::Snapshot { .. } => None,
    });
    let last = last.unwrap_or_else(|| "nothing applied yet".to_owned());
    say!("{}  {last}", paint::bold(&graph.tenant.to_string()));
    if let Some(flight) = &ledger.head.in_flight {
        say!(
            "! revision {} by {} began at {}: it runs, or was interrupted",
            flight.revision,
            flight.who,
            paint::time(flight.since_ms)
        );
    }
    for counting in overrides::counted(graph, &ledger.head.overrides, fleet::now_ms()) {
        say!("{}  {counting}", paint::notice("override"));
    }
    for (workload, restart) in &ledger.head.restarts {
        let overrides::Restart { who, why, up_to: _ } = restart;
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let resource = change::resource(workload, graph.workloads.get(workload));
        say!("{}  {resource} by {who}{why}", paint::notice("restart under way"));
    }
}

/// Prints a service and its pods; says whether all that is wanted serves.
fn service(
    (name, workload): (&WorkloadName, &Workload),
    nodes: &BTreeMap<NodeName, Node>,
    observation: &Observation,
    head: &Head,
) -> bool {
    let pods = pods_of(name, observation);
    if workload.once.is_some() {
        return job((name, workload), &pods, head);
    }
    if let Some(cron) = &workload.template.cron {
        return self::cron((name, workload), cron, &pods, head);
    }
    let serving = pods.iter().filter(|pod| pod.runs() && pod.serves).count();
    let on = |name: &NodeName| pods.iter().any(|pod| pod.node == name);
    let placement = &workload.placement;
    let wanted = if placement.every_node {
        let hold = nodes.iter().filter(|(name, node)| placement.admits(name, node) || on(name));
        hold.count()
    } else {
        workload.replicas as usize
    };
    let count = format!("{serving}/{wanted} serving");
    let count = if serving >= wanted { paint::good(&count) } else { paint::error(&count) };
    let endpoint = observation
        .nodes
        .keys()
        .filter_map(|node| observation.seen(node))
        .find_map(|seen| seen.spec.endpoints.get(name));
    let address = endpoint.map(|endpoint| {
        let ports: Vec<_> = endpoint.ports.iter().map(|port| port.port.to_string()).collect();
        format!("  {} [{}] port {}", endpoint.address4, endpoint.address6, ports.join(", "))
    });
    say!("service/{name}  {count}{}", address.unwrap_or_default());
    tell_pin(name, workload, head);
    for pod in &pods {
        pod.print();
    }
    serving >= wanted
}

/// Prints a cron and its pod; says whether its node runs it when it is time.
fn cron(
    (name, workload): (&WorkloadName, &Workload),
    cron: &Cron,
    pods: &[Pod<'_>],
    head: &Head,
) -> bool {
    let is_set =
        |pod: &Pod<'_>| pod.runs() || matches!(pod.status, Some(PodStatus::Waiting { .. }));
    let is_right = workload.replicas == 0 || pods.iter().any(is_set);
    let words = match (workload.replicas, is_right) {
        (0, _) => paint::notice("suspended"),
        (_, true) => paint::good("timer set"),
        (_, false) => paint::error("no timer"),
    };
    say!("cron/{name}  {} {}  {words}", cron.schedule, cron.zone);
    tell_pin(name, workload, head);
    pods.iter().for_each(Pod::print);
    is_right
}

/// Says that a workload is held, if it is.
fn tell_pin(name: &WorkloadName, workload: &Workload, head: &Head) {
    let Some(pin) = head.held(name, workload) else { return };
    let who = pin.who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
    say!("  {} since revision {}{who}: {}", paint::notice("HELD"), pin.revision, pin.why);
}

/// Prints a job and its pods; says whether it is done.
fn job((name, workload): (&WorkloadName, &Workload), pods: &[Pod<'_>], head: &Head) -> bool {
    let ended = |pod: &&Pod<'_>| {
        matches!(pod.status, Some(PodStatus::Stopped { exit_code: 0, .. }))
            || head.proven.contains(pod.id) && !pod.runs()
    };
    let digest = template_digest(&workload.template);
    let ours = || pods.iter().filter(|pod| pod.seen.digest == digest);
    let is_done = rollout::is_done(head.reached.get(name), workload);
    let wanted = workload.replicas as usize;
    let count = if is_done { wanted } else { ours().filter(ended).count() };
    let runs = ours().filter(|pod| pod.runs()).count();
    let runs = if runs > 0 { format!(", {runs} running") } else { String::new() };
    let words = format!("{count}/{wanted} done{runs}");
    let words = if is_done { paint::good(&words) } else { paint::notice(&words) };
    say!("job/{name}  {words}");
    tell_pin(name, workload, head);
    pods.iter().for_each(Pod::print);
    is_done
}

struct Pod<'a> {
    node: &'a NodeName,
    id: &'a PodId,
    seen: &'a PodSeen,
    status: Option<&'a PodStatus>,
    serves: bool,
}

impl Pod<'_> {
    fn runs(&self) -> bool {
        matches!(self.status, Some(PodStatus::Running { .. }))
    }

    fn print(&self) {
        let state = match self.status {
            Some(PodStatus::Running { restarts, started_at_ms }) => {
                let age = fleet::now_ms().saturating_sub(*started_at_ms);
                let age = if *started_at_ms == 0 {
                    String::new()
                } else {
                    format!(" {}", paint::duration(age))
                };
                let restarts =
                    if *restarts == 0 { String::new() } else { format!(", {restarts} restarts") };
                format!("running{age}{restarts}")
            }
            Some(PodStatus::Stopped { exit_code: 0, .. }) if self.seen.ends => "done".to_owned(),
            Some(PodStatus::Created) | None if self.seen.ends => "not running".to_owned(),
            Some(PodStatus::Stopped { exit_code, .. }) => {
                paint::error(&format!("stopped, exit code {exit_code}"))
            }
            Some(PodStatus::Waiting { next_at_ms, last }) => {
                let (words, well) = replicas::between_runs(*next_at_ms, last.as_ref());
                if well { words } else { paint::notice(&words) }
            }
            Some(PodStatus::Created) | None => paint::error("not started"),
        };
        let idle = self.seen.ends || self.seen.cron;
        let serves = if self.serves || idle { "" } else { "  takes no traffic" };
        let (id, node) = (self.id.to_string(), self.node.to_string());
        say!(
            "  {id:14} {node:8} {:15} image {}  {state}{serves}",
            self.seen.ip4.to_string(),
            self.seen.image.short()
        );
    }
}

fn pods_of<'a>(name: &WorkloadName, observation: &'a Observation) -> Vec<Pod<'a>> {
    let mut pods = Vec::new();
    for node in observation.nodes.keys() {
        let Some(seen) = observation.seen(node) else { continue };
        for (id, pod) in seen.spec.pods.iter().filter(|(_, pod)| &pod.workload == name) {
            let serves = serves(observation, name, id);
            pods.push(Pod { node, id, seen: pod, status: seen.status.pods.get(id), serves });
        }
    }
    pods.sort_by_key(|pod| pod.id);
    pods
}

/// Services that run and are not in the text.
fn strangers(graph: &Graph, observation: &Observation) {
    let seen = observation.nodes.keys().filter_map(|node| observation.seen(node));
    let names: std::collections::BTreeSet<_> = seen
        .flat_map(|seen| seen.spec.pods.values().map(|pod| &pod.workload))
        .filter(|name| !graph.workloads.contains_key(*name))
        .collect();
    for name in names {
        say!("service/{name}  {}", paint::notice("not in the text"));
        for pod in pods_of(name, observation) {
            pod.print();
        }
    }
}

/// Prints every volume that is known, with what is the matter with it.
fn volumes(graph: &Graph, observation: &Observation, head: &Head) {
    let in_text = InText::of(graph);
    let (text, reached) = (volume::mounted(&graph.workloads), volume::mounted(&head.reached));
    for (id, home) in volume::homes(graph, observation, head) {
        let words = match &home {
            Home::Seen(node, spec) => {
                let pods = observation.seen(node).into_iter().flat_map(|seen| &seen.spec.pods);
                let users = pods.filter(|(_, pod)| pod.mounts.contains(&id));
                let users: Vec<_> = users.map(|(pod, _)| pod.to_string()).collect();
                let size = if spec.size_bytes == 0 {
                    String::new()
                } else {
                    format!("  {}", bytes(spec.size_bytes))
                };
                let users = if users.is_empty() {
                    paint::notice("nobody mounts it")
                } else {
                    format!("mounted by {}", users.join(", "))
                };
                let here = if in_text.get(&id).is_some() {
                    String::new()
                } else {
                    format!("  {}", paint::notice("not in the text"))
                };
                format!("{node}{size}  {users}{here}")
            }
            Home::Remembered(at) => format!("{}  not reachable", at.node),
            Home::Lost(_) if !text.contains_key(&id) && !reached.contains_key(&id) => continue,
            Home::Lost(node) => format!("{node}  {}", paint::error("is not there any more")),
            Home::Twice(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                format!("{}  {}", nodes.join(", "), paint::error("there more than once"))
            }
        };
        say!("volume/{id}  {words}");
    }
}

/// Prints a node; says whether it answered.
fn node(name: &NodeName, view: &NodeView, silent_ms: Option<u64>) -> bool {
    match view {
        NodeView::Unknown { why, silent: _ } => {
            let since = silent_ms.map(|since| format!(", silent since {}", paint::time(since)));
            let since = since.unwrap_or_default();
            say!("node/{name}  {} {why}{since}", paint::error("UNKNOWN"));
            false
        }
        NodeView::Seen(seen) => {
            let facts = &seen.facts;
            let address = facts.address4.map(|a| a.to_string()).unwrap_or_default();
            say!(
                "node/{name}  {address}  {}  containerd {}  {}m CPU  {} memory  {} disk free",
                facts.os,
                facts.containerd,
                facts.cpu_millis,
                bytes(facts.memory_bytes),
                bytes(seen.status.disk_free_bytes)
            );
            for missing in &facts.missing {
                say!("  {} {}: {}", paint::error("lacks"), missing.what, missing.mend);
            }
            if seen.status.clock_skew_ms.unsigned_abs() > 5_000 {
                let skew = paint::duration(seen.status.clock_skew_ms.unsigned_abs());
                say!("  {} its clock is {skew} off", paint::notice("note:"));
            }
            if seen.status.disk_free_bytes < 1 << 30 {
                say!("  {} less than 1 GiB of disk is free", paint::notice("note:"));
            }
            true
        }
    }
}
