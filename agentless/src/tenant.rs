//! A tenant's containerd namespace and folders.

use std::time::Duration;

use berth_engine::plan::names::Tenant;
use berth_engine::run::host::Refusal;
use containerd_client::services::v1 as api;
use tonic::Code;

use crate::containerd::within;
use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

/// How long containerd's collector may take to empty a namespace.
const COLLECT: Duration = Duration::from_secs(20);

/// Makes both.
pub(crate) async fn ensure(writer: &Writer<'_>, tenant: &Tenant) -> Result<(), Fault> {
    let name = tenant.namespace();
    writer.note("containerd: namespaces.create")?;
    let namespace = api::Namespace { name: name.clone(), ..Default::default() };
    let create = api::CreateNamespaceRequest { namespace: Some(namespace) };
    let mut namespaces = writer.containerd().namespaces();
    let up = Call::new("tenant_up").arg(&name);
    let (made, up) =
        tokio::join!(namespaces.create(within(&name, create)), writer.must("make folders", &up));
    match made {
        Err(status) if status.code() != Code::AlreadyExists => {
            Err(Fault::grpc("containerd: create a namespace", &status))
        }
        _ => up.map(drop),
    }
}

/// Removes both, with the images that are left. Refused while there are pods.
pub(crate) async fn remove(writer: &Writer<'_>, tenant: &Tenant) -> Result<(), Fault> {
    let name = tenant.namespace();
    let list = api::ListContainersRequest { filters: Vec::new() };
    let containers = writer
        .containerd()
        .containers()
        .list(within(&name, list))
        .await
        .map_err(|status| Fault::read("containers", &status))?
        .into_inner()
        .containers;
    if !containers.is_empty() {
        let ids: Vec<&str> = containers.iter().take(10).map(|c| c.id.as_str()).collect();
        return Err(Refusal::InUse(format!("{name} still has {}", ids.join(", "))).into());
    }
    writer.must("remove folders", &Call::new("tenant_down").arg(&name)).await?;
    drop_images(writer, &name).await?;
    drop_namespace(writer, &name).await
}

async fn drop_images(writer: &Writer<'_>, name: &str) -> Result<(), Fault> {
    let containerd = writer.containerd();
    let list = api::ListImagesRequest { filters: Vec::new() };
    let images = containerd
        .images()
        .list(within(name, list))
        .await
        .map_err(|status| Fault::read("images", &status))?
        .into_inner()
        .images;
    let last = images.len().saturating_sub(1);
    for (index, image) in images.into_iter().enumerate() {
        writer.note("containerd: images.delete")?;
        let delete =
            api::DeleteImageRequest { name: image.name, sync: index == last, target: None };
        match containerd.images().delete(within(name, delete)).await {
            Err(status) if status.code() != Code::NotFound => {
                return Err(Fault::grpc("containerd: delete an image", &status));
            }
            _ => {}
        }
    }
    let list = api::ListRequest { filters: Vec::new() };
    let leases = containerd
        .leases()
        .list(within(name, list))
        .await
        .map_err(|status| Fault::read("leases", &status))?
        .into_inner()
        .leases;
    for lease in leases {
        writer.note("containerd: leases.delete")?;
        let delete = api::DeleteRequest { id: lease.id, sync: true };
        match containerd.leases().delete(within(name, delete)).await {
            Err(status) if status.code() != Code::NotFound => {
                return Err(Fault::grpc("containerd: delete a lease", &status));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Deletes the namespace once the collector has emptied it.
async fn drop_namespace(writer: &Writer<'_>, name: &str) -> Result<(), Fault> {
    let until = tokio::time::Instant::now() + COLLECT;
    loop {
        writer.note("containerd: namespaces.delete")?;
        let delete = api::DeleteNamespaceRequest { name: name.to_owned() };
        match writer.containerd().namespaces().delete(within(name, delete)).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            Err(status)
                if status.code() == Code::FailedPrecondition
                    && tokio::time::Instant::now() < until =>
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(status) => return Err(Fault::grpc("containerd: delete a namespace", &status)),
        }
    }
}
