//! A bounded request loop: what a service's clients see while something is done to it.
//!
//! Each request has a connection of its own, so that none is lucky to hold one to a replica that has left. It runs on
//! the lab's bridge (outside) as well as inside a node, so it needs nothing but std. It ends after a time, or when a
//! file appears, and never later than ten minutes after its start.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const USAGE: &str = "\
load --url http://ADDRESS[:PORT]/[PATH] (--for SECONDS | --until-file FILE) [options]
  --for SECONDS      how long; fractions are fine
  --until-file FILE  until that file exists
  --count N          at most N requests
  --rate R           requests a second over all workers (as fast as answers come, unless said)
  --workers W        how many ask at once (4)
  --timeout SECONDS  for one request (5)
Prints one line of JSON. Ends with 0 if no request failed, 1 if one did, 2 if it could not start.";

/// No run is longer, and no answer larger.
const LONGEST: Duration = Duration::from_secs(600);
const LARGEST_ANSWER: u64 = 1 << 20;
const REASONS_KEPT: usize = 5;

struct Config {
    target: Target,
    length: Duration,
    until: Option<PathBuf>,
    count: u64,
    /// Between two requests of all workers.
    interval: Duration,
    workers: u32,
    timeout: Duration,
}

struct Target {
    /// Host and port, as `ToSocketAddrs` reads them.
    authority: String,
    path: String,
}

/// What has been seen so far.
#[derive(Default)]
struct Tally {
    sent: u64,
    failed: u64,
    bodies: BTreeMap<String, u64>,
    reasons: Vec<String>,
    slowest: Duration,
    /// When the last good answer came, and the longest time without one.
    last_good: Duration,
    longest_gap: Duration,
    first_failure: Option<Duration>,
    last_failure: Option<Duration>,
}

fn main() -> ExitCode {
    if std::env::args()
        .skip(1)
        .any(|argument| argument == "--help")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let config = match parse(std::env::args().skip(1)) {
        Ok(config) => config,
        Err(reason) => {
            eprintln!("load: {reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let tally = run(&config, start);
    println!("{}", report(&tally, start.elapsed()));
    if tally.failed == 0 && tally.sent > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

fn run(config: &Config, start: Instant) -> Tally {
    let tickets = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..config.workers {
            scope.spawn(|| work(config, start, &tickets, &tally));
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.longest_gap = tally
        .longest_gap
        .max(start.elapsed().saturating_sub(tally.last_good));
    tally
}

/// One worker: takes a ticket, waits for its time, asks, notes the answer.
fn work(config: &Config, start: Instant, tickets: &AtomicU64, tally: &Mutex<Tally>) {
    loop {
        let ticket = tickets.fetch_add(1, Ordering::Relaxed);
        if ticket >= config.count {
            return;
        }
        let due = config
            .interval
            .saturating_mul(u32::try_from(ticket).unwrap_or(u32::MAX));
        if due >= config.length {
            return;
        }
        if let Some(early) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(early);
        }
        if start.elapsed() >= config.length || config.until.as_deref().is_some_and(Path::exists) {
            return;
        }
        let asked = start.elapsed();
        let answer = request(&config.target, config.timeout);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.note(&answer, asked, start.elapsed());
    }
}

impl Tally {
    fn note(&mut self, answer: &Result<String, String>, asked: Duration, now: Duration) {
        self.sent += 1;
        self.slowest = self.slowest.max(now.saturating_sub(asked));
        match answer {
            Ok(word) => {
                *self.bodies.entry(word.clone()).or_default() += 1;
                self.longest_gap = self.longest_gap.max(now.saturating_sub(self.last_good));
                self.last_good = now;
            }
            Err(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert(now);
                self.last_failure = Some(now);
                if self.reasons.len() < REASONS_KEPT {
                    self.reasons.push(format!(
                        "at {:.3} s, after {} ms: {reason}",
                        now.as_secs_f64(),
                        now.saturating_sub(asked).as_millis()
                    ));
                }
            }
        }
    }
}

/// Asks once, on a connection of its own; returns the first word of the body. A body that is cut short is a failure.
fn request(target: &Target, timeout: Duration) -> Result<String, String> {
    let deadline = Instant::now() + timeout;
    let address = target
        .authority
        .to_socket_addrs()
        .map_err(|error| format!("resolve: {error}"))?
        .next()
        .ok_or("resolve: no address")?;
    let mut stream = TcpStream::connect_timeout(&address, timeout)
        .map_err(|error| format!("connect: {error}"))?;
    let asked = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        target.path, target.authority
    );
    stream
        .set_nodelay(true)
        .map_err(|error| format!("nodelay: {error}"))?;
    stream
        .set_write_timeout(Some(timeout))
        .map_err(|error| format!("timeout: {error}"))?;
    stream
        .write_all(asked.as_bytes())
        .map_err(|error| format!("send: {error}"))?;
    let answer = receive(&mut stream, deadline).map_err(|error| format!("receive: {error}"))?;
    first_word(&answer)
}

fn receive(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no whole answer in time",
            ));
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(answer);
        }
        answer.extend_from_slice(&part[..read]);
        if answer.len() as u64 > LARGEST_ANSWER {
            return Err(io::Error::other("the answer is too large"));
        }
    }
}

/// Checks an HTTP answer's status and length.
fn first_word(answer: &[u8]) -> Result<String, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        return Err(format!(
            "closed after {} bytes, inside the head",
            answer.len()
        ));
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let body = &answer[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .nth(1)
        .unwrap_or_default();
    if status != "200" {
        return Err(format!("status {status}"));
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    if let Some(length) = length.filter(|length| *length != body.len()) {
        return Err(format!("the body has {} of {length} bytes", body.len()));
    }
    let word = String::from_utf8_lossy(body)
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    Ok(word)
}

fn report(tally: &Tally, took: Duration) -> String {
    let mut line = format!(
        r#"{{"sent":{},"failed":{},"seconds":{:.3},"slowest_ms":{},"longest_gap_ms":{},"#,
        tally.sent,
        tally.failed,
        took.as_secs_f64(),
        tally.slowest.as_millis(),
        tally.longest_gap.as_millis()
    );
    let seconds = |time: Option<Duration>| {
        time.map_or("null".to_owned(), |time| {
            format!("{:.3}", time.as_secs_f64())
        })
    };
    let bodies: Vec<_> = tally
        .bodies
        .iter()
        .map(|(word, count)| format!("{}:{count}", quote(word)))
        .collect();
    let reasons: Vec<_> = tally.reasons.iter().map(|reason| quote(reason)).collect();
    // Writing to a string does not fail.
    let _ = write!(
        line,
        r#""first_failure_s":{},"last_failure_s":{},"bodies":{{{}}},"reasons":[{}]}}"#,
        seconds(tally.first_failure),
        seconds(tally.last_failure),
        bodies.join(","),
        reasons.join(",")
    );
    line
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => drop(write!(quoted, "\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Config, String> {
    let (mut target, mut length, mut until) = (None, None, None);
    let mut config = Config {
        target: Target {
            authority: String::new(),
            path: String::new(),
        },
        length: LONGEST,
        until: None,
        count: u64::MAX,
        interval: Duration::ZERO,
        workers: 4,
        timeout: Duration::from_secs(5),
    };
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag} takes a value"))?;
        match flag.as_str() {
            "--url" => target = Some(parse_url(&value)?),
            "--for" => length = Some(parse_seconds(&value)?),
            "--until-file" => until = Some(PathBuf::from(value)),
            "--count" => config.count = parse_number(&value)?,
            "--rate" => config.interval = Duration::from_secs(1) / parse_number(&value)?,
            "--workers" => config.workers = parse_number(&value)?,
            "--timeout" => config.timeout = parse_seconds(&value)?,
            _ => return Err(format!("what is {flag}?")),
        }
    }
    if length.is_none() && until.is_none() {
        return Err("--for or --until-file says when to end".to_owned());
    }
    config.target = target.ok_or("--url says where to ask")?;
    config.length = length.unwrap_or(LONGEST).min(LONGEST);
    config.until = until;
    Ok(config)
}

fn parse_url(url: &str) -> Result<Target, String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url} is not an http:// address"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    Ok(Target {
        authority,
        path: format!("/{path}"),
    })
}

fn parse_number<T: TryFrom<u64>>(value: &str) -> Result<T, String> {
    let number = value.parse::<u64>().ok().filter(|number| *number > 0);
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("{value} is not a number that can be used here"))
}

fn parse_seconds(value: &str) -> Result<Duration, String> {
    let seconds = value
        .parse::<f64>()
        .map_err(|_| format!("{value} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{value}: {error}"))
}
