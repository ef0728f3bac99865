//! One blob of an image into a node's content store.
//!
//! Bytes are hashed while they are sent, and committed only under their own digest. What an
//! earlier attempt left is resumed from.

use std::collections::HashMap;
use std::io::Read as _;

use containerd_client::services::v1 as api;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::oci::{Descriptor, spell};
use super::push::Push;
use super::source::Source;
use crate::containerd::{leased, within};
use crate::fault::Fault;

/// Bytes a message: as large as the SSH window can take at once; 16 MiB fails on the wire.
const CHUNK: usize = 1024 * 1024;
/// Messages that may wait in memory.
const QUEUE: usize = 3;

impl Push<'_> {
    /// Sends a blob if the node lacks it.
    pub(super) async fn blob(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        labels: HashMap<String, String>,
    ) -> Result<(), Fault> {
        let there = self.has(&descriptor.digest).await?;
        let sending = if there { None } else { self.brought_by_a_node(descriptor).await? };
        if sending.is_none() {
            self.fanout.has(self.writer.link.node(), &self.writer.live, descriptor);
            // The labels of a blob that another image brought, or another node, may lack this one's.
            return if labels.is_empty() {
                Ok(())
            } else {
                self.label(&descriptor.digest, labels).await
            };
        }
        self.writer.note("containerd: content.write")?;
        let name = format!("berth-{}", descriptor.digest);
        let failed = match self.send(source, descriptor, labels.clone(), &name).await {
            Ok(()) => {
                self.fanout.has(self.writer.link.node(), &self.writer.live, descriptor);
                return Ok(());
            }
            Err(failed) => failed,
        };
        if let Sent::Status(status) = &failed
            && status.code() == Code::AlreadyExists
        {
            return if labels.is_empty() {
                Ok(())
            } else {
                self.label(&descriptor.digest, labels).await
            };
        }
        // Bytes that are not what the digest says must not be resumed from.
        let abort = api::AbortRequest { r#ref: name };
        let _ = self.containerd.content().abort(within(self.namespace, abort)).await;
        Err(match failed {
            Sent::Source(why) => self.bad(why),
            Sent::Status(status)
                if status.code() == Code::FailedPrecondition
                    || status.message().contains("unexpected commit digest") =>
            {
                self.bad(format!("blob {}: {}", descriptor.digest, status.message()))
            }
            Sent::Status(status) => Fault::grpc("containerd: write content", &status),
        })
    }

    /// Whether the node has a blob.
    pub(super) async fn has(&self, digest: &str) -> Result<bool, Fault> {
        let info = api::InfoRequest { digest: digest.to_owned() };
        match self.containerd.content().info(within(self.namespace, info)).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(Fault::read("containerd: look at content", &status)),
        }
    }

    /// Streams a blob without waiting for each message's answer. What an earlier attempt left is
    /// resumed from, after hashing the bytes before it, too.
    async fn send(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        labels: HashMap<String, String>,
        name: &str,
    ) -> Result<(), Sent> {
        if let Some((registries, reference)) = self.remote {
            let fetched = registries.blob(reference, descriptor).await;
            fetched.map_err(|error| Sent::Source(chain(&error)))?;
        }
        let blob = source.open(&descriptor.digest).map_err(|e| Sent::Source(chain(&e)))?;
        let total = i64::try_from(blob.size).unwrap_or(i64::MAX);
        let base = api::WriteContentRequest {
            action: api::WriteAction::Stat as i32,
            r#ref: name.to_owned(),
            total,
            expected: descriptor.digest.clone(),
            ..Default::default()
        };
        let (out, outgoing) = mpsc::channel(QUEUE);
        let _ = out.send(base.clone()).await;
        let request = leased(self.namespace, self.lease, ReceiverStream::new(outgoing));
        let mut answers =
            self.containerd.content().write(request).await.map_err(Sent::Status)?.into_inner();
        let first = answers.message().await.map_err(Sent::Status)?.unwrap_or_default();
        // If another tenant has the blob, all of it counts as sent, and the commit claims it.
        let resume = u64::try_from(first.offset).unwrap_or(0);

        let digest = descriptor.digest.clone();
        let read = tokio::task::spawn_blocking(move || -> Result<(), String> {
            let size = blob.size;
            let mut file = blob.limited();
            let mut hash = Sha256::new();
            let mut at: u64 = 0;
            while at < size {
                let mut data = Vec::with_capacity(CHUNK);
                let read = (&mut file)
                    .take(CHUNK as u64)
                    .read_to_end(&mut data)
                    .map_err(|error| format!("blob {digest}: {error}"))?;
                if read == 0 {
                    return Err(format!("blob {digest} ends early"));
                }
                hash.update(&data);
                let from = at;
                at += read as u64;
                if at <= resume {
                    continue;
                }
                if let Ok(skip) = usize::try_from(resume.saturating_sub(from)) {
                    data.drain(..skip.min(data.len()));
                }
                let write = api::WriteContentRequest {
                    action: api::WriteAction::Write as i32,
                    offset: i64::try_from(from.max(resume)).unwrap_or(i64::MAX),
                    data,
                    ..base.clone()
                };
                // The receiver is gone if containerd has refused; it says why in its answer.
                if out.blocking_send(write).is_err() {
                    return Ok(());
                }
            }
            let actual = spell(&hash.finalize());
            if actual != digest {
                return Err(format!(
                    "blob {digest} is damaged beside the project (its bytes have the digest {actual}); build or copy the image again"
                ));
            }
            let commit = api::WriteContentRequest {
                action: api::WriteAction::Commit as i32,
                offset: total,
                labels,
                ..base
            };
            let _ = out.blocking_send(commit);
            Ok(())
        });
        let mut committed = false;
        let mut refused = None;
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    committed |= answer.action == api::WriteAction::Commit as i32;
                }
                Ok(None) => break,
                Err(status) => {
                    refused = Some(status);
                    break;
                }
            }
        }
        drop(answers);
        let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
        read.map_err(Sent::Source)?;
        match refused {
            Some(status) => Err(Sent::Status(status)),
            None if committed => Ok(()),
            None => Err(Sent::Status(Status::unavailable("the write ended without a commit"))),
        }
    }

    pub(super) async fn label(
        &self,
        digest: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), Fault> {
        self.writer.note("containerd: content.update")?;
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = api::Info { digest: digest.to_owned(), labels, ..Default::default() };
        let request = api::UpdateRequest {
            info: Some(info),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        self.containerd
            .content()
            .update(leased(self.namespace, self.lease, request))
            .await
            .map_err(|status| Fault::grpc("containerd: label content", &status))?;
        Ok(())
    }
}

/// Why a blob was not sent: our side, or containerd's.
enum Sent {
    Source(String),
    Status(Status),
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
