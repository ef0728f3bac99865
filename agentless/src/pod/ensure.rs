//! A pod from nothing, or from half of it, to a running task with its restart reflex.
//!
//! The node's shell wires the namespaces while containerd prepares the snapshot and takes the
//! container; the task needs both. The restart labels come last, when there is something to
//! restart: the monitor must never race the first start.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use berth_engine::plan::action::{NodePort, PodSpec};
use berth_engine::run::host::Refusal;
use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::Mount;
use containerd_client::types::v1::Status as TaskStatus;
use prost_types::Any;
use tonic::Code;

use super::labels;
use super::remove::{Found, clear, find};
use super::spec::{User, command_line, numeric_user, runtime};
use crate::containerd::{SNAPSHOTTER, within};
use crate::fault::Fault;
use crate::image::oci::{Document, ImageConfig, chain_ids};
use crate::image::push::{architecture, record_name};
use crate::link::{Writer, said};
use crate::session::quote::Call;

/// The longest manifest or configuration that is read from a node.
const DOCUMENT_LIMIT: usize = 4 * 1024 * 1024;

/// Where a pod's output goes.
pub(crate) fn log_uri(namespace: &str, id: &str) -> String {
    format!("file:///var/log/berth/{namespace}/{id}.log")
}

/// Makes the pod, unless it runs as it should already.
pub(crate) async fn ensure(writer: &Writer<'_>, pod: &PodSpec) -> Result<(), Fault> {
    let namespace = pod.tenant.namespace();
    let id = pod.id.to_string();
    let (found, image) = tokio::join!(find(writer, &namespace, &id), image(writer, pod));
    let found = found?;
    if runs_as_written(&found, pod) {
        return Ok(());
    }
    let image = image?;
    if command_line(pod, &image.config).is_empty() {
        let why = "it has neither entrypoint nor command; set `command`".to_owned();
        return Err(Refusal::BadImage { image: pod.image.to_string(), why }.into());
    }
    if found.container.is_some() || found.task.is_some() {
        clear(writer, &namespace, &id, 0).await?;
    }
    match create(writer, pod, &image, &namespace, &id).await {
        // Whatever was made of it goes again; if the answer was lost, nothing can be sent either.
        Err(Fault::Refused(refusal)) => {
            clear(writer, &namespace, &id, 0).await?;
            Err(refusal.into())
        }
        other => other,
    }
}

fn runs_as_written(found: &Found, pod: &PodSpec) -> bool {
    let (Some(container), Some(task)) = (&found.container, &found.task) else {
        return false;
    };
    let same =
        |key: &str, value: &str| container.labels.get(key).is_some_and(|label| label == value);
    labels::intact(container)
        && same("berth.dev/digest", pod.digest.as_str())
        && same("berth.dev/ip4", &pod.ip4.to_string())
        && task.status == TaskStatus::Running as i32
}

async fn create(
    writer: &Writer<'_>,
    pod: &PodSpec,
    image: &ImageConfig,
    namespace: &str,
    id: &str,
) -> Result<(), Fault> {
    let ((), (mounts, mut container)) = tokio::try_join!(
        wire(writer, pod, namespace, id),
        contain(writer, pod, image, namespace, id),
    )?;
    let log = log_uri(namespace, id);
    let create = api::CreateTaskRequest {
        container_id: id.to_owned(),
        rootfs: mounts,
        stdout: log.clone(),
        stderr: log.clone(),
        ..Default::default()
    };
    let tasks = || writer.containerd().tasks();
    writer.note("containerd: tasks.create")?;
    tasks()
        .create(within(namespace, create))
        .await
        .map_err(|status| Fault::grpc(&format!("start {id}"), &status))?;
    writer.note("containerd: tasks.start")?;
    let start = api::StartRequest { container_id: id.to_owned(), exec_id: String::new() };
    tasks()
        .start(within(namespace, start))
        .await
        .map_err(|status| Fault::grpc(&format!("start {id}"), &status))?;
    labels::restarting(&mut container.labels, &log);
    relabel(writer, namespace, container).await
}

/// Replaces a container's labels.
pub(crate) async fn relabel(
    writer: &Writer<'_>,
    namespace: &str,
    container: api::Container,
) -> Result<(), Fault> {
    update(writer, namespace, container, &["labels"]).await
}

async fn update(
    writer: &Writer<'_>,
    namespace: &str,
    container: api::Container,
    fields: &[&str],
) -> Result<(), Fault> {
    writer.note("containerd: containers.update")?;
    let paths = fields.iter().map(|field| (*field).to_owned()).collect();
    let update = api::UpdateContainerRequest {
        container: Some(container),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    writer
        .containerd()
        .containers()
        .update(within(namespace, update))
        .await
        .map_err(|status| Fault::grpc("containerd: update a container", &status))?;
    Ok(())
}

async fn wire(writer: &Writer<'_>, pod: &PodSpec, namespace: &str, id: &str) -> Result<(), Fault> {
    let call = Call::new("pod_up")
        .arg(namespace)
        .arg(id)
        .arg(pod.ip4)
        .arg(pod.ip6)
        .arg(pod.id.replica())
        .arg(published(pod));
    let output = writer.run(&call).await?;
    match output.status {
        0 => Ok(()),
        81 => {
            let (port, by) = output.text.trim().split_once(' ').unwrap_or_default();
            Err(Refusal::PortClaimed { port: port.to_owned(), by: by.to_owned() }.into())
        }
        79 => Err(Refusal::AddressClaimed {
            address: pod.ip4.to_string(),
            by: output.text.trim().to_owned(),
        }
        .into()),
        status => Err(Fault::failed(&format!("wire {id}"), &said(status, &output.text))),
    }
}

/// The node's ports that lead to the pod, each with the port in the pod: `tcp:80:8080,udp:53:53`.
fn published(pod: &PodSpec) -> String {
    let line = |(host, target): (&NodePort, &u16)| {
        let NodePort { port, protocol } = host;
        format!("{}:{port}:{target}", protocol.name())
    };
    pod.publish.iter().map(line).collect::<Vec<_>>().join(",")
}

async fn contain(
    writer: &Writer<'_>,
    pod: &PodSpec,
    image: &ImageConfig,
    namespace: &str,
    id: &str,
) -> Result<(Vec<Mount>, api::Container), Fault> {
    // The container comes before its snapshot: containerd's collector, which runs whenever
    // something was removed, takes a snapshot that nothing refers to.
    let known = numeric_user(&image.config.user);
    let mut container = container(pod, image, known.unwrap_or_default())?;
    let containerd = writer.containerd();
    writer.note("containerd: containers.create")?;
    let create = api::CreateContainerRequest { container: Some(container.clone()) };
    containerd
        .containers()
        .create(within(namespace, create))
        .await
        .map_err(|status| Fault::grpc("containerd: create a container", &status))?;
    let mounts = prepare(writer, image, namespace, id).await?;
    if known.is_none() {
        let user = look_up(writer, &image.config.user, &mounts).await?;
        container = self::container(pod, image, user)?;
        update(writer, namespace, container.clone(), &["spec", "labels"]).await?;
    }
    Ok((mounts, container))
}

/// The container's record.
fn container(pod: &PodSpec, image: &ImageConfig, user: User) -> Result<api::Container, Fault> {
    let id = pod.id.to_string();
    let spec = serde_json::to_vec(&runtime(pod, &image.config, user))
        .map_err(|error| Fault::failed("runtime specification", &error.to_string()))?;
    Ok(api::Container {
        id: id.clone(),
        labels: labels::write(pod, &spec),
        image: record_name(&pod.image),
        runtime: Some(api::container::Runtime {
            name: "io.containerd.runc.v2".to_owned(),
            options: None,
        }),
        spec: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
            value: spec,
        }),
        snapshotter: SNAPSHOTTER.to_owned(),
        snapshot_key: id,
        ..Default::default()
    })
}

/// The pod's own layer over the image's.
async fn prepare(
    writer: &Writer<'_>,
    image: &ImageConfig,
    namespace: &str,
    id: &str,
) -> Result<Vec<Mount>, Fault> {
    let prepare = snap::PrepareSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: id.to_owned(),
        parent: chain_ids(&image.rootfs.diff_ids).pop().unwrap_or_default(),
        labels: HashMap::new(),
    };
    let mut snapshots = writer.containerd().snapshots();
    writer.note("containerd: snapshots.prepare")?;
    match snapshots.prepare(within(namespace, prepare)).await {
        Ok(prepared) => Ok(prepared.into_inner().mounts),
        Err(status) if status.code() == Code::AlreadyExists => {
            let get = snap::MountsRequest { snapshotter: SNAPSHOTTER.into(), key: id.to_owned() };
            let mounts = snapshots.mounts(within(namespace, get)).await;
            let wrong = |status| Fault::read("containerd: look at a snapshot", &status);
            Ok(mounts.map_err(wrong)?.into_inner().mounts)
        }
        Err(status) => Err(Fault::grpc("containerd: prepare a snapshot", &status)),
    }
}

/// Looks a user's name up in the image's own passwd and group files.
async fn look_up(writer: &Writer<'_>, user: &str, mounts: &[Mount]) -> Result<User, Fault> {
    let mut call = Call::new("user_find").arg(user);
    for mount in mounts {
        if mount.r#type == "bind" {
            call = call.arg(&mount.source);
        }
        for option in &mount.options {
            if let Some(lower) = option.strip_prefix("lowerdir=") {
                for dir in lower.split(':') {
                    call = call.arg(dir);
                }
            }
        }
    }
    let output = writer.live.read(&call).await?;
    let mut numbers = output.text.split_whitespace().map(str::parse);
    match (output.status, numbers.next(), numbers.next()) {
        (0, Some(Ok(uid)), Some(Ok(gid))) => Ok(User { uid, gid }),
        _ => Err(Refusal::Failed {
            what: format!("find user `{user}` in the image"),
            why: said(output.status, &output.text),
        }
        .into()),
    }
}

/// Reads the image's configuration from the node, once a connection.
async fn image(writer: &Writer<'_>, pod: &PodSpec) -> Result<Arc<ImageConfig>, Fault> {
    let images = &writer.link.images;
    let digest = pod.image.as_str();
    if let Some(known) = images.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
        return Ok(known.clone());
    }
    let namespace = pod.tenant.namespace();
    let manifest = match document(writer, &namespace, pod, digest).await? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let bad = |why| Refusal::BadImage { image: pod.image.to_string(), why };
            let machine = architecture(&writer.live.shell.machine);
            let chosen = index.choose(machine).map_err(bad)?;
            document(writer, &namespace, pod, &chosen.digest).await?
        }
    };
    let config: ImageConfig = document(writer, &namespace, pod, &manifest.config.digest).await?;
    let config = Arc::new(config);
    images.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned(), config.clone());
    Ok(config)
}

async fn document<T: serde::de::DeserializeOwned>(
    writer: &Writer<'_>,
    namespace: &str,
    pod: &PodSpec,
    digest: &str,
) -> Result<T, Fault> {
    let read = api::ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let wrong = |status: &tonic::Status| match status.code() {
        Code::NotFound => Fault::from(Refusal::Missing {
            what: format!("image {}", pod.image.short()),
            mend: "plan again, so that it is sent first".to_owned(),
        }),
        _ => Fault::read("containerd: read content", status),
    };
    let mut parts = writer
        .containerd()
        .content()
        .read(within(namespace, read))
        .await
        .map_err(|status| wrong(&status))?
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| wrong(&status))? {
        bytes.extend_from_slice(&part.data);
        if bytes.len() > DOCUMENT_LIMIT {
            break;
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::BadImage { image: pod.image.to_string(), why: format!("{digest}: {error}") }.into()
    })
}
