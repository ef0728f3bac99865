//! The Host port over SSH: which verb goes to which module, over which connection.
//!
//! Nothing is decided here but who may write: reads go over any open connection, writes only over
//! the one that holds the lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_engine::plan::action::{Action, Write};
use berth_engine::plan::etcd;
use berth_engine::plan::ledger::Mark;
use berth_engine::plan::names::{NodeName, PodId, Tenant};
use berth_engine::plan::observation::NodeObservation;
use berth_engine::run::host::{Ask, Host, HostError, Layer, LockClaim, ProbeTarget, Ran, Supplies};

use crate::connect::dial::{Dialer, Options, Target};
use crate::etcd::Cluster;
use crate::fault::Fault;
use crate::image::fanout::Fanout;
use crate::link::{Link, Writer, said};
use crate::record::{Record, Recorded};
use crate::session::quote::Call;
use crate::{endpoint, image, ledger, network, observe, pod, probe, reflex, tenant, volume};

/// The most of a log that is read at once.
const LOG_LIMIT: usize = 4 * 1024 * 1024;
/// How long a write of the ledger may take.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(30);

/// The fleet's nodes over SSH.
pub struct SshHost {
    links: BTreeMap<NodeName, Arc<Link>>,
    etcd: Option<Cluster>,
    options: Options,
    record: Record,
}

impl SshHost {
    /// Names the nodes; connects to none of them yet.
    pub fn new(targets: BTreeMap<NodeName, Target>, options: Options) -> Self {
        let dialer = Arc::new(Dialer::new(&options));
        let (record, fanout) = (Record::default(), Arc::new(Fanout::new(options.fan_out)));
        let links = targets
            .into_iter()
            .map(|(node, target)| {
                let shared = (dialer.clone(), fanout.clone());
                let link = Link::new(node.clone(), target, shared, record.clone());
                (node, Arc::new(link))
            })
            .collect();
        let cluster = options.etcd.clone();
        let etcd = cluster.map(|(etcd, login)| Cluster::new(etcd, login, &options.project_root));
        Self { links, etcd, options, record }
    }

    /// Every mutating call and command that was sent, in order.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.record.all()
    }

    /// Gives back every lock and ends every connection.
    pub async fn close(&self) {
        if let Some(etcd) = &self.etcd {
            etcd.unlock().await;
        }
        let mut closing = tokio::task::JoinSet::new();
        for link in self.links.values() {
            let link = link.clone();
            closing.spawn(async move { link.close().await });
        }
        while closing.join_next().await.is_some() {}
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn link(&self, node: &NodeName) -> Result<&Arc<Link>, HostError> {
        self.links.get(node).ok_or_else(|| HostError::Unreachable {
            node: node.clone(),
            layer: if etcd::keeps(node) { Layer::Etcd } else { Layer::Dns },
            why: if etcd::keeps(node) {
                "the ledger is there, and the text's `project` names no `etcd`".to_owned()
            } else {
                "no node of this name is in the fleet".to_owned()
            },
        })
    }

    /// The cluster, if it is meant.
    fn cluster(&self, keeper: &NodeName) -> Option<&Cluster> {
        self.etcd.as_ref().filter(|_| etcd::keeps(keeper))
    }

    /// Runs a read with the time that reads have.
    pub(crate) async fn reading<T>(
        &self,
        link: &Link,
        read: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, HostError> {
        let done = match tokio::time::timeout(self.options.read_timeout, read).await {
            Ok(done) => done,
            Err(_) => Err(Fault::Unreachable {
                layer: Layer::Session,
                why: format!("no answer in {:?}", self.options.read_timeout),
            }),
        };
        done.map_err(|fault| fault.at(link.node()))
    }
}

impl SshHost {
    async fn ledger_write<'a, F>(
        &'a self,
        node: &NodeName,
        tenant: &Tenant,
        what: &str,
        write: impl FnOnce(Writer<'a>) -> F,
    ) -> Result<(), HostError>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let link = self.link(node)?;
        let written = async {
            let writer = link.writer(Write::new("ledger", tenant.namespace()))?;
            write(writer).await
        };
        let done = match tokio::time::timeout(LEDGER_TIMEOUT, written).await {
            Ok(done) => done,
            Err(_) => Err(Fault::Lost(what.to_owned())),
        };
        done.map_err(|fault| fault.at(node))
    }
}

async fn perform(
    writer: &Writer<'_>,
    action: &Action,
    supplies: &Supplies<'_>,
    options: &Options,
) -> Result<(), Fault> {
    match action {
        Action::EnsureNetwork { network } => network::ensure(writer, network, supplies.peers).await,
        Action::InstallReflex { reflex, version } => {
            reflex::install(writer, *reflex, *version).await
        }
        Action::EnsureTenant { tenant } => tenant::ensure(writer, tenant).await,
        Action::EnsureImage { tenant, image, source } => {
            image::push::ensure(writer, tenant, image, source, options).await
        }
        Action::EnsureVolume { tenant, volume, spec } => {
            volume::ensure(writer, tenant, volume, spec).await
        }
        Action::RemoveVolume { tenant, volume } => volume::remove(writer, tenant, volume).await,
        Action::EnsurePod { pod } => pod::ensure::ensure(writer, pod, supplies).await,
        Action::SwapEndpoint { tenant, endpoint } => endpoint::swap(writer, tenant, endpoint).await,
        Action::RemovePod { tenant, pod, grace_ms } => {
            pod::remove::clear(writer, &tenant.namespace(), &pod.to_string(), *grace_ms).await
        }
        Action::RemoveEndpoint { tenant, endpoint } => {
            endpoint::remove(writer, tenant, endpoint).await
        }
        Action::RenamePod { tenant, pod, workload } => {
            pod::rename::rename(writer, &tenant.namespace(), &pod.to_string(), workload).await
        }
        Action::RenameEndpoint { tenant, endpoint, workload } => {
            endpoint::rename(writer, tenant, endpoint, workload).await
        }
        Action::RemoveImage { tenant, image } => image::push::remove(writer, tenant, image).await,
        Action::RemoveTenant { tenant } => tenant::remove(writer, tenant).await,
        Action::RemoveReflex { reflex } => reflex::remove(writer, *reflex).await,
        Action::RemoveNetwork => network::remove(writer).await,
    }
}

impl Host for SshHost {
    async fn observe(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<NodeObservation, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            observe::node::observe(&live, tenant).await
        })
        .await
    }

    async fn lock(&self, node: &NodeName, claim: &LockClaim) -> Result<(), HostError> {
        if let Some(etcd) = self.cluster(node) {
            return etcd.lock(claim).await.map_err(|fault| fault.at(node));
        }
        let link = self.link(node)?;
        self.reading(link, link.lock(claim)).await
    }

    async fn unlock(&self, node: &NodeName) {
        if let Some(etcd) = self.cluster(node) {
            return etcd.unlock().await;
        }
        if let Ok(link) = self.link(node) {
            link.unlock().await;
        }
    }

    async fn perform(
        &self,
        node: &NodeName,
        action: &Action,
        supplies: &Supplies<'_>,
        deadline: Duration,
    ) -> Result<(), HostError> {
        let link = self.link(node)?;
        let Some(write) = action.writes().into_iter().next() else {
            return Ok(());
        };
        let what = write.to_string();
        let done = async {
            let writer = link.writer(write)?;
            let write = perform(&writer, action, supplies, &self.options);
            match tokio::time::timeout(deadline, write).await {
                Ok(done) => done,
                Err(_) => Err(Fault::Lost(format!("{what}: no answer in {deadline:?}"))),
            }
        };
        done.await.map_err(|fault| fault.at(node))
    }

    async fn probe(
        &self,
        node: &NodeName,
        target: &ProbeTarget,
    ) -> Result<Result<(), String>, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            probe::probe(&live, target).await
        })
        .await
    }

    async fn run(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        argv: &[String],
        deadline: Duration,
    ) -> Result<Ran, HostError> {
        crate::operate::check::run(self, node, tenant, pod, argv, deadline).await
    }

    async fn fence(
        &self,
        node: &NodeName,
        command: &[String],
        deadline: Duration,
    ) -> Result<(), String> {
        crate::care::fence::run(node, command, deadline).await
    }

    async fn fetch(
        &self,
        node: &NodeName,
        url: &str,
        deadline: Duration,
    ) -> Result<Result<Vec<u8>, String>, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            crate::fetch::fetch(&live, url, deadline).await
        })
        .await
    }

    async fn connections(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
    ) -> Result<u32, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            let call = Call::new("pod_connections").arg(tenant.namespace()).arg(pod);
            let output = live.read(&call).await?;
            match output.status {
                // A pod that is not there serves nobody.
                0 | 2 => Ok(pod::connections::count(&output.text)),
                status => Err(Fault::failed("count connections", &said(status, &output.text))),
            }
        })
        .await
    }

    async fn logs(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        pod: &PodId,
        limit: usize,
    ) -> Result<Vec<u8>, HostError> {
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            let limit = limit.min(LOG_LIMIT);
            let call = Call::new("pod_log").arg(tenant.namespace()).arg(pod).arg(limit);
            let output = live.read(&call).await?;
            match output.status {
                0 => STANDARD
                    .decode(output.text.trim())
                    .map_err(|error| Fault::failed("read a log", &error.to_string())),
                2 => Err(Fault::failed("read a log", "this node has none of it")),
                status => Err(Fault::failed("read a log", &said(status, &output.text))),
            }
        })
        .await
    }

    async fn ledger_mark(
        &self,
        node: &NodeName,
        tenant: &Tenant,
    ) -> Result<Option<Mark>, HostError> {
        if let Some(etcd) = self.cluster(node) {
            return etcd.mark(tenant).await.map_err(|fault| fault.at(node));
        }
        let link = self.link(node)?;
        self.reading(link, ledger::mark(link, tenant)).await
    }

    async fn ledger_read(&self, node: &NodeName, tenant: &Tenant) -> Result<Vec<u8>, HostError> {
        if let Some(etcd) = self.cluster(node) {
            return etcd.read(tenant).await.map_err(|fault| fault.at(node));
        }
        let link = self.link(node)?;
        self.reading(link, async {
            let live = link.live().await?;
            ledger::read(&live, tenant).await
        })
        .await
    }

    async fn ask(&self, keeper: &NodeName, tenant: &Tenant, ask: &Ask) -> Result<(), HostError> {
        if let Some(etcd) = self.cluster(keeper) {
            return etcd.ask(tenant, ask).await.map_err(|fault| fault.at(keeper));
        }
        let link = self.link(keeper)?;
        self.reading(link, async {
            let live = link.live().await?;
            ledger::ask(&live, tenant, ask).await
        })
        .await
    }

    async fn asked(&self, keeper: &NodeName, tenant: &Tenant) -> Result<Option<Ask>, HostError> {
        if let Some(etcd) = self.cluster(keeper) {
            return etcd.asked(tenant).await.map_err(|fault| fault.at(keeper));
        }
        let link = self.link(keeper)?;
        self.reading(link, async {
            let live = link.live().await?;
            ledger::asked(&live, tenant).await
        })
        .await
    }

    async fn ledger_append(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        at: u64,
        prev: &str,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        if let Some(etcd) = self.cluster(node) {
            return etcd.append(tenant, (at, prev), bytes).await.map_err(|fault| fault.at(node));
        }
        self.ledger_write(node, tenant, "append to the ledger", |writer| async move {
            ledger::append(&writer, tenant, (at, prev), bytes).await
        })
        .await
    }

    async fn ledger_replace(
        &self,
        node: &NodeName,
        tenant: &Tenant,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        if let Some(etcd) = self.cluster(node) {
            return etcd.replace(tenant, bytes).await.map_err(|fault| fault.at(node));
        }
        self.ledger_write(node, tenant, "write the ledger", |writer| async move {
            ledger::replace(&writer, tenant, bytes).await
        })
        .await
    }

    async fn ledger_remove(&self, node: &NodeName, tenant: &Tenant) -> Result<(), HostError> {
        if let Some(etcd) = self.cluster(node) {
            return etcd.remove(tenant).await.map_err(|fault| fault.at(node));
        }
        self.ledger_write(node, tenant, "remove the ledger", |writer| async move {
            ledger::remove(&writer, tenant).await
        })
        .await
    }
}
