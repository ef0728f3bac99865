//! Looking at servers, and running what was agreed to, over plain SSH sessions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_engine::plan::graph::Pools;
use berth_engine::plan::names::NodeName;
use berth_engine::run::host::{HostError, Layer};
use russh::ChannelMsg;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::facts::Facts;
use super::judge::{Finding, Fleet, commands, judge};
use crate::connect::dial::Dialed;
use crate::fault::{Fault, words};
use crate::host::SshHost;
use crate::session::quote::argv;

const DOCTOR: &str = include_str!("../node/doctor.sh");
/// How long a look at a server may take.
const LOOK: Duration = Duration::from_secs(60);
/// The most that a look may print, in bytes.
const LIMIT: usize = 1 << 20;

/// What was found on a server.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its system, in its own words.
    pub system: String,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
    /// The commands that mend what needs no person's judgement.
    pub commands: Vec<String>,
}

impl SshHost {
    /// Looks at some nodes of the fleet, or all; each beside those that could be reached.
    pub async fn examine(
        &self,
        nodes: &[NodeName],
        pools: &Pools,
    ) -> BTreeMap<NodeName, Result<Examined, HostError>> {
        let mut all = BTreeMap::new();
        let mut dialling = JoinSet::new();
        for node in nodes {
            match self.link(node) {
                Ok(link) => {
                    let link = link.clone();
                    dialling.spawn(async move { (link.dial().await, link) });
                }
                Err(error) => {
                    all.insert(node.clone(), Err(error));
                }
            }
        }
        let mut reached = Vec::new();
        for (dialled, link) in dialling.join_all().await {
            match dialled {
                Ok(server) => reached.push((link, Arc::new(server))),
                Err(fault) => {
                    all.insert(link.node().clone(), Err(fault.at(link.node())));
                }
            }
        }
        let addresses: BTreeMap<IpAddr, String> = reached
            .iter()
            .filter_map(|(link, server)| Some((server.address?, link.node().to_string())))
            .collect();
        let mut looking = JoinSet::new();
        for (link, server) in reached {
            let mut others = addresses.clone();
            server.address.map(|own| others.remove(&own));
            looking.spawn(async move {
                let looked = tokio::time::timeout(LOOK, look(&server, &others)).await;
                let looked = looked.unwrap_or_else(|_| Err(silent("no answer in 60 s")));
                let _ = server.handle.disconnect(russh::Disconnect::ByApplication, "", "en").await;
                (link, looked, others, server.user.clone())
            });
        }
        let mut seen = Vec::new();
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (link, looked, others, login) in looking.join_all().await {
            match looked {
                Ok((facts, now)) => {
                    ids.entry(facts.id.clone()).or_default().push(link.node().to_string());
                    seen.push((link, facts, (now, login), others));
                }
                Err(fault) => {
                    all.insert(link.node().clone(), Err(fault.at(link.node())));
                }
            }
        }
        let pools = vec![
            pools.pods4.into(),
            pools.pods6.into(),
            pools.endpoints4.into(),
            pools.endpoints6.into(),
        ];
        for (link, facts, (now, login), others) in seen {
            let node = link.node();
            let mut ids = ids.clone();
            ids.values_mut().for_each(|names| names.retain(|name| *name != node.to_string()));
            ids.remove("");
            let fleet = Fleet { pools: pools.clone(), others, ids, login, now };
            let findings = judge(&facts, &fleet);
            let commands = commands(facts.packages, &findings);
            let system = format!("{}, kernel {}, {}", facts.os, facts.kernel, facts.machine);
            all.insert(node.clone(), Ok(Examined { system, findings, commands }));
        }
        all
    }

    /// Runs commands on a node, one after the other, until one fails; passes on what they print, a
    /// line each, and says how the last one ended.
    ///
    /// # Errors
    /// If the node cannot be reached, or the connection ends before the commands do.
    pub async fn mend(
        &self,
        node: &NodeName,
        commands: &[String],
        to: mpsc::Sender<(NodeName, String)>,
    ) -> Result<u32, HostError> {
        let link = self.link(node)?;
        let run = async {
            let server = link.dial().await?;
            let mut script = String::from("export LC_ALL=C\n");
            for command in commands {
                let shown = argv(&[format!("+ {command}")]);
                script.push_str(&format!("echo {shown}\n({command}) </dev/null || exit\n"));
            }
            let ended = shell(&server, &script, |line| {
                let to = to.clone();
                let said = (node.clone(), line);
                async move { to.send(said).await.is_ok() }
            })
            .await?;
            let _ = server.handle.disconnect(russh::Disconnect::ByApplication, "", "en").await;
            Ok(ended)
        };
        run.await.map_err(|fault: Fault| fault.at(node))
    }
}

fn silent(why: &str) -> Fault {
    Fault::Unreachable { layer: Layer::Session, why: why.to_owned() }
}

/// Looks at a server, as root if the login can be; gives its facts, and this machine's clock when they came.
async fn look(server: &Dialed, others: &BTreeMap<IpAddr, String>) -> Result<(Facts, u64), Fault> {
    let addresses: Vec<String> = others.keys().map(ToString::to_string).collect();
    let script = format!("set -- {}\n{DOCTOR}", addresses.join(" "));
    for sudo in [true, false] {
        let mut answer = String::new();
        let whole = &mut answer;
        shell_as(server, (sudo, &script), |line| {
            let fits = whole.len() + line.len() < LIMIT;
            if fits {
                whole.push_str(&line);
                whole.push('\n');
            }
            async move { fits }
        })
        .await?;
        let facts = Facts::read(&answer);
        if facts.whole {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            return Ok((facts, now.as_secs()));
        }
        if server.user == "root" {
            return Err(silent(&format!("its shell does not run a script: {}", words(&answer))));
        }
    }
    Err(silent("its shell does not run a script"))
}

async fn shell<F: Future<Output = bool>>(
    server: &Dialed,
    script: &str,
    line: impl FnMut(String) -> F,
) -> Result<u32, Fault> {
    shell_as(server, (true, script), line).await
}

/// Runs a script of plain sh, as root if `sudo`; passes on what it prints line by line until that is
/// not wanted any more.
async fn shell_as<F: Future<Output = bool>>(
    server: &Dialed,
    (sudo, script): (bool, &str),
    mut line: impl FnMut(String) -> F,
) -> Result<u32, Fault> {
    let broken = |error: russh::Error| silent(&format!("no shell: {error}"));
    let mut channel = server.handle.channel_open_session().await.map_err(broken)?;
    let command = match server.user.as_str() {
        "root" => "exec sh -s",
        _ if sudo => "exec sudo -n sh -s",
        _ => "exec sh -s",
    };
    channel.exec(false, command).await.map_err(broken)?;
    channel.data_bytes(script.as_bytes().to_vec()).await.map_err(broken)?;
    channel.eof().await.map_err(broken)?;
    let mut rest = Vec::new();
    let mut status = None;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                rest.extend_from_slice(&data);
                while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                    let whole: Vec<u8> = rest.drain(..=at).collect();
                    if !line(words(&String::from_utf8_lossy(&whole))).await {
                        return Ok(1);
                    }
                }
                if rest.len() > LIMIT {
                    return Err(silent("it prints a line that does not end"));
                }
            }
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
    }
    if !rest.is_empty() {
        line(words(&String::from_utf8_lossy(&rest))).await;
    }
    status.ok_or_else(|| silent("the connection ended before the command did"))
}
