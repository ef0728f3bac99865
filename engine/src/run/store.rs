//! The engine's own store: what it may forget, in fjall under `.berth/`.
//!
//! A cache of the ledger's lines, so that history can be read when the keeper cannot; and the end
//! of the log of every pod whose gate failed. Nothing here is believed over the ledger or the
//! nodes, and deleting the folder loses nothing that an apply needs.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::plan::ledger::Line;
use crate::plan::names::{PodId, Tenant};

/// The store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// fjall says no.
    #[error("the local store: {0}; it is only a cache: delete `.berth/store` if this stays")]
    Database(#[from] fjall::Error),
    /// What is stored is not what was written.
    #[error("the local store holds a record that cannot be read; delete `.berth/store`")]
    Record(#[from] serde_json::Error),
}

/// The local store.
pub struct Store {
    database: Database,
    lines: Keyspace,
    logs: Keyspace,
}

impl Store {
    /// Opens the store, making it if it is not there. Calls block, briefly.
    ///
    /// # Errors
    /// If fjall cannot open it, for example because another engine has it open.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(folder).open()?;
        let lines = database.keyspace("lines", KeyspaceCreateOptions::default)?;
        let logs = database.keyspace("logs", KeyspaceCreateOptions::default)?;
        Ok(Self { database, lines, logs })
    }

    /// Remembers a tenant's ledger as it was read. A ledger that begins otherwise than the one
    /// remembered (the tenant had left, and came again) takes its place.
    ///
    /// # Errors
    /// If it cannot be written durably.
    pub fn remember(&self, tenant: &Tenant, lines: &[Line]) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        let known = self.recall(tenant)?;
        if known.first().map(|line| &line.hash) != lines.first().map(|line| &line.hash) {
            for index in 0..known.len() {
                batch.remove(&self.lines, line_key(tenant, index));
            }
        }
        for (index, line) in lines.iter().enumerate() {
            let key = line_key(tenant, index);
            let value = serde_json::to_vec(line)?;
            if self.lines.get(&key)?.as_deref() != Some(&value[..]) {
                batch.insert(&self.lines, key, value);
            }
        }
        batch.commit()?;
        self.database.persist(PersistMode::SyncAll)?;
        Ok(())
    }

    /// Recalls a tenant's ledger as it was last read; empty if it never was.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn recall(&self, tenant: &Tenant) -> Result<Vec<Line>, StoreError> {
        let mut lines = Vec::new();
        for item in self.lines.prefix(format!("{tenant}\0")) {
            lines.push(serde_json::from_slice(&item.value()?)?);
        }
        Ok(lines)
    }

    /// Keeps the end of a failed pod's log.
    ///
    /// # Errors
    /// If it cannot be written durably.
    pub fn keep_log(&self, tenant: &Tenant, pod: &PodId, log: &[u8]) -> Result<(), StoreError> {
        self.logs.insert(format!("{tenant}\0{pod}"), log)?;
        self.database.persist(PersistMode::SyncAll)?;
        Ok(())
    }

    /// Finds the kept log of a failed pod.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn log(&self, tenant: &Tenant, pod: &PodId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.logs.get(format!("{tenant}\0{pod}"))?.map(|log| log.to_vec()))
    }
}

fn line_key(tenant: &Tenant, index: usize) -> String {
    format!("{tenant}\0{index:010}")
}
