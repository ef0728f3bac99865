//! One GET over a TCP connection that a node opens for us, with the body of its answer.
//!
//! Plain HTTP/1.1, for a server in the nodes' own network; no redirects, and bodies up to a limit.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fault::{Fault, words};
use crate::link::Live;

/// The longest answer that is read, headers included, in bytes.
const LIMIT: usize = 1 << 20;

/// Asks. The inner result is the server's answer.
pub(crate) async fn fetch(
    live: &Live,
    url: &str,
    deadline: Duration,
) -> Result<Result<Vec<u8>, String>, Fault> {
    let Some((host, port, path)) = parts(url) else {
        return Ok(Err(format!("`{}` is no address", url.escape_debug())));
    };
    match tokio::time::timeout(deadline, ask(live, &host, port, &path)).await {
        Ok(answer) => Ok(answer),
        Err(_) if live.alive() => Ok(Err(format!("no answer in {} s", deadline.as_secs()))),
        Err(_) => Err(Fault::Unreachable {
            layer: berth_engine::run::host::Layer::Session,
            why: "the connection ended during a question".to_owned(),
        }),
    }
}

/// Host, port and path of `http://host:port/path`.
fn parts(url: &str) -> Option<(String, u16, String)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    // An IPv6 address stands in brackets.
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority.get(after_host..)?.rfind(':').map(|at| at + after_host);
    let (host, port) = match colon {
        Some(at) => (authority.get(..at)?, authority.get(at + 1..)?.parse().ok()?),
        None => (authority, 80),
    };
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if host.is_empty() || url.contains(odd) {
        return None;
    }
    Some((host.to_owned(), port, path.to_owned()))
}

async fn ask(live: &Live, host: &str, port: u16, path: &str) -> Result<Vec<u8>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let channel = live.direct_tcpip_to(bare, port).await;
    let channel = channel.map_err(|error| format!("{host}:{port}: {error}"))?;
    let mut stream = channel.into_stream();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: berth\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut part = [0_u8; 4096];
    loop {
        match stream.read(&mut part).await {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(error) => return Err(error.to_string()),
        }
        if answer.len() > LIMIT {
            return Err("its answer is larger than 1 MiB".to_owned());
        }
    }
    body(&answer)
}

/// The body of an answer, or why there is none.
fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { return Err("not an HTTP answer".to_owned()) };
    let (head, rest) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let chunked = lines.any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let rest = if chunked { unchunked(rest)? } else { rest.to_vec() };
    match code.and_then(|code| code.parse::<u16>().ok()) {
        // What Prometheus has to say against a query comes as JSON with these.
        Some(200 | 400 | 422 | 503) if rest.first() == Some(&b'{') => Ok(rest),
        Some(200) => Ok(rest),
        Some(code) => Err(format!("HTTP status {code}")),
        None => Err(format!("not an HTTP answer: {}", words(status))),
    }
}

/// A body that came in pieces, each after its length in hexadecimal (RFC 9112, section 7.1).
fn unchunked(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let cut = || "its answer was cut off".to_owned();
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or_else(cut)?;
        let line = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
        let length = line.split(';').next().unwrap_or_default().trim().to_owned();
        let length = usize::from_str_radix(&length, 16).map_err(|_| cut())?;
        rest = rest.get(end + 2..).ok_or_else(cut)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..length).ok_or_else(cut)?);
        rest = rest.get(length.saturating_add(2)..).ok_or_else(cut)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read() {
        let of = |url: &str| parts(url);
        let some = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(of("http://10.0.0.5:9090/api?q=1"), some("10.0.0.5", 9090, "/api?q=1"));
        assert_eq!(of("http://prom"), some("prom", 80, "/"));
        assert_eq!(of("http://[fd00::1]:9090"), some("[fd00::1]", 9090, "/"));
        assert_eq!(of("http://[fd00::1]/x"), some("[fd00::1]", 80, "/x"));
        for wrong in ["https://a", "http://", "http://a:b", "http://a\r\nb", "http://:80"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bodies_are_read() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"), Ok(b"{}".to_vec()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(body(chunked), Ok(b"abcde".to_vec()));
        assert_eq!(body(b"HTTP/1.1 502 Bad\r\n\r\nno"), Err("HTTP status 502".to_owned()));
        assert!(body(b"SSH-2.0\r\n\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = body(&bytes);
            let _ = unchunked(&bytes);
        }
    }
}
