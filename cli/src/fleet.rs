//! The fleet as this engine reaches it: targets, who we are, which commit this is.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_agentless::etcd::Login;
use berth_agentless::{Options, SshConfig, SshHost, Target};
use berth_engine::plan::graph::{Graph, Node};
use berth_engine::plan::names::NodeName;
use berth_engine::plan::observation::Observation;
use berth_engine::run::clock::{Clock as _, SystemClock};
use berth_engine::run::observe::observe;
use berth_engine::run::store::Store;

use crate::project::Project;
use crate::{Global, git};

/// Where a node listens.
pub(crate) fn target(name: &NodeName, node: &Node, root: &Path) -> Target {
    let named = node.identity.as_ref().map(|path| match path.strip_prefix("~/") {
        Some(rest) => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(rest),
        None => root.join(path),
    });
    Target {
        name: name.to_string(),
        host: node.host.clone(),
        user: node.user.clone(),
        port: node.port,
        identity: named,
        jumps: node.jumps.clone(),
    }
}

/// A node that somebody named.
///
/// # Errors
/// If the text has no such node.
pub(crate) fn node(project: &Project, name: &str) -> Result<NodeName, String> {
    let node = NodeName::new(name);
    if project.graph.nodes.contains_key(&node) {
        return Ok(node);
    }
    let names: Vec<_> = project.graph.nodes.keys().map(ToString::to_string).collect();
    Err(format!("there is no node `{}`; there are {}", name.escape_debug(), names.join(", ")))
}

/// Nodes that somebody named.
///
/// # Errors
/// As for one.
pub(crate) fn nodes(project: &Project, names: &[String]) -> Result<BTreeSet<NodeName>, String> {
    names.iter().map(|name| node(project, name)).collect()
}

/// The fleet over SSH; connects to nobody yet.
pub(crate) fn host(project: &Project, global: &Global) -> SshHost {
    let Graph { nodes, .. } = &project.graph;
    let targets: BTreeMap<NodeName, Target> = nodes
        .iter()
        .map(|(name, node)| (name.clone(), target(name, node, &project.root)))
        .collect();
    SshHost::new(targets, options(project, global))
}

/// How all nodes are talked to.
pub(crate) fn options(project: &Project, global: &Global) -> Options {
    let mut options = Options::for_project(project.root.clone(), project.registries.clone());
    options.fan_out = project.fan_out;
    options.etcd = project.etcd.clone().map(|etcd| (etcd, login()));
    options.known_hosts.extend(global.known_hosts.clone());
    options.identity.clone_from(&global.identity);
    options.ssh_config = match &global.ssh_config {
        None => SshConfig::Usual,
        Some(path) if path.as_os_str() == "none" => SshConfig::Nothing,
        // OpenSSH takes a relative path as one below ~/.ssh.
        Some(path) => SshConfig::File(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
    };
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        options.ask = Some(Arc::new(|path: &Path| {
            rpassword::prompt_password(format!("Passphrase for {}: ", path.display())).ok()
        }));
    }
    options
}

/// How this machine logs in to etcd.
fn login() -> Login {
    let file = |name: &str| {
        let path = std::env::var_os(name)?;
        let read = std::fs::read(&path);
        Some(read.map_err(|error| format!("{name} is {}: {error}", path.display())))
    };
    let certificate = match (file("BERTH_ETCD_CERT"), file("BERTH_ETCD_KEY")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(certificate.and_then(|cert| Ok((cert, key?)))),
        (Some(_), None) => {
            Some(Err("BERTH_ETCD_CERT is set, and BERTH_ETCD_KEY is not".to_owned()))
        }
        (None, Some(_)) => {
            Some(Err("BERTH_ETCD_KEY is set, and BERTH_ETCD_CERT is not".to_owned()))
        }
    };
    Login { password: std::env::var("BERTH_ETCD_PASSWORD").ok(), certificate }
}

/// What every node says of itself, for commands that only look.
pub(crate) fn seen(project: &Project, global: &Global) -> std::io::Result<Observation> {
    block_on(async {
        let host = host(project, global);
        let observation = observe(&host, &project.graph).await;
        host.close().await;
        observation
    })
}

/// Runs a command's asynchronous part.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(done)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// A login and a machine: `ana@laptop`.
pub(crate) fn who() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login =
        variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "someone".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = if machine.trim().is_empty() { "somewhere" } else { machine.trim() };
    format!("{login}@{machine}")
}

/// The commit that the project's folder is at, with a mark if the text has changed since; nothing
/// outside a git repository, or without git.
pub(crate) fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| git::said(root, args).ok().flatten();
    let head = git(&["rev-parse", "--short=8", "HEAD"])?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no", "--", "."])
        .is_some_and(|s| !s.is_empty());
    Some(if dirty { format!("{head}+") } else { head })
}

/// The folder of what this engine may forget.
pub(crate) fn folder(project: &Project) -> PathBuf {
    project.root.join(".berth")
}

/// The local store; nothing, with a warning, if it cannot be used: it is only a cache.
pub(crate) fn store(project: &Project) -> Option<Store> {
    let folder = folder(project);
    let opened = std::fs::create_dir_all(&folder)
        .map_err(|error| error.to_string())
        .and_then(|()| Store::open(&folder.join("store")).map_err(|error| error.to_string()));
    match opened {
        Ok(store) => Some(store),
        Err(why) => {
            tracing::warn!("going on without the local store: {why}");
            None
        }
    }
}
