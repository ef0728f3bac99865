//! Telling of every call to a node: which, how long it took, how it ended. For `-vv`; nothing is read back.
//!
//! Two things carry calls: the guarded session and the gRPC channel. Both tell here, in one form. Data of a
//! call is left out, as it is of the record of writes.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::Channel;

/// The most characters of a call that are told.
const LONGEST: usize = 120;

/// Tells of one node's calls.
#[derive(Clone, Debug)]
pub(crate) struct Teller(Arc<str>);

impl Teller {
    pub(crate) fn new(node: &str) -> Self {
        Self(Arc::from(node))
    }

    /// Tells of a call.
    pub(crate) fn tell(&self, call: &str, took: Duration, ended: &str) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let mut call: String = call.escape_debug().collect();
        if let Some((cut, _)) = call.char_indices().nth(LONGEST) {
            call.truncate(cut);
            call.push('…');
        }
        let (millis, tenths) = (took.as_millis(), took.subsec_micros() / 100 % 10);
        tracing::debug!("{}  {millis}.{tenths} ms  {ended}  {call}", self.0);
    }
}

/// A gRPC channel whose calls are told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    channel: Channel,
    teller: Teller,
}

impl Told {
    pub(crate) fn new(channel: Channel, teller: Teller) -> Self {
        Self { channel, teller }
    }
}

impl Service<Request<Body>> for Told {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let teller = self.teller.clone();
        // `/containerd.services.containers.v1.Containers/Create`: the last two words are enough.
        let path = request.uri().path();
        let call = path.rsplit('.').next().unwrap_or(path).to_owned();
        let start = Instant::now();
        let answer = Service::call(&mut self.channel, request);
        Box::pin(async move {
            let answer = answer.await;
            // A call that fails says so in its head; what comes later, of a stream, is not waited for.
            let status =
                answer.as_ref().map(|answer| tonic::Status::from_header_map(answer.headers()));
            let ended = match &status {
                Ok(None) => "ok".to_owned(),
                Ok(Some(status)) if status.code() == tonic::Code::Ok => "ok".to_owned(),
                Ok(Some(status)) => format!("{:?}", status.code()),
                Err(error) => format!("failed: {error}"),
            };
            teller.tell(&call, start.elapsed(), &ended);
            answer
        })
    }
}
