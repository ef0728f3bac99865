//! A pod from nothing, or from half of it, to a running task with its restart reflex.
//!
//! First containerd takes the container, which is how a pod that was cut off is seen, and all that is left
//! of it goes with it. Then the node's shell wires the namespaces while containerd prepares the snapshot; the
//! task needs both, and the text's files. Then what runs before it runs to its end, what runs beside it
//! starts, and it starts last; a cron's is not started, its timer is. The restart labels come when there is something to restart: the
//! monitor must never race the first start. Of a pod that was cut off half-way all is made anew, so
//! that what runs before it may run again, but never beside itself.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::action::{NodePort, PodSpec};
use berth_engine::plan::companion::Role;
use berth_engine::plan::graph::{Liveness, Probe, ProbeKind};
use berth_engine::plan::names::ImageDigest;
use berth_engine::plan::schedule::Cron;
use berth_engine::run::host::{Refusal, Supplies};
use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::Mount;
use containerd_client::types::v1::Status as TaskStatus;
use prost_types::Any;
use tonic::Code;

use super::cdi;
use super::confine;
use super::files;
use super::labels;
use super::part::Part;
use super::remove::{Found, clear, discard, find};
use super::spec::{Looked, User, command_line, numeric_user, runtime};
use crate::containerd::{SNAPSHOTTER, within};
use crate::fault::{Fault, words};
use crate::image::oci::{Document, ImageConfig, chain_ids};
use crate::image::push::{architecture, record_name};
use crate::link::{Writer, said};
use crate::session::quote::Call;

/// The longest manifest or configuration that is read from a node.
const DOCUMENT_LIMIT: usize = 4 * 1024 * 1024;
/// How much of its log is shown of a container that ran before a pod and failed, in bytes.
const LAST_WORDS: u32 = 600;

/// Where a pod's output goes.
pub(crate) fn log_uri(namespace: &str, id: &str) -> String {
    format!("file:///var/log/berth/{namespace}/{id}.log")
}

/// Makes the pod, unless it runs as it should already.
pub(crate) async fn ensure(
    writer: &Writer<'_>,
    pod: &PodSpec,
    supplies: &Supplies<'_>,
) -> Result<(), Fault> {
    let namespace = pod.tenant.namespace();
    let id = pod.id.to_string();
    let own = Part::own(pod);
    let (found, image) =
        tokio::join!(find(writer, &namespace, &id), image(writer, &namespace, own.image()));
    let found = found?;
    if as_written(&found, pod) {
        let is_there = match &pod.cron {
            Some(_) => is_armed(writer, &namespace, &id).await?,
            None => runs(&found) && sidecars_run(writer, pod, &namespace).await?,
        };
        if is_there {
            return Ok(());
        }
    }
    let mut parts = vec![(own, image?)];
    for part in Part::beside(pod) {
        parts.push((part, self::image(writer, &namespace, part.image()).await?));
    }
    for (part, image) in &parts {
        if command_line(part, &image.config).is_empty() {
            let why = "it has neither entrypoint nor command; set `command`".to_owned();
            return Err(Refusal::BadImage { image: part.image().to_string(), why }.into());
        }
    }
    if found.container.is_some() || found.task.is_some() {
        clear(writer, &namespace, &id, 0).await?;
    }
    match create(writer, pod, supplies, &parts, &namespace).await {
        // Whatever was made of it goes again; if the answer was lost, nothing can be sent either.
        Err(Fault::Refused(refusal)) => {
            clear(writer, &namespace, &id, 0).await?;
            Err(refusal.into())
        }
        other => other,
    }
}

/// Whether its container is there as the text has it.
fn as_written(found: &Found, pod: &PodSpec) -> bool {
    let Some(container) = &found.container else {
        return false;
    };
    let same =
        |key: &str, value: &str| container.labels.get(key).is_some_and(|label| label == value);
    labels::intact(container)
        && same("berth.dev/digest", pod.digest.as_str())
        && same("berth.dev/ip4", &pod.ip4.to_string())
}

/// Whether a cron's node starts it when it is time.
async fn is_armed(writer: &Writer<'_>, namespace: &str, id: &str) -> Result<bool, Fault> {
    let call = Call::new("cron_on").arg(namespace).arg(id);
    Ok(writer.live.read(&call).await?.status == 0)
}

/// Has a cron's node start it when it is time.
async fn arm(
    writer: &Writer<'_>,
    pod: &PodSpec,
    cron: &Cron,
    image: &ImageConfig,
    namespace: &str,
) -> Result<(), Fault> {
    let parent = chain_ids(&image.rootfs.diff_ids).pop().unwrap_or_default();
    let signal = labels::stop_signal(&Part::own(pod), &image.config);
    let seconds = |ms: u64| ms.div_ceil(1000).max(1);
    let (timeout, grace) = (seconds(cron.timeout_ms), seconds(pod.grace_ms));
    let conf = format!("{timeout} {} {grace} {signal} {parent}", cron.retries);
    let call = Call::new("cron_up").arg(namespace).arg(&pod.id).arg(conf.trim_end());
    let call = cron.calendars().into_iter().fold(call.arg(cron.catch_up), Call::arg);
    writer.must(&format!("set the timer of {}", pod.id), &call).await.map(drop)
}

/// Whether a container is as Berth wrote it, and its task runs.
fn runs(found: &Found) -> bool {
    found.container.as_ref().is_some_and(labels::intact)
        && found.task.as_ref().is_some_and(|task| task.status == TaskStatus::Running as i32)
}

async fn sidecars_run(writer: &Writer<'_>, pod: &PodSpec, namespace: &str) -> Result<bool, Fault> {
    for part in Part::beside(pod).filter(Part::is_sidecar) {
        if !runs(&find(writer, namespace, &part.id()).await?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes all of it: the pod's own container first, which is how a pod that was cut off is seen, and
/// starts it last.
async fn create(
    writer: &Writer<'_>,
    pod: &PodSpec,
    supplies: &Supplies<'_>,
    parts: &[(Part<'_>, Arc<ImageConfig>)],
    namespace: &str,
) -> Result<(), Fault> {
    let Some(((own, image), beside)) = parts.split_first() else { return Ok(()) };
    let id = own.id();
    let taken = take(writer, own, image, namespace).await?;
    // All to their ends: what is still being wired cannot be taken away again.
    let (wired, written, filled) = tokio::join!(
        wire(writer, pod, image, namespace, &id),
        files::write(writer, pod, supplies.contents, supplies.secrets),
        fill(writer, own, image, namespace, taken),
    );
    wired?;
    written?;
    let (mounts, container) = filled?;
    for (part, image) in beside {
        let (mounts, container) = contain(writer, part, image, namespace).await?;
        match part.companion.map(|companion| companion.role) {
            Some(Role::Init { timeout_ms }) => {
                finish(writer, part, mounts, namespace, timeout_ms).await?;
            }
            Some(Role::Sidecar) | None => start(writer, mounts, container, namespace).await?,
        }
    }
    match &pod.cron {
        Some(cron) => arm(writer, pod, cron, image, namespace).await,
        None if pod.ends => launch(writer, mounts, &container.id, namespace).await,
        None => start(writer, mounts, container, namespace).await,
    }
}

/// Starts a container; the monitor starts it again from then on.
async fn start(
    writer: &Writer<'_>,
    mounts: Vec<Mount>,
    mut container: api::Container,
    namespace: &str,
) -> Result<(), Fault> {
    launch(writer, mounts, &container.id, namespace).await?;
    labels::restarting(&mut container.labels, &log_uri(namespace, &container.id));
    relabel(writer, namespace, container).await
}

/// Starts a container's task.
async fn launch(
    writer: &Writer<'_>,
    mounts: Vec<Mount>,
    id: &str,
    namespace: &str,
) -> Result<(), Fault> {
    let log = log_uri(namespace, id);
    let create = api::CreateTaskRequest {
        container_id: id.to_owned(),
        rootfs: mounts,
        stdout: log.clone(),
        stderr: log,
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
    Ok(())
}

/// Runs a container to its end, which has to be a good one, and takes it away again; its log stays.
async fn finish(
    writer: &Writer<'_>,
    part: &Part<'_>,
    mounts: Vec<Mount>,
    namespace: &str,
    timeout_ms: u64,
) -> Result<(), Fault> {
    let id = part.id();
    launch(writer, mounts, &id, namespace).await?;
    let wait = api::WaitRequest { container_id: id.clone(), exec_id: String::new() };
    let mut tasks = writer.containerd().tasks();
    let ended = tasks.wait(within(namespace, wait));
    let why = match tokio::time::timeout(Duration::from_millis(timeout_ms), ended).await {
        Ok(Ok(answer)) => match answer.into_inner().exit_status {
            0 => None,
            code => Some(format!("it ended with exit code {code}")),
        },
        Ok(Err(status)) => return Err(Fault::grpc(&format!("wait for {id}"), &status)),
        Err(_) => Some(format!("it had not ended after {} s", timeout_ms / 1000)),
    };
    let Some(why) = why else { return discard(writer, namespace, &id).await };
    let call = Call::new("pod_log").arg(namespace).arg(&id).arg(LAST_WORDS);
    let said = writer.live.read(&call).await?;
    let said = STANDARD.decode(said.text.trim()).unwrap_or_default();
    let said = words(&String::from_utf8_lossy(&said));
    let why = if said.is_empty() { why } else { format!("{why}: {said}") };
    Err(Refusal::Failed { what: id, why }.into())
}

/// Replaces a container's labels.
pub(crate) async fn relabel(
    writer: &Writer<'_>,
    namespace: &str,
    container: api::Container,
) -> Result<(), Fault> {
    update(writer, namespace, container, &["labels"]).await
}

pub(super) async fn update(
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

async fn wire(
    writer: &Writer<'_>,
    pod: &PodSpec,
    image: &ImageConfig,
    namespace: &str,
    id: &str,
) -> Result<(), Fault> {
    let call = Call::new("pod_up")
        .arg(namespace)
        .arg(id)
        .arg(pod.ip4)
        .arg(pod.ip6)
        .arg(pod.id.replica())
        .arg(published(pod))
        .arg(pod.scratch.len())
        .arg(live(pod, image));
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

/// What the live reflex reads of a pod, if it has anything to ask: see `node/live.sh`.
fn live(pod: &PodSpec, image: &ImageConfig) -> String {
    let Some(Liveness { probe, start_ms }) = &pod.liveness else { return String::new() };
    let Probe { kind, port, every_ms, timeout_ms, pass_after: _, fail_after } = probe;
    let (kind, path) = match kind {
        ProbeKind::Http { path } => ("http", path.as_str()),
        ProbeKind::Tcp => ("tcp", "-"),
    };
    let seconds = |ms: u64| ms.div_ceil(1000).max(1);
    let timeout = format!("{}.{:03}", timeout_ms / 1000, timeout_ms % 1000);
    let (every, start) = (seconds(*every_ms), start_ms.div_ceil(1000));
    let (fails, grace) = (fail_after.max(&1), seconds(pod.grace_ms));
    let signal = labels::stop_signal(&Part::own(pod), &image.config);
    format!("{kind} {port} {every} {timeout} {fails} {start} {grace} {signal} {path}")
}

/// The node's ports that lead to the pod, each with the port in the pod: `tcp:80:8080,udp:53:53`.
fn published(pod: &PodSpec) -> String {
    let line = |(host, target): (&NodePort, &u16)| {
        let NodePort { port, protocol } = host;
        format!("{}:{port}:{target}", protocol.name())
    };
    pod.publish.iter().map(line).collect::<Vec<_>>().join(",")
}

/// Makes a container with its snapshot.
async fn contain(
    writer: &Writer<'_>,
    part: &Part<'_>,
    image: &ImageConfig,
    namespace: &str,
) -> Result<(Vec<Mount>, api::Container), Fault> {
    let taken = take(writer, part, image, namespace).await?;
    fill(writer, part, image, namespace, taken).await
}

/// The user of a container, as its text or its image names them.
fn user_of<'a>(part: &'a Part<'_>, image: &'a ImageConfig) -> &'a str {
    let named = part.settings().and_then(|settings| settings.user.as_deref());
    named.unwrap_or(&image.config.user)
}

/// Makes a container. It comes before its snapshot: containerd's collector, which runs whenever something was
/// removed, takes a snapshot that nothing refers to.
async fn take(
    writer: &Writer<'_>,
    part: &Part<'_>,
    image: &ImageConfig,
    namespace: &str,
) -> Result<(Looked, api::Container), Fault> {
    let looked = Looked {
        user: numeric_user(user_of(part, image)).unwrap_or_default(),
        devices: devices(writer, part).await?,
        named: of_vendors(writer, part).await?,
        disks: disks(writer, part).await?,
        machine: writer.live.shell.machine.clone(),
    };
    let container = container(part, image, &looked)?;
    let containerd = writer.containerd();
    writer.note("containerd: containers.create")?;
    let create = api::CreateContainerRequest { container: Some(container.clone()) };
    containerd
        .containers()
        .create(within(namespace, create))
        .await
        .map_err(|status| Fault::grpc("containerd: create a container", &status))?;
    Ok((looked, container))
}

/// Prepares a container's snapshot, and says in the container who its user is where only the image knows that.
async fn fill(
    writer: &Writer<'_>,
    part: &Part<'_>,
    image: &ImageConfig,
    namespace: &str,
    (mut looked, mut container): (Looked, api::Container),
) -> Result<(Vec<Mount>, api::Container), Fault> {
    let mounts = prepare(writer, image, namespace, &container.id).await?;
    let name = user_of(part, image);
    if numeric_user(name).is_none() {
        looked.user = look_up(writer, name, &mounts).await?;
        container = self::container(part, image, &looked)?;
        update(writer, namespace, container.clone(), &["spec", "labels"]).await?;
    }
    Ok((mounts, container))
}

/// The container's record.
fn container(
    part: &Part<'_>,
    image: &ImageConfig,
    looked: &Looked,
) -> Result<api::Container, Fault> {
    let id = part.id();
    let spec = serde_json::to_vec(&runtime(part, &image.config, looked))
        .map_err(|error| Fault::failed("runtime specification", &error.to_string()))?;
    Ok(api::Container {
        id: id.clone(),
        labels: labels::write(part, &image.config, &spec),
        image: record_name(part.image()),
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
pub(crate) async fn look_up(
    writer: &Writer<'_>,
    user: &str,
    mounts: &[Mount],
) -> Result<User, Fault> {
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
        (0, Some(Ok(uid)), Some(Ok(gid))) => {
            let groups = numbers.map_while(Result::ok).filter(|group| *group != gid).collect();
            Ok(User { uid, gid, groups })
        }
        _ => Err(Refusal::Failed {
            what: format!("find user `{user}` in the image"),
            why: said(output.status, &output.text),
        }
        .into()),
    }
}

/// Looks up what devices of the node are.
async fn devices(writer: &Writer<'_>, part: &Part<'_>) -> Result<Vec<confine::Device>, Fault> {
    let devices = part.settings().into_iter().flat_map(|settings| &settings.devices);
    let paths: Vec<&str> = devices.map(String::as_str).filter(|d| !cdi::is_name(d)).collect();
    let found = at_paths(writer, &paths).await?;
    match paths.into_iter().find(|path| found.iter().all(|known| known.path != *path)) {
        None => Ok(found),
        Some(path) => Err(Fault::failed(&format!("find device {path}"), "its node has none there")),
    }
}

/// Asks the node for the numbers of devices; those that are not there are left out.
async fn at_paths(writer: &Writer<'_>, paths: &[&str]) -> Result<Vec<confine::Device>, Fault> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let call = paths.iter().fold(Call::new("devices_find"), Call::arg);
    let output = writer.live.read(&call).await?;
    Ok(output.text.lines().filter_map(confine::device).collect())
}

/// Looks up what devices take that are named by their vendors.
async fn of_vendors(writer: &Writer<'_>, part: &Part<'_>) -> Result<cdi::Found, Fault> {
    let devices = part.settings().into_iter().flat_map(|settings| &settings.devices);
    let names: Vec<&String> = devices.filter(|device| cdi::is_name(device)).collect();
    let Some(first) = names.first() else { return Ok(cdi::Found::default()) };
    let output = writer.live.read(&Call::new("cdi_find")).await?;
    let failed = |why: String| Fault::failed(&format!("find device {first}"), &why);
    let mut found = cdi::find(&cdi::files(&output.text), names.iter().copied()).map_err(failed)?;
    let unknown: Vec<&str> = found.unknown().into_iter().collect();
    let known = at_paths(writer, &unknown).await?;
    found.learn(&known).map_err(failed)?;
    Ok(found)
}

/// Looks up the disks that a container reads and writes, if that is limited.
async fn disks(writer: &Writer<'_>, part: &Part<'_>) -> Result<Vec<confine::Disk>, Fault> {
    if part.settings().is_none_or(|settings| settings.io.is_none()) {
        return Ok(Vec::new());
    }
    let output = writer.live.read(&Call::new("disks_find")).await?;
    if output.status == 0 {
        return Ok(output.text.lines().filter_map(confine::disk).collect());
    }
    let kind = words(output.text.trim());
    let why = format!(
        "/var/lib/containerd is on {kind}, which the kernel cannot limit: take `limits.io` out, or put it on a disk"
    );
    Err(Fault::failed("limit what it reads and writes", &why))
}

/// Reads the image's configuration from the node, once a connection.
pub(crate) async fn image(
    writer: &Writer<'_>,
    namespace: &str,
    image: &ImageDigest,
) -> Result<Arc<ImageConfig>, Fault> {
    let images = &writer.link.images;
    let digest = image.as_str();
    if let Some(known) = images.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
        return Ok(known.clone());
    }
    let manifest = match document(writer, namespace, image, digest).await? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let bad = |why| Refusal::BadImage { image: image.to_string(), why };
            let machine = architecture(&writer.live.shell.machine);
            let chosen = index.choose(machine).map_err(bad)?;
            document(writer, namespace, image, &chosen.digest).await?
        }
    };
    let config: ImageConfig = document(writer, namespace, image, &manifest.config.digest).await?;
    let config = Arc::new(config);
    images.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned(), config.clone());
    Ok(config)
}

async fn document<T: serde::de::DeserializeOwned>(
    writer: &Writer<'_>,
    namespace: &str,
    image: &ImageDigest,
    digest: &str,
) -> Result<T, Fault> {
    let read = api::ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let wrong = |status: &tonic::Status| match status.code() {
        Code::NotFound => Fault::from(Refusal::Missing {
            what: format!("image {}", image.short()),
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
        Refusal::BadImage { image: image.to_string(), why: format!("{digest}: {error}") }.into()
    })
}
