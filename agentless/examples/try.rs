//! Drives real nodes through the Host port, by hand: `try SCENARIO` in the lab's network namespace.
//!
//! Reads `NODES` (`n1=10.77.0.11,…`), `KEY`, `KNOWN_HOSTS`, `IMAGES` (a folder of layouts).
#![allow(clippy::print_stdout, clippy::float_arithmetic)]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use berth_agentless::{Options, SshHost, Target, image};
use berth_engine::plan::action::{
    Action, Backend, Endpoint, EndpointPort, ImageSource, NodeNetwork, Peer, PodSpec, Protocol,
    Reflex,
};
use berth_engine::plan::graph::{Probe, ProbeKind};
use berth_engine::plan::names::{ImageDigest, NodeName, PodId, SpecDigest, Tenant, WorkloadName};
use berth_engine::run::host::{Host, LockClaim, ProbeTarget};

type Res<T = ()> = Result<T, Box<dyn Error>>;

struct Try {
    host: SshHost,
    nodes: Vec<(NodeName, Ipv4Addr)>,
    images: PathBuf,
    tenant: Tenant,
}

fn claim(holder: &str, epoch: u64) -> LockClaim {
    LockClaim { holder: holder.into(), since_ms: 1, purpose: "try".into(), epoch }
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    println!("  {:>7.1} ms  {what}", start.elapsed().as_micros() as f64 / 1000.0);
    done
}

impl Try {
    fn new() -> Res<Self> {
        let env = |key: &str| std::env::var(key).map_err(|_| format!("{key} is not set"));
        let mut nodes = Vec::new();
        let mut targets = BTreeMap::new();
        for pair in env("NODES")?.split([',', ' ']) {
            let (name, ip) = pair.split_once('=').ok_or("NODES: n1=IP,…")?;
            let node = NodeName::new(name);
            nodes.push((node.clone(), ip.parse()?));
            let user = std::env::var("LOGIN").unwrap_or_else(|_| "root".into());
            let identity = Some(PathBuf::from(env("KEY")?));
            targets.insert(node, Target { host: ip.into(), user, port: 22, identity });
        }
        let mut options = Options::for_project(PathBuf::from(env("IMAGES")?));
        options.known_hosts.push(PathBuf::from(env("KNOWN_HOSTS")?));
        let tenant = Tenant { project: "try".into(), environment: "default".into() };
        let images = PathBuf::from(env("IMAGES")?);
        Ok(Self { host: SshHost::new(targets, options), nodes, images, tenant })
    }

    fn network(&self, index: usize) -> Res<NodeNetwork> {
        let peers = self.nodes.iter().enumerate().filter(|(i, _)| *i != index);
        let peers = peers
            .map(|(i, (node, ip))| {
                Ok(Peer {
                    node: node.clone(),
                    address4: Some(*ip),
                    address6: Some(format!("fd77::{}", ip.octets()[3]).parse()?),
                    range4: format!("10.88.{}.0/24", i + 1).parse()?,
                    range6: format!("fd00:88:0:{}::/64", i + 1).parse()?,
                })
            })
            .collect::<Res<Vec<_>>>()?;
        Ok(NodeNetwork {
            range4: format!("10.88.{}.0/24", index + 1).parse()?,
            range6: format!("fd00:88:0:{}::/64", index + 1).parse()?,
            pods4: "10.88.0.0/16".parse()?,
            pods6: "fd00:88::/48".parse()?,
            endpoints4: "10.99.0.0/16".parse()?,
            endpoints6: "fd00:99::/64".parse()?,
            peers,
        })
    }

    fn pod(&self, node: usize, ordinal: u32, image: &ImageDigest) -> Res<PodSpec> {
        let last = 10 + ordinal;
        Ok(PodSpec {
            id: PodId { workload: "web".into(), ordinal, generation: 1 },
            tenant: self.tenant.clone(),
            workload: WorkloadName::new("web"),
            digest: SpecDigest::new("ab".repeat(32)),
            image: image.clone(),
            command: vec![],
            args: vec![],
            env: BTreeMap::new(),
            cpu_millis: 500,
            memory_bytes: 64 << 20,
            ip4: format!("10.88.{}.{last}", node + 1).parse()?,
            ip6: format!("fd00:88:0:{}::{last:x}", node + 1).parse::<Ipv6Addr>()?,
            grace_ms: 3000,
            revision: 1,
        })
    }

    fn endpoint(&self, pods: &[PodSpec]) -> Res<Endpoint> {
        Ok(Endpoint {
            workload: WorkloadName::new("web"),
            address4: "10.99.0.1".parse()?,
            address6: "fd00:99::1".parse()?,
            ports: vec![EndpointPort { protocol: Protocol::Tcp, port: 80, target: 8080 }],
            backends: pods
                .iter()
                .map(|p| Backend { pod: p.id.clone(), ip4: p.ip4, ip6: p.ip6 })
                .collect(),
        })
    }

    async fn act(&self, node: &NodeName, what: &str, action: Action) -> Res {
        timed(&format!("{node} {what}"), self.host.perform(node, &action, Duration::from_secs(60)))
            .await?;
        Ok(())
    }

    async fn lock_all(&self) -> Res {
        for (node, _) in &self.nodes {
            timed(&format!("{node} lock"), self.host.lock(node, &claim("try", 1))).await?;
        }
        Ok(())
    }

    async fn wait_ready(&self, node: &NodeName, pod: &PodSpec) -> Res {
        for address in [pod.ip4.into(), pod.ip6.into()] {
            let probe = Probe {
                kind: ProbeKind::Http { path: "/ready".into() },
                port: 8080,
                every_ms: 100,
                timeout_ms: 1000,
                pass_after: 1,
                fail_after: 1,
            };
            let target = ProbeTarget { address, probe };
            let start = Instant::now();
            loop {
                match self.host.probe(node, &target).await? {
                    Ok(()) => break,
                    Err(why) if start.elapsed() > Duration::from_secs(10) => return Err(why.into()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            println!(
                "  {:>7.1} ms  {node} ready at {address}",
                start.elapsed().as_micros() as f64 / 1000.0
            );
        }
        Ok(())
    }

    async fn up(&self) -> Res {
        let facts = image::read_layout(&self.images.join("web-1"))?;
        println!("{facts:?}");
        for (node, _) in &self.nodes {
            let seen =
                timed(&format!("{node} observe, cold"), self.host.observe(node, &self.tenant))
                    .await?;
            println!("{:?}", seen.facts);
        }
        self.lock_all().await?;
        let mut pods = Vec::new();
        for (index, (node, _)) in self.nodes.iter().enumerate() {
            let network = self.network(index)?;
            self.act(node, "network", Action::EnsureNetwork { network }).await?;
            for (reflex, version) in Reflex::CURRENT {
                self.act(node, "reflex", Action::InstallReflex { reflex, version }).await?;
            }
            self.act(node, "tenant", Action::EnsureTenant { tenant: self.tenant.clone() }).await?;
            let action = || Action::EnsureImage {
                tenant: self.tenant.clone(),
                image: facts.digest.clone(),
                source: ImageSource::Layout("web-1".into()),
            };
            self.act(node, "image", action()).await?;
            self.act(node, "image again", action()).await?;
            let pod = self.pod(index, u32::try_from(index)?, &facts.digest)?;
            let start = Instant::now();
            self.act(node, "pod", Action::EnsurePod { pod: pod.clone() }).await?;
            self.wait_ready(node, &pod).await?;
            println!(
                "  {:>7.1} ms  {node} from nothing to ready, both families",
                start.elapsed().as_micros() as f64 / 1000.0
            );
            self.act(node, "pod again", Action::EnsurePod { pod: pod.clone() }).await?;
            pods.push(pod);
        }
        for (node, _) in &self.nodes {
            let endpoint = self.endpoint(&pods)?;
            let swap =
                || Action::SwapEndpoint { tenant: self.tenant.clone(), endpoint: endpoint.clone() };
            self.act(node, "endpoint", swap()).await?;
            self.act(node, "endpoint again", swap()).await?;
        }
        for (node, _) in &self.nodes {
            let seen =
                timed(&format!("{node} observe, warm"), self.host.observe(node, &self.tenant))
                    .await?;
            println!("{:?}\n{:?}", seen.spec.pods, seen.status);
            for id in seen.spec.pods.keys() {
                println!("  connections {}", self.host.connections(node, &self.tenant, id).await?);
                let log = self.host.logs(node, &self.tenant, id, 200).await?;
                println!("  log {}", String::from_utf8_lossy(&log));
            }
        }
        Ok(())
    }

    async fn down(&self) -> Res {
        self.lock_all().await?;
        for (index, (node, _)) in self.nodes.iter().enumerate() {
            let tenant = self.tenant.clone();
            let seen = self.host.observe(node, &tenant).await?;
            let endpoint = WorkloadName::new("web");
            self.act(
                node,
                "endpoint gone",
                Action::RemoveEndpoint { tenant: tenant.clone(), endpoint },
            )
            .await?;
            for pod in seen.spec.pods.into_keys() {
                let action = Action::RemovePod { tenant: tenant.clone(), pod, grace_ms: 3000 };
                self.act(node, "pod gone", action.clone()).await?;
                self.act(node, "pod gone again", action).await?;
            }
            for image in seen.spec.images {
                self.act(node, "image gone", Action::RemoveImage { tenant: tenant.clone(), image })
                    .await?;
            }
            self.act(node, "tenant gone", Action::RemoveTenant { tenant: tenant.clone() }).await?;
            for (reflex, _) in Reflex::CURRENT {
                self.act(node, "reflex gone", Action::RemoveReflex { reflex }).await?;
            }
            if index == 0 {
                let at = self.host.ledger_read(node, &tenant).await?.len() as u64;
                self.host.ledger_append(node, &tenant, at, b"a\n").await?;
                timed("ledger append", self.host.ledger_append(node, &tenant, at + 2, b"b\n"))
                    .await?;
                println!("{:?}", self.host.ledger_append(node, &tenant, at + 2, b"b\n").await);
                println!("{:?}", String::from_utf8(self.host.ledger_read(node, &tenant).await?)?);
            }
            self.act(node, "network gone", Action::RemoveNetwork).await?;
            if index == 0 {
                self.host.ledger_remove(node, &tenant).await?;
            }
            let seen = self.host.observe(node, &tenant).await?;
            println!("{:?}", seen.spec);
        }
        Ok(())
    }

    /// Says what a refusal looks like, and that nothing is left of it.
    async fn bad(&self) -> Res {
        self.lock_all().await?;
        let (node, _) = &self.nodes[0];
        let corrupt = image::read_archive(&self.images.join("corrupt.tar"))?;
        let other = Tenant { project: "try".into(), environment: "bad".into() };
        self.act(node, "tenant", Action::EnsureTenant { tenant: other.clone() }).await?;
        let action = Action::EnsureImage {
            tenant: other.clone(),
            image: corrupt.digest,
            source: ImageSource::Archive("corrupt.tar".into()),
        };
        println!("{:?}", self.act(node, "corrupt", action).await);
        println!("{:?}", self.host.observe(node, &other).await?.spec.images);
        self.act(node, "tenant gone", Action::RemoveTenant { tenant: other }).await?;
        let facts = image::read_layout(&self.images.join("web-1"))?;
        let mut pod = self.pod(0, 40, &facts.digest)?;
        pod.command = vec!["/nope".into()];
        println!("{:?}", self.act(node, "no such command", Action::EnsurePod { pod }).await);
        let mut pod = self.pod(0, 41, &facts.digest)?;
        pod.ip4 = "10.88.1.10".parse()?;
        println!("{:?}", self.act(node, "claimed", Action::EnsurePod { pod }).await);
        let seen = self.host.observe(node, &self.tenant).await?;
        println!("{:?} {:?}", seen.spec.pods.keys(), seen.spec.claimed);
        Ok(())
    }

    /// Takes a lock and keeps writing until it is told that the lock is lost.
    async fn hold(&self) -> Res {
        self.lock_all().await?;
        let (node, _) = &self.nodes[0];
        println!("locked");
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let done = self
                .host
                .perform(
                    node,
                    &Action::EnsureTenant { tenant: self.tenant.clone() },
                    Duration::from_secs(5),
                )
                .await;
            println!("{done:?}");
            if done.is_err() {
                return Ok(());
            }
        }
    }

    async fn lock(&self) -> Res {
        let (node, _) = &self.nodes[0];
        println!("{:?}", timed("lock", self.host.lock(node, &claim("second", 1))).await);
        Ok(())
    }

    /// A large image to each node, and gone again.
    async fn push(&self) -> Res {
        self.lock_all().await?;
        let facts = image::read_layout(&self.images.join("big"))?;
        let tenant = Tenant { project: "try".into(), environment: "push".into() };
        for (node, _) in &self.nodes {
            self.act(node, "tenant", Action::EnsureTenant { tenant: tenant.clone() }).await?;
            let source = ImageSource::Layout("big".into());
            let image = facts.digest.clone();
            let action = Action::EnsureImage { tenant: tenant.clone(), image, source };
            let start = Instant::now();
            self.act(node, "image", action).await?;
            println!("  {:.0} MB/s", facts.bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
            self.act(node, "tenant gone", Action::RemoveTenant { tenant: tenant.clone() }).await?;
        }
        Ok(())
    }

    /// Many times one pod, as `ctr run` is timed.
    async fn pace(&self) -> Res {
        self.lock_all().await?;
        let facts = image::read_layout(&self.images.join("web-1"))?;
        for (index, (node, _)) in self.nodes.iter().enumerate() {
            let mut times = Vec::new();
            for round in 0..12 {
                let pod = self.pod(index, 50 + round, &facts.digest)?;
                let start = Instant::now();
                self.host
                    .perform(node, &Action::EnsurePod { pod: pod.clone() }, Duration::from_secs(20))
                    .await?;
                let target = ProbeTarget {
                    address: pod.ip4.into(),
                    probe: Probe {
                        kind: ProbeKind::Http { path: "/ready".into() },
                        port: 8080,
                        every_ms: 1,
                        timeout_ms: 500,
                        pass_after: 1,
                        fail_after: 1,
                    },
                };
                let made = start.elapsed().as_millis();
                while self.host.probe(node, &target).await?.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                times.push((start.elapsed().as_millis(), made));
                let action =
                    Action::RemovePod { tenant: self.tenant.clone(), pod: pod.id, grace_ms: 2000 };
                self.host.perform(node, &action, Duration::from_secs(20)).await?;
            }
            times.sort_unstable();
            println!("{node}: ready (and made) in ms, sorted: {times:?}");
            let mut warm = Vec::new();
            for _ in 0..10 {
                let start = Instant::now();
                self.host.observe(node, &self.tenant).await?;
                warm.push(start.elapsed().as_millis());
            }
            println!("{node}: observe warm {warm:?}");
        }
        Ok(())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Res {
    let tried = Try::new()?;
    let scenario = std::env::args().nth(1).unwrap_or_default();
    let done = match scenario.as_str() {
        "up" => tried.up().await,
        "down" => tried.down().await,
        "bad" => tried.bad().await,
        "hold" => tried.hold().await,
        "lock" => tried.lock().await,
        "push" => tried.push().await,
        "pace" => tried.pace().await,
        _ => Err("try up|down|bad|hold|lock|pace|push".into()),
    };
    let writes: std::collections::BTreeSet<String> =
        tried.host.recorded().iter().map(|r| format!("{} {}", r.node, r.write)).collect();
    println!("writes: {writes:?}");
    timed("close", tried.host.close()).await;
    done
}
