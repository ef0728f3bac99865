//! Looking into a pod whose image has no tools: with the node's own, or in a container of another image.
//!
//! Either is in the pod's network, IPC and host name, and sees the container's processes, and with that its files
//! (`/proc/1/root`). The node's own tools need nothing. A debug container is `runc run` on an SSH channel, as `exec` is
//! `runc exec`: containerd knows its image, and its layer under a lease of a day, but no container. So no monitor starts
//! it again, no plan sees it, and it ends with its channel. What an engine that died left of one goes with the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_engine::plan::action::{ImageSource, Write};
use berth_engine::plan::names::{ContainerId, ImageDigest, NodeName, Tenant};
use berth_engine::run::host::{HostError, Refusal};
use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::Mount;

use super::exec::{Command, Exec};
use super::inspect::task_pid;
use crate::containerd::{SNAPSHOTTER, leased, within};
use crate::fault::Fault;
use crate::host::SshHost;
use crate::image::oci::{ImageConfig, chain_ids};
use crate::image::push::{self, expiry};
use crate::link::Writer;
use crate::pod::ensure::{image, look_up};
use crate::pod::spec::{Visitor, numeric_user, visiting};
use crate::session::quote::Call;

/// Where debug containers have their folders, and runc what it knows of them.
const FOLDER: &str = "/run/berth/debug";
const RUNC_ROOT: &str = "/run/berth/debug.runc";

/// A debug container, to be taken away when its command has ended.
#[derive(Debug)]
pub struct Visit {
    node: NodeName,
    namespace: String,
    name: String,
}

impl SshHost {
    /// Runs a command with the node's own tools in a container's namespaces, as root of the node.
    ///
    /// # Errors
    /// If the node can't be reached, or the container does not run.
    pub async fn debug_with_node(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        container: &ContainerId,
        command: &Command,
    ) -> Result<Exec, HostError> {
        let link = self.link(node)?;
        let namespace = tenant.namespace();
        self.reading(link, async {
            let live = link.live().await?;
            let process = task_pid(&live, &namespace, container).await?;
            // `ps` reads what is mounted at /proc.
            let enter = format!(
                "nsenter --target {process} --net --ipc --uts --pid -- unshare --mount-proc --"
            );
            let mut line: Vec<String> = enter.split(' ').map(str::to_owned).collect();
            // A shell at a terminal wants to lead a session that it can see.
            if command.terminal.is_some() {
                line.extend(["setsid", "--ctty", "--wait"].map(str::to_owned));
            }
            line.push("env".to_owned());
            let term = command.terminal.as_ref().map(|(kind, _)| format!("TERM={kind}"));
            let more = command.env.iter().map(|(key, value)| format!("{key}={value}"));
            line.extend(term.into_iter().chain(more));
            line.extend(command.argv.iter().cloned());
            Exec::start(live, line, command).await
        })
        .await
    }

    /// Runs a command in a new container of an image, in the namespaces of another one. The image is sent, or pulled, if
    /// the node has not got it, and stays there.
    ///
    /// # Errors
    /// If the node can't be reached, the container does not run, or the image can't be had.
    pub async fn debug_with_image(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        container: &ContainerId,
        (digest, source): (&ImageDigest, &ImageSource),
        command: &Command,
    ) -> Result<(Exec, Visit), HostError> {
        let link = self.link(node)?;
        let namespace = tenant.namespace();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("berth-debug-{}", since.as_nanos());
        let write = Write::new("debug", format!("{namespace}/{container}"));
        let live = self
            .reading(link, async {
                let live = link.live().await?;
                task_pid(&live, &namespace, container).await?;
                Ok(live)
            })
            .await?;
        let writer = link.visitor(Arc::clone(&live), write);
        // However long it takes: it says what it does with `-v`.
        let sent = push::ensure(&writer, tenant, digest, source, self.options()).await;
        sent.map_err(|fault| fault.at(node))?;
        let visit = Visit { node: node.clone(), namespace: namespace.clone(), name };
        let started = self.reading(link, async {
            let process = task_pid(&live, &namespace, container).await?;
            let config = image(&writer, &namespace, digest).await?;
            let mount = layer(&writer, &config, &visit, since.as_secs()).await?;
            let user = command.user.as_deref().unwrap_or(&config.config.user);
            let user = match numeric_user(user) {
                Some(known) => known,
                None => look_up(&writer, user, std::slice::from_ref(&mount)).await?,
            };
            let visitor = Visitor {
                namespace: &namespace,
                pod: &container.pod,
                process,
                argv: &command.argv,
                env: &command.env,
                user,
                directory: command.directory.as_deref(),
                terminal: command.terminal.as_ref().map(|(kind, size)| (&**kind, *size)),
                machine: &writer.live.shell.machine,
            };
            let call = Call::new("visit_up")
                .arg(&visit.name)
                .arg(&mount.r#type)
                .arg(&mount.source)
                .arg(mount.options.join(","))
                .data(&visiting(&visitor, &config.config).to_string());
            writer.must("make a debug container", &call).await?;
            Exec::start(Arc::clone(&live), line(&visit.name), command).await
        });
        match started.await {
            Ok(exec) => Ok((exec, visit)),
            Err(error) => {
                self.debug_end(visit).await;
                Err(error)
            }
        }
    }

    /// Takes a debug container away, as far as its node can be reached; what stays goes with the next one.
    pub async fn debug_end(&self, visit: Visit) {
        let Visit { node, namespace, name } = visit;
        let Ok(link) = self.link(&node) else { return };
        let ended = self.reading(link, async {
            let live = link.live().await?;
            let writer = link.visitor(live, Write::new("debug", &name));
            let _ = writer.must("end a debug container", &Call::new("visit_down").arg(&name)).await;
            release(&writer, &namespace, &name).await
        });
        if let Err(error) = ended.await {
            tracing::warn!(%error, "a debug container was not taken away");
        }
    }
}

/// The argv of a debug container's command.
fn line(name: &str) -> Vec<String> {
    let bundle = format!("{FOLDER}/{name}");
    let words =
        ["runc", "--log", "/dev/null", "--root", RUNC_ROOT, "run", "--bundle", &bundle, name];
    words.map(str::to_owned).into()
}

/// A layer over the image's that lasts as long as its lease: a day, if nobody ends it.
async fn layer(
    writer: &Writer<'_>,
    image: &ImageConfig,
    visit: &Visit,
    now: u64,
) -> Result<Mount, Fault> {
    let Visit { namespace, name, .. } = visit;
    writer.note("containerd: leases.create, snapshots.prepare")?;
    let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), expiry(now))]);
    let create = api::CreateRequest { id: name.clone(), labels };
    let created = writer.containerd().leases().create(within(namespace, create)).await;
    created.map_err(|status| Fault::grpc("containerd: create a lease", &status))?;
    let prepare = snap::PrepareSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: name.clone(),
        parent: chain_ids(&image.rootfs.diff_ids).pop().unwrap_or_default(),
        labels: HashMap::new(),
    };
    let prepared = writer.containerd().snapshots().prepare(leased(namespace, name, prepare)).await;
    let prepared =
        prepared.map_err(|status| Fault::grpc("containerd: prepare a snapshot", &status))?;
    let mut mounts = prepared.into_inner().mounts;
    match (mounts.pop(), mounts.is_empty()) {
        (Some(mount), true) => Ok(mount),
        _ => Err(Refusal::Failed {
            what: "make a debug container".to_owned(),
            why: "its layer is not one mount".to_owned(),
        }
        .into()),
    }
}

/// Gives up the lease, and the layer with it.
async fn release(writer: &Writer<'_>, namespace: &str, name: &str) -> Result<(), Fault> {
    writer.note("containerd: snapshots.remove, leases.delete")?;
    let key = name.to_owned();
    let remove = snap::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key };
    let _ = writer.containerd().snapshots().remove(within(namespace, remove)).await;
    let delete = api::DeleteRequest { id: name.to_owned(), sync: false };
    let _ = writer.containerd().leases().delete(within(namespace, delete)).await;
    Ok(())
}
