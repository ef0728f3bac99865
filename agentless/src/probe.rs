//! Asks a pod whether it is ready, over a TCP connection that its node opens for us.
//!
//! HTTP is one GET of HTTP/1.1 with a bounded answer, of which only the status line counts.

use std::net::IpAddr;
use std::time::Duration;

use berth_engine::plan::graph::ProbeKind;
use berth_engine::run::host::ProbeTarget;
use russh::ChannelOpenFailure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fault::{Fault, words};
use crate::link::Live;
use crate::session::quote::Call;

/// The longest status line that is read.
const STATUS_LINE_LIMIT: usize = 512;
/// What our side may take beyond the pod's own time-out.
const SLACK: Duration = Duration::from_secs(2);

/// Asks once. The inner result is the pod's answer.
pub(crate) async fn probe(live: &Live, target: &ProbeTarget) -> Result<Result<(), String>, Fault> {
    let timeout = Duration::from_millis(target.probe.timeout_ms.max(1));
    let asked = tokio::time::timeout(timeout, direct(live, target)).await;
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Prohibited)) => through_shell(live, target, timeout).await,
        Err(_) if live.alive() => Ok(Err(format!("no answer in {timeout:?}"))),
        Err(_) => Err(Fault::Unreachable {
            layer: berth_engine::run::host::Layer::Session,
            why: "the connection ended during a probe".to_owned(),
        }),
    }
}

/// The server does not open TCP connections for us.
struct Prohibited;

async fn direct(live: &Live, target: &ProbeTarget) -> Result<Result<(), String>, Prohibited> {
    let port = target.probe.port;
    let channel = match live.direct_tcpip(target.address, port).await {
        Ok(channel) => channel,
        Err(russh::Error::ChannelOpenFailure(
            ChannelOpenFailure::AdministrativelyProhibited | ChannelOpenFailure::UnknownChannelType,
        )) => return Err(Prohibited),
        Err(russh::Error::ChannelOpenFailure(_)) => {
            return Ok(Err(format!("port {port} refuses connections")));
        }
        Err(error) => return Ok(Err(error.to_string())),
    };
    let ProbeKind::Http { path } = &target.probe.kind else {
        return Ok(Ok(()));
    };
    let mut stream = channel.into_stream();
    let request = request(target.address, port, path);
    if let Err(error) = stream.write_all(request.as_bytes()).await {
        return Ok(Err(format!("the request was not taken: {error}")));
    }
    let mut line = Vec::new();
    let mut part = [0_u8; 256];
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_LIMIT {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(n) => line.extend_from_slice(part.get(..n).unwrap_or_default()),
        }
    }
    Ok(judge(&line))
}

fn request(address: IpAddr, port: u16, path: &str) -> String {
    let host = match address {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    // A line break in a path would be another request.
    let path: String = path.chars().filter(|c| !c.is_control() && *c != ' ').collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: berth\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// Judges an answer by its status line: 200 to 399 is ready.
fn judge(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default();
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse::<u16>().ok());
    match status {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("HTTP status {code}")),
        None if line.is_empty() => Err("the connection closed without an answer".to_owned()),
        None => Err(format!("not an HTTP answer: {}", words(line))),
    }
}

/// The same through the node's shell, where sshd forbids forwarding.
async fn through_shell(
    live: &Live,
    target: &ProbeTarget,
    timeout: Duration,
) -> Result<Result<(), String>, Fault> {
    let port = target.probe.port;
    let seconds = format!("{}.{:03}", timeout.as_secs(), timeout.subsec_millis());
    let mut call = Call::new("probe_tcp").arg(target.address).arg(port).arg(seconds);
    if let ProbeKind::Http { path } = &target.probe.kind {
        call = call.arg(request(target.address, port, path));
    }
    let output = match tokio::time::timeout(timeout + SLACK, live.read(&call)).await {
        Ok(output) => output?,
        Err(_) => return Ok(Err(format!("no answer in {timeout:?}"))),
    };
    Ok(match (&target.probe.kind, output.status) {
        (_, 124) => Err(format!("no answer in {timeout:?}")),
        (_, 1..) => Err(format!("port {port} refuses connections")),
        (ProbeKind::Tcp, 0) => Ok(()),
        (ProbeKind::Http { .. }, 0) => judge(output.text.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_are_judged_by_their_status() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.0 302\r\n"), Ok(()));
        assert_eq!(judge(b"HTTP/1.1 503 Busy\r\n"), Err("HTTP status 503".to_owned()));
        assert!(judge(b"").is_err_and(|why| why.contains("closed")));
        assert!(judge(b"SSH-2.0\r\n").is_err_and(|why| why.contains("not an HTTP")));
    }

    #[test]
    fn a_path_is_one_request() {
        let text = request("::1".parse().expect("ip"), 80, "/a\r\nX: y");
        assert_eq!(text.lines().next(), Some("GET /aX:y HTTP/1.1"));
        assert!(text.contains("Host: [::1]:80\r\n"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = judge(&bytes);
        }
    }
}
