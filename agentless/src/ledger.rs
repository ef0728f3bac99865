//! The ledger: plain files on the keeper, appended to durably and only where they ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::names::Tenant;
use berth_engine::run::host::Refusal;

use crate::fault::Fault;
use crate::link::{Live, Writer, said};
use crate::session::quote::Call;

/// Reads the whole ledger; empty if there is none.
pub(crate) async fn read(live: &Live, tenant: &Tenant) -> Result<Vec<u8>, Fault> {
    let output = live.read(&Call::new("ledger_read").arg(tenant.namespace())).await?;
    if output.status != 0 {
        return Err(Fault::failed("read the ledger", &said(output.status, &output.text)));
    }
    STANDARD
        .decode(output.text.trim())
        .map_err(|error| Fault::failed("read the ledger", &error.to_string()))
}

/// Appends if the ledger's length is still what it was.
pub(crate) async fn append(
    writer: &Writer<'_>,
    tenant: &Tenant,
    at: u64,
    bytes: &[u8],
) -> Result<(), Fault> {
    let call =
        Call::new("ledger_append").arg(tenant.namespace()).arg(at).data(&STANDARD.encode(bytes));
    let output = writer.run(&call).await?;
    match output.status {
        0 => Ok(()),
        80 => Err(Refusal::LedgerMoved.into()),
        status => Err(Fault::failed("append to the ledger", &said(status, &output.text))),
    }
}

/// Removes the ledger.
pub(crate) async fn remove(writer: &Writer<'_>, tenant: &Tenant) -> Result<(), Fault> {
    let call = Call::new("ledger_remove").arg(tenant.namespace());
    writer.must("remove the ledger", &call).await.map(drop)
}
