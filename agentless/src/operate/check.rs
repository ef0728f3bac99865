//! A program in a pod that says yes or no: run to its end, with the last of what it said.

use std::time::Duration;

use berth_engine::plan::names::{NodeName, PodId, Tenant};
use berth_engine::run::host::{HostError, Layer, Ran};

use super::channel::{Ending, Heard};
use super::exec::Command;
use crate::host::SshHost;

/// How much of what a program said is kept, in bytes: the end of it.
const KEPT: usize = 4096;

/// Runs a program in a pod. One that cannot start, or that takes too long, has said no; what is left of
/// the latter ends with its pod.
pub(crate) async fn run(
    host: &SshHost,
    node: &NodeName,
    tenant: &Tenant,
    pod: &PodId,
    argv: &[String],
    deadline: Duration,
) -> Result<Ran, HostError> {
    let command = Command {
        argv: argv.to_vec(),
        env: Vec::new(),
        user: None,
        directory: None,
        terminal: None,
    };
    let mut exec = match host.exec(node, tenant, &pod.clone().into(), &command).await {
        Ok(exec) => exec,
        Err(HostError::Refused { node: _, refusal }) => {
            return Ok(Ran { why: Some(refusal.to_string()), said: Vec::new() });
        }
        Err(error) => return Err(error),
    };
    exec.input().end().await;
    let mut said = Vec::new();
    let ended = tokio::time::timeout(deadline, async {
        loop {
            match exec.next().await {
                Heard::Out(bytes) | Heard::Err(bytes) => {
                    said.extend_from_slice(&bytes);
                    let over = said.len().saturating_sub(KEPT);
                    said.drain(..over);
                }
                Heard::Ended(ending) => return ending,
            }
        }
    });
    let why = match ended.await {
        Ok(Ending::Code(0)) => None,
        Ok(Ending::Code(code)) => Some(format!("exited with {code}")),
        Ok(Ending::NotStarted(why)) => Some(format!("could not start: {why}")),
        Ok(Ending::Lost) => {
            let why = "the connection ended while a check ran".to_owned();
            let (node, layer) = (node.clone(), Layer::Session);
            return Err(HostError::Unreachable { node, layer, why });
        }
        Err(_) => {
            exec.input().signal("KILL").await;
            Some(format!("did not end in {} s", deadline.as_secs()))
        }
    };
    Ok(Ran { why, said })
}
