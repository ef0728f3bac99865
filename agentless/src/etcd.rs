//! The ledger in etcd, for fleets whose ledger should outlive any one node: the keeper is a cluster then.
//!
//! A tenant has these keys below `/berth/NAMESPACE/`:
//!
//! | key | what it holds |
//! |---|---|
//! | `lock` | the claim of whoever holds the lock, with a lease of 15 s that its engine keeps alive |
//! | `mark` | `EPOCH LINES KEEPER`, as nodes remember it |
//! | `head` | how long the ledger is, the hash of its last line, and which `data` it is of |
//! | `data/STORE/OFFSET` | its bytes, in pieces |
//! | `ask` | a word for whoever applies |
//!
//! Every write is a transaction that holds only while the lock is the very one that was taken, the mark is what it was
//! then, and the head is what was read: an engine that was stopped, or fenced, writes nothing. Pieces beyond the head are not
//! the ledger's; a long line comes piece by piece, and counts with its last one. So a transaction may be sent again when
//! its answer was lost: what it did is seen by the head.
//!
//! Deliberately absent: compaction of etcd's own history, which is its operator's (`--auto-compaction-retention`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use berth_engine::plan::etcd::Etcd;
use berth_engine::plan::ledger::Mark;
use berth_engine::plan::names::{NodeName, Tenant};
use berth_engine::run::host::{Ask, Layer, LockClaim, Refusal};
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions,
    Identity, KvClient, PutOptions, TlsOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

use crate::fault::Fault;

/// How long a lock outlives an engine that is not heard, in seconds.
const LEASE_S: i64 = 15;
/// Pause between two signs of life.
const BEAT: Duration = Duration::from_secs(4);
/// The longest piece, in bytes: a request may have 1.5 MiB unless etcd was told else.
const PIECE: usize = 512 * 1024;
/// How many pieces one read asks for.
const PAGE: i64 = 100;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(10);
/// How often a call is made, if no member answers.
const TRIES: u32 = 6;
/// Pause between two of them: a cluster that lost its leader has another one within a second or two.
const PAUSE: Duration = Duration::from_millis(700);
/// How often a lock is tried to be given back, and the pause between two tries.
const REVOKES: u32 = 5;
const REVOKE_PAUSE: Duration = Duration::from_millis(200);

/// A certificate and its key, as PEM.
pub type Certified = (Vec<u8>, Vec<u8>);

/// How this machine logs in: from its environment, never from the project.
#[derive(Clone, Default)]
pub struct Login {
    /// The password of the text's `user`.
    pub password: Option<String>,
    /// Its certificate; or why that could not be read.
    pub certificate: Option<Result<Certified, String>>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// A cluster that keeps ledgers.
pub(crate) struct Cluster {
    etcd: Etcd,
    /// The certificates to trust, as PEM; or why they could not be read.
    ca: Option<Result<Vec<u8>, String>>,
    login: Login,
    client: AsyncMutex<Option<Client>>,
    held: Mutex<HashMap<String, Held>>,
}

/// A lock that was taken.
#[derive(Debug)]
struct Held {
    lease: i64,
    /// The revision that created its key: no other lock has it.
    revision: i64,
    /// What the mark was then.
    mark: String,
    beats: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

/// What a ledger is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// In bytes.
    length: u64,
    /// Of its last line; empty if there is none.
    hash: String,
    /// Which pieces are its own.
    store: u64,
}

/// What a transaction came to.
enum Came {
    Through,
    /// What it took for granted was not so.
    Not(TxnResponse),
}

/// A key of a tenant's.
fn key(tenant: &Tenant, name: &str) -> String {
    format!("/berth/{}/{name}", tenant.namespace())
}

fn piece(tenant: &Tenant, store: u64, offset: u64) -> String {
    key(tenant, &format!("data/{store:08}/{offset:020}"))
}

fn unreachable(error: &Error) -> Fault {
    let why = match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    Fault::Unreachable { layer: Layer::Etcd, why }
}

/// Whether nobody may have answered, so that it may be asked again.
fn is_unanswered(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => matches!(
            status.code(),
            tonic::Code::Unavailable
                | tonic::Code::DeadlineExceeded
                | tonic::Code::Cancelled
                | tonic::Code::Unknown
                | tonic::Code::Internal
        ),
        Error::TransportError(_) | Error::IoError(_) => true,
        _ => false,
    }
}

fn refused(what: &str, error: &Error) -> Fault {
    match error {
        Error::GRpcStatus(status) => Fault::failed(what, status.message()),
        other => Fault::failed(what, &other.to_string()),
    }
}

/// Reads a mark: `EPOCH LINES KEEPER`.
fn parse_mark(text: &str) -> Option<(u64, u64, NodeName)> {
    let mut words = text.splitn(3, ' ');
    let (epoch, lines) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((epoch, lines, NodeName::new(words.next()?)))
}

/// The hash of the last line of a ledger's bytes.
fn last_hash(bytes: &[u8]) -> String {
    let line = bytes.trim_ascii_end().strip_suffix(b"\"}").unwrap_or_default();
    let hash = line.rsplit(|byte| *byte == b'"').next().unwrap_or_default();
    String::from_utf8_lossy(hash).into_owned()
}

impl Cluster {
    /// Names it; connects to nobody yet.
    pub(crate) fn new(etcd: Etcd, login: Login, project: &Path) -> Self {
        let ca = etcd.ca.as_ref().map(|path| {
            let path = project.join(path);
            std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
        });
        Self { etcd, ca, login, client: AsyncMutex::default(), held: Mutex::default() }
    }

    async fn client(&self) -> Result<Client, Fault> {
        let mut slot = self.client.lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let mut options = ConnectOptions::new()
            .with_timeout(CALL)
            .with_connect_timeout(Duration::from_secs(5))
            .with_keep_alive(Duration::from_secs(5), Duration::from_secs(5))
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(user) = &self.etcd.user {
            let password = self.login.password.clone().ok_or_else(|| {
                let words =
                    format!("the text says user `{user}`, and BERTH_ETCD_PASSWORD is not set");
                Fault::failed("log in to etcd", &words)
            })?;
            options = options.with_user(user, password);
        }
        if let Some(ca) = &self.ca {
            let ca = ca.as_ref().map_err(|why| Fault::failed("read etcd's certificates", why))?;
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
            if let Some(certificate) = &self.login.certificate {
                let bad = |why: &String| Fault::failed("read this machine's certificate", why);
                let (certificate, key) = certificate.as_ref().map_err(bad)?;
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        let client = Client::connect(&self.etcd.endpoints, Some(options)).await;
        let client = client.map_err(|error| unreachable(&error))?;
        *slot = Some(client.clone());
        Ok(client)
    }

    async fn kv(&self) -> Result<KvClient, Fault> {
        Ok(self.client().await?.kv_client().max_decoding_message_size(128 << 20))
    }

    /// A read, asked again while nobody answers.
    async fn get(
        &self,
        key: &str,
        options: Option<GetOptions>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let got = match self.kv().await {
                Ok(mut kv) => kv.get(key, options.clone()).await,
                Err(_) if tries < TRIES => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            match got {
                Ok(got) => {
                    let all = got.kvs().iter().map(|kv| (kv.key().to_vec(), kv.value().to_vec()));
                    return Ok(all.collect());
                }
                Err(error) if is_unanswered(&error) && tries < TRIES => {
                    tracing::debug!(%error, "etcd did not answer");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if is_unanswered(&error) => return Err(unreachable(&error)),
                Err(error) => return Err(refused("read from etcd", &error)),
            }
        }
    }

    async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.get(key, None).await?.pop().map(|(_, value)| value))
    }

    /// A transaction, sent again while nobody answers: whoever calls tells by what is there whether one came through whose
    /// answer was lost.
    async fn txn(&self, what: &str, txn: Txn) -> Result<(Came, bool), Fault> {
        let (mut tries, mut sent) = (0, false);
        loop {
            tries += 1;
            let mut kv = match self.kv().await {
                Ok(kv) => kv,
                Err(_) if tries < TRIES => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(_) if sent => return Err(Fault::Lost(what.to_owned())),
                Err(fault) => return Err(fault),
            };
            match kv.txn(txn.clone()).await {
                Ok(done) if done.succeeded() => return Ok((Came::Through, sent)),
                Ok(done) => return Ok((Came::Not(done), sent)),
                Err(error) if is_unanswered(&error) && tries < TRIES => {
                    tracing::debug!(%error, "etcd did not answer");
                    sent = true;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if is_unanswered(&error) => return Err(Fault::Lost(what.to_owned())),
                Err(error) => return Err(refused(what, &error)),
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock of a claim's tenant, or finds that it is held already.
    pub(crate) async fn lock(&self, claim: &LockClaim) -> Result<(), Fault> {
        let tenant = &claim.tenant;
        if self.still_holds(tenant).await? {
            return Ok(());
        }
        let client = self.client().await?;
        let lease = self.lease().await?;
        match self.lock_with(lease, claim).await {
            Ok((revision, mark)) => {
                let beats = tokio::spawn(beat(client, lease));
                let held = Held { lease, revision, mark, beats };
                self.held().insert(tenant.namespace(), held);
                Ok(())
            }
            Err(fault) => {
                let _ = client.lease_client().revoke(lease).await;
                Err(fault)
            }
        }
    }

    /// A lease, asked for again while nobody answers: one whose answer was lost runs out by itself.
    async fn lease(&self) -> Result<i64, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client().await?.lease_client().grant(LEASE_S, None).await {
                Ok(granted) => return Ok(granted.id()),
                Err(error) if is_unanswered(&error) && tries < TRIES => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if is_unanswered(&error) => return Err(unreachable(&error)),
                Err(error) => return Err(refused("take a lease in etcd", &error)),
            }
        }
    }

    /// Whether a lock that was taken is there still: an engine that was stopped for long has lost it.
    async fn still_holds(&self, tenant: &Tenant) -> Result<bool, Fault> {
        let namespace = tenant.namespace();
        let revision = self.held().get(&namespace).map(|held| held.revision);
        let Some(revision) = revision else { return Ok(false) };
        let lock = key(tenant, "lock");
        let compare = Compare::create_revision(lock, CompareOp::Equal, revision);
        match self.txn("look at the lock", Txn::new().when([compare])).await? {
            (Came::Through, _) => Ok(true),
            (Came::Not(_), _) => {
                self.held().remove(&namespace);
                Ok(false)
            }
        }
    }

    /// Takes it with a lease; the revision that created it, and the mark that stands then.
    async fn lock_with(&self, lease: i64, claim: &LockClaim) -> Result<(i64, String), Fault> {
        let tenant = &claim.tenant;
        let (lock, mark) = (key(tenant, "lock"), key(tenant, "mark"));
        let text = serde_json::to_string(claim)
            .map_err(|error| Fault::failed("lock", &error.to_string()))?;
        for _ in 0..5 {
            let stands = self.value(&mark).await?.map(|v| String::from_utf8_lossy(&v).into_owned());
            let known = stands.as_deref().and_then(parse_mark);
            if let Some((epoch, lines, keeper)) = &known {
                let fresh = (*epoch, *lines) == (0, 0);
                let another = *epoch == claim.epoch && *keeper != claim.keeper && !fresh;
                if *epoch > claim.epoch || another {
                    let (ours, theirs) = (claim.epoch, *epoch);
                    return Err(Fault::Fenced { ours, theirs, keeper: keeper.to_string() });
                }
            }
            let ours = format!("{} {} {}", claim.epoch, claim.lines, claim.keeper);
            let newer = known.as_ref().is_none_or(|(epoch, lines, _)| {
                (*epoch, *lines) == (0, 0) || (claim.epoch, claim.lines) > (*epoch, *lines)
            });
            let now = if newer { ours } else { stands.clone().unwrap_or(ours) };
            let same = match &stands {
                Some(stands) => Compare::value(mark.clone(), CompareOp::Equal, stands.clone()),
                None => Compare::version(mark.clone(), CompareOp::Equal, 0),
            };
            let free = Compare::version(lock.clone(), CompareOp::Equal, 0);
            let with_lease = PutOptions::new().with_lease(lease);
            let txn = Txn::new()
                .when([free, same])
                .and_then([
                    TxnOp::put(lock.clone(), text.clone(), Some(with_lease)),
                    TxnOp::put(mark.clone(), now.clone(), None),
                ])
                .or_else([TxnOp::get(lock.clone(), None)]);
            let (came, _) = self.txn("lock", txn).await?;
            // A lock with this very lease is ours, though its answer was lost.
            let there = match came {
                Came::Through => self.found(&lock).await?,
                Came::Not(done) => done.op_responses().iter().find_map(of_key),
            };
            match there {
                Some(found) if found.lease == lease => return Ok((found.revision, now)),
                Some(found) => match serde_json::from_slice(&found.value) {
                    Ok(claim) => return Err(Fault::Locked(Box::new(claim))),
                    Err(_) => return Err(Fault::failed("lock", "what holds the lock is no claim")),
                },
                // The mark was another one, or the lock is free by now.
                None => {}
            }
        }
        Err(Fault::failed("lock", "the lock changes hands too often"))
    }

    async fn found(&self, key: &str) -> Result<Option<Found>, Fault> {
        // One that takes for granted what is never so, and reads in the other case: reads are asked again as transactions are.
        let never = Compare::version(key, CompareOp::Less, 0);
        let txn = Txn::new().when([never]).or_else([TxnOp::get(key, None)]);
        match self.txn("look at the lock", txn).await? {
            (Came::Not(done), _) => Ok(done.op_responses().iter().find_map(of_key)),
            (Came::Through, _) => Ok(None),
        }
    }

    /// Gives every lock back.
    pub(crate) async fn unlock(&self) {
        let held: Vec<_> = self.held().drain().map(|(_, held)| held.lease).collect();
        // Who has none asks nobody.
        if held.is_empty() {
            return;
        }
        let Ok(client) = self.client().await else { return };
        // A member that is gone takes a request with it now and then; what is not given back others wait for.
        for lease in held {
            for _ in 0..REVOKES {
                match client.lease_client().revoke(lease).await {
                    Ok(_) => break,
                    Err(etcd_client::Error::GRpcStatus(status))
                        if status.code() == tonic::Code::NotFound =>
                    {
                        break;
                    }
                    Err(_) => tokio::time::sleep(REVOKE_PAUSE).await,
                }
            }
        }
    }

    /// What every write takes for granted: the lock is the one that was taken, and the mark what it was.
    fn guard(&self, tenant: &Tenant) -> Result<[Compare; 2], Fault> {
        let held = self.held();
        let held = held.get(&tenant.namespace()).ok_or(Refusal::NotLocked)?;
        Ok([
            Compare::create_revision(key(tenant, "lock"), CompareOp::Equal, held.revision),
            Compare::value(key(tenant, "mark"), CompareOp::Equal, held.mark.clone()),
        ])
    }

    async fn head(&self, tenant: &Tenant) -> Result<Head, Fault> {
        let text = self.value(&key(tenant, "head")).await?;
        let Some(text) = text else { return Ok(Head::default()) };
        serde_json::from_slice(&text)
            .map_err(|error| Fault::failed("read the ledger's head", &error.to_string()))
    }

    /// Reads the whole ledger; empty if there is none.
    pub(crate) async fn read(&self, tenant: &Tenant) -> Result<Vec<u8>, Fault> {
        for _ in 0..3 {
            let head = self.head(tenant).await?;
            let (mut from, end) =
                (piece(tenant, head.store, 0), piece(tenant, head.store, head.length));
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < head.length {
                let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
                let page = self.get(&from, Some(options)).await?;
                let Some((last, _)) = page.last() else { break };
                from = format!("{}\0", String::from_utf8_lossy(last));
                for (found, value) in page {
                    // What is not where the last one ended is a piece that never counted.
                    if found == piece(tenant, head.store, bytes.len() as u64).into_bytes() {
                        bytes.extend_from_slice(&value);
                    }
                }
            }
            if bytes.len() as u64 == head.length {
                return Ok(bytes);
            }
            // Another one was put in its place meanwhile.
            if self.head(tenant).await? == head {
                break;
            }
        }
        Err(Fault::failed("read the ledger", "etcd lacks pieces of it"))
    }

    /// What is remembered of a tenant's ledger.
    pub(crate) async fn mark(&self, tenant: &Tenant) -> Result<Option<Mark>, Fault> {
        let mark = self.value(&key(tenant, "mark")).await?;
        let mark = mark.and_then(|text| parse_mark(&String::from_utf8_lossy(&text)));
        let bytes = self.head(tenant).await?.length;
        Ok(mark.map(|(epoch, lines, keeper)| Mark { epoch, lines, keeper, bytes }))
    }

    /// Appends, if the ledger is as long as it was and ends with that line.
    pub(crate) async fn append(
        &self,
        tenant: &Tenant,
        (at, prev): (u64, &str),
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let before = self.head(tenant).await?;
        if (before.length, &*before.hash) != (at, prev) {
            return Err(Refusal::LedgerMoved.into());
        }
        let length = at + bytes.len() as u64;
        let after = Head { length, hash: last_hash(bytes), store: before.store };
        self.put(tenant, bytes, at, &before, &after).await
    }

    /// Puts a whole ledger in the place of the one that is there.
    pub(crate) async fn replace(&self, tenant: &Tenant, bytes: &[u8]) -> Result<(), Fault> {
        let before = self.head(tenant).await?;
        let (length, hash) = (bytes.len() as u64, last_hash(bytes));
        let after = Head { length, hash, store: before.store + 1 };
        self.put(tenant, bytes, 0, &before, &after).await?;
        let old = key(tenant, &format!("data/{:08}/", before.store));
        let txn =
            Txn::new().and_then([TxnOp::delete(old, Some(DeleteOptions::new().with_prefix()))]);
        // It is nobody's any more: what is not cleared away now takes room, and nothing else.
        let _ = self.txn("clear the ledger of before away", txn).await;
        Ok(())
    }

    /// Puts pieces from an offset on, and then the head; the last piece and the head at once.
    async fn put(
        &self,
        tenant: &Tenant,
        bytes: &[u8],
        at: u64,
        before: &Head,
        after: &Head,
    ) -> Result<(), Fault> {
        let what = "write the ledger";
        let json = |head: &Head| serde_json::to_string(head);
        let broken = |error: serde_json::Error| Fault::failed(what, &error.to_string());
        let head = key(tenant, "head");
        let same = if *before == Head::default() {
            Compare::version(head.clone(), CompareOp::Equal, 0)
        } else {
            Compare::value(head.clone(), CompareOp::Equal, json(before).map_err(broken)?)
        };
        let pieces: Vec<&[u8]> = bytes.chunks(PIECE).collect();
        let mut offset = at;
        for (number, part) in pieces.iter().enumerate() {
            let mut then = vec![TxnOp::put(piece(tenant, after.store, offset), *part, None)];
            if number + 1 == pieces.len() {
                then.push(TxnOp::put(head.clone(), json(after).map_err(broken)?, None));
            }
            let [lock, mark] = self.guard(tenant)?;
            let txn = Txn::new().when([lock, mark, same.clone()]).and_then(then);
            match self.txn(what, txn).await? {
                (Came::Through, _) => {}
                // One whose answer was lost did it, or it was never so.
                (Came::Not(_), sent) => {
                    if sent && self.head(tenant).await? == *after {
                        return Ok(());
                    }
                    return Err(self.why_not(tenant, before).await);
                }
            }
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Why a write was not done.
    async fn why_not(&self, tenant: &Tenant, before: &Head) -> Fault {
        match self.still_holds(tenant).await {
            Ok(false) => Refusal::NotLocked.into(),
            Ok(true) => match self.head(tenant).await {
                Ok(now) if now != *before => Refusal::LedgerMoved.into(),
                Ok(_) => Refusal::NotLocked.into(),
                Err(fault) => fault,
            },
            Err(fault) => fault,
        }
    }

    /// Removes a tenant's ledger, and what is remembered of it.
    pub(crate) async fn remove(&self, tenant: &Tenant) -> Result<(), Fault> {
        let guard = self.guard(tenant)?;
        let all = Some(DeleteOptions::new().with_prefix());
        let txn = Txn::new().when(guard).and_then([
            TxnOp::delete(key(tenant, "data/"), all),
            TxnOp::delete(key(tenant, "head"), None),
            TxnOp::delete(key(tenant, "mark"), None),
            TxnOp::delete(key(tenant, "ask"), None),
        ]);
        match self.txn("remove the ledger", txn).await? {
            (Came::Through, _) => Ok(()),
            (Came::Not(_), true) if self.value(&key(tenant, "head")).await?.is_none() => Ok(()),
            (Came::Not(_), _) => Err(Refusal::NotLocked.into()),
        }
    }

    /// Leaves a word for whoever applies.
    pub(crate) async fn ask(&self, tenant: &Tenant, ask: &Ask) -> Result<(), Fault> {
        let what = "leave a word beside the ledger";
        let text =
            serde_json::to_vec(ask).map_err(|error| Fault::failed(what, &error.to_string()))?;
        let there = Compare::version(key(tenant, "head"), CompareOp::Greater, 0);
        let put = TxnOp::put(key(tenant, "ask"), text, None);
        self.txn(what, Txn::new().when([there]).and_then([put])).await.map(drop)
    }

    /// Reads the last word.
    pub(crate) async fn asked(&self, tenant: &Tenant) -> Result<Option<Ask>, Fault> {
        let text = self.value(&key(tenant, "ask")).await?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }
}

/// A key that is there.
struct Found {
    value: Vec<u8>,
    /// The revision that created it.
    revision: i64,
    lease: i64,
}

fn of_key(response: &TxnOpResponse) -> Option<Found> {
    let TxnOpResponse::Get(got) = response else { return None };
    let kv = got.kvs().first()?;
    Some(Found { value: kv.value().to_vec(), revision: kv.create_revision(), lease: kv.lease() })
}

/// Keeps a lease alive, for as long as somebody wants it.
async fn beat(client: Client, lease: i64) {
    loop {
        if let Ok((mut keeper, mut answers)) = client.lease_client().keep_alive(lease).await {
            while keeper.keep_alive().await.is_ok() {
                match tokio::time::timeout(CALL, answers.message()).await {
                    // It has run out: every write finds that by itself.
                    Ok(Ok(Some(answer))) if answer.ttl() <= 0 => return,
                    Ok(Ok(Some(_))) => tokio::time::sleep(BEAT).await,
                    Ok(Ok(None) | Err(_)) | Err(_) => break,
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
