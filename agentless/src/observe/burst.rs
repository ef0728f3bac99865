//! What containerd has: one burst of lists, all under way at once.

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::v1::Process;
use std::collections::BTreeSet;

use crate::containerd::{Containerd, SNAPSHOTTER, within};
use crate::fault::Fault;

/// The most namespaces of others that are looked into.
const NAMESPACE_LIMIT: usize = 64;

/// What containerd has on a node.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    pub(crate) version: String,
    pub(crate) containers: Vec<api::Container>,
    pub(crate) tasks: Vec<Process>,
    pub(crate) images: Vec<api::Image>,
    /// Committed snapshots.
    pub(crate) snapshots: BTreeSet<String>,
    /// Whether our tenant's namespace is there.
    pub(crate) tenant: bool,
    /// Other namespaces, with their containers.
    pub(crate) others: Vec<(String, Vec<api::Container>)>,
}

/// Lists everything of a tenant, and the containers of everybody else.
pub(crate) async fn burst(containerd: &Containerd, namespace: &str) -> Result<Burst, Fault> {
    let (version, containers, tasks, images, snapshots, others) = tokio::try_join!(
        version(containerd),
        containers(containerd, namespace),
        tasks(containerd, namespace),
        images(containerd, namespace),
        snapshots(containerd, namespace),
        others(containerd, namespace),
    )?;
    let (tenant, others) = others;
    Ok(Burst { version, containers, tasks, images, snapshots, tenant, others })
}

async fn version(containerd: &Containerd) -> Result<String, Fault> {
    let answer = containerd.version().version(()).await;
    Ok(answer.map_err(|status| Fault::read("version", &status))?.into_inner().version)
}

async fn containers(
    containerd: &Containerd,
    namespace: &str,
) -> Result<Vec<api::Container>, Fault> {
    let list = api::ListContainersRequest { filters: Vec::new() };
    let answer = containerd.containers().list(within(namespace, list)).await;
    Ok(answer.map_err(|status| Fault::read("containers", &status))?.into_inner().containers)
}

async fn tasks(containerd: &Containerd, namespace: &str) -> Result<Vec<Process>, Fault> {
    let list = api::ListTasksRequest { filter: String::new() };
    let answer = containerd.tasks().list(within(namespace, list)).await;
    Ok(answer.map_err(|status| Fault::read("tasks", &status))?.into_inner().tasks)
}

async fn images(containerd: &Containerd, namespace: &str) -> Result<Vec<api::Image>, Fault> {
    let list = api::ListImagesRequest { filters: Vec::new() };
    let answer = containerd.images().list(within(namespace, list)).await;
    Ok(answer.map_err(|status| Fault::read("images", &status))?.into_inner().images)
}

async fn snapshots(containerd: &Containerd, namespace: &str) -> Result<BTreeSet<String>, Fault> {
    let wrong = |status| Fault::read("snapshots", &status);
    let list =
        snap::ListSnapshotsRequest { snapshotter: SNAPSHOTTER.to_owned(), filters: Vec::new() };
    let mut parts =
        containerd.snapshots().list(within(namespace, list)).await.map_err(wrong)?.into_inner();
    let mut names = BTreeSet::new();
    while let Some(part) = parts.message().await.map_err(wrong)? {
        let committed = part.info.into_iter().filter(|i| i.kind == snap::Kind::Committed as i32);
        names.extend(committed.map(|info| info.name));
    }
    Ok(names)
}

async fn others(
    containerd: &Containerd,
    ours: &str,
) -> Result<(bool, Vec<(String, Vec<api::Container>)>), Fault> {
    let list = api::ListNamespacesRequest { filter: String::new() };
    let answer = containerd.namespaces().list(within(ours, list)).await;
    let names = answer.map_err(|status| Fault::read("namespaces", &status))?.into_inner();
    let mut tenant = false;
    let mut lists = tokio::task::JoinSet::new();
    for namespace in names.namespaces.into_iter().take(NAMESPACE_LIMIT) {
        if namespace.name == ours {
            tenant = true;
            continue;
        }
        let containerd = containerd.clone();
        lists.spawn(async move {
            let found = containers(&containerd, &namespace.name).await;
            found.map(|containers| (namespace.name, containers))
        });
    }
    let mut others = Vec::new();
    while let Some(list) = lists.join_next().await {
        // A task of ours that panicked is a fault of ours; its namespace is left out.
        if let Ok(list) = list {
            others.push(list?);
        }
    }
    Ok((tenant, others))
}
