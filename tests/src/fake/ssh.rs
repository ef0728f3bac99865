//! sshd: anybody is let in; sessions, containerd's socket, and connections to pods.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::node::Node;
use super::wire::Wire;
use super::{grpc, shell};

pub(super) fn config(key: PrivateKey) -> Config {
    Config {
        keys: vec![key],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::ZERO,
        nodelay: true,
        ..Config::default()
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(node: Arc<Node>, connection: u64, wire: Wire, config: Arc<Config>) {
    let door = Door { node: Arc::clone(&node), connection, opened: HashMap::new() };
    if let Ok(session) = russh::server::run_stream(config, wire, door).await {
        let _ = session.await;
    }
    node.forget(connection);
}

struct Door {
    node: Arc<Node>,
    connection: u64,
    opened: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        _: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.opened.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(id)?;
        let library = String::from_utf8_lossy(command)
            .split_once("head -c ")
            .and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
        if let (Some(channel), Some(library)) = (self.opened.remove(&id), library) {
            let (node, connection) = (Arc::clone(&self.node), self.connection);
            tokio::spawn(shell::serve(node, connection, channel.into_stream(), library));
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        let (node, connection) = (Arc::clone(&self.node), self.connection);
        tokio::spawn(grpc::serve(node, connection, channel.into_stream()));
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let ready = self.node.state().is_ready(host);
        let Some(ready) = ready else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move {
            let mut stream = channel.into_stream();
            let mut request = [0_u8; 512];
            if stream.read(&mut request).await.is_ok() {
                let status = if ready { "200 OK" } else { "503 Busy" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(())
    }
}
