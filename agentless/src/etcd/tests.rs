//! Against Debian's etcd-server, which `./dev setup` fetches. Where it is not there nothing is shown, and CI fails.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use berth_engine::plan::etcd::keeper;
use berth_engine::plan::names::WorkloadName;
use tempfile::TempDir;

use super::*;

/// An etcd of one member, which is gone when this is.
struct Server {
    child: Child,
    data: TempDir,
    ports: (u16, u16),
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(program: &str, data: &TempDir, (clients, peers): (u16, u16)) -> Child {
    let url = |port| format!("http://127.0.0.1:{port}");
    Command::new(program)
        .args(["--name", "one", "--data-dir"])
        .arg(data.path())
        .args(["--listen-client-urls", &url(clients), "--advertise-client-urls", &url(clients)])
        .args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)])
        .args(["--initial-cluster", &format!("one={}", url(peers))])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd")
}

fn program() -> Option<String> {
    let cache = std::env::var("BERTH_LAB_CACHE").unwrap_or_else(|_| "/var/cache/berth-lab".into());
    let fetched = format!("{cache}/etcd-server/etcd");
    let found = [fetched, "/usr/bin/etcd".to_owned()].into_iter().find(|p| Path::new(p).exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "no etcd; `./dev setup` as root");
    found
}

impl Server {
    /// `None` where there is no etcd.
    fn new() -> Option<Self> {
        let program = program()?;
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it");
        let (one, two) = (free(), free());
        let ports = (one.port(), two.port());
        let data = tempfile::tempdir().expect("a folder");
        Some(Self { child: start(&program, &data, ports), data, ports })
    }

    fn engine(&self) -> Cluster {
        let endpoints = vec![format!("http://127.0.0.1:{}", self.ports.0)];
        let etcd = Etcd { endpoints, ca: None, user: None };
        Cluster::new(etcd, Login::default(), Path::new("/"))
    }

    /// Kills it, as a machine does that loses power, and starts it again.
    fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = start(&program().expect("it was there"), &self.data, self.ports);
    }
}

fn tenant() -> Tenant {
    Tenant { project: "shop".to_owned(), environment: "default".to_owned() }
}

fn claim(who: &str, epoch: u64, lines: u64) -> LockClaim {
    LockClaim {
        holder: who.to_owned(),
        since_ms: 1,
        purpose: "plan 1".to_owned(),
        tenant: tenant(),
        epoch,
        keeper: keeper(),
        lines,
    }
}

/// A line as a ledger has it, as long as wanted.
fn line(number: u8, length: usize) -> (String, Vec<u8>) {
    let hash = format!("{number:064x}");
    (
        hash.clone(),
        format!("{{\"x\":\"{}\",\"hash\":\"{hash}\"}}\n", "x".repeat(length)).into_bytes(),
    )
}

fn moved(result: Result<(), Fault>) {
    assert_eq!(result, Err(Refusal::LedgerMoved.into()));
}

fn unlocked(result: Result<(), Fault>) {
    assert_eq!(result, Err(Refusal::NotLocked.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_grows_and_goes() {
    let Some(server) = Server::new() else { return };
    let (engine, tenant) = (server.engine(), tenant());
    assert_eq!(engine.read(&tenant).await, Ok(Vec::new()));
    let (first, bytes) = line(1, 10);
    unlocked(engine.append(&tenant, (0, ""), &bytes).await);
    engine.lock(&claim("ana", 0, 0)).await.expect("a lock");
    engine.lock(&claim("ana", 0, 0)).await.expect("the same lock");
    engine.append(&tenant, (0, ""), &bytes).await.expect("a line");
    moved(engine.append(&tenant, (0, ""), &bytes).await);
    moved(engine.append(&tenant, (bytes.len() as u64, "other"), &bytes).await);
    // One that takes more than one request.
    let (second, long) = line(2, 3 * PIECE + 100);
    engine.append(&tenant, (bytes.len() as u64, &first), &long).await.expect("a long line");
    let (third, last) = line(3, 20);
    let at = (bytes.len() + long.len()) as u64;
    engine.append(&tenant, (at, &second), &last).await.expect("a line");
    let whole = [&bytes[..], &long, &last].concat();
    assert!(engine.read(&tenant).await == Ok(whole.clone()));
    let mark = engine.mark(&tenant).await.expect("it answers").expect("a mark");
    assert_eq!((mark.epoch, mark.keeper, mark.bytes), (0, keeper(), whole.len() as u64));
    // Another one in its place, which goes on.
    engine.replace(&tenant, &[&long[..], &bytes].concat()).await.expect("another");
    let at = (long.len() + bytes.len()) as u64;
    moved(engine.append(&tenant, (at, &third), &last).await);
    engine.append(&tenant, (at, &first), &last).await.expect("a line");
    assert!(server.engine().read(&tenant).await == Ok([&long[..], &bytes, &last].concat()));
    engine.remove(&tenant).await.expect("it goes");
    assert_eq!(engine.read(&tenant).await, Ok(Vec::new()));
    assert_eq!(engine.mark(&tenant).await, Ok(None));
    engine.unlock().await;
    let mut kv = engine.kv().await.expect("it answers");
    let left = kv.get("/berth/", Some(GetOptions::new().with_prefix())).await.expect("it answers");
    assert_eq!(left.kvs().len(), 0, "{:?}", left.kvs());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_engine_at_a_time_and_none_that_was_fenced() {
    let Some(server) = Server::new() else { return };
    let (ana, ben, tenant) = (server.engine(), server.engine(), tenant());
    let (first, bytes) = line(1, 10);
    ana.lock(&claim("ana", 1, 0)).await.expect("a lock");
    let Err(Fault::Locked(by)) = ben.lock(&claim("ben", 1, 0)).await else { panic!("two locks") };
    assert_eq!(by.holder, "ana");
    unlocked(ben.append(&tenant, (0, ""), &bytes).await);
    ana.append(&tenant, (0, ""), &bytes).await.expect("a line");
    // Its lease runs out, as that of an engine that is stopped.
    let lease = ana.held().values().next().expect("a lock").lease;
    let client = ben.client().await.expect("it answers");
    client.lease_client().revoke(lease).await.expect("it runs out");
    ben.lock(&claim("ben", 2, 1)).await.expect("it is free");
    let at = bytes.len() as u64;
    unlocked(ana.append(&tenant, (at, &first), &bytes).await);
    unlocked(ana.replace(&tenant, &bytes).await);
    unlocked(ana.remove(&tenant).await);
    let (second, more) = line(2, 10);
    ben.append(&tenant, (at, &first), &more).await.expect("a line");
    ben.unlock().await;
    let fenced = ana.lock(&claim("ana", 1, 1)).await;
    assert_eq!(fenced, Err(Fault::Fenced { ours: 1, theirs: 2, keeper: keeper().to_string() }));
    ana.lock(&claim("ana", 2, 2)).await.expect("the epoch that it is");
    ana.append(&tenant, (at + more.len() as u64, &second), &bytes).await.expect("a line");
}

/// Pieces of a line whose engine was killed before the last one are not the ledger's, and in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_came_in_part_is_none() {
    let Some(server) = Server::new() else { return };
    let (engine, tenant) = (server.engine(), tenant());
    engine.lock(&claim("ana", 0, 0)).await.expect("a lock");
    let (first, bytes) = line(1, 10);
    engine.append(&tenant, (0, ""), &bytes).await.expect("a line");
    let at = bytes.len() as u64;
    let mut kv = engine.kv().await.expect("it answers");
    for number in 0..3 {
        let offset = at + number * PIECE as u64;
        kv.put(piece(&tenant, 0, offset), vec![b'x'; PIECE], None).await.expect("a piece");
    }
    assert_eq!(engine.read(&tenant).await, Ok(bytes.clone()));
    let (mut prev, mut whole) = (first, bytes);
    // Short ones, one that ends where a piece lies, and a long one over all of them.
    let to_piece = PIECE - 2 * line(2, 50).1.len();
    for (number, length) in [(2, 50), (3, 50), (4, to_piece - line(4, 0).1.len()), (5, 2 * PIECE)] {
        let (hash, bytes) = line(number, length);
        engine.append(&tenant, (whole.len() as u64, &prev), &bytes).await.expect("a line");
        prev = hash;
        whole.extend(bytes);
        assert!(engine.read(&tenant).await == Ok(whole.clone()), "after line {number}");
    }
}

/// A cluster that is away for a moment is asked again; nothing is doubled by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_starts_anew_is_waited_for() {
    let Some(mut server) = Server::new() else { return };
    let (engine, tenant) = (server.engine(), tenant());
    engine.lock(&claim("ana", 0, 0)).await.expect("a lock");
    let (mut prev, mut whole) = (String::new(), Vec::new());
    for number in 1..9 {
        if number % 3 == 0 {
            server.restart();
        }
        let (hash, bytes) = line(number, 1000);
        let at = whole.len() as u64;
        engine.append(&tenant, (at, &prev), &bytes).await.expect("a line");
        prev = hash;
        whole.extend(bytes);
    }
    assert_eq!(engine.read(&tenant).await, Ok(whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_is_left_where_there_is_a_ledger() {
    let Some(server) = Server::new() else { return };
    let (ana, ben, tenant) = (server.engine(), server.engine(), tenant());
    let ask = Ask {
        apply: "abc".to_owned(),
        workloads: BTreeSet::from([WorkloadName::new("web")]),
        who: "ben".to_owned(),
        why: "slow".to_owned(),
    };
    ben.ask(&tenant, &ask).await.expect("it answers");
    assert_eq!(ana.asked(&tenant).await, Ok(None));
    ana.lock(&claim("ana", 0, 0)).await.expect("a lock");
    ana.append(&tenant, (0, ""), &line(1, 1).1).await.expect("a line");
    ben.ask(&tenant, &ask).await.expect("it answers");
    assert_eq!(ana.asked(&tenant).await, Ok(Some(ask)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said() {
    let etcd = Etcd { endpoints: vec!["http://127.0.0.1:1".to_owned()], ca: None, user: None };
    let engine = Cluster::new(etcd, Login::default(), Path::new("/"));
    let read = engine.read(&tenant()).await;
    assert!(matches!(read, Err(Fault::Unreachable { layer: Layer::Etcd, .. })), "{read:?}");
    let user = Some("berth".to_owned());
    let etcd = Etcd { endpoints: vec!["http://127.0.0.1:1".to_owned()], ca: None, user };
    let engine = Cluster::new(etcd, Login::default(), Path::new("/"));
    let read = engine.read(&tenant()).await;
    let Err(Fault::Refused(Refusal::Failed { why, .. })) = read else { panic!("{read:?}") };
    assert!(why.contains("BERTH_ETCD_PASSWORD is not set"), "{why}");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.pem"), "").expect("a file");
    let endpoints = vec!["https://127.0.0.1:1".to_owned()];
    let etcd = Etcd { endpoints, ca: Some("ca.pem".to_owned()), user: None };
    let certificate = Some(Err("BERTH_ETCD_CERT is /none: not there".to_owned()));
    let login = Login { password: None, certificate };
    let read = Cluster::new(etcd, login, folder.path()).read(&tenant()).await;
    let Err(Fault::Refused(Refusal::Failed { why, .. })) = read else { panic!("{read:?}") };
    assert!(why.contains("BERTH_ETCD_CERT is /none"), "{why}");
}
