//! Lowering: a checked program into the desired graph.
//!
//! What the language's types cannot say is checked here: ranges that parse, a probe that knows its
//! port, an image that is one thing. Each mistake is a diagnostic at the text that set the field.
//! Images arrive pinned: [`images`] names what the program wants, the caller resolves it against
//! `berth.lock` and the files beside the project, and [`lower`] only looks digests up.

mod companion;
mod container;
mod cron;
mod files;
mod job;
mod moved;
mod place;
mod registry;
mod rollout;
mod volume;

pub use registry::{etcd, fan_out, registries, signed};

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Diagnostic, Label, Program, Resource, ResourceKind, Severity, Span, Value};

use super::action::{ImageSource, NodePort, Protocol};
use super::content::Contents;
use super::etcd;
use super::graph::{
    Graph, Liveness, Node, OnUnreachable, PodTemplate, Pools, Port, Probe, ProbeKind, Scale,
    Strategy, Workload,
};
use super::names::{ImageDigest, NodeName, Tenant, WorkloadName};
use super::observation::Requests;
use super::secret::Vault;
use super::unreachable;
use container::At;

/// An image as the text names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageName {
    /// A reference to a registry.
    Registry(String),
    /// An OCI layout folder beside the project.
    Layout(String),
    /// An OCI archive beside the project.
    Archive(String),
}

impl std::fmt::Display for ImageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(text) => write!(f, "registry:{text}"),
            Self::Layout(text) => write!(f, "layout:{text}"),
            Self::Archive(text) => write!(f, "archive:{text}"),
        }
    }
}

/// Lists the images that a program wants, each with the place that names it.
pub fn images(program: &Program) -> Vec<(ImageName, Span)> {
    let named = workloads(program).flat_map(|resource| {
        let own = resource.value().get("image").and_then(image_name);
        let own = own.map(|name| (name, origin(resource, "image")));
        own.into_iter().chain(companion::images(resource))
    });
    named.collect()
}

/// Lowers a program for one environment.
///
/// # Errors
/// Every mistake, at the text that made it.
pub fn lower(
    program: &Program,
    environment: &str,
    digests: &BTreeMap<ImageName, ImageDigest>,
    vault: &Vault,
) -> Result<Graph, Vec<Diagnostic>> {
    let mut lowering = Lowering { mistakes: Vec::new(), contents: Contents::default(), vault };
    let graph = lowering.graph(program, environment, digests);
    match graph {
        Some(graph) if lowering.mistakes.is_empty() => Ok(graph),
        Some(_) | None => Err(lowering.mistakes),
    }
}

/// Words a mistake that has no fix.
pub fn mistake(
    code: &'static str,
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code,
        message: message.into(),
        primary: Label { span, text: String::new() },
        secondary: None,
        help: Some(help.into()),
        fix: None,
    }
}

fn of_kind(program: &Program, kind: ResourceKind) -> impl Iterator<Item = &Resource> {
    program.resources.iter().filter(move |resource| resource.kind == kind)
}

fn services(program: &Program) -> impl Iterator<Item = &Resource> {
    of_kind(program, ResourceKind::Service)
}

/// What runs: services, then jobs, then crons.
fn workloads(program: &Program) -> impl Iterator<Item = &Resource> {
    let jobs = of_kind(program, ResourceKind::Job);
    services(program).chain(jobs).chain(of_kind(program, ResourceKind::Cron))
}

fn image_name(value: &Value) -> Option<ImageName> {
    let Value::Case { name, fields: _ } = value else { return None };
    match &**name {
        "registry" => Some(ImageName::Registry(text(value, "ref")?)),
        "local" => match (text(value, "layout"), text(value, "archive")) {
            (Some(path), None) => Some(ImageName::Layout(path)),
            (None, Some(path)) => Some(ImageName::Archive(path)),
            (None, None) | (Some(_), Some(_)) => None,
        },
        _ => None,
    }
}

struct Lowering<'a> {
    mistakes: Vec<Diagnostic>,
    /// What is in the files of containers.
    contents: Contents,
    /// The secrets that may go into them.
    vault: &'a Vault,
}

impl Lowering<'_> {
    fn graph(
        &mut self,
        program: &Program,
        environment: &str,
        digests: &BTreeMap<ImageName, ImageDigest>,
    ) -> Option<Graph> {
        let project = self.project(program)?;
        let mut nodes = BTreeMap::new();
        let mut first = None;
        for resource in of_kind(program, ResourceKind::Node) {
            first.get_or_insert_with(|| NodeName::new(&*resource.name));
            nodes.insert(NodeName::new(&*resource.name), self.node(resource));
        }
        let named = match project.value().get("keeper") {
            Some(Value::Ref { kind: _, name }) => Some(NodeName::new(&**name)),
            _ => None,
        };
        let cluster = self.etcd(program, project).then(etcd::keeper);
        let Some(keeper) = first.map(|first| cluster.or(named).unwrap_or(first)) else {
            let span = project.span();
            self.report(
                "E0503",
                span,
                "this project has no node",
                "write `node NAME { host: \"…\" }` for each server",
            );
            return None;
        };
        let pools = self.pools(project);
        self.registries(program);
        let mut workloads = BTreeMap::new();
        let overhead = project.value().get("overhead").map(requests).unwrap_or_default();
        let own = volume::of_each_replica(program);
        for resource in self::workloads(program) {
            let workload = match resource.kind {
                ResourceKind::Job => self.job(resource, digests, &own),
                ResourceKind::Cron => self.cron(resource, digests, &own),
                _ => self.service(resource, digests, &own),
            };
            if let Some(mut workload) = workload {
                workload.template.overhead = overhead.clone();
                workloads.insert(WorkloadName::new(&*resource.name), workload);
            }
        }
        self.settle(program, &nodes, &mut workloads);
        self.can_be_fenced(program, &nodes, &workloads);
        self.mounted_once(program, &own);
        self.no_circles(program, &workloads);
        let volumes = self.volumes(program);
        let moved = self.moved(program);
        let quota = project.value().get("quota").map(place::quota);
        let fill = place::fill(project.value().get("fill"));
        let tenant =
            Tenant { project: project.name.to_string(), environment: environment.to_owned() };
        let contents = std::mem::take(&mut self.contents);
        let pools = pools?;
        let mut graph = Graph {
            tenant,
            keeper,
            pools,
            nodes,
            workloads,
            volumes,
            quota,
            fill,
            moved,
            contents,
            revoked: BTreeSet::new(),
        };
        graph.count_every_node();
        Some(graph)
    }

    fn project<'a>(&mut self, program: &'a Program) -> Option<&'a Resource> {
        let mut projects = of_kind(program, ResourceKind::Project);
        let Some(project) = projects.next() else {
            let file = program.paths().next().unwrap_or("project.berth");
            let start = Span { file: file.into(), start: 0, end: 0 };
            let span = program.resources.first().map_or(start, |first| first.span());
            self.report(
                "E0501",
                span,
                "this project has no `project` item",
                "write `project NAME {}` in one of its files",
            );
            return None;
        };
        if let Some(second) = projects.next() {
            let mut twice = mistake(
                "E0502",
                second.span(),
                "a project has one `project` item, and this is a second",
                "keep one of them",
            );
            let text = "the first is here".to_owned();
            twice.secondary = Some(Label { span: project.span(), text });
            self.mistakes.push(twice);
        }
        Some(project)
    }

    fn pools(&mut self, project: &Resource) -> Option<Pools> {
        let pods4 = self.range(project, "pods", 24);
        let pods6 = self.range(project, "pods6", 64);
        let endpoints4 = self.range(project, "endpoints", 30);
        let endpoints6 = self.range(project, "endpoints6", 126);
        Some(Pools {
            pods4: pods4?,
            pods6: pods6?,
            endpoints4: endpoints4?,
            endpoints6: endpoints6?,
        })
    }

    fn range<T>(&mut self, project: &Resource, field: &str, longest: u8) -> Option<T>
    where
        T: std::str::FromStr + Copy + Into<ipnet::IpNet>,
    {
        let written = project.value().get("network").and_then(|network| text(network, field))?;
        let span = origin(project, &format!("network.{field}"));
        let Ok(range) = written.parse::<T>() else {
            self.report(
                "E0504",
                span,
                format!("`{written}` is not an address range of this family"),
                "write it as `10.88.0.0/16`, or as `fd00:88::/48` for IPv6",
            );
            return None;
        };
        if range.into().prefix_len() > longest {
            self.report(
                "E0504",
                span,
                format!("`{written}` is too small a range"),
                format!("its prefix is at most /{longest}"),
            );
            return None;
        }
        Some(range)
    }

    /// The hosts before a node, which the text names as `ssh -J` takes them.
    fn jumps(&mut self, resource: &Resource) -> Vec<String> {
        let Some(written) = resource.value().get("ssh").and_then(|ssh| text(ssh, "jump")) else {
            return Vec::new();
        };
        let jumps: Vec<String> = written.split(',').map(|jump| jump.trim().to_owned()).collect();
        let odd = |c: char| c.is_whitespace() || c.is_control();
        let is_bad = |jump: &String| jump.is_empty() || jump.starts_with('-') || jump.contains(odd);
        if let Some(bad) = jumps.iter().find(|jump| is_bad(jump)) {
            self.report(
                "E0505",
                origin(resource, "ssh.jump"),
                format!("`{}` does not name a host to go through", bad.escape_debug()),
                "write it as `ssh -J` takes it: \"ana@gate.example.com:22\", several with commas between",
            );
        }
        jumps
    }

    fn node(&mut self, resource: &Resource) -> Node {
        let value = resource.value();
        let ssh = value.get("ssh");
        let host = text(value, "host").unwrap_or_default();
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.report(
                "E0505",
                origin(resource, "host"),
                format!("`{}` is not a host name or an address", host.escape_debug()),
                "write where sshd answers: \"10.0.0.11\" or \"db1.example.com\"",
            );
        }
        Node {
            host,
            user: ssh.and_then(|ssh| text(ssh, "user")),
            port: ssh.and_then(|ssh| number(ssh, "port")),
            identity: ssh.and_then(|ssh| text(ssh, "identity")),
            jumps: self.jumps(resource),
            labels: strings(value.get("labels")),
            taints: list_of(value.get("taints")).iter().map(place::taint).collect(),
            intake: place::intake(value.get("intake")),
            overcommit: place::overcommit(value.get("overcommit")),
            named: self.pieces(&At::main(resource), "named"),
            capacity: value.get("capacity").map(requests),
            reserve: value.get("reserve").map(requests).unwrap_or_default(),
            fence: self.fence(resource),
        }
    }

    /// The program that switches a node off.
    fn fence(&mut self, resource: &Resource) -> Vec<String> {
        let command = list(resource.value().get("fence"));
        let odd = |word: &String| word.contains(char::is_control);
        let is_said = resource.value().get("fence").is_some();
        if is_said && command.first().is_none_or(String::is_empty) || command.iter().any(odd) {
            self.report(
                "E0560",
                origin(resource, "fence"),
                "this is no program that switches a server off",
                "write it word by word, without a shell: fence: [\"ipmitool\", \"-H\", \"10.0.9.3\", \"chassis\", \"power\", \"off\"]",
            );
        }
        command
    }

    fn service(
        &mut self,
        resource: &Resource,
        digests: &BTreeMap<ImageName, ImageDigest>,
        own: &BTreeSet<&str>,
    ) -> Option<Workload> {
        let value = resource.value();
        self.names_containers(resource);
        let ports = self.ports(resource);
        let health = self.probe(resource, "health", &ports);
        let liveness = self.probe(resource, "liveness", &ports);
        let image = self.image(&At::main(resource), digests);
        let rollout = rollout::rollout(value.get("rollout"));
        if rollout.as_ref().is_some_and(|rollout| {
            rollout.strategy == Strategy::Rolling { surge: 0, unavailable: 0 }
        }) {
            self.report(
                "E0513",
                origin(resource, "rollout"),
                "this rollout can never replace a replica: `surge` and `unavailable` are both 0",
                "let one more run meanwhile (`surge: 1`), or one fewer (`unavailable: 1`)",
            );
        }
        if let Some(rollout) = &rollout {
            self.rollout(resource, rollout);
        }
        let placement = self.placement(resource);
        let mut template = self.template(resource, (digests, own), &ports, image)?;
        let start = value.get("liveness").and_then(|probe| duration(probe, "start"));
        let start_ms = start.unwrap_or(90_000);
        template.liveness = liveness?.map(|probe| Liveness { probe, start_ms });
        let workload = Some(Workload {
            template,
            replicas: number(value, "replicas").unwrap_or(1),
            scale: self.scale(resource),
            protect: matches!(value.get("protect"), Some(Value::Bool(true))),
            on_unreachable: on_unreachable(value.get("on_unreachable")),
            ports,
            health: health?,
            rollout: rollout?,
            placement,
            once: None,
            after: after(value),
        });
        if let Some(workload) = &workload {
            self.on_unreachable(resource, workload);
        }
        workload
    }

    /// Checks that the ids of containers can begin with a resource's name.
    fn names_containers(&mut self, resource: &Resource) {
        let slug = WorkloadName::new(&*resource.name).slug();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !slug.bytes().all(allowed) || slug.len() > 40 {
            self.report(
                "E0506",
                resource.span(),
                format!("`{}` cannot name a container", resource.name),
                "use at most 40 letters, digits, `_` and `-`, in the key too",
            );
        }
    }

    /// What a replica is made from, as far as services, jobs and crons have that in common.
    fn template(
        &mut self,
        resource: &Resource,
        (digests, own): (&BTreeMap<ImageName, ImageDigest>, &BTreeSet<&str>),
        ports: &[Port],
        image: Option<(ImageDigest, ImageSource)>,
    ) -> Option<PodTemplate> {
        let value = resource.value();
        let at = At::main(resource);
        self.pieces(&at, "resources.named");
        let (image, source) = image?;
        let mut template = PodTemplate {
            publish: self.published(resource, ports),
            mounts: self.mounts(resource, own),
            image,
            source,
            command: list(value.get("command")),
            args: list(value.get("args")),
            env: strings(value.get("env")),
            files: self.files(&at),
            resources: value.get("resources").map(requests).unwrap_or_default(),
            overhead: Requests::default(),
            limits: self.limits(&at),
            settings: self.settings(&at),
            scratch: BTreeSet::new(),
            companions: Vec::new(),
            liveness: None,
            ends: false,
            cron: None,
            grace_ms: duration(value, "grace").unwrap_or(10_000),
        };
        self.beside(resource, digests, &mut template);
        self.few_bytes(&at, &template);
        Some(template)
    }

    /// Checks that what may run twice for a while may.
    fn on_unreachable(&mut self, resource: &Resource, workload: &Workload) {
        let may = match workload.on_unreachable {
            OnUnreachable::Wait => None,
            OnUnreachable::ReplaceAfter { .. } | OnUnreachable::FenceAfter { .. } => {
                unreachable::bound(workload)
            }
        };
        if let Some(why) = may {
            self.report(
                "E0556",
                origin(resource, "on_unreachable"),
                format!("replicas of {} cannot be replaced while the old ones may run: {why}", resource.name),
                "leave `on_unreachable` out; when such a node is switched off for certain, `berth fence` says so",
            );
        }
    }

    /// Checks that a node says how it is switched off, where that is to happen.
    fn can_be_fenced(
        &mut self,
        program: &Program,
        nodes: &BTreeMap<NodeName, Node>,
        workloads: &BTreeMap<WorkloadName, Workload>,
    ) {
        if nodes.values().any(|node| !node.fence.is_empty()) {
            return;
        }
        for resource in services(program) {
            let workload = workloads.get(&WorkloadName::new(&*resource.name));
            if let Some(OnUnreachable::FenceAfter { .. }) = workload.map(|w| w.on_unreachable) {
                self.report(
                    "E0560",
                    origin(resource, "on_unreachable"),
                    "no server says how it is switched off",
                    "give the nodes a `fence`: [\"ipmitool\", \"-H\", \"10.0.9.3\", \"chassis\", \"power\", \"off\"]",
                );
            }
        }
    }

    /// Between which numbers of replicas an override may choose.
    fn scale(&mut self, resource: &Resource) -> Option<Scale> {
        let value = resource.value();
        let written = value.get("scale")?;
        let scale = Scale { min: number(written, "min")?, max: number(written, "max")? };
        if scale.min > scale.max {
            self.report(
                "E0550",
                origin(resource, "scale"),
                format!("no number is at least {} and at most {}", scale.min, scale.max),
                "`min` is the lesser one",
            );
            return None;
        }
        let replicas = number(value, "replicas").unwrap_or(1);
        let everywhere = matches!(value.get("every_node"), Some(Value::Bool(true)));
        if everywhere {
            return None;
        }
        if replicas < scale.min || replicas > scale.max {
            self.report(
                "E0551",
                origin(resource, "scale"),
                format!(
                    "`replicas` is {replicas}, which is not from {} to {}",
                    scale.min, scale.max
                ),
                "change one of them: `replicas` is what runs until somebody scales it",
            );
        }
        Some(scale)
    }

    fn ports(&mut self, resource: &Resource) -> Vec<Port> {
        let Some(Value::List(written)) = resource.value().get("ports") else { return Vec::new() };
        let mut taken = BTreeSet::new();
        let mut ports = Vec::new();
        for (index, value) in written.iter().enumerate() {
            let container = number(value, "container").unwrap_or(0);
            let protocol = match value.get("protocol") {
                Some(Value::Case { name, fields: _ }) if &**name == "udp" => Protocol::Udp,
                _ => Protocol::Tcp,
            };
            let port = Port {
                name: text(value, "name"),
                container,
                port: number(value, "port").unwrap_or(container),
                host: number(value, "host"),
                protocol,
            };
            if !taken.insert((port.protocol, port.port)) {
                self.report(
                    "E0507",
                    origin(resource, &format!("ports.{index}")),
                    format!("port {} is offered twice", port.port),
                    "give one of the two another `port`",
                );
            }
            ports.push(port);
        }
        ports
    }

    /// The node's ports that lead to a replica.
    fn published(&mut self, resource: &Resource, ports: &[Port]) -> BTreeMap<NodePort, u16> {
        let mut published = BTreeMap::new();
        for (index, port) in ports.iter().enumerate() {
            let Some(host) = port.host else { continue };
            let host = NodePort { port: host, protocol: port.protocol };
            if published.insert(host, port.container).is_some() {
                self.report(
                    "E0546",
                    origin(resource, &format!("ports.{index}.host")),
                    format!("port {host} of the node is asked for twice"),
                    "give one of the two another `host`, or leave it out",
                );
            }
        }
        published
    }

    /// The outer option is a mistake; the inner one is a service without a probe.
    fn probe(&mut self, resource: &Resource, field: &str, ports: &[Port]) -> Option<Option<Probe>> {
        let Some(value) = resource.value().get(field) else { return Some(None) };
        let Value::Case { name, fields: _ } = value else { return Some(None) };
        let span = origin(resource, field);
        let first = ports.iter().find(|port| port.protocol == Protocol::Tcp);
        let Some(port) = number(value, "port").or(first.map(|port| port.container)) else {
            self.report(
                "E0508",
                span,
                "this probe has no port to ask",
                "give it a `port`, or the service `ports`",
            );
            return None;
        };
        let kind = match (&**name, text(value, "path")) {
            ("http", Some(path)) => ProbeKind::Http { path },
            _ => ProbeKind::Tcp,
        };
        if let ProbeKind::Http { path } = &kind
            && (!path.starts_with('/')
                || path.contains(|c: char| c.is_whitespace() || c.is_control()))
        {
            self.report(
                "E0509",
                span,
                format!("`{}` is not a path to ask", path.escape_debug()),
                "begin it with `/`, and leave out white space",
            );
            return None;
        }
        Some(Some(Probe {
            kind,
            port,
            every_ms: duration(value, "every").unwrap_or(1000),
            timeout_ms: duration(value, "timeout").unwrap_or(1000),
            pass_after: number(value, "pass_after").unwrap_or(1),
            fail_after: number(value, "fail_after").unwrap_or(3),
        }))
    }

    fn image(
        &mut self,
        at: &At<'_>,
        digests: &BTreeMap<ImageName, ImageDigest>,
    ) -> Option<(ImageDigest, ImageSource)> {
        let span = at.origin("image");
        let Some(name) = at.value.get("image").and_then(image_name) else {
            self.report(
                "E0510",
                span,
                "a local image is a layout or an archive, one of the two",
                "write `local(layout: \"images/web\")` or `local(archive: \"images/web.tar\")`",
            );
            return None;
        };
        let source = match &name {
            ImageName::Layout(path) => ImageSource::Layout(path.clone()),
            ImageName::Archive(path) => ImageSource::Archive(path.clone()),
            ImageName::Registry(reference) => ImageSource::Registry(reference.clone()),
        };
        // A digest that could not be found out has been reported by whoever looked.
        Some((digests.get(&name)?.clone(), source))
    }

    fn report(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.mistakes.push(mistake(code, span, message, help));
    }
}

fn origin(resource: &Resource, path: &str) -> Span {
    resource.origins().get(path).unwrap_or_else(|| resource.span())
}

fn text(value: &Value, field: &str) -> Option<String> {
    match value.get(field)? {
        Value::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

fn number<T: TryFrom<i64>>(value: &Value, field: &str) -> Option<T> {
    match value.get(field)? {
        Value::Int(number) => T::try_from(*number).ok(),
        _ => None,
    }
}

/// The jobs that come before.
fn after(value: &Value) -> BTreeSet<WorkloadName> {
    let job = |job: &Value| match job {
        Value::Ref { kind: _, name } => Some(WorkloadName::new(&**name)),
        _ => None,
    };
    list_of(value.get("after")).iter().filter_map(job).collect()
}

fn on_unreachable(value: Option<&Value>) -> OnUnreachable {
    let Some(case @ Value::Case { name, fields: _ }) = value else { return OnUnreachable::Wait };
    match (&**name, duration(case, "after")) {
        ("replace_after", Some(ms)) => OnUnreachable::ReplaceAfter { ms },
        ("fence_after", Some(ms)) => OnUnreachable::FenceAfter { ms },
        _ => OnUnreachable::Wait,
    }
}

fn duration(value: &Value, field: &str) -> Option<u64> {
    match value.get(field)? {
        Value::Duration(ms) => Some(*ms),
        _ => None,
    }
}

fn requests(value: &Value) -> Requests {
    let mut requests = Requests::default();
    if let Some(Value::Cpu(millis)) = value.get("cpu") {
        requests.cpu_millis = *millis;
    }
    if let Some(Value::Bytes(bytes)) = value.get("memory") {
        requests.memory_bytes = *bytes;
    }
    if let Some(Value::Bytes(bytes)) = value.get("disk") {
        requests.disk_bytes = *bytes;
    }
    requests.named = place::pieces(value.get("named"));
    requests
}

fn list_of(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::List(items)) => items,
        Some(_) | None => &[],
    }
}

fn list(value: Option<&Value>) -> Vec<String> {
    let Some(Value::List(items)) = value else { return Vec::new() };
    let text = |item: &Value| match item {
        Value::Str(text) => Some(text.to_string()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    let Some(Value::Map(entries)) = value else { return BTreeMap::new() };
    let entry = |(key, value): (&std::sync::Arc<str>, &Value)| match value {
        Value::Str(value) => Some((key.to_string(), value.to_string())),
        _ => None,
    };
    entries.iter().filter_map(entry).collect()
}
