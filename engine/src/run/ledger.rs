//! Reading the ledger from its keeper, and appending to it.

use super::host::{Host, HostError};
use crate::plan::ledger::{self, Entry, Ledger, LedgerError, Line};
use crate::plan::names::{NodeName, Tenant};

/// Why the ledger could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// Its keeper did not answer, or answered no.
    #[error("the ledger's keeper: {0}")]
    Keeper(#[source] HostError),
    /// It cannot be believed.
    #[error(transparent)]
    Content(#[from] LedgerError),
}

/// Reads and verifies the whole ledger.
///
/// # Errors
/// If the keeper does not answer, or the chain does not hold.
pub async fn read<H: Host>(
    host: &H,
    keeper: &NodeName,
    tenant: &Tenant,
) -> Result<Ledger, LedgerFault> {
    let bytes = host.ledger_read(keeper, tenant).await.map_err(LedgerFault::Keeper)?;
    Ok(ledger::parse(&bytes)?)
}

/// Appends to a ledger whose keeper is locked.
#[derive(Debug)]
pub struct Writer<'a, H> {
    host: &'a H,
    keeper: NodeName,
    tenant: Tenant,
    who: String,
    /// The ledger as last written or read.
    pub ledger: Ledger,
}

impl<'a, H: Host> Writer<'a, H> {
    /// Opens a ledger for appending.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn open(
        host: &'a H,
        keeper: &NodeName,
        tenant: &Tenant,
        who: &str,
    ) -> Result<Self, LedgerFault> {
        let ledger = read(host, keeper, tenant).await?;
        Ok(Self {
            host,
            keeper: keeper.clone(),
            tenant: tenant.clone(),
            who: who.to_owned(),
            ledger,
        })
    }

    /// The node that keeps it.
    pub fn keeper(&self) -> &NodeName {
        &self.keeper
    }

    /// Appends an entry. If the answer is lost, the ledger is read back: the line is there, or
    /// it is appended again, once.
    ///
    /// # Errors
    /// If the keeper did not take it.
    pub async fn append(&mut self, at_ms: u64, entry: Entry) -> Result<(), LedgerFault> {
        let line = Line::new(&self.ledger.head.hash, at_ms, &self.who, entry);
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        let at = self.ledger.length;
        match self.host.ledger_append(&self.keeper, &self.tenant, at, &bytes).await {
            Ok(()) => {}
            Err(HostError::Lost { .. }) => {
                let back = read(self.host, &self.keeper, &self.tenant).await?;
                if back.head.hash != line.hash {
                    let append = self.host.ledger_append(&self.keeper, &self.tenant, at, &bytes);
                    append.await.map_err(LedgerFault::Keeper)?;
                }
            }
            Err(error) => return Err(LedgerFault::Keeper(error)),
        }
        self.ledger.length += bytes.len() as u64;
        self.ledger.head.advance(&line);
        self.ledger.lines.push(line);
        Ok(())
    }

    /// Removes the ledger: the tenant has left.
    ///
    /// # Errors
    /// If the keeper did not.
    pub async fn remove(self) -> Result<(), LedgerFault> {
        self.host.ledger_remove(&self.keeper, &self.tenant).await.map_err(LedgerFault::Keeper)
    }
}
