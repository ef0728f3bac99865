//! gRPC over HTTP/2, by hand: containerd's client crate brings no servers, and a mishap has to come between any two frames.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use containerd_client::services::v1 as api;
use containerd_client::types::v1::Status as TaskStatus;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::Mishap;
use super::containerd::{Refused, Task, missing, read, take};
use super::node::Node;

/// Serves a connection to the socket until it ends, or containerd restarts.
pub(super) async fn serve<S>(node: Arc<Node>, connection: u64, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Nothing may be said over the channel before its other end knows of it, and has spoken.
    let mut first = [0_u8; 24];
    let Ok(read) = stream.read(&mut first).await else { return };
    let (reader, writer) = tokio::io::split(stream);
    let said = std::io::Cursor::new(first.get(..read).unwrap_or_default().to_vec());
    let stream = tokio::io::join(AsyncReadExt::chain(said, reader), writer);
    let mut restarts = node.restarts.subscribe();
    let _ = restarts.borrow_and_update();
    let serving = async {
        let Ok(mut http) = h2::server::handshake(stream).await else { return };
        let mut calls = tokio::task::JoinSet::new();
        while let Some(Ok((request, respond))) = http.accept().await {
            calls.spawn(call(Arc::clone(&node), connection, request, respond));
        }
    };
    tokio::select! {
        () = serving => {}
        _ = restarts.changed() => {}
    }
}

/// Serves one call.
async fn call(
    node: Arc<Node>,
    connection: u64,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let header = |key: &str| {
        let value = request.headers().get(key).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (namespace, lease) = (header("containerd-namespace"), header("containerd-lease"));
    let path = request.uri().path().to_owned();
    let mut body = Messages { stream: request.into_body(), buffer: BytesMut::new() };
    if !node.hears(connection) {
        return;
    }
    let mishap = node.script.next(&node.name, &path);
    if !node.before(connection, mishap) {
        return;
    }
    let refused = match mishap {
        Some(Mishap::Refused) => Some((2, "it is refused".to_owned())),
        Some(Mishap::DiskFull) => Some((2, "write /x: no space left on device".to_owned())),
        _ => None,
    };
    let mut answer = Answer { respond, stream: None };
    let done = if let Some(refused) = refused {
        Err(refused)
    } else if path.ends_with("Content/Write") {
        write(&node, connection, (&namespace, &lease), &mut body, &mut answer).await
    } else {
        let Some(message) = body.next().await else { return };
        if path.ends_with("Tasks/Wait") {
            wait(&node, &namespace, &message).await
        } else {
            let done = node.state().unary(connection, (&namespace, &lease), &path, &message);
            node.exits.notify_waiters();
            done
        }
    };
    if node.after(connection, mishap) {
        let done =
            if mishap == Some(Mishap::Garbage) { Ok(b"\xff\xff garbage".to_vec()) } else { done };
        let _ = answer.end(done);
    }
}

/// Waits until a task has ended.
async fn wait(node: &Node, namespace: &str, message: &[u8]) -> Result<Vec<u8>, Refused> {
    let request: api::WaitRequest = read(message)?;
    loop {
        let ended = node.exits.notified();
        let state = {
            let state = node.state();
            let space = state.namespaces.get(namespace);
            space.and_then(|space| space.tasks.get(&request.container_id)).copied()
        };
        match state {
            None => return missing(&request.container_id),
            Some(Task { status: TaskStatus::Stopped, exit, .. }) => {
                let answer = api::WaitResponse { exit_status: exit, exited_at: None };
                return Ok(answer.encode_to_vec());
            }
            Some(_) => ended.await,
        }
    }
}

/// Takes a blob, message by message; the answer to its end is the caller's to send.
async fn write(
    node: &Node,
    connection: u64,
    (namespace, lease): (&str, &str),
    body: &mut Messages,
    answer: &mut Answer,
) -> Result<Vec<u8>, Refused> {
    while let Some(message) = body.next().await {
        if !node.hears(connection) {
            break;
        }
        let request: api::WriteContentRequest = read(&message)?;
        let committed = request.action == api::WriteAction::Commit as i32;
        let taken = take(&mut node.state(), connection, (namespace, lease), request)?;
        if committed {
            return Ok(taken);
        }
        if answer.message(taken).is_err() {
            break;
        }
    }
    Err((1, "the write was cancelled".to_owned()))
}

/// A request's messages.
struct Messages {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Messages {
    /// The next one, if there is one.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<5>() {
                let [_, a, b, c, d] = *header;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.buffer.len() >= length + 5 {
                    self.buffer.advance(5);
                    return Some(self.buffer.split_to(length).to_vec());
                }
            }
            let data = self.stream.data().await?.ok()?;
            let _ = self.stream.flow_control().release_capacity(data.len());
            self.buffer.extend_from_slice(&data);
        }
    }
}

/// An answer on its way.
struct Answer {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
}

impl Answer {
    fn open(&mut self) -> Result<&mut SendStream<Bytes>, h2::Error> {
        if self.stream.is_none() {
            let mut response = Response::new(());
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", grpc);
            self.stream = Some(self.respond.send_response(response, false)?);
        }
        self.stream.as_mut().ok_or_else(|| h2::Reason::INTERNAL_ERROR.into())
    }

    /// Sends a message.
    fn message(&mut self, message: Vec<u8>) -> Result<(), h2::Error> {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.extend_from_slice(&[0]);
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend_from_slice(&message);
        self.open()?.send_data(framed.freeze(), false)
    }

    /// Sends the last message, or why there is none.
    fn end(mut self, done: Result<Vec<u8>, Refused>) -> Result<(), h2::Error> {
        let mut trailers = HeaderMap::new();
        let (code, words) = match done {
            Ok(message) => {
                self.message(message)?;
                (0, String::new())
            }
            Err(refused) => refused,
        };
        trailers.insert("grpc-status", HeaderValue::from(u64::from(code)));
        // As gRPC spells it: what is no plain ASCII, and the percent sign, by its bytes.
        let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'%';
        let words: String =
            words
                .bytes()
                .map(|byte| {
                    if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
                })
                .collect();
        if let Ok(words) = HeaderValue::from_str(&words) {
            trailers.insert("grpc-message", words);
        }
        self.open()?.send_trailers(trailers)
    }
}
