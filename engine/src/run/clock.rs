//! The clock port: wall time and waiting.

use std::future::Future;
use std::time::Duration;

/// Wall time and waiting.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's one real implementation")]
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Time that passes only while everyone waits: tokio's paused clock, counted from a fixed start.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedClock {
    start: tokio::time::Instant,
    epoch_ms: u64,
}

impl SimulatedClock {
    /// Starts at `epoch_ms` milliseconds since 1970. Must be called inside a runtime whose time
    /// is paused.
    pub fn starting_at(epoch_ms: u64) -> Self {
        Self { start: tokio::time::Instant::now(), epoch_ms }
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.epoch_ms.saturating_add(passed)
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
