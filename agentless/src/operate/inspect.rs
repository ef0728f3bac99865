//! A container as containerd has it: labels, runtime specification, task.

use std::collections::BTreeMap;

use berth_engine::plan::names::{ContainerId, NodeName, Tenant};
use berth_engine::run::host::HostError;
use containerd_client::services::v1 as api;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use prost_types::Timestamp;
use tonic::{Code, Status};

use super::exec::not_running;
use crate::containerd::within;
use crate::fault::Fault;
use crate::host::SshHost;
use crate::link::Live;

/// A container and its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The image's record in containerd.
    pub image: String,
    /// Every label, the restart monitor's included.
    pub labels: BTreeMap<String, String>,
    /// The OCI runtime specification.
    pub spec: serde_json::Value,
    /// When the container was made, in milliseconds since 1970 on the node's clock; 0 if not known.
    pub created_at_ms: u64,
    /// Its process, if there is or was one.
    pub task: Option<Task>,
}

/// A container's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number on the node.
    pub pid: u32,
    /// `running`, `stopped`, `paused`, `pausing`, `created` or `unknown`.
    pub state: &'static str,
    /// Its exit code, once it has stopped.
    pub exit_code: Option<u32>,
    /// When it stopped, in milliseconds since 1970 on the node's clock.
    pub exited_at_ms: Option<u64>,
}

impl SshHost {
    /// Reads all that containerd has of a container.
    ///
    /// # Errors
    /// If the node can't be reached, or has no such container.
    pub async fn inspect(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        container: &ContainerId,
    ) -> Result<Inspected, HostError> {
        let link = self.link(node)?;
        let namespace = tenant.namespace();
        self.reading(link, async {
            let live = link.live().await?;
            let (record, task) = found(&live, &namespace, container).await?;
            let spec = record.spec.map(|any| any.value).unwrap_or_default();
            Ok(Inspected {
                image: record.image,
                labels: record.labels.into_iter().collect(),
                spec: serde_json::from_slice(&spec).unwrap_or_default(),
                created_at_ms: record.created_at.as_ref().map(millis).unwrap_or_default(),
                task: task.as_ref().map(seen),
            })
        })
        .await
    }
}

/// The number of a container's process on its node.
pub(super) async fn task_pid(
    live: &Live,
    namespace: &str,
    container: &ContainerId,
) -> Result<u32, Fault> {
    running(live, namespace, container).await.map(|(pid, _)| pid)
}

/// The number of a container's process on its node, and the OCI runtime specification that it was started by.
pub(super) async fn running(
    live: &Live,
    namespace: &str,
    container: &ContainerId,
) -> Result<(u32, serde_json::Value), Fault> {
    let (record, task) = found(live, namespace, container).await?;
    let task = task.as_ref().map(seen);
    match task {
        Some(Task { pid, state: "running", .. }) => {
            let spec = record.spec.map(|any| any.value).unwrap_or_default();
            Ok((pid, serde_json::from_slice(&spec).unwrap_or_default()))
        }
        Some(Task { exit_code: Some(code), .. }) => {
            Err(not_running(container, &format!("has stopped with exit code {code}")))
        }
        Some(Task { state, .. }) => Err(not_running(container, &format!("is {state}"))),
        None => Err(not_running(container, "was not started")),
    }
}

async fn found(
    live: &Live,
    namespace: &str,
    container: &ContainerId,
) -> Result<(api::Container, Option<Process>), Fault> {
    let id = container.to_string();
    let (mut containers, mut tasks) = (live.containerd.containers(), live.containerd.tasks());
    let get = api::GetContainerRequest { id: id.clone() };
    let get_task = api::GetRequest { container_id: id, exec_id: String::new() };
    let (found, task) = tokio::join!(
        containers.get(within(namespace, get)),
        tasks.get(within(namespace, get_task)),
    );
    let found = there(found)?.and_then(|answer| answer.into_inner().container);
    let task = there(task)?.and_then(|answer| answer.into_inner().process);
    match found {
        Some(found) => Ok((found, task)),
        None => Err(not_running(container, "is not there any more")),
    }
}

fn there<T>(result: Result<T, Status>) -> Result<Option<T>, Fault> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(Fault::read("containerd: look a pod up", &status)),
    }
}

fn seen(task: &Process) -> Task {
    let status = TaskStatus::try_from(task.status).unwrap_or(TaskStatus::Unknown);
    let stopped = status == TaskStatus::Stopped;
    Task {
        pid: task.pid,
        state: match status {
            TaskStatus::Unknown => "unknown",
            TaskStatus::Created => "created",
            TaskStatus::Running => "running",
            TaskStatus::Stopped => "stopped",
            TaskStatus::Paused => "paused",
            TaskStatus::Pausing => "pausing",
        },
        exit_code: stopped.then_some(task.exit_status),
        exited_at_ms: task.exited_at.as_ref().filter(|_| stopped).map(millis),
    }
}

/// Milliseconds since 1970; 0 for a moment before.
pub(super) fn millis(at: &Timestamp) -> u64 {
    let seconds = u64::try_from(at.seconds).unwrap_or(0);
    let nanos = u64::try_from(at.nanos).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}
