//! A pod to nothing, whatever is left of it.
//!
//! The restart labels go first, or the monitor would start again what is being stopped.

use std::time::Duration;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use tonic::{Code, Status};

use super::ensure::relabel;
use super::labels;
use crate::containerd::{SNAPSHOTTER, within};
use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

const TERM: u32 = 15;
const KILL: u32 = 9;
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(15);

/// What containerd has of a pod.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) container: Option<api::Container>,
    pub(crate) task: Option<Process>,
}

/// Looks a pod up.
pub(crate) async fn find(writer: &Writer<'_>, namespace: &str, id: &str) -> Result<Found, Fault> {
    let containerd = writer.containerd();
    let mut containers = containerd.containers();
    let mut tasks = containerd.tasks();
    let get = api::GetContainerRequest { id: id.to_owned() };
    let get_task = api::GetRequest { container_id: id.to_owned(), exec_id: String::new() };
    let (container, task) = tokio::join!(
        containers.get(within(namespace, get)),
        tasks.get(within(namespace, get_task)),
    );
    Ok(Found {
        container: there(container)?.and_then(|r| r.into_inner().container),
        task: there(task)?.and_then(|r| r.into_inner().process),
    })
}

/// Not found is an answer, not a failure.
fn there<T>(result: Result<T, Status>) -> Result<Option<T>, Fault> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(Fault::read("containerd: look a pod up", &status)),
    }
}

/// For a write, gone already is as good as done.
fn done<T>(what: &str, result: Result<T, Status>) -> Result<(), Fault> {
    match result {
        Err(status) if status.code() != Code::NotFound => Err(Fault::grpc(what, &status)),
        _ => Ok(()),
    }
}

/// Stops a pod and removes all that belongs to it; its log stays.
pub(crate) async fn clear(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    grace_ms: u64,
) -> Result<(), Fault> {
    let found = find(writer, namespace, id).await?;
    if let Some(mut container) = found.container
        && labels::not_restarting(&mut container.labels)
    {
        relabel(writer, namespace, container).await?;
    }
    if let Some(task) = found.task {
        stop(writer, namespace, id, &task, grace_ms).await?;
    }
    writer.note("containerd: snapshots.remove")?;
    let remove =
        snap::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
    let mut snapshots = writer.containerd().snapshots();
    let down = Call::new("pod_down").arg(namespace).arg(id);
    let what = format!("unwire {id}");
    let (removed, down) =
        tokio::join!(snapshots.remove(within(namespace, remove)), writer.must(&what, &down));
    done("containerd: remove a snapshot", removed)?;
    down?;
    // The container goes last: while it is there, the pod is seen, and so is what is left of it.
    writer.note("containerd: containers.delete")?;
    let delete = api::DeleteContainerRequest { id: id.to_owned() };
    let mut containers = writer.containerd().containers();
    done("containerd: delete a container", containers.delete(within(namespace, delete)).await)?;
    // The monitor may have started it again between its list and our label.
    if let Some(task) = find(writer, namespace, id).await?.task {
        stop(writer, namespace, id, &task, 0).await?;
        let again =
            snap::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
        let removed = snapshots.remove(within(namespace, again)).await;
        return done("containerd: remove a snapshot", removed);
    }
    Ok(())
}

/// Ends a task: asks, waits, kills; then deletes it.
async fn stop(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    task: &Process,
    grace_ms: u64,
) -> Result<(), Fault> {
    let status = TaskStatus::try_from(task.status).unwrap_or(TaskStatus::Unknown);
    if !matches!(status, TaskStatus::Stopped | TaskStatus::Created) {
        let wait = || {
            let mut tasks = writer.containerd().tasks();
            let wait = api::WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
            async move { tasks.wait(within(namespace, wait)).await }
        };
        let mut gone = false;
        // A paused process can't act on a term signal.
        if grace_ms > 0 && status == TaskStatus::Running {
            kill(writer, namespace, id, TERM, false).await?;
            gone = tokio::time::timeout(Duration::from_millis(grace_ms), wait()).await.is_ok();
        }
        if !gone {
            kill(writer, namespace, id, KILL, true).await?;
            let _ = tokio::time::timeout(KILLED, wait()).await;
        }
    } else if status == TaskStatus::Created {
        kill(writer, namespace, id, KILL, true).await?;
    }
    writer.note("containerd: tasks.delete")?;
    let delete = || api::DeleteTaskRequest { container_id: id.to_owned() };
    let mut tasks = writer.containerd().tasks();
    let mut deleted = tasks.delete(within(namespace, delete())).await;
    // The exit is known to the waiter a moment before the task's own state says so.
    for _ in 0..20 {
        match &deleted {
            Err(status) if status.code() == Code::FailedPrecondition => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                deleted = tasks.delete(within(namespace, delete())).await;
            }
            _ => break,
        }
    }
    done("containerd: delete a task", deleted)
}

async fn kill(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    signal: u32,
    all: bool,
) -> Result<(), Fault> {
    writer.note(&format!("containerd: tasks.kill {signal}"))?;
    let kill =
        api::KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all };
    done(
        "containerd: signal a task",
        writer.containerd().tasks().kill(within(namespace, kill)).await,
    )
}
