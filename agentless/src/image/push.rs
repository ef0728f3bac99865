//! An image into a node's containerd: missing blobs, then snapshots.
//!
//! Everything is made under a lease, so that containerd's collector keeps its hands off while the
//! image grows, and takes all of it if it never becomes one. The image record is written last: an
//! image that is listed is complete and unpacked.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_engine::plan::action::ImageSource;
use berth_engine::plan::names::{ImageDigest, Tenant};
use berth_engine::plan::registry::Puller;
use berth_engine::run::host::Refusal;
use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snap;
use containerd_client::types::Descriptor as WireDescriptor;
use oci_client::Reference;
use tonic::Code;

use super::blob::chain;
use super::fanout::Fanout;
use super::oci::{Descriptor, chain_ids};
use super::pull;
use super::registry::{self, Registries};
use super::source::{Image, Source};
use crate::connect::dial::Options;
use crate::containerd::{Containerd, SNAPSHOTTER, leased, within};
use crate::fault::Fault;
use crate::link::Writer;

/// The label by which an image says which snapshot it was unpacked to.
pub(crate) const UNPACKED: &str = "berth.dev/unpacked";

/// The name of an image's record.
pub(crate) fn record_name(image: &ImageDigest) -> String {
    format!("berth.local/{image}")
}

/// Brings an image into the tenant's namespace, complete and unpacked.
pub(crate) async fn ensure(
    writer: &Writer<'_>,
    tenant: &Tenant,
    digest: &ImageDigest,
    source: &ImageSource,
    options: &Options,
) -> Result<(), Fault> {
    let namespace = tenant.namespace();
    let containerd = writer.containerd();
    if present(containerd, &namespace, digest).await? {
        return Ok(());
    }
    let bad = |why: String| Fault::from(Refusal::BadImage { image: digest.to_string(), why });
    let arch = architecture(&writer.live.shell.machine);
    let registries = &*options.registries;
    let mut remote = None;
    let (source, image) = match source {
        ImageSource::Present => {
            return Err(Refusal::Missing {
                what: format!("image {}", digest.short()),
                mend: "give it a source again, so that it can be sent".to_owned(),
            }
            .into());
        }
        ImageSource::Registry(reference) => {
            let named = registry::parse(reference).map_err(|error| bad(chain(&error)))?;
            let image = registries.image(&named, digest, arch).await;
            remote = Some(named);
            (registries.source(), image.map_err(|error| bad(chain(&error)))?)
        }
        ImageSource::Layout(path) | ImageSource::Archive(path) => {
            let archive = matches!(source, ImageSource::Archive(_));
            let (path, wanted) = (options.project_root.join(path), digest.to_string());
            let machine = arch.to_owned();
            let read = tokio::task::spawn_blocking(move || {
                let source = if archive { Source::archive(&path)? } else { Source::layout(&path) };
                let image = source.image_for(&wanted, &machine)?;
                Ok::<_, super::ImageError>((source, image))
            });
            let read = read.await.map_err(|error| bad(error.to_string()))?;
            read.map_err(|error| bad(chain(&error)))?
        }
    };
    let platform = (image.config.os.as_str(), image.config.architecture.as_str());
    if platform != ("linux", arch) {
        let (os, built) = platform;
        return Err(bad(format!("it is built for {os}/{built}, and the node is linux/{arch}")));
    }

    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lease = format!("berth-{}", since.as_nanos());
    writer.note("containerd: leases.create")?;
    containerd
        .leases()
        .create(within(
            &namespace,
            api::CreateRequest {
                id: lease.clone(),
                labels: HashMap::from([(
                    "containerd.io/gc.expire".into(),
                    expiry(since.as_secs()),
                )]),
            },
        ))
        .await
        .map_err(|status| Fault::grpc("containerd: create a lease", &status))?;
    let bulk = writer.live.bulk().await;
    let remote = remote.as_ref().map(|reference| (registries, reference));
    let (containerd, namespace, lease) = (&bulk, &*namespace, &*lease);
    let fanout = &*writer.link.fanout;
    let push = Push { writer, containerd, namespace, lease, digest, fanout, remote };
    let result = push.all(&source, &image).await;
    // What failed half-way is held by the lease alone: without it, the collector takes it.
    writer.note("containerd: leases.delete")?;
    let delete = api::DeleteRequest { id: lease.to_owned(), sync: result.is_err() };
    let released = writer.containerd().leases().delete(within(namespace, delete)).await;
    result?;
    released.map_err(|status| Fault::grpc("containerd: delete a lease", &status))?;
    Ok(())
}

/// Drops an image's record; its blobs and snapshots are collected with it.
pub(crate) async fn remove(
    writer: &Writer<'_>,
    tenant: &Tenant,
    image: &ImageDigest,
) -> Result<(), Fault> {
    writer.note("containerd: images.delete")?;
    let request = api::DeleteImageRequest { name: record_name(image), sync: true, target: None };
    match writer.containerd().images().delete(within(&tenant.namespace(), request)).await {
        Err(status) if status.code() != Code::NotFound => {
            Err(Fault::grpc("containerd: delete an image", &status))
        }
        _ => Ok(()),
    }
}

async fn present(
    containerd: &Containerd,
    namespace: &str,
    digest: &ImageDigest,
) -> Result<bool, Fault> {
    let get = api::GetImageRequest { name: record_name(digest) };
    let image = match containerd.images().get(within(namespace, get)).await {
        Ok(found) => found.into_inner().image.unwrap_or_default(),
        Err(status) if status.code() == Code::NotFound => return Ok(false),
        Err(status) => return Err(Fault::read("containerd: get an image", &status)),
    };
    let Some(chain) = image.labels.get(UNPACKED) else {
        return Ok(false);
    };
    has_snapshot(containerd, namespace, chain).await
}

async fn has_snapshot(containerd: &Containerd, namespace: &str, name: &str) -> Result<bool, Fault> {
    let stat =
        snap::StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: name.to_owned() };
    match containerd.snapshots().stat(within(namespace, stat)).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(Fault::read("containerd: look at a snapshot", &status)),
    }
}

/// As OCI names the node's machine.
pub(crate) fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        "i686" => "386",
        other => other,
    }
}

/// One image on its way to one node.
pub(super) struct Push<'a> {
    pub(super) writer: &'a Writer<'a>,
    pub(super) containerd: &'a Containerd,
    pub(super) namespace: &'a str,
    pub(super) lease: &'a str,
    pub(super) digest: &'a ImageDigest,
    /// Which nodes have which blobs by now.
    pub(super) fanout: &'a Fanout,
    /// Where blobs come from that are not on this machine yet.
    pub(super) remote: Option<(&'a Registries, &'a Reference)>,
}

impl Push<'_> {
    async fn all(&self, source: &Source, image: &Image) -> Result<(), Fault> {
        let by_node = |(registries, reference): &(&Registries, &Reference)| {
            registries.access(reference).puller == Puller::Nodes
        };
        let Some((registries, reference)) = self.remote.filter(by_node) else {
            return self.send_all(source, image).await;
        };
        let named = (reference, self.digest);
        pull::on_node(self.writer, self.namespace, registries, named, image).await?;
        let sent = self.send_all(source, image).await;
        pull::forget(self.writer, self.namespace, named).await?;
        sent
    }

    async fn send_all(&self, source: &Source, image: &Image) -> Result<(), Fault> {
        let chain = chain_ids(&image.config.rootfs.diff_ids);
        let top = chain.last().cloned().unwrap_or_default();

        // Leaves first: the collector follows labels from the manifest, which comes last. A layer
        // is unpacked while the next one is sent.
        let layers = &image.manifest.layers;
        for index in 0..=layers.len() {
            let send = async {
                match layers.get(index) {
                    Some(layer) => self.blob(source, layer, HashMap::new()).await,
                    None => Ok(()),
                }
            };
            let unpack = async {
                match index.checked_sub(1) {
                    Some(below) => self.layer(image, &chain, below).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(send, unpack)?;
        }
        let snapshot = format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}");
        self.blob(source, &image.manifest.config, HashMap::from([(snapshot, top.clone())])).await?;
        let mut refs = HashMap::from([(
            "containerd.io/gc.ref.content.config".to_owned(),
            image.manifest.config.digest.clone(),
        )]);
        for (index, layer) in image.manifest.layers.iter().enumerate() {
            refs.insert(format!("containerd.io/gc.ref.content.l.{index}"), layer.digest.clone());
        }
        self.blob(source, &image.descriptor, refs).await?;
        if let Some(index) = &image.index {
            let chosen = ("containerd.io/gc.ref.content.m.0", &image.descriptor.digest);
            let refs = HashMap::from([(chosen.0.to_owned(), chosen.1.clone())]);
            self.blob(source, index, refs).await?;
        }

        self.name(image, top).await
    }

    /// Unpacks one of an image's layers over those below.
    async fn layer(&self, image: &Image, chain: &[String], index: usize) -> Result<(), Fault> {
        let layer = image.manifest.layers.get(index);
        let diff_id = image.config.rootfs.diff_ids.get(index);
        let (Some(layer), Some(diff_id), Some(name)) = (layer, diff_id, chain.get(index)) else {
            return Ok(());
        };
        let parent = index.checked_sub(1).and_then(|below| chain.get(below));
        self.unpack(layer, diff_id, name, parent.map_or("", String::as_str)).await
    }

    /// Makes a layer a committed snapshot over the one below.
    async fn unpack(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        name: &str,
        parent: &str,
    ) -> Result<(), Fault> {
        if has_snapshot(self.containerd, self.namespace, name).await? {
            return Ok(());
        }
        let key = format!("{}-{name}", self.lease);
        self.writer.note("containerd: snapshots.prepare, diff.apply, snapshots.commit")?;
        let done = self.apply(layer, diff_id, name, parent, &key).await;
        if done.is_err() {
            let remove = snap::RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key };
            let _ = self.containerd.snapshots().remove(within(self.namespace, remove)).await;
        }
        done?;
        let uncompressed = ("containerd.io/uncompressed".to_owned(), diff_id.to_owned());
        self.label(&layer.digest, HashMap::from([uncompressed])).await
    }

    async fn apply(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        name: &str,
        parent: &str,
        key: &str,
    ) -> Result<(), Fault> {
        let prepare = snap::PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        let mounts = self
            .containerd
            .snapshots()
            .prepare(leased(self.namespace, self.lease, prepare))
            .await
            .map_err(|status| Fault::grpc("containerd: prepare a snapshot", &status))?
            .into_inner()
            .mounts;
        let apply = api::ApplyRequest { diff: Some(wire(layer)), mounts, ..Default::default() };
        let applied = self
            .containerd
            .diff()
            .apply(leased(self.namespace, self.lease, apply))
            .await
            .map_err(|status| match Fault::grpc("containerd: unpack a layer", &status) {
                Fault::Refused(Refusal::Failed { why, .. }) => {
                    self.bad(format!("layer {} does not unpack: {why}", layer.digest))
                }
                other => other,
            })?
            .into_inner()
            .applied
            .unwrap_or_default();
        if applied.digest != diff_id {
            return Err(self.bad(format!(
                "layer {} unpacks to {}, and the configuration says {diff_id}",
                layer.digest, applied.digest
            )));
        }
        let commit = snap::CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            labels: HashMap::new(),
        };
        match self.containerd.snapshots().commit(leased(self.namespace, self.lease, commit)).await {
            Err(status) if status.code() != Code::AlreadyExists => {
                Err(Fault::grpc("containerd: commit a snapshot", &status))
            }
            _ => Ok(()),
        }
    }

    /// Writes the record that makes it an image.
    async fn name(&self, image: &Image, top: String) -> Result<(), Fault> {
        self.writer.note("containerd: images.create")?;
        let record = api::Image {
            name: record_name(self.digest),
            labels: HashMap::from([(UNPACKED.to_owned(), top)]),
            target: Some(wire(image.index.as_ref().unwrap_or(&image.descriptor))),
            ..Default::default()
        };
        let create =
            api::CreateImageRequest { image: Some(record.clone()), source_date_epoch: None };
        let status = match self.containerd.images().create(within(self.namespace, create)).await {
            Ok(_) => return Ok(()),
            Err(status) => status,
        };
        if status.code() != Code::AlreadyExists {
            return Err(Fault::grpc("containerd: name an image", &status));
        }
        let update = api::UpdateImageRequest {
            image: Some(record),
            update_mask: None,
            source_date_epoch: None,
        };
        self.containerd
            .images()
            .update(within(self.namespace, update))
            .await
            .map_err(|status| Fault::grpc("containerd: name an image", &status))?;
        Ok(())
    }

    pub(super) fn bad(&self, why: String) -> Fault {
        Refusal::BadImage { image: self.digest.to_string(), why }.into()
    }
}

fn wire(descriptor: &Descriptor) -> WireDescriptor {
    WireDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: HashMap::new(),
    }
}

/// An hour from a time in seconds since 1970, as RFC 3339 writes it. Days become a date by
/// Howard Hinnant's `civil_from_days` (chrono-Compatible Low-Level Date Algorithms).
pub(crate) fn expiry(now: u64) -> String {
    let at = now + 3600;
    let (days, seconds) = (at / 86_400 + 719_468, at % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_from_now_is_rfc_3339() {
        assert_eq!(expiry(0), "1970-01-01T01:00:00Z");
        assert_eq!(expiry(951_782_400 - 3600), "2000-02-29T00:00:00Z");
        assert_eq!(expiry(1_795_000_000), "2026-11-18T12:06:40Z");
    }
}
