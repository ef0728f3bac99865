//! A TCP stream that can be cut: from outside, or when so many bytes have passed.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By a reset.
    Reset,
    /// By an orderly end of both directions.
    Fin,
    /// Not at all: nothing arrives any more, and nobody says so.
    BlackHole,
}

/// A connection's fate, shared between its stream and whoever cuts it.
#[derive(Debug, Default)]
pub(super) struct Line {
    fate: Mutex<Fate>,
    passed: AtomicU64,
}

#[derive(Debug, Default)]
struct Fate {
    cut: Option<Cut>,
    /// When so many bytes have passed, both ways together.
    planned: Option<(u64, Cut)>,
    reader: Option<Waker>,
    /// Who waits for the cut.
    watcher: Option<Waker>,
}

impl Fate {
    fn end(&mut self, cut: Cut) {
        self.cut.get_or_insert(cut);
        for waker in self.reader.take().into_iter().chain(self.watcher.take()) {
            waker.wake();
        }
    }
}

impl Line {
    pub(super) fn new(planned: Option<(u64, Cut)>) -> Self {
        Self { fate: Mutex::new(Fate { planned, ..Fate::default() }), passed: AtomicU64::new(0) }
    }

    /// Cuts it now.
    pub(super) fn cut(&self, cut: Cut) {
        self.fate.lock().expect("a fate").end(cut);
    }

    /// Waits until it is cut.
    pub(super) async fn when_cut(&self) -> Cut {
        std::future::poll_fn(|context| {
            let mut fate = self.fate.lock().expect("a fate");
            match fate.cut {
                Some(cut) => Poll::Ready(cut),
                None => {
                    fate.watcher = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub(super) fn is_cut(&self) -> bool {
        self.fate.lock().expect("a fate").cut.is_some()
    }

    /// How many bytes have passed.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Counts bytes, and gives how many of them may still pass.
    fn pass(&self, bytes: usize) -> usize {
        let before = self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut fate = self.fate.lock().expect("a fate");
        let Some((at, cut)) = fate.planned else { return bytes };
        if before + (bytes as u64) < at {
            return bytes;
        }
        fate.end(cut);
        usize::try_from(at.saturating_sub(before)).unwrap_or(bytes).min(bytes)
    }
}

/// The server's end of a connection.
pub(super) struct Wire {
    stream: TcpStream,
    line: std::sync::Arc<Line>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, line: std::sync::Arc<Line>) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, line }
    }

    /// What became of it, and who is to hear when that changes.
    fn fate(&self, context: Option<&Context<'_>>) -> Option<Cut> {
        let mut fate = self.line.fate.lock().expect("a fate");
        if let Some(context) = context {
            fate.reader = Some(context.waker().clone());
        }
        fate.cut
    }

    fn end(&self, cut: Cut) -> Error {
        let socket = SockRef::from(&self.stream);
        let _ = match cut {
            Cut::Fin => socket.shutdown(std::net::Shutdown::Write),
            Cut::Reset | Cut::BlackHole => socket.set_linger(Some(Duration::ZERO)),
        };
        Error::from(ErrorKind::ConnectionReset)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match self.fate(Some(context)) {
            Some(Cut::BlackHole) => return Poll::Pending,
            Some(cut) => return Poll::Ready(Err(self.end(cut))),
            None => {}
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = &read {
            let new = buffer.filled().len() - before;
            let passes = self.line.pass(new);
            buffer.set_filled(before + passes);
            if passes < new && passes == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        match self.fate(None) {
            Some(Cut::BlackHole) => return Poll::Ready(Ok(bytes.len())),
            Some(cut) => return Poll::Ready(Err(self.end(cut))),
            None => {}
        }
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(wrote)) = &wrote {
            self.line.pass(*wrote);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
