//! Tenure: whether this engine's apply is still the fleet's.
//!
//! An engine that was paused or cut off loses its sessions, and with them its locks; another may
//! have applied since. So a lock is never simply taken again: the keeper's comes first, then the
//! ledger must still end with this apply's own line, and only then the node's lock is taken. While
//! the keeper's lock is held nobody else can begin.

use std::sync::{Mutex, PoisonError};

use super::host::{Host, HostError, LockClaim};
use super::ledger::{self, LedgerFault};
use crate::plan::names::{NodeName, Tenant};

/// One apply's hold on the fleet.
pub struct Tenure<'a, H> {
    host: &'a H,
    keeper: &'a NodeName,
    tenant: &'a Tenant,
    claim: &'a LockClaim,
    /// The hash of this apply's last line.
    head: Mutex<String>,
}

/// Why a lock could not be taken again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenureError {
    /// Another engine has applied since: nothing more may be done.
    #[error("another engine has taken over: {0}; nothing more was done")]
    Overtaken(String),
    /// A node did not answer, or is locked by somebody else.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
}

impl<'a, H: Host> Tenure<'a, H> {
    /// Begins with the hash of the apply's first line.
    pub fn new(
        host: &'a H,
        keeper: &'a NodeName,
        tenant: &'a Tenant,
        claim: &'a LockClaim,
        head: &str,
    ) -> Self {
        Self { host, keeper, tenant, claim, head: Mutex::new(head.to_owned()) }
    }

    /// Takes note of a further line of this apply's own.
    pub fn advance(&self, head: &str) {
        head.clone_into(&mut self.head.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes a node's lock again, if the apply is still the fleet's.
    ///
    /// # Errors
    /// [`TenureError::Overtaken`] if it is not.
    pub async fn regain(&self, node: &NodeName) -> Result<(), TenureError> {
        match self.host.lock(self.keeper, self.claim).await {
            Ok(()) => {}
            Err(HostError::Locked { node: _, claim }) => {
                let words = format!("{} holds the locks for {}", claim.holder, claim.purpose);
                return Err(TenureError::Overtaken(words));
            }
            Err(error) => return Err(error.into()),
        }
        let now = ledger::read(self.host, self.keeper, self.tenant).await?;
        let ours = self.head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if now.head.hash != ours {
            let last = now.lines.last();
            let words = match last {
                Some(line) => format!("revision {} by {}", now.head.revision, line.who),
                None => "the ledger is gone".to_owned(),
            };
            return Err(TenureError::Overtaken(words));
        }
        if node != self.keeper {
            self.host.lock(node, self.claim).await?;
        }
        Ok(())
    }
}
