//! Small projects, built in code.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::action::{ImageSource, Protocol};
use berth_engine::plan::companion::{Companion, Role};
use berth_engine::plan::content::{AtRest, Contents, File, SECRET_MODE};
use berth_engine::plan::graph::{
    Fill, Graph, Intake, Limits, Moved, Node, OnFail, OnUnreachable, Once, Overcommit, Placement,
    PodTemplate, Pools, Port, Probe, ProbeKind, Rollout, Scale, Strategy, Workload,
};
use berth_engine::plan::names::{ContentDigest, ImageDigest, NodeName, Tenant, WorkloadName};
use berth_engine::plan::observation::Requests;
use berth_engine::plan::schedule::Cron;
use berth_engine::plan::secret::{self, Sealed, Vault};
use berth_engine::run::twin::Twin;
use berth_lang::SecretPart;

/// Names node `number`, from 1: `n[1]`.
pub fn node(number: u32) -> NodeName {
    NodeName::new(format!("n[{number}]"))
}

/// An image digest that begins with a letter.
pub fn image(letter: char) -> ImageDigest {
    ImageDigest::new(format!("sha256:{letter}{}", "0".repeat(63)))
}

/// A fleet of so many nodes, without workloads.
pub fn fleet(nodes: u32) -> Graph {
    let server = |number: u32| Node {
        host: format!("10.77.0.{}", number + 10),
        user: None,
        port: None,
        identity: None,
        jumps: Vec::new(),
        labels: BTreeMap::from([("zone".to_owned(), format!("z{}", number % 2))]),
        taints: Vec::new(),
        intake: Intake::Open,
        overcommit: Overcommit::default(),
        named: BTreeMap::new(),
        capacity: None,
        reserve: Requests::default(),
        fence: Vec::new(),
    };
    Graph {
        tenant: Tenant { project: "shop".to_owned(), environment: "default".to_owned() },
        keeper: node(1),
        pools: Pools {
            pods4: "10.88.0.0/16".parse().expect("a range"),
            pods6: "fd00:88::/48".parse().expect("a range"),
            endpoints4: "10.99.0.0/16".parse().expect("a range"),
            endpoints6: "fd00:99::/64".parse().expect("a range"),
        },
        nodes: (1..=nodes).map(|number| (node(number), server(number))).collect(),
        workloads: BTreeMap::new(),
        volumes: BTreeMap::new(),
        quota: None,
        fill: Fill::Even,
        moved: Moved::default(),
        contents: Contents::default(),
        revoked: BTreeSet::new(),
    }
}

/// A container that runs with a replica's own.
pub fn sidecar(image: ImageDigest) -> Companion {
    Companion {
        name: "beside".to_owned(),
        role: Role::Sidecar,
        image,
        source: ImageSource::Layout("images/beside".to_owned()),
        command: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        files: BTreeMap::new(),
        resources: Requests { cpu_millis: 10, memory_bytes: 8 << 20, ..Requests::default() },
        limits: Limits::default(),
        share: BTreeMap::new(),
        settings: None,
    }
}

/// A web service with a probe and a port.
pub fn web(image: ImageDigest, replicas: u32, strategy: Strategy) -> Workload {
    Workload {
        template: PodTemplate {
            image,
            source: ImageSource::Layout("images/web".to_owned()),
            command: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            resources: Requests { cpu_millis: 100, memory_bytes: 64 << 20, ..Requests::default() },
            overhead: Requests::default(),
            limits: Limits::default(),
            publish: BTreeMap::new(),
            mounts: BTreeMap::new(),
            settings: None,
            scratch: BTreeSet::new(),
            companions: Vec::new(),
            liveness: None,
            ends: false,
            cron: None,
            grace_ms: 10_000,
        },
        replicas,
        scale: None,
        protect: false,
        on_unreachable: OnUnreachable::Wait,
        ports: vec![Port {
            name: Some("http".to_owned()),
            container: 8080,
            port: 80,
            host: None,
            protocol: Protocol::Tcp,
        }],
        health: Some(Probe {
            kind: ProbeKind::Http { path: "/ready".to_owned() },
            port: 8080,
            every_ms: 1000,
            timeout_ms: 1000,
            pass_after: 1,
            fail_after: 3,
        }),
        rollout: Rollout {
            strategy,
            deadline_ms: 30_000,
            on_fail: OnFail::Rollback,
            checks: Vec::new(),
            bake_ms: 0,
        },
        placement: Placement::default(),
        once: None,
        after: BTreeSet::new(),
    }
}

/// A job, which is tried so often again.
pub fn job(image: ImageDigest, completions: u32, retries: u32) -> Workload {
    let mut job = web(image, completions, Strategy::Recreate);
    (job.ports, job.health) = (Vec::new(), None);
    job.template.ends = true;
    job.rollout.deadline_ms = 60_000;
    job.once = Some(Once { retries, parallel: completions });
    job
}

/// A cron, every minute.
pub fn cron(image: ImageDigest) -> Workload {
    let mut cron = web(image, 1, Strategy::Recreate);
    (cron.ports, cron.health) = (Vec::new(), None);
    cron.scale = Some(Scale { min: 0, max: 1 });
    cron.template.cron = Some(Box::new(Cron {
        schedule: "* * * * *".to_owned(),
        zone: "UTC".to_owned(),
        retries: 1,
        timeout_ms: 30_000,
        catch_up: false,
    }));
    cron
}

/// A rolling update, one at a time, nothing missing.
pub const ROLLING: Strategy = Strategy::Rolling { surge: 1, unavailable: 0 };

/// Puts a workload into a graph.
pub fn with(mut graph: Graph, name: &str, workload: Workload) -> Graph {
    graph.workloads.insert(WorkloadName::new(name), workload);
    graph
}

/// Makes a world with a graph's nodes: two cores and 2 GiB each.
pub fn world(graph: &Graph) -> Twin {
    let twin = Twin::new();
    for name in graph.nodes.keys() {
        twin.world().add_node(name, 2000, 2 << 30);
    }
    twin
}

/// A file with a secret in it.
pub fn secret_file(contents: &mut Contents, at_rest: AtRest, fingerprint: &str) -> File {
    let sealed = Sealed { fingerprint: fingerprint.to_owned(), text: "sealed".into() };
    contents.add_sealed(&sealed);
    let digest = ContentDigest::sealed(&sealed.fingerprint);
    let vault = Vault::from([("db".to_owned(), sealed)]);
    let parts = [SecretPart::Text("password=".into()), SecretPart::Secret("db".into())];
    let (text, _) = secret::content(&parts, &vault).expect("it is in the vault");
    let mut file = File::of(contents.add(text));
    (file.mode, file.sealed, file.at_rest) = (SECRET_MODE, [digest].into(), Some(at_rest));
    file
}
