//! One TCP connection, tuned for SSH: no Nagle on our side, no delayed ACK.
//!
//! OpenSSH 9.2's sshd leaves Nagle on for connections that only forward; its small replies then
//! wait for our delayed ACK, some 40 ms each. Asking for quick ACKs after each read mends it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use berth_engine::run::host::Layer;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fault::Fault;

/// A TCP stream that acknowledges at once.
#[derive(Debug)]
pub(crate) struct Quick(TcpStream);

impl AsyncRead for Quick {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        if polled.is_ready() {
            #[cfg(target_os = "linux")]
            let _ = SockRef::from(&self.0).set_tcp_quickack(true);
        }
        polled
    }
}

impl AsyncWrite for Quick {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Connects to the first address of a host that accepts.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<(Quick, SocketAddr), Fault> {
    let at = |layer, why| Fault::Unreachable { layer, why };
    let lookup = tokio::time::timeout(timeout, tokio::net::lookup_host((host, port)));
    let addresses: Vec<SocketAddr> = match lookup.await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(at(Layer::Dns, format!("{host}: {error}"))),
        Err(_) => return Err(at(Layer::Dns, format!("{host}: no answer in {timeout:?}"))),
    };
    let mut last = at(Layer::Dns, format!("{host} has no address"));
    for address in addresses {
        match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream
                    .set_nodelay(true)
                    .map_err(|error| at(Layer::Tcp, format!("{address}: {error}")))?;
                return Ok((Quick(stream), address));
            }
            Ok(Err(error)) => last = at(Layer::Tcp, format!("{address}: {error}")),
            Err(_) => last = at(Layer::Tcp, format!("{address}: no answer in {timeout:?}")),
        }
    }
    Err(last)
}
