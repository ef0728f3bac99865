//! Tenure: whether this engine's apply is still the fleet's.
//!
//! An engine that was paused or cut off loses its sessions, and with them its locks; another may
//! have applied since. So a lock is never simply taken again: the keeper's comes first, then the
//! ledger must still end with this apply's own line, and only then the node's lock is taken. While
//! the keeper's lock is held nobody else can begin.
//!
//! Between the keeper's lock and the ledger's last line nothing is written on the keeper: other steps of
//! this apply would take the lock for their own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::host::{Host, HostError, LockClaim, Refusal};
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
    stands: Mutex<Stands>,
}

/// How sure it is that the fleet is this apply's.
#[derive(Debug, Default)]
struct Stands {
    /// Who has applied since, once that is known.
    lost_to: Option<String>,
    /// How many steps are about to find out.
    looking: u32,
    /// The keeper's lock was taken, and the ledger could not be read.
    doubtful: bool,
}

/// One step that finds out; it has stopped when this is gone.
struct Looking<'a>(&'a Mutex<Stands>);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).looking -= 1;
    }
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
        let (head, stands) = (Mutex::new(head.to_owned()), Mutex::default());
        Self { host, keeper, tenant, claim, head, stands }
    }

    /// Takes note of a further line of this apply's own.
    pub fn advance(&self, head: &str) {
        head.clone_into(&mut self.head.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn stands(&self) -> MutexGuard<'_, Stands> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a step is about to find out whether the keeper is this apply's still: a write there has to wait.
    pub fn is_looking(&self, node: &NodeName) -> bool {
        node == self.keeper && self.stands().looking > 0
    }

    /// Lets a write on a node begin, unless the lock there may be another apply's turn. A write that has begun is bound to
    /// the lock that it began with (see [`Host::perform`]), so what comes between is none of its.
    ///
    /// # Errors
    /// The write's own; and that it is not locked.
    pub async fn write(
        &self,
        node: &NodeName,
        write: impl Future<Output = Result<(), HostError>>,
    ) -> Result<(), HostError> {
        let may_be_another_s = {
            let stands = self.stands();
            let on_keeper = node == self.keeper && (stands.doubtful || stands.looking > 0);
            stands.lost_to.is_some() || on_keeper
        };
        if may_be_another_s {
            return Err(HostError::Refused { node: node.clone(), refusal: Refusal::NotLocked });
        }
        write.await
    }

    /// Nothing is written from now on.
    fn lost(&self, to: String) -> TenureError {
        self.stands().lost_to = Some(to.clone());
        TenureError::Overtaken(to)
    }

    /// Takes a node's lock again, if the apply is still the fleet's.
    ///
    /// # Errors
    /// [`TenureError::Overtaken`] if it is not.
    pub async fn regain(&self, node: &NodeName) -> Result<(), TenureError> {
        let looking = {
            let mut stands = self.stands();
            if let Some(to) = &stands.lost_to {
                return Err(TenureError::Overtaken(to.clone()));
            }
            stands.looking += 1;
            Looking(&self.stands)
        };
        match self.host.lock(self.keeper, self.claim).await {
            Ok(()) => self.stands().doubtful = true,
            Err(HostError::Locked { node: _, claim }) => {
                let words = format!("{} holds the locks for {}", claim.holder, claim.purpose);
                return Err(self.lost(words));
            }
            Err(error) => return Err(error.into()),
        }
        let read = ledger::read(self.host, self.keeper, self.tenant).await;
        // Another step that has found out meanwhile did so under the lock of before.
        let now = read.inspect_err(|_| self.stands().doubtful = true)?;
        let ours = self.head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if now.head.hash != ours {
            let last = now.lines.last();
            let words = match last {
                Some(line) => format!("revision {} by {}", now.head.revision, line.who),
                None => "the ledger is gone".to_owned(),
            };
            return Err(self.lost(words));
        }
        self.stands().doubtful = false;
        drop(looking);
        if node != self.keeper {
            self.host.lock(node, self.claim).await?;
        }
        Ok(())
    }
}
