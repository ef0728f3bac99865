//! A cron's container, started by a person and not by its timer.

use berth_engine::plan::names::{NodeName, PodId, Tenant};
use berth_engine::run::host::{HostError, Refusal};

use crate::host::SshHost;
use crate::link::said;
use crate::session::quote::Call;

impl SshHost {
    /// Has a cron's node start it now, as its timer would. Says whether it did: it does not if it runs just now.
    ///
    /// # Errors
    /// If the node can't be reached, or has no timer for it.
    pub async fn run_cron(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
    ) -> Result<bool, HostError> {
        let link = self.link(node)?;
        let call = Call::new("cron_run").arg(tenant.namespace()).arg(pod);
        self.reading(link, async {
            let live = link.live().await?;
            let output = live.read(&call).await?;
            match output.status {
                0 => Ok(true),
                84 => Ok(false),
                status => Err(Refusal::Failed {
                    what: format!("start {pod}"),
                    why: said(status, &output.text),
                }
                .into()),
            }
        })
        .await
    }
}
