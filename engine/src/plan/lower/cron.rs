//! Lowering of crons: what a node runs to its end, time and again.

use std::collections::{BTreeMap, BTreeSet};

use berth_lang::{Resource, Value};

use super::{ImageName, Lowering, duration, number, origin, text};
use crate::plan::graph::{Scale, Workload};
use crate::plan::names::ImageDigest;
use crate::plan::schedule::Cron;

impl Lowering<'_> {
    pub(super) fn cron(
        &mut self,
        resource: &Resource,
        digests: &BTreeMap<ImageName, ImageDigest>,
        own: &BTreeSet<&str>,
    ) -> Option<Workload> {
        let value = resource.value();
        let cron = self.schedule(resource);
        let mut batch = self.batch(resource, digests, own)?;
        batch.template.cron = Some(Box::new(cron?));
        let suspended = matches!(value.get("suspend"), Some(Value::Bool(true)));
        Some(Workload {
            replicas: u32::from(!suspended),
            // `berth stop` suspends it, too.
            scale: Some(Scale { min: 0, max: 1 }),
            ..batch
        })
    }

    /// When it runs, and how.
    fn schedule(&mut self, resource: &Resource) -> Option<Cron> {
        let value = resource.value();
        let every = value.get("every")?;
        let timeout_ms = duration(value, "timeout").unwrap_or(3_600_000);
        if timeout_ms < 1000 {
            self.report(
                "E0561",
                origin(resource, "timeout"),
                "nothing runs to its end in no time",
                "write how long it may take, with all that is tried again: `timeout: 1h`",
            );
        }
        Some(Cron {
            schedule: text(every, "at")?,
            zone: text(every, "zone")?,
            retries: number(value, "retries").unwrap_or(0),
            timeout_ms,
            catch_up: matches!(value.get("catch_up"), Some(Value::Bool(true))),
        })
    }
}
