//! One node: one SSH connection, shared by all verbs, opened when it is first needed.
//!
//! A connection carries the guarded session and a gRPC channel to containerd. A lock belongs to
//! the connection that it was taken over. When that is gone, reads open another one; writes are
//! refused until the lock is taken again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_engine::plan::action::Write;
use berth_engine::plan::names::NodeName;
use berth_engine::run::host::{Layer, LockClaim, Refusal};
use russh::client::{Handle, Msg};
use russh::{Channel, Disconnect};
use tokio::sync::Mutex as AsyncMutex;

use crate::connect::dial::{Checker, Dialed, Dialer, Target, dial};
use crate::containerd::Containerd;
use crate::fault::Fault;
use crate::image::fanout::Fanout;
use crate::image::oci::ImageConfig;
use crate::record::Record;
use crate::session::quote::Call;
use crate::session::shell::{Ended, Output, Shell};
use crate::told::Teller;

/// A node that can be talked to.
pub(crate) struct Link {
    node: NodeName,
    target: Target,
    dialer: Arc<Dialer>,
    record: Record,
    live: AsyncMutex<Option<Arc<Live>>>,
    locked: Mutex<Option<Arc<Live>>>,
    /// Serialises taking and giving the lock.
    locking: AsyncMutex<()>,
    /// Which nodes have which blobs by now; all links' own.
    pub(crate) fanout: Arc<Fanout>,
    /// Configurations of images, by manifest digest: content never changes.
    pub(crate) images: Mutex<HashMap<String, Arc<ImageConfig>>>,
}

/// An open connection.
pub(crate) struct Live {
    handle: Handle<Checker>,
    timeout: Duration,
    pub(crate) shell: Shell,
    pub(crate) containerd: Containerd,
    /// The address that was reached.
    pub(crate) address: IpAddr,
    /// Whether the login is root, so that nothing needs sudo.
    pub(crate) root: bool,
}

impl Live {
    pub(crate) fn alive(&self) -> bool {
        self.shell.alive() && !self.handle.is_closed()
    }

    /// Opens another session of the same login.
    pub(crate) async fn session(&self) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_session().await
    }

    /// Opens a TCP connection from the node.
    pub(crate) async fn direct_tcpip(
        &self,
        host: IpAddr,
        port: u16,
    ) -> Result<Channel<Msg>, russh::Error> {
        self.direct_tcpip_to(&host.to_string(), port).await
    }

    /// The same to a host by its name, as the node knows it.
    pub(crate) async fn direct_tcpip_to(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await
    }

    /// A channel of its own for much data, so that control calls don't wait behind it; the
    /// ordinary one if there is no other.
    pub(crate) async fn bulk(&self) -> Containerd {
        match Containerd::open(&self.handle, self.timeout, self.shell.teller.clone()).await {
            Ok(containerd) => containerd,
            Err(_) => self.containerd.clone(),
        }
    }

    async fn close(&self) {
        self.shell.bye();
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
    }
}

impl Link {
    pub(crate) fn new(
        node: NodeName,
        target: Target,
        (dialer, fanout): (Arc<Dialer>, Arc<Fanout>),
        record: Record,
    ) -> Self {
        Self {
            node,
            target,
            dialer,
            record,
            fanout,
            live: AsyncMutex::new(None),
            locked: Mutex::new(None),
            locking: AsyncMutex::new(()),
            images: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }

    /// Another connection, logged in, with nothing on it.
    pub(crate) async fn dial(&self) -> Result<Dialed, Fault> {
        dial(&self.dialer, &self.target).await
    }

    /// The open connection, or a new one.
    pub(crate) async fn live(&self) -> Result<Arc<Live>, Fault> {
        let mut slot = self.live.lock().await;
        if let Some(live) = slot.as_ref().filter(|live| live.alive()) {
            return Ok(live.clone());
        }
        let Dialed { handle, address, user } = self.dial().await?;
        let timeout = self.dialer.timeout;
        let teller = Teller::new(self.node.as_str());
        let (shell, opened) = tokio::join!(
            Shell::start(&handle, &user, teller.clone()),
            Containerd::open(&handle, timeout, teller)
        );
        let shell = shell?;
        let containerd = match opened {
            Ok(containerd) => containerd,
            Err(fault) => self.another_way((&handle, &user), &shell, fault).await?,
        };
        // Behind a jump host only the node knows by which of its addresses it was reached.
        let address = address.or(shell.reached).ok_or_else(|| Fault::Unreachable {
            layer: Layer::Session,
            why: "it does not say by which address it was reached; write an address as `host`"
                .to_owned(),
        })?;
        let root = user == "root";
        let live = Arc::new(Live { handle, timeout, shell, containerd, address, root });
        *slot = Some(live.clone());
        Ok(live)
    }

    /// Runs a reading function, whether or not containerd answers: over the open connection, or over one of its own.
    pub(crate) async fn without_containerd(&self, call: &Call) -> Result<Output, Fault> {
        let open = self.live.lock().await.clone().filter(|live| live.alive());
        if let Some(live) = open {
            return live.read(call).await;
        }
        let Dialed { handle, address: _, user } = self.dial().await?;
        let shell = Shell::start(&handle, &user, Teller::new(self.node.as_str())).await?;
        let output = shell.run(call).await;
        shell.bye();
        let _ = handle.disconnect(Disconnect::ByApplication, "", "en").await;
        output.map_err(|Ended| ended())
    }

    /// Finds out why containerd's socket did not open, and tries a relay where that may help.
    async fn another_way(
        &self,
        (handle, user): (&Handle<Checker>, &str),
        shell: &Shell,
        fault: Fault,
    ) -> Result<Containerd, Fault> {
        let Fault::Unreachable { layer: Layer::Containerd, .. } = fault else {
            return Err(fault);
        };
        let state = shell.run(&Call::new("containerd_state")).await;
        let state = state.map(|output| output.text).unwrap_or_default();
        let (layer, why) = match state.trim() {
            "denied" => match Containerd::open_relayed(
                handle,
                user,
                self.dialer.timeout,
                shell.teller.clone(),
            )
            .await
            {
                Ok(containerd) => return Ok(containerd),
                Err(fault) => {
                    tracing::debug!(?fault, "no relay");
                    denied(user)
                }
            },
            "stopped" => (
                Layer::Containerd,
                "containerd is not running; `systemctl start containerd`, or see `journalctl -u containerd`"
                    .to_owned(),
            ),
            "absent" => (
                Layer::Containerd,
                "containerd is not installed; `apt-get install containerd runc`".to_owned(),
            ),
            _ => return Err(fault),
        };
        Err(Fault::Unreachable { layer, why })
    }

    /// Takes the lock, or finds that it is held already.
    pub(crate) async fn lock(&self, claim: &LockClaim) -> Result<(), Fault> {
        let _one = self.locking.lock().await;
        if self.held().is_some() {
            return Ok(());
        }
        let live = self.live().await?;
        live.shell.lock(claim).await?;
        *self.slot() = Some(live);
        Ok(())
    }

    pub(crate) async fn unlock(&self) {
        let _one = self.locking.lock().await;
        let held = self.slot().take();
        if let Some(live) = held.filter(|live| live.alive()) {
            let _ = tokio::time::timeout(self.dialer.timeout, live.shell.unlock()).await;
        }
    }

    /// The connection that holds the lock: the only one that writes may go over.
    pub(crate) fn writer(&self, write: Write) -> Result<Writer<'_>, Fault> {
        match self.held() {
            Some(live) => Ok(Writer { link: self, live, write }),
            None => Err(Refusal::NotLocked.into()),
        }
    }

    /// A writer without the lock, for what is in no engine's way: content that is found by its digest.
    pub(crate) fn visitor(&self, live: Arc<Live>, write: Write) -> Writer<'_> {
        Writer { link: self, live, write }
    }

    fn held(&self) -> Option<Arc<Live>> {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|live| !live.alive()) {
            *slot = None;
        }
        slot.clone()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Live>>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn close(&self) {
        self.unlock().await;
        if let Some(live) = self.live.lock().await.take() {
            live.close().await;
        }
    }
}

/// Why containerd's socket did not open although containerd runs, and perl could not relay it.
fn denied(user: &str) -> (Layer, String) {
    if user == "root" {
        let why = "containerd runs, but sshd does not open its socket for us; set `AllowStreamLocalForwarding yes` and `AllowTcpForwarding local` in sshd_config, or install perl there";
        return (Layer::Forwarding, why.to_owned());
    }
    let why = format!(
        "`{user}` may not open containerd's socket, and perl under sudo could not relay it; log in as root, or give the socket a group of `{user}` (`gid` under `[grpc]` in /etc/containerd/config.toml)"
    );
    (Layer::Permission, why)
}

/// A connection that holds the node's lock, for one action's writes.
pub(crate) struct Writer<'a> {
    pub(crate) link: &'a Link,
    pub(crate) live: Arc<Live>,
    write: Write,
}

impl<'a> Writer<'a> {
    /// The same for another thing that is written beside it.
    pub(crate) fn also(&self, write: Write) -> Writer<'a> {
        Writer { link: self.link, live: Arc::clone(&self.live), write }
    }

    /// Notes a mutating gRPC call just before it is sent, and refuses it if the lock is gone.
    pub(crate) fn note(&self, call: &str) -> Result<(), Fault> {
        if !self.live.alive() {
            return Err(Refusal::NotLocked.into());
        }
        self.link.record.push(&self.link.node, &self.write, call);
        Ok(())
    }

    /// Runs a mutating function on the node.
    pub(crate) async fn run(&self, call: &Call) -> Result<Output, Fault> {
        self.note(call.shown())?;
        self.live.shell.run(call).await.map_err(|Ended| Fault::Lost(call.function().to_owned()))
    }

    /// Runs a mutating function that must succeed.
    pub(crate) async fn must(&self, what: &str, call: &Call) -> Result<String, Fault> {
        let output = self.run(call).await?;
        match output.status {
            0 => Ok(output.text),
            status => Err(Fault::failed(what, &said(status, &output.text))),
        }
    }

    pub(crate) fn containerd(&self) -> &Containerd {
        &self.live.containerd
    }
}

/// What a function of the node said when it failed.
pub(crate) fn said(status: u32, text: &str) -> String {
    if text.trim().is_empty() { format!("status {status}") } else { text.to_owned() }
}

impl Live {
    /// Runs a reading function.
    pub(crate) async fn read(&self, call: &Call) -> Result<Output, Fault> {
        self.shell.run(call).await.map_err(|Ended| ended())
    }
}

fn ended() -> Fault {
    let why = "the session ended during a read".to_owned();
    Fault::Unreachable { layer: Layer::Session, why }
}
