//! The clock port: the time of day, time that passes, and waiting.
//!
//! What is written down has the time of day, which somebody may set while we work. Whatever waits, or
//! gives something so long, counts passed time.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time of day, passed time, and waiting.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970, by a clock that may be wrong, and be set at any moment.
    fn now_ms(&self) -> u64;

    /// Milliseconds that passed since some moment before; never less than a moment ago.
    fn passed_ms(&self) -> u64;

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

    #[expect(clippy::disallowed_methods, reason = "this is the port's one real implementation")]
    fn passed_ms(&self) -> u64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let first = FIRST.get_or_init(Instant::now);
        u64::try_from(first.elapsed().as_millis()).unwrap_or(u64::MAX)
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
    /// When the time of day is set, by how many milliseconds, if it is.
    set: Option<(u64, i64)>,
}

impl SimulatedClock {
    /// Starts at `epoch_ms` milliseconds since 1970. Must be called inside a runtime whose time
    /// is paused.
    pub fn starting_at(epoch_ms: u64) -> Self {
        Self { start: tokio::time::Instant::now(), epoch_ms, set: None }
    }

    /// The same, and after so many milliseconds somebody sets the time of day by so many.
    #[must_use]
    pub fn set_after(self, after_ms: u64, by_ms: i64) -> Self {
        Self { set: Some((after_ms, by_ms)), ..self }
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> u64 {
        let passed = self.passed_ms();
        let now = self.epoch_ms.saturating_add(passed);
        let by = self.set.filter(|(after, _)| passed >= *after).map_or(0, |(_, by)| by);
        now.saturating_add_signed(by)
    }

    fn passed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
