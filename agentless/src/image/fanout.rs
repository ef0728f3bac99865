//! Blobs from node to node, so that this machine's link carries each of them once.
//!
//! Where several nodes lack a blob, this machine sends it to one; the others wait, and get it from a node that has it, each
//! of which gives it to two at a time. The giver's systemd listens for it on the node's own address, on a port of the moment,
//! and hands it to whoever knows a token of the moment; the taker's `ctr` hashes what it gets. Nothing listens any more once
//! it is there. Where that fails (a firewall between the two, an old systemd) this machine sends, as without it.
//!
//! Which nodes have a blob is known from this run alone. Small blobs are not worth it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_engine::plan::names::NodeName;
use containerd_client::services::v1 as api;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Notify;

use super::oci::Descriptor;
use super::push::Push;
use crate::containerd::within;
use crate::fault::Fault;
use crate::link::Live;
use crate::session::quote::Call;

/// The smallest blob that goes from node to node, in bytes.
const LEAST: u64 = 8 * 1024 * 1024;
/// To how many nodes one gives at a time.
const AT_ONCE: usize = 2;
/// What `blob_take` ends with when the giver does not answer.
const NOT_REACHED: u32 = 83;
/// How long a node that has nothing to do for a blob waits before it looks again.
const LOOK: Duration = Duration::from_secs(1);

/// Which nodes have which blobs, as far as this process knows.
pub(crate) struct Fanout {
    /// Whether nodes give each other anything.
    is_on: bool,
    blobs: Mutex<BTreeMap<String, Blob>>,
    /// Nodes that could not reach another one: they are asked no more to.
    alone: Mutex<BTreeSet<NodeName>>,
    changed: Notify,
}

#[derive(Default)]
struct Blob {
    holders: BTreeMap<NodeName, Holder>,
    /// Whether this machine is sending it to a node.
    sending: bool,
}

struct Holder {
    live: Arc<Live>,
    giving: usize,
    /// To whom it could not give it.
    failed: BTreeSet<NodeName>,
}

/// Who is to bring a blob to a node.
enum Turn {
    /// This machine.
    Engine,
    /// Another node.
    Node(NodeName, Arc<Live>),
}

/// This machine's turn to send a blob; over when it is dropped.
pub(super) struct Sending<'a> {
    fanout: &'a Fanout,
    /// None if nobody waits for it.
    digest: Option<&'a str>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(digest) = self.digest {
            self.fanout.with(digest, |blob| blob.sending = false);
        }
    }
}

impl Fanout {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, blobs: Mutex::default(), alone: Mutex::default(), changed: Notify::new() }
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<String, Blob>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, digest: &str, change: impl FnOnce(&mut Blob) -> T) -> T {
        let changed = change(self.blobs().entry(digest.to_owned()).or_default());
        self.changed.notify_waiters();
        changed
    }

    /// A node has a blob.
    pub(super) fn has(&self, node: &NodeName, live: &Arc<Live>, descriptor: &Descriptor) {
        if !self.is_on || descriptor.size < LEAST {
            return;
        }
        self.with(&descriptor.digest, |blob| {
            let holder = Holder { live: Arc::clone(live), giving: 0, failed: BTreeSet::new() };
            blob.holders.entry(node.clone()).or_insert(holder);
        });
    }

    fn alone(&self) -> MutexGuard<'_, BTreeSet<NodeName>> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody can bring a blob to a node.
    async fn turn(&self, node: &NodeName, digest: &str) -> Turn {
        loop {
            let changed = self.changed.notified();
            let turn = {
                let mut blobs = self.blobs();
                let blob = blobs.entry(digest.to_owned()).or_default();
                blob.holders.retain(|_, holder| holder.live.alive());
                let gives = |holder: &&Holder| !holder.failed.contains(node);
                let willing = blob.holders.values().filter(gives).count();
                let nobody = blob.holders.is_empty();
                let free = blob
                    .holders
                    .iter_mut()
                    .find(|(_, holder)| holder.giving < AT_ONCE && !holder.failed.contains(node));
                match free {
                    Some((name, holder)) => {
                        holder.giving += 1;
                        Some(Turn::Node(name.clone(), Arc::clone(&holder.live)))
                    }
                    // Those who have it are busy, or somebody is about to have it.
                    None if willing > 0 || blob.sending && nobody => None,
                    None => {
                        blob.sending = true;
                        Some(Turn::Engine)
                    }
                }
            };
            match turn {
                Some(turn) => return turn,
                // A giver whose connection ended tells nobody.
                None => drop(tokio::time::timeout(LOOK, changed).await),
            }
        }
    }

    /// A node has given a blob to another, or could not.
    fn gave(&self, giver: &NodeName, digest: &str, to: &NodeName, well: bool) {
        self.with(digest, |blob| {
            if let Some(holder) = blob.holders.get_mut(giver) {
                holder.giving = holder.giving.saturating_sub(1);
                if !well {
                    holder.failed.insert(to.clone());
                }
            }
        });
    }
}

impl Push<'_> {
    /// Brings a large blob from another node, if one has it or is about to; else it is this machine's turn to send it.
    pub(super) async fn brought_by_a_node<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> Result<Option<Sending<'a>>, Fault> {
        let (fanout, node) = (self.fanout, self.writer.link.node());
        let digest = &*descriptor.digest;
        if !fanout.is_on || descriptor.size < LEAST || fanout.alone().contains(node) {
            return Ok(Some(Sending { fanout, digest: None }));
        }
        loop {
            match fanout.turn(node, digest).await {
                Turn::Engine => return Ok(Some(Sending { fanout, digest: Some(digest) })),
                Turn::Node(giver, live) => {
                    let given = Giving { fanout, giver: &giver, digest, to: node, well: false };
                    if self.take(given, &live, descriptor).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes a blob from a node; false if that could not be done.
    async fn take(
        &self,
        mut given: Giving<'_>,
        live: &Live,
        descriptor: &Descriptor,
    ) -> Result<bool, Fault> {
        let Ok(token) = token() else { return Ok(false) };
        let hex = descriptor.digest.trim_start_matches("sha256:");
        let offer = Call::new("blob_offer").arg(hex).arg(live.address).data(&token);
        let offered = live.read(&offer).await.ok().filter(|output| output.status == 0);
        let Some((port, pid)) = offered
            .as_ref()
            .and_then(|output| output.text.trim().split_once(' '))
            .filter(|(port, pid)| port.parse::<u16>().is_ok() && pid.parse::<u32>().is_ok())
        else {
            return Ok(false);
        };
        let call = Call::new("blob_take")
            .arg(self.namespace)
            .arg(&descriptor.digest)
            .arg(descriptor.size)
            .arg(live.address)
            .arg(port)
            .data(&token);
        let taken = self.writer.run(&call).await;
        let _ = live.read(&Call::new("blob_end").arg(pid)).await;
        let taken = taken?;
        if taken.status == NOT_REACHED {
            self.fanout.alone().insert(self.writer.link.node().clone());
        }
        if taken.status != 0 {
            tracing::debug!(giver = %given.giver, said = %taken.text, "a blob was not given");
            return Ok(false);
        }
        // Ours from now on: `ctr` knows nothing of the lease.
        self.writer.note("containerd: leases.add_resource")?;
        let resource =
            api::Resource { id: descriptor.digest.clone(), r#type: "content".to_owned() };
        let add = api::AddResourceRequest { id: self.lease.to_owned(), resource: Some(resource) };
        let added = self.containerd.leases().add_resource(within(self.namespace, add)).await;
        given.well = added.is_ok() && self.has(&descriptor.digest).await?;
        Ok(given.well)
    }
}

/// A node that gives a blob to another, until this is dropped.
struct Giving<'a> {
    fanout: &'a Fanout,
    giver: &'a NodeName,
    digest: &'a str,
    to: &'a NodeName,
    well: bool,
}

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        self.fanout.gave(self.giver, self.digest, self.to, self.well);
    }
}

/// What only the two nodes know: 128 random bits.
fn token() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
