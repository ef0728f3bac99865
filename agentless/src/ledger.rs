//! The ledger: plain files on the keeper, appended to durably and only where they ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::ledger::Mark;
use berth_engine::plan::names::Tenant;
use berth_engine::run::host::{Ask, Refusal};

use crate::fault::Fault;
use crate::link::{Link, Live, Writer, said};
use crate::observe::kernel::parse_mark;
use crate::session::quote::Call;

/// The most that one read asks for, in bytes: what a session carries in one answer has a limit.
const CHUNK: usize = 3 * 1024 * 1024;

/// Reads the whole ledger, or a copy; empty if there is none. What is appended meanwhile may be in it.
pub(crate) async fn read(live: &Live, tenant: &Tenant) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    loop {
        let call = Call::new("ledger_read").arg(tenant.namespace()).arg(bytes.len()).arg(CHUNK);
        let output = live.read(&call).await?;
        if output.status != 0 {
            return Err(Fault::failed("read the ledger", &said(output.status, &output.text)));
        }
        let chunk = STANDARD
            .decode(output.text.trim())
            .map_err(|error| Fault::failed("read the ledger", &error.to_string()))?;
        bytes.extend_from_slice(&chunk);
        if chunk.len() < CHUNK {
            return Ok(bytes);
        }
    }
}

/// Reads what a node remembers of the ledger.
pub(crate) async fn mark(link: &Link, tenant: &Tenant) -> Result<Option<Mark>, Fault> {
    let output = link.without_containerd(&Call::new("ledger_mark").arg(tenant.namespace())).await?;
    Ok(parse_mark(&output.text))
}

/// Appends if the ledger's length and last line are still what they were.
pub(crate) async fn append(
    writer: &Writer<'_>,
    tenant: &Tenant,
    (at, prev): (u64, &str),
    bytes: &[u8],
) -> Result<(), Fault> {
    let call = Call::new("ledger_append").arg(tenant.namespace()).arg(at).arg(prev);
    let call = call.data(&STANDARD.encode(bytes));
    let output = writer.run(&call).await?;
    match output.status {
        0 => Ok(()),
        80 => Err(Refusal::LedgerMoved.into()),
        status => Err(Fault::failed("append to the ledger", &said(status, &output.text))),
    }
}

/// Puts a whole ledger in its place.
pub(crate) async fn replace(
    writer: &Writer<'_>,
    tenant: &Tenant,
    bytes: &[u8],
) -> Result<(), Fault> {
    let call = Call::new("ledger_replace").arg(tenant.namespace()).data(&STANDARD.encode(bytes));
    writer.must("write the ledger", &call).await.map(drop)
}

/// Leaves a word for whoever holds the lock.
pub(crate) async fn ask(live: &Live, tenant: &Tenant, ask: &Ask) -> Result<(), Fault> {
    let what = "leave a word beside the ledger";
    let text = serde_json::to_vec(ask).map_err(|error| Fault::failed(what, &error.to_string()))?;
    let call = Call::new("ledger_ask").arg(tenant.namespace()).data(&STANDARD.encode(text));
    let output = live.read(&call).await?;
    match output.status {
        0 => Ok(()),
        status => Err(Fault::failed(what, &said(status, &output.text))),
    }
}

/// Reads the last word. What cannot be read is none: a newer Berth may have left it.
pub(crate) async fn asked(live: &Live, tenant: &Tenant) -> Result<Option<Ask>, Fault> {
    let output = live.read(&Call::new("ledger_asked").arg(tenant.namespace())).await?;
    if output.status != 0 {
        return Err(Fault::failed("read beside the ledger", &said(output.status, &output.text)));
    }
    let text = STANDARD.decode(output.text.trim()).unwrap_or_default();
    Ok(serde_json::from_slice(&text).ok())
}

/// Removes the ledger.
pub(crate) async fn remove(writer: &Writer<'_>, tenant: &Tenant) -> Result<(), Fault> {
    let call = Call::new("ledger_remove").arg(tenant.namespace());
    writer.must("remove the ledger", &call).await.map(drop)
}
