//! containerd: the calls that Berth uses, with what each refuses; and the collector, which takes what nothing
//! refers to whenever something was removed, so that what lacks a lease or a label for a moment is gone.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::names::ImageDigest;
use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use containerd_client::types::{Descriptor, Mount};
use prost::Message;

use super::image::digest_of;
use super::node::{State, pinned};

/// The label by which a blob refers to a snapshot.
const SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.overlayfs";
/// How labels begin by which a blob refers to others.
const CONTENT: &str = "containerd.io/gc.ref.content";

/// One of containerd's namespaces.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Containers by id.
    pub containers: BTreeMap<String, api::Container>,
    /// Tasks by their container's id.
    pub tasks: BTreeMap<String, Task>,
    /// Images by name.
    pub images: BTreeMap<String, api::Image>,
    /// Blobs by digest, with their labels.
    pub blobs: BTreeMap<String, (Vec<u8>, BTreeMap<String, String>)>,
    /// Snapshots by key: the one below, and whether it is committed.
    pub snapshots: BTreeMap<String, (String, bool)>,
    /// Leases, and what each holds.
    pub leases: BTreeMap<String, BTreeSet<String>>,
    /// How often jobs have run to their ends, by what they were made from.
    pub ran: BTreeMap<String, u32>,
    /// Blobs that were begun.
    ingests: BTreeMap<String, Vec<u8>>,
}

/// A container's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub pid: u32,
    /// Whether it runs; it was created, or has stopped, if it does not.
    pub status: TaskStatus,
    /// Its exit code.
    pub exit: u32,
}

impl Task {
    pub(super) fn running(pid: u32) -> Self {
        Self { pid, status: TaskStatus::Running, exit: 0 }
    }

    fn process(&self, id: &str) -> Process {
        Process {
            id: id.to_owned(),
            container_id: id.to_owned(),
            pid: self.pid,
            status: self.status as i32,
            exit_status: self.exit,
            ..Process::default()
        }
    }
}

/// Why a call is refused: a gRPC code, and words.
pub(super) type Refused = (u8, String);

pub(super) fn missing<T>(what: &str) -> Result<T, Refused> {
    Err((5, format!("{what}: not found")))
}

fn exists<T>(what: &str) -> Result<T, Refused> {
    Err((6, format!("{what}: already exists")))
}

fn not_now<T>(why: &str) -> Result<T, Refused> {
    Err((9, format!("{why}: failed precondition")))
}

impl Namespace {
    fn is_empty(&self) -> bool {
        self.containers.is_empty()
            && self.images.is_empty()
            && self.blobs.is_empty()
            && self.snapshots.is_empty()
    }

    fn hold(&mut self, lease: &str, what: &str) {
        if let Some(held) = self.leases.get_mut(lease) {
            held.insert(what.to_owned());
        }
    }

    /// Takes what nothing refers to.
    fn collect(&mut self) {
        let mut todo: Vec<String> = self.leases.values().flatten().cloned().collect();
        todo.extend(
            self.images.values().filter_map(|image| Some(image.target.as_ref()?.digest.clone())),
        );
        todo.extend(self.containers.values().map(|container| container.snapshot_key.clone()));
        let mut kept: BTreeSet<String> = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if !kept.insert(name.clone()) {
                continue;
            }
            if let Some((_, labels)) = self.blobs.get(&name) {
                let refers = |key: &&String| *key == SNAPSHOT || key.starts_with(CONTENT);
                todo.extend(
                    labels.keys().filter(refers).filter_map(|key| labels.get(key)).cloned(),
                );
            }
            todo.extend(self.snapshots.get(&name).map(|(below, _)| below.clone()));
        }
        self.blobs.retain(|digest, _| kept.contains(digest));
        self.snapshots.retain(|key, _| kept.contains(key));
        self.ingests.retain(|name, _| kept.contains(name));
    }
}

impl State {
    /// Whether what has an address answers well; nothing if nothing listens there.
    pub(super) fn is_ready(&self, address: &str) -> Option<bool> {
        for (name, namespace) in &self.namespaces {
            for container in namespace.containers.values() {
                let label = |key: &str| container.labels.get(&format!("berth.dev/{key}"));
                let here =
                    [label("ip4"), label("ip6")].into_iter().flatten().any(|ip| ip == address);
                let task = namespace.tasks.get(&container.id);
                if here
                    && label("beside").is_none()
                    && task.is_some_and(|task| task.status == TaskStatus::Running)
                    && self.wired.contains(&pinned(name, &container.id))
                {
                    let image = ImageDigest::new(label("image").cloned().unwrap_or_default());
                    return Some(self.behaviours.get(&image).is_none_or(|image| image.ready));
                }
            }
        }
        None
    }

    /// Does a call that is one message and one answer.
    pub(super) fn unary(
        &mut self,
        connection: u64,
        (namespace, lease): (&str, &str),
        path: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let (service, method) = path.rsplit_once('/').unwrap_or_default();
        let service = service.rsplit('.').next().unwrap_or_default();
        if !matches!(
            method,
            "Get" | "List" | "Info" | "Read" | "Stat" | "Mounts" | "Version" | "Wait"
        ) {
            self.writes(connection, &format!("containerd: {service}.{method}"));
        }
        let State { files, namespaces, wired, behaviours, next_pid, .. } = self;
        let written = files.tenants.get(namespace).map(|tenant| &tenant.written);
        if service == "Namespaces" {
            return named(namespaces, method, body);
        }
        if service == "Version" {
            let version =
                api::VersionResponse { version: "1.6.20".to_owned(), ..Default::default() };
            return Ok(version.encode_to_vec());
        }
        let mut nothing = Namespace::default();
        // What is written to a namespace that is not there goes nowhere, as with containerd.
        let there = namespaces.get_mut(namespace);
        if there.is_none() && !matches!(method, "Get" | "List" | "Info" | "Stat" | "Read") {
            return missing(&format!("namespace {namespace:?}"));
        }
        let space = there.unwrap_or(&mut nothing);
        match service {
            "Containers" => containers(space, method, body),
            "Tasks" => {
                let pod = |id: &str| wired.contains(&pinned(namespace, id));
                tasks(
                    space,
                    method,
                    body,
                    (&pod, written),
                    &|image| behaviours.get(&ImageDigest::new(image)).and_then(|image| image.ends),
                    next_pid,
                )
            }
            "Images" => images(space, method, body),
            "Content" => content(space, method, body),
            "Leases" => leases(space, method, body),
            "Snapshots" => snapshots(space, method, body, lease),
            "Diff" => diff(space, method, body),
            _ => unknown(path),
        }
    }
}

fn unknown<T>(path: &str) -> Result<T, Refused> {
    Err((12, format!("{path} is not known here")))
}

pub(super) fn read<T: Message + Default>(body: &[u8]) -> Result<T, Refused> {
    T::decode(body).map_err(|error| (13, error.to_string()))
}

const EMPTY: Vec<u8> = Vec::new();

fn named(
    namespaces: &mut BTreeMap<String, Namespace>,
    method: &str,
    body: &[u8],
) -> Result<Vec<u8>, Refused> {
    match method {
        "List" => {
            let one = |name: &String| api::Namespace { name: name.clone(), ..Default::default() };
            let namespaces = namespaces.keys().map(one).collect();
            Ok(api::ListNamespacesResponse { namespaces }.encode_to_vec())
        }
        "Create" => {
            let request: api::CreateNamespaceRequest = read(body)?;
            let name = request.namespace.unwrap_or_default().name;
            if namespaces.contains_key(&name) {
                return exists(&name);
            }
            namespaces.insert(name, Namespace::default());
            Ok(EMPTY)
        }
        "Delete" => {
            let request: api::DeleteNamespaceRequest = read(body)?;
            match namespaces.get_mut(&request.name) {
                None => missing(&request.name),
                Some(space) => {
                    space.collect();
                    if !space.is_empty() {
                        return not_now("namespace must be empty");
                    }
                    namespaces.remove(&request.name);
                    Ok(EMPTY)
                }
            }
        }
        _ => unknown(method),
    }
}

fn containers(space: &mut Namespace, method: &str, body: &[u8]) -> Result<Vec<u8>, Refused> {
    match method {
        "List" => {
            let containers = space.containers.values().cloned().collect();
            Ok(api::ListContainersResponse { containers }.encode_to_vec())
        }
        "Get" => {
            let request: api::GetContainerRequest = read(body)?;
            let Some(found) = space.containers.get(&request.id) else {
                return missing(&request.id);
            };
            Ok(api::GetContainerResponse { container: Some(found.clone()) }.encode_to_vec())
        }
        "Create" => {
            let request: api::CreateContainerRequest = read(body)?;
            let mut container = request.container.unwrap_or_default();
            // What says nothing is not kept.
            container.labels.retain(|_, value| !value.is_empty());
            if space.containers.contains_key(&container.id) {
                return exists(&container.id);
            }
            space.containers.insert(container.id.clone(), container.clone());
            Ok(api::CreateContainerResponse { container: Some(container) }.encode_to_vec())
        }
        "Update" => {
            let request: api::UpdateContainerRequest = read(body)?;
            let new = request.container.unwrap_or_default();
            let Some(container) = space.containers.get_mut(&new.id) else {
                return missing(&new.id);
            };
            for path in request.update_mask.unwrap_or_default().paths {
                match path.as_str() {
                    "labels" => container.labels.clone_from(&new.labels),
                    "spec" => container.spec.clone_from(&new.spec),
                    path => {
                        let Some(key) = path.strip_prefix("labels.") else { return unknown(path) };
                        let Some(value) = new.labels.get(key) else { return unknown(path) };
                        container.labels.insert(key.to_owned(), value.clone());
                    }
                }
            }
            container.labels.retain(|_, value| !value.is_empty());
            let container = Some(container.clone());
            Ok(api::UpdateContainerResponse { container }.encode_to_vec())
        }
        "Delete" => {
            let request: api::DeleteContainerRequest = read(body)?;
            if space.containers.remove(&request.id).is_none() {
                return missing(&request.id);
            }
            space.collect();
            Ok(EMPTY)
        }
        _ => unknown(method),
    }
}

/// Whether the pod of a container has its network.
type Wired<'a> = &'a dyn Fn(&str) -> bool;

/// Files of the text by pod, and by their names there.
type Written = BTreeMap<String, BTreeMap<String, String>>;

/// A file of the text that a specification mounts, and that is not there.
fn file_missing(spec: &[u8], written: Option<&Written>) -> Option<String> {
    let spec: serde_json::Value = serde_json::from_slice(spec).ok()?;
    let sources = spec["mounts"].as_array()?.iter().filter_map(|mount| mount["source"].as_str());
    let missing = sources.filter(|source| {
        let secret = source.strip_prefix("/run/berth/secrets/").and_then(|at| at.rsplit_once('/'));
        let Some((pod, name)) = secret.or_else(|| source.split_once("/files/")) else {
            return false;
        };
        let pod = pod.rsplit('/').next().unwrap_or_default();
        written.and_then(|all| all.get(pod)?.get(name)).is_none()
    });
    missing.map(str::to_owned).next()
}

fn tasks(
    space: &mut Namespace,
    method: &str,
    body: &[u8],
    (wired, written): (Wired<'_>, Option<&Written>),
    ends: &dyn Fn(&str) -> Option<u32>,
    next_pid: &mut u32,
) -> Result<Vec<u8>, Refused> {
    match method {
        "List" => {
            let tasks = space.tasks.iter().map(|(id, task)| task.process(id)).collect();
            Ok(api::ListTasksResponse { tasks }.encode_to_vec())
        }
        "Get" => {
            let request: api::GetRequest = read(body)?;
            let id = request.container_id;
            let Some(task) = space.tasks.get(&id) else { return missing(&id) };
            Ok(api::GetResponse { process: Some(task.process(&id)) }.encode_to_vec())
        }
        "Create" => {
            let request: api::CreateTaskRequest = read(body)?;
            let id = request.container_id;
            if !space.containers.contains_key(&id) {
                return missing(&id);
            }
            if space.tasks.contains_key(&id) {
                return exists(&id);
            }
            if !space.snapshots.contains_key(&id) {
                return Err((
                    2,
                    format!("failed to mount rootfs of {id}: no such file or directory"),
                ));
            }
            if !wired(&id) {
                return Err((2, format!("namespace path of {id}: no such file or directory")));
            }
            let spec = space.containers.get(&id).and_then(|container| container.spec.as_ref());
            if let Some(path) = spec.and_then(|spec| file_missing(&spec.value, written)) {
                return Err((2, format!("failed to mount {path}: no such file or directory")));
            }
            *next_pid += 1;
            let pid = 1000 + *next_pid;
            space.tasks.insert(id.clone(), Task { pid, status: TaskStatus::Created, exit: 0 });
            Ok(api::CreateTaskResponse { container_id: id, pid }.encode_to_vec())
        }
        "Start" => {
            let request: api::StartRequest = read(body)?;
            let id = request.container_id;
            let image = space.containers.get(&id).and_then(|one| one.labels.get("berth.dev/image"));
            let ends = image.and_then(|image| ends(image));
            let Some(task) = space.tasks.get_mut(&id) else { return missing(&id) };
            if task.status != TaskStatus::Created {
                return not_now("it was started");
            }
            task.status = TaskStatus::Running;
            if let Some(code) = ends {
                (task.status, task.exit) = (TaskStatus::Stopped, code);
                let labels = space.containers.get(&id).map(|container| &container.labels);
                let job = labels.filter(|labels| labels.contains_key("berth.dev/ends"));
                if let Some(made_from) = job.and_then(|labels| labels.get("berth.dev/digest")) {
                    *space.ran.entry(made_from.clone()).or_default() += 1;
                }
            }
            Ok(api::StartResponse { pid: task.pid }.encode_to_vec())
        }
        "Kill" => {
            let request: api::KillRequest = read(body)?;
            let Some(task) = space.tasks.get_mut(&request.container_id) else {
                return missing(&request.container_id);
            };
            if task.status == TaskStatus::Stopped {
                return missing("process already finished");
            }
            (task.status, task.exit) = (TaskStatus::Stopped, 128 + request.signal);
            Ok(EMPTY)
        }
        "Delete" => {
            let request: api::DeleteTaskRequest = read(body)?;
            let id = request.container_id;
            let Some(task) = space.tasks.get(&id) else { return missing(&id) };
            if task.status == TaskStatus::Running {
                return not_now("it runs");
            }
            let (pid, exit_status) = (task.pid, task.exit);
            space.tasks.remove(&id);
            let answer = api::DeleteResponse { id, pid, exit_status, ..Default::default() };
            Ok(answer.encode_to_vec())
        }
        _ => unknown(method),
    }
}

fn images(space: &mut Namespace, method: &str, body: &[u8]) -> Result<Vec<u8>, Refused> {
    match method {
        "List" => {
            let images = space.images.values().cloned().collect();
            Ok(api::ListImagesResponse { images }.encode_to_vec())
        }
        "Get" => {
            let request: api::GetImageRequest = read(body)?;
            let Some(image) = space.images.get(&request.name) else {
                return missing(&request.name);
            };
            Ok(api::GetImageResponse { image: Some(image.clone()) }.encode_to_vec())
        }
        "Create" => {
            let request: api::CreateImageRequest = read(body)?;
            let image = request.image.unwrap_or_default();
            if space.images.contains_key(&image.name) {
                return exists(&image.name);
            }
            space.images.insert(image.name.clone(), image.clone());
            Ok(api::CreateImageResponse { image: Some(image) }.encode_to_vec())
        }
        "Update" => {
            let request: api::UpdateImageRequest = read(body)?;
            let image = request.image.unwrap_or_default();
            if !space.images.contains_key(&image.name) {
                return missing(&image.name);
            }
            space.images.insert(image.name.clone(), image.clone());
            Ok(api::UpdateImageResponse { image: Some(image) }.encode_to_vec())
        }
        "Delete" => {
            let request: api::DeleteImageRequest = read(body)?;
            if space.images.remove(&request.name).is_none() {
                return missing(&request.name);
            }
            space.collect();
            Ok(EMPTY)
        }
        _ => unknown(method),
    }
}

fn content(space: &mut Namespace, method: &str, body: &[u8]) -> Result<Vec<u8>, Refused> {
    match method {
        "Info" => {
            let request: api::InfoRequest = read(body)?;
            let Some((blob, _)) = space.blobs.get(&request.digest) else {
                return missing(&request.digest);
            };
            let size = i64::try_from(blob.len()).unwrap_or(i64::MAX);
            let info = api::Info { digest: request.digest, size, ..Default::default() };
            Ok(api::InfoResponse { info: Some(info) }.encode_to_vec())
        }
        "Read" => {
            let request: api::ReadContentRequest = read(body)?;
            let Some((blob, _)) = space.blobs.get(&request.digest) else {
                return missing(&request.digest);
            };
            let from = usize::try_from(request.offset).unwrap_or(0).min(blob.len());
            let data = blob.get(from..).unwrap_or_default().to_vec();
            Ok(api::ReadContentResponse { offset: request.offset, data }.encode_to_vec())
        }
        "Update" => {
            let request: api::UpdateRequest = read(body)?;
            let info = request.info.unwrap_or_default();
            let Some((_, labels)) = space.blobs.get_mut(&info.digest) else {
                return missing(&info.digest);
            };
            labels.extend(info.labels);
            Ok(api::UpdateResponse::default().encode_to_vec())
        }
        "Abort" => {
            let request: api::AbortRequest = read(body)?;
            match space.ingests.remove(&request.r#ref) {
                Some(_) => Ok(EMPTY),
                None => missing(&request.r#ref),
            }
        }
        _ => unknown(method),
    }
}

fn leases(space: &mut Namespace, method: &str, body: &[u8]) -> Result<Vec<u8>, Refused> {
    match method {
        "Create" => {
            let request: api::CreateRequest = read(body)?;
            if space.leases.contains_key(&request.id) {
                return exists(&request.id);
            }
            space.leases.insert(request.id, BTreeSet::new());
            Ok(EMPTY)
        }
        "List" => {
            let one = |id: &String| api::Lease { id: id.clone(), ..Default::default() };
            let leases = space.leases.keys().map(one).collect();
            Ok(api::ListResponse { leases }.encode_to_vec())
        }
        "Delete" => {
            let request: api::DeleteRequest = read(body)?;
            if space.leases.remove(&request.id).is_none() {
                return missing(&request.id);
            }
            space.collect();
            Ok(EMPTY)
        }
        _ => unknown(method),
    }
}

fn mounts(key: &str) -> Vec<Mount> {
    let mount = Mount {
        r#type: "overlay".to_owned(),
        source: "overlay".to_owned(),
        options: vec![format!("upperdir=/snapshots/{key}")],
        ..Mount::default()
    };
    vec![mount]
}

fn snapshots(
    space: &mut Namespace,
    method: &str,
    body: &[u8],
    lease: &str,
) -> Result<Vec<u8>, Refused> {
    match method {
        "List" => {
            let one = |(name, (parent, committed)): (&String, &(String, bool))| snap::Info {
                name: name.clone(),
                parent: parent.clone(),
                kind: if *committed { snap::Kind::Committed } else { snap::Kind::Active } as i32,
                ..Default::default()
            };
            let info = space.snapshots.iter().map(one).collect();
            Ok(snap::ListSnapshotsResponse { info }.encode_to_vec())
        }
        "Stat" => {
            let request: snap::StatSnapshotRequest = read(body)?;
            match space.snapshots.get(&request.key) {
                Some(_) => Ok(snap::StatSnapshotResponse::default().encode_to_vec()),
                None => missing(&request.key),
            }
        }
        "Mounts" => {
            let request: snap::MountsRequest = read(body)?;
            match space.snapshots.get(&request.key) {
                Some((_, false)) => {
                    Ok(snap::MountsResponse { mounts: mounts(&request.key) }.encode_to_vec())
                }
                _ => missing(&request.key),
            }
        }
        "Prepare" => {
            let request: snap::PrepareSnapshotRequest = read(body)?;
            let snap::PrepareSnapshotRequest { key, parent, .. } = request;
            if space.snapshots.contains_key(&key) {
                return exists(&key);
            }
            if !parent.is_empty() && !space.snapshots.get(&parent).is_some_and(|(_, done)| *done) {
                return missing(&parent);
            }
            space.hold(lease, &key);
            let mounts = mounts(&key);
            space.snapshots.insert(key, (parent, false));
            Ok(snap::PrepareSnapshotResponse { mounts }.encode_to_vec())
        }
        "Commit" => {
            let request: snap::CommitSnapshotRequest = read(body)?;
            if space.snapshots.contains_key(&request.name) {
                return exists(&request.name);
            }
            let Some((parent, _)) = space.snapshots.remove(&request.key) else {
                return missing(&request.key);
            };
            space.hold(lease, &request.name);
            space.snapshots.insert(request.name, (parent, true));
            Ok(EMPTY)
        }
        "Remove" => {
            let request: snap::RemoveSnapshotRequest = read(body)?;
            if space.snapshots.values().any(|(below, _)| *below == request.key) {
                return not_now("cannot remove snapshot with child");
            }
            if space.snapshots.remove(&request.key).is_none() {
                return missing(&request.key);
            }
            space.collect();
            Ok(EMPTY)
        }
        _ => unknown(method),
    }
}

fn diff(space: &mut Namespace, method: &str, body: &[u8]) -> Result<Vec<u8>, Refused> {
    if method != "Apply" {
        return unknown(method);
    }
    let request: api::ApplyRequest = read(body)?;
    let layer = request.diff.unwrap_or_default();
    let Some((blob, _)) = space.blobs.get(&layer.digest) else { return missing(&layer.digest) };
    let applied = Descriptor { digest: digest_of(blob), ..Descriptor::default() };
    Ok(api::ApplyResponse { applied: Some(applied) }.encode_to_vec())
}

/// Takes one message of a blob.
pub(super) fn take(
    state: &mut State,
    connection: u64,
    (namespace, lease): (&str, &str),
    request: api::WriteContentRequest,
) -> Result<Vec<u8>, Refused> {
    state.writes(connection, "containerd: Content.Write");
    let api::WriteContentRequest { action, r#ref: name, expected, offset, data, labels, .. } =
        request;
    let Some(space) = state.namespaces.get_mut(namespace) else { return missing(namespace) };
    if space.blobs.contains_key(&expected) {
        return exists(&expected);
    }
    space.hold(lease, &name);
    let ingest = space.ingests.entry(name.clone()).or_default();
    if !data.is_empty() {
        if usize::try_from(offset) != Ok(ingest.len()) {
            return Err((11, "the offset is not where it ended".to_owned()));
        }
        ingest.extend_from_slice(&data);
    }
    let offset = i64::try_from(ingest.len()).unwrap_or(i64::MAX);
    if action == api::WriteAction::Commit as i32 {
        let digest = digest_of(ingest);
        if digest != expected {
            return not_now("unexpected commit digest");
        }
        let blob = space.ingests.remove(&name).unwrap_or_default();
        space.hold(lease, &digest);
        space.blobs.insert(digest, (blob, labels.into_iter().collect()));
    }
    Ok(api::WriteContentResponse { action, offset, ..Default::default() }.encode_to_vec())
}
