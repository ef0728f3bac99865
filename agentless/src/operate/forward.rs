//! A TCP connection to a pod, which its node opens for us.
//!
//! sshd connects from the node to the pod's own address, so what listens on the pod's loopback only
//! is not reached that way; there a stock `bash` in the pod's network namespace is.

use berth_engine::plan::names::{NodeName, PodId, Tenant};
use berth_engine::run::host::{HostError, Layer, Refusal};
use russh::ChannelOpenFailure;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::channel::start;
use crate::fault::Fault;
use crate::host::SshHost;
use crate::link::Live;
use crate::session::quote::Call;

/// Both ways of one connection to a port of a pod.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl SshHost {
    /// Connects to a port of a pod, at whichever of its addresses answers.
    ///
    /// # Errors
    /// If the node can't be reached, or nothing in the pod listens there.
    pub async fn connect_pod(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        address: std::net::IpAddr,
        port: u16,
    ) -> Result<Box<dyn Stream>, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            match live.direct_tcpip(address, port).await {
                Ok(channel) => Ok(Box::new(channel.into_stream()) as Box<dyn Stream>),
                Err(russh::Error::ChannelOpenFailure(
                    ChannelOpenFailure::AdministrativelyProhibited
                    | ChannelOpenFailure::UnknownChannelType
                    | ChannelOpenFailure::ConnectFailed,
                )) => {
                    let namespace = format!("{}-{pod}", tenant.namespace());
                    let ask = Call::new("pod_listens").arg(&namespace).arg(address).arg(port);
                    let at = live.read(&ask).await?;
                    if at.status != 0 {
                        return Err(Refusal::InUse(format!(
                            "nothing in {pod} listens on port {port}"
                        ))
                        .into());
                    }
                    relay(&live, &namespace, at.text.trim(), port).await
                }
                Err(error) => Err(Fault::Unreachable {
                    layer: Layer::Forwarding,
                    why: format!("{pod} port {port}: {error}"),
                }),
            }
        })
        .await
    }
}

/// Carries bytes between the channel and a socket, until the socket ends; if the channel ends first, a
/// minute longer at most.
const RELAY: &str = "exec 3<>\"/dev/tcp/$1/$2\" || exit 1; exec 4<&0; echo; \
    { cat <&4 >&3; sleep 60; kill $$; } >/dev/null 2>&1 & cat <&3; kill $!";

/// Carries the bytes through a shell in the pod's network namespace.
async fn relay(
    live: &Live,
    namespace: &str,
    address: &str,
    port: u16,
) -> Result<Box<dyn Stream>, Fault> {
    let words: Vec<String> = ["nsenter", &format!("--net=/run/netns/{namespace}"), "bash", "-c"]
        .into_iter()
        .chain([RELAY, "bash", address, &port.to_string()])
        .map(str::to_owned)
        .collect();
    let mut stream = start(live, &words).await?.into_stream();
    // The empty line says that it is connected.
    match stream.read_u8().await {
        Ok(b'\n') => Ok(Box::new(stream)),
        Ok(_) | Err(_) => {
            let why = format!("{address} in the pod refuses connections to port {port}");
            Err(Refusal::InUse(why).into())
        }
    }
}
