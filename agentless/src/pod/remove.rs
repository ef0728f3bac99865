//! A pod to nothing, whatever is left of it.
//!
//! The restart labels and a cron's timer go first, or they would start again what is being stopped.

use std::time::{Duration, Instant};

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

const KILL: u32 = 9;
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(15);
/// What a sidecar has at least to end by itself, and what was told to prepare for its end, in milliseconds.
const LEAST_MS: u64 = 1_000;

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

/// Stops a pod and removes all that belongs to it; its logs stay.
///
/// Its own container ends first, then those that run with it; what they share goes when none is left.
pub(crate) async fn clear(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    grace_ms: u64,
) -> Result<(), Fault> {
    let found = find(writer, namespace, id).await?;
    let mut beside = beside(writer, namespace, id, found.container.as_ref()).await?;
    // A monitor that saw one of them gone would start it again.
    for container in found.container.iter().chain(&beside) {
        let mut container = container.clone();
        if labels::not_restarting(&mut container.labels) {
            relabel(writer, namespace, container).await?;
        }
    }
    if found.container.as_ref().is_some_and(labels::is_cron) {
        let call = Call::new("cron_down").arg(namespace).arg(id);
        writer.must(&format!("end the timer of {id}"), &call).await?;
    }
    let ending = found.container.as_ref().map(labels::ending).unwrap_or_default();
    let began = Instant::now();
    if let Some(task) = found.task {
        stop(writer, namespace, id, &task, (grace_ms, &ending)).await?;
    }
    // In the end they have what the pod's own left of the grace, and a second if it left nothing.
    beside.reverse();
    for container in &beside {
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let left = grace_ms.saturating_sub(took).max(grace_ms.min(LEAST_MS));
        if let Some(task) = find(writer, namespace, &container.id).await?.task {
            let ending = labels::ending(container);
            stop(writer, namespace, &container.id, &task, (left, &ending)).await?;
        }
        discard(writer, namespace, &container.id).await?;
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
    delete(writer, namespace, id).await?;
    // The monitor may have started it again between its list and our label.
    again(writer, namespace, id, &ending).await
}

/// The containers beside a pod's own, in the order in which they start.
pub(super) async fn beside(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    own: Option<&api::Container>,
) -> Result<Vec<api::Container>, Fault> {
    let names = own.map(labels::beside);
    if names.as_ref().is_some_and(|(init, sidecars)| init.is_empty() && sidecars.is_empty()) {
        return Ok(Vec::new());
    }
    let filters = vec![format!("labels.\"{}\"", labels::BESIDE)];
    let list = api::ListContainersRequest { filters };
    let listed = writer.containerd().containers().list(within(namespace, list)).await;
    let listed = listed.map_err(|status| Fault::read("containers", &status))?.into_inner();
    let mut found: Vec<api::Container> = listed
        .containers
        .into_iter()
        .filter(|container| {
            labels::id(container)
                .is_some_and(|found| found.beside.is_some() && found.pod.to_string() == id)
        })
        .collect();
    let (init, sidecars) = names.unwrap_or_default();
    let place = |container: &api::Container| {
        let name = labels::id(container).and_then(|id| id.beside);
        init.iter().chain(&sidecars).position(|known| Some(known) == name.as_ref())
    };
    found.sort_by_key(place);
    Ok(found)
}

/// Removes a container that runs no more, and its own layer; its log stays.
pub(crate) async fn discard(writer: &Writer<'_>, namespace: &str, id: &str) -> Result<(), Fault> {
    delete_task(writer, namespace, id).await?;
    remove_snapshot(writer, namespace, id).await?;
    delete(writer, namespace, id).await?;
    again(writer, namespace, id, &(Vec::new(), KILL)).await
}

async fn delete(writer: &Writer<'_>, namespace: &str, id: &str) -> Result<(), Fault> {
    writer.note("containerd: containers.delete")?;
    let delete = api::DeleteContainerRequest { id: id.to_owned() };
    let mut containers = writer.containerd().containers();
    done("containerd: delete a container", containers.delete(within(namespace, delete)).await)
}

async fn remove_snapshot(writer: &Writer<'_>, namespace: &str, id: &str) -> Result<(), Fault> {
    writer.note("containerd: snapshots.remove")?;
    let remove =
        snap::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
    let mut snapshots = writer.containerd().snapshots();
    done("containerd: remove a snapshot", snapshots.remove(within(namespace, remove)).await)
}

/// Ends what the monitor started again of a container that is gone.
async fn again(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    ending: &(Vec<String>, u32),
) -> Result<(), Fault> {
    if let Some(task) = find(writer, namespace, id).await?.task {
        stop(writer, namespace, id, &task, (0, ending)).await?;
        return remove_snapshot(writer, namespace, id).await;
    }
    Ok(())
}

/// Ends a task: runs its own program for that, asks, waits, kills; then deletes it.
async fn stop(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    task: &Process,
    (grace_ms, (before, signal)): (u64, &(Vec<String>, u32)),
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
            let grace = Duration::from_millis(grace_ms);
            let began = Instant::now();
            if !before.is_empty() {
                hook(writer, namespace, id, before, grace).await?;
            }
            kill(writer, namespace, id, *signal, false).await?;
            let least = if before.is_empty() { 0 } else { LEAST_MS };
            let left = grace.saturating_sub(began.elapsed()).max(Duration::from_millis(least));
            gone = tokio::time::timeout(left, wait()).await.is_ok();
        }
        if !gone {
            kill(writer, namespace, id, KILL, true).await?;
            let _ = tokio::time::timeout(KILLED, wait()).await;
        }
    } else if status == TaskStatus::Created {
        kill(writer, namespace, id, KILL, true).await?;
    }
    delete_task(writer, namespace, id).await
}

/// Deletes a task that has ended.
async fn delete_task(writer: &Writer<'_>, namespace: &str, id: &str) -> Result<(), Fault> {
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

/// Runs a program in a pod before it is asked to end. One that fails or takes too long keeps nothing
/// from ending; `-vv` shows how it went.
async fn hook(
    writer: &Writer<'_>,
    namespace: &str,
    id: &str,
    words: &[String],
    grace: Duration,
) -> Result<(), Fault> {
    let call = Call::new("pod_hook").arg(namespace).arg(id).arg(grace.as_secs().max(1));
    let call = words.iter().fold(call, Call::arg);
    let output = writer.run(&call).await?;
    if output.status != 0 {
        tracing::info!(pod = id, status = output.status, said = %output.text, "before_stop failed");
    }
    Ok(())
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
