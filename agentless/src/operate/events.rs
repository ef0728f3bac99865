//! What containerd tells as it happens: starts, exits, kills for want of memory, images.
//!
//! containerd keeps no events, so this begins now. Its subscription answers at the first event only;
//! the caller therefore reads in a task of its own.

use berth_engine::plan::names::{ContainerId, NodeName, Tenant};
use berth_engine::run::host::HostError;
use containerd_client::events::{
    ContainerCreate, ContainerDelete, TaskExit, TaskOom, TaskPaused, TaskResumed, TaskStart,
};
use containerd_client::services::v1 as api;
use prost::Message as _;
use prost_types::Any;
use tokio::sync::mpsc;

use super::inspect::millis;
use crate::containerd::within;
use crate::fault::{Fault, words};
use crate::host::SshHost;

/// Something that happened on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds since 1970 on the node's clock.
    pub at_ms: u64,
    /// The container, if it is about one.
    pub container: Option<ContainerId>,
    /// What.
    pub happened: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// The container was made.
    Created,
    /// Its process started.
    Started,
    /// Its process ended.
    Exited {
        /// With this code.
        code: u32,
    },
    /// The kernel killed one of its processes for want of memory.
    OutOfMemory,
    /// Its processes were frozen.
    Paused,
    /// They go on.
    Resumed,
    /// The container was removed.
    Removed,
    /// An image came.
    ImageAdded(String),
    /// An image was removed.
    ImageRemoved(String),
}

impl Happened {
    /// One word for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Exited { .. } => "exited",
            Self::OutOfMemory => "oom",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Removed => "removed",
            Self::ImageAdded(_) => "image_added",
            Self::ImageRemoved(_) => "image_removed",
        }
    }
}

impl std::fmt::Display for Happened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Started => f.write_str("started"),
            Self::Exited { code: 0 } => f.write_str("exited"),
            Self::Exited { code } if *code > 128 && *code < 160 => {
                write!(f, "exited with code {code}: signal {}", code - 128)
            }
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::OutOfMemory => f.write_str("out of memory: the kernel killed a process of it"),
            Self::Paused => f.write_str("paused"),
            Self::Resumed => f.write_str("resumed"),
            Self::Removed => f.write_str("removed"),
            Self::ImageAdded(name) => write!(f, "image {name} came"),
            Self::ImageRemoved(name) => write!(f, "image {name} was removed"),
        }
    }
}

impl SshHost {
    /// Passes on what happens to a tenant on a node, until nobody listens or the connection ends.
    ///
    /// # Errors
    /// If the node can't be reached, or containerd ends the stream.
    pub async fn events(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        to: &mpsc::Sender<(NodeName, Event)>,
    ) -> Result<(), HostError> {
        let link = self.link(node)?;
        let live = self.reading(link, link.live()).await?;
        let namespace = tenant.namespace();
        let subscribe = api::SubscribeRequest { filters: vec![format!("namespace=={namespace}")] };
        let ended = |status: tonic::Status| Fault::read("events", &status).at(node);
        let mut events = live.containerd.events();
        let mut stream = tokio::select! {
            stream = events.subscribe(within(&namespace, subscribe)) => stream.map_err(ended)?.into_inner(),
            () = to.closed() => return Ok(()),
        };
        loop {
            let envelope = tokio::select! {
                envelope = stream.message() => envelope.map_err(ended)?,
                () = to.closed() => return Ok(()),
            };
            let Some(envelope) = envelope else { return Ok(()) };
            let at_ms = envelope.timestamp.as_ref().map(millis).unwrap_or_default();
            let Some((container, happened)) = envelope.event.as_ref().and_then(read) else {
                continue;
            };
            let event =
                Event { at_ms, container: container.and_then(|id| id.parse().ok()), happened };
            if to.send((node.clone(), event)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The container, and what happened to it; nothing for events that tell an operator nothing.
fn read(event: &Any) -> Option<(Option<String>, Happened)> {
    let bytes = &event.value[..];
    let kind = event.type_url.rsplit(['.', '/']).next()?;
    let (container, happened) = match kind {
        "ContainerCreate" => (ContainerCreate::decode(bytes).ok()?.id, Happened::Created),
        "ContainerDelete" => (ContainerDelete::decode(bytes).ok()?.id, Happened::Removed),
        "TaskStart" => (TaskStart::decode(bytes).ok()?.container_id, Happened::Started),
        "TaskOOM" => (TaskOom::decode(bytes).ok()?.container_id, Happened::OutOfMemory),
        "TaskPaused" => (TaskPaused::decode(bytes).ok()?.container_id, Happened::Paused),
        "TaskResumed" => (TaskResumed::decode(bytes).ok()?.container_id, Happened::Resumed),
        "TaskExit" => {
            let exit = TaskExit::decode(bytes).ok()?;
            // Of a command in a container that containerd ran, the container's own process aside.
            if exit.id != exit.container_id {
                return None;
            }
            (exit.container_id, Happened::Exited { code: exit.exit_status })
        }
        "ImageCreate" => {
            let name = words(&api::ImageCreate::decode(bytes).ok()?.name);
            return Some((None, Happened::ImageAdded(name)));
        }
        "ImageDelete" => {
            let name = words(&api::ImageDelete::decode(bytes).ok()?.name);
            return Some((None, Happened::ImageRemoved(name)));
        }
        _ => return None,
    };
    Some((Some(container), happened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_exit_is_the_container_s_own_only() {
        let event = |id: &str| Any {
            type_url: "containerd.events.TaskExit".to_owned(),
            value: TaskExit {
                container_id: "web-0.g1".to_owned(),
                id: id.to_owned(),
                exit_status: 137,
                ..TaskExit::default()
            }
            .encode_to_vec(),
        };
        let (pod, happened) = read(&event("web-0.g1")).expect("an exit");
        assert_eq!(pod.as_deref(), Some("web-0.g1"));
        assert_eq!(happened.to_string(), "exited with code 137: signal 9");
        assert_eq!(read(&event("probe")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in 0..9_usize, value in prop::collection::vec(any::<u8>(), 0..60)) {
            let kinds = ["ContainerCreate", "ContainerDelete", "TaskStart", "TaskOOM", "TaskPaused",
                "TaskResumed", "TaskExit", "ImageCreate", "ImageDelete"];
            let type_url = format!("containerd.events.{}", kinds[kind]);
            let _ = read(&Any { type_url, value });
        }
    }
}
