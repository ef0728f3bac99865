//! gRPC to a node's containerd, over a channel of the node's SSH connection.
//!
//! This module knows the wire and the namespace header. It does not know images or pods.

use std::time::Duration;

use berth_engine::run::host::Layer;
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::version_client::VersionClient;
use hyper_util::rt::TokioIo;
use russh::ChannelOpenFailure;
use russh::client::Handle;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use crate::connect::dial::Checker;
use crate::fault::Fault;
use crate::told::{Teller, Told};

/// Where containerd listens.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// The most that one answer may hold.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// HTTP/2 windows: as wide as the SSH channel's own.
const WINDOW: u32 = 2 * 1024 * 1024;

/// Copies between standard input and output and a socket until one of them ends.
const RELAY: &str = "use IO::Socket::UNIX; use IO::Select; \
    my $s = IO::Socket::UNIX->new(Peer => shift) or die \"$!\\n\"; \
    my $both = IO::Select->new(\\*STDIN, $s); \
    while (1) { for my $from ($both->can_read) { \
    sysread($from, my $data, 65536) or exit; \
    my $to = $from == $s ? \\*STDOUT : $s; \
    while (length $data) { my $n = syswrite($to, $data) or exit; substr($data, 0, $n, \"\") } } }";

/// The snapshotter that Berth uses; part of every containerd.
pub(crate) const SNAPSHOTTER: &str = "overlayfs";

/// containerd on one node.
#[derive(Clone)]
pub(crate) struct Containerd {
    channel: Told,
}

macro_rules! clients {
    ($($name:ident: $client:ident),* $(,)?) => {
        $(pub(crate) fn $name(&self) -> $client<Told> {
            $client::new(self.channel.clone())
                .max_decoding_message_size(ANSWER_LIMIT)
                .max_encoding_message_size(ANSWER_LIMIT)
        })*
    };
}

impl Containerd {
    clients! {
        containers: ContainersClient,
        content: ContentClient,
        diff: DiffClient,
        events: EventsClient,
        images: ImagesClient,
        leases: LeasesClient,
        namespaces: NamespacesClient,
        snapshots: SnapshotsClient,
        tasks: TasksClient,
        version: VersionClient,
    }

    /// Opens the socket through SSH and speaks HTTP/2 over it.
    pub(crate) async fn open(
        handle: &Handle<Checker>,
        timeout: Duration,
        teller: Teller,
    ) -> Result<Self, Fault> {
        let channel = handle.channel_open_direct_streamlocal(SOCKET).await;
        Self::over(channel.map_err(|error| not_open(&error))?, timeout, teller).await
    }

    /// The same where sshd forbids forwarding, or the login may not open the socket itself: perl,
    /// which is part of every Debian, relays it, under sudo if need be. It ends with the channel.
    pub(crate) async fn open_relayed(
        handle: &Handle<Checker>,
        user: &str,
        timeout: Duration,
        teller: Teller,
    ) -> Result<Self, Fault> {
        let channel = handle.channel_open_session().await.map_err(|error| not_open(&error))?;
        let sudo = if user == "root" { "" } else { "sudo -n " };
        let command = format!("exec {sudo}perl -e '{RELAY}' {SOCKET}");
        channel.exec(false, command).await.map_err(|error| not_open(&error))?;
        Self::over(channel, timeout, teller).await
    }

    async fn over(
        channel: russh::Channel<russh::client::Msg>,
        timeout: Duration,
        teller: Teller,
    ) -> Result<Self, Fault> {
        let mut stream = Some(TokioIo::new(channel.into_stream()));
        // The address is a word that tonic wants; the stream is there already, and once it is
        // gone there is no other: a new connection is the link's business.
        let connector = connector(move || {
            let stream = stream.take();
            async move {
                stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset))
            }
        });
        let channel = Endpoint::from_static("http://containerd")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .connect_timeout(timeout)
            .connect_with_connector(connector)
            .await
            .map_err(|error| Fault::Unreachable {
                layer: Layer::Containerd,
                why: format!("no HTTP/2 on {SOCKET}: {error}; see `journalctl -u containerd`"),
            })?;
        Ok(Self { channel: Told::new(channel, teller) })
    }
}

/// Makes a closure the service that tonic asks for a stream.
fn connector<F, S>(make: F) -> Connector<F>
where
    F: FnMut() -> S,
{
    Connector(make)
}

struct Connector<F>(F);

impl<F, S, T> tower_service::Service<tonic::transport::Uri> for Connector<F>
where
    F: FnMut() -> S,
    S: Future<Output = std::io::Result<T>>,
{
    type Response = T;
    type Error = std::io::Error;
    type Future = S;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::transport::Uri) -> S {
        (self.0)()
    }
}

/// sshd answers `ConnectFailed` when it could not connect to the socket, and does not say why.
fn not_open(error: &russh::Error) -> Fault {
    let (layer, why) = match error {
        russh::Error::ChannelOpenFailure(
            ChannelOpenFailure::ConnectFailed | ChannelOpenFailure::AdministrativelyProhibited,
        ) => (
            Layer::Containerd,
            format!(
                "nothing answers on {SOCKET}; if containerd is installed, `systemctl start containerd`, else `apt-get install containerd`"
            ),
        ),
        error => (Layer::Forwarding, format!("{SOCKET}: {error}")),
    };
    Fault::Unreachable { layer, why }
}

/// Addresses a request to a namespace.
pub(crate) fn within<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(value) = namespace.parse::<MetadataValue<Ascii>>() {
        request.metadata_mut().insert("containerd-namespace", value);
    }
    request
}

/// Addresses a request to a namespace, and keeps what it makes from being collected while the
/// lease lasts.
pub(crate) fn leased<T>(namespace: &str, lease: &str, message: T) -> Request<T> {
    let mut request = within(namespace, message);
    if let Ok(value) = lease.parse::<MetadataValue<Ascii>>() {
        request.metadata_mut().insert("containerd-lease", value);
    }
    request
}
