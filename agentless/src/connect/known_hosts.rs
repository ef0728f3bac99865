//! known_hosts in full: plain, hashed, `[host]:port`, wildcards, negation, `@revoked`,
//! `@cert-authority`.
//!
//! russh's own check misses half of these (see its `keys/known_hosts.rs`), so Berth verifies by
//! itself, before anything is authenticated. The format is sshd(8)'s, "SSH_KNOWN_HOSTS FILE
//! FORMAT". This module reads files and judges keys; it never writes.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use sha1::Sha1;

/// The longest known_hosts file that is read.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// Every entry of all known_hosts files.
#[derive(Debug, Default)]
pub(crate) struct KnownHosts {
    entries: Vec<Entry>,
}

/// Where an entry stands, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: PathBuf,
    line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} line {}", self.file.display(), self.line)
    }
}

/// What known_hosts says of a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This very key is trusted for this host.
    Trusted,
    /// Nothing is known of this host.
    Unknown,
    /// The host has another key here.
    Differs(Place),
    /// The host is known, but by keys of other algorithms only.
    OtherAlgorithm(Place),
    /// The key was revoked.
    Revoked(Place),
    /// Only a certificate authority vouches for the host, and it showed no certificate.
    AuthorityOnly(Place),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

#[derive(Debug)]
struct Entry {
    marker: Marker,
    hosts: Hosts,
    algorithm: String,
    key: PublicKey,
    place: Place,
}

#[derive(Debug)]
enum Hosts {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl KnownHosts {
    /// Reads every file that exists; a line that can't be read is skipped, as OpenSSH does.
    pub(crate) fn read(files: &[PathBuf]) -> Self {
        let mut known = Self::default();
        for file in files {
            let small = std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.len() <= FILE_LIMIT);
            if !small {
                continue;
            }
            match std::fs::read(file) {
                Ok(bytes) => known.add(file, &String::from_utf8_lossy(&bytes)),
                Err(error) => tracing::warn!(file = %file.display(), %error, "not read"),
            }
        }
        known
    }

    fn add(&mut self, file: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let place = Place { file: file.to_owned(), line: index + 1 };
            self.entries.extend(parse(line, place));
        }
    }

    /// Judges a key that a host showed.
    pub(crate) fn judge(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let name = known_as(host, port);
        let here: Vec<&Entry> = self.entries.iter().filter(|e| e.hosts.matches(&name)).collect();
        let same = |e: &&&Entry| e.key.key_data() == key.key_data();
        if let Some(e) = here.iter().filter(|e| e.marker == Marker::Revoked).find(same) {
            return Verdict::Revoked(e.place.clone());
        }
        if here.iter().filter(|e| e.marker == Marker::None).any(|e| same(&e)) {
            return Verdict::Trusted;
        }
        let plain = || here.iter().filter(|e| e.marker == Marker::None);
        if let Some(e) = plain().find(|e| e.algorithm == key.algorithm().as_str()) {
            return Verdict::Differs(e.place.clone());
        }
        if let Some(e) = plain().next() {
            return Verdict::OtherAlgorithm(e.place.clone());
        }
        match here.iter().find(|e| e.marker == Marker::Authority) {
            Some(e) => Verdict::AuthorityOnly(e.place.clone()),
            None => Verdict::Unknown,
        }
    }

    /// Orders host key algorithms so that those the host is known by are negotiated first.
    pub(crate) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let name = known_as(host, port);
        let known: Vec<&str> = self
            .entries
            .iter()
            .filter(|e| e.marker == Marker::None && e.hosts.matches(&name))
            .map(|e| e.algorithm.as_str())
            .collect();
        let mut all = vec![
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ];
        all.sort_by_key(|a| {
            let family = match a {
                Algorithm::Rsa { .. } => "ssh-rsa",
                a => a.as_str(),
            };
            !known.contains(&family)
        });
        all
    }
}

/// Spells a host the way known_hosts does: `[host]:port` unless the port is 22.
pub(crate) fn known_as(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl Hosts {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let mut matched = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        Some(not) if wild(not.as_bytes(), name.as_bytes()) => return false,
                        Some(_) => {}
                        None => matched |= wild(pattern.as_bytes(), name.as_bytes()),
                    }
                }
                matched
            }
            Self::Hashed { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name).verify_slice(hash).is_ok()),
        }
    }
}

/// Matches `*` and `?`, in time proportional to the product of the lengths.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

fn parse(line: &str, place: Place) -> Option<Entry> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_ascii_whitespace();
    let mut first = fields.next()?;
    let marker = match first {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::Authority,
        _ if first.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        first = fields.next()?;
    }
    let hosts = match first.strip_prefix("|1|") {
        Some(hashed) => {
            let (salt, hash) = hashed.split_once('|')?;
            Hosts::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? }
        }
        None => Hosts::Patterns(first.to_ascii_lowercase().split(',').map(String::from).collect()),
    };
    let algorithm = fields.next()?.to_owned();
    let key = PublicKey::from_openssh(&format!("{algorithm} {}", fields.next()?)).ok()?;
    Some(Entry { marker, hosts, algorithm, key, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";

    fn judge(file: &str, host: &str, port: u16, key: &str) -> Verdict {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), &file.replace("$A", A).replace("$B", B));
        known.judge(host, port, &PublicKey::from_openssh(key).expect("key"))
    }

    fn at(line: usize) -> Place {
        Place { file: "known_hosts".into(), line }
    }

    fn hashed(name: &str) -> String {
        let mac = Hmac::<Sha1>::new_from_slice(b"salt").expect("hmac").chain_update(name);
        let hash = STANDARD.encode(mac.finalize().into_bytes());
        format!("|1|{}|{hash} $A", STANDARD.encode("salt"))
    }

    #[test]
    fn verdicts() {
        use Verdict::*;
        let (h22, h2222) = (hashed("n1"), hashed("[n1]:2222"));
        let rsa_like = "n1 ecdsa-sha2-nistp256 AAAA";
        let cases: Vec<(&str, &str, u16, &str, Verdict)> = vec![
            ("", "n1", 22, A, Unknown),
            ("# n1 $A", "n1", 22, A, Unknown),
            ("n1 $A", "n1", 22, A, Trusted),
            ("N1 $A", "n1", 22, A, Trusted),
            ("n1 $A", "N1", 22, A, Trusted),
            ("  n1   $A  a comment", "n1", 22, A, Trusted),
            ("n1 $B", "n1", 22, A, Differs(at(1))),
            ("\n\nn1 $B", "n1", 22, A, Differs(at(3))),
            ("n1 $B\nn1 $A", "n1", 22, A, Trusted),
            ("n1 $A", "n2", 22, A, Unknown),
            ("n1,10.0.0.1 $A", "10.0.0.1", 22, A, Trusted),
            ("n1 $A", "n1", 2222, A, Unknown),
            ("[n1]:2222 $A", "n1", 2222, A, Trusted),
            ("[n1]:2222 $A", "n1", 22, A, Unknown),
            ("*.example $A", "a.example", 22, A, Trusted),
            ("*.example $A", "example", 22, A, Unknown),
            ("n? $A", "n1", 22, A, Trusted),
            ("n? $A", "n11", 22, A, Unknown),
            ("*,!n1 $A", "n1", 22, A, Unknown),
            ("*,!n1 $A", "n2", 22, A, Trusted),
            ("!n1,* $A", "n1", 22, A, Unknown),
            ("@revoked * $A\nn1 $A", "n1", 22, A, Revoked(at(1))),
            ("n1 $A\n@revoked n1 $A", "n1", 22, A, Revoked(at(2))),
            ("@revoked n1 $B\nn1 $A", "n1", 22, A, Trusted),
            ("@cert-authority *.example $A", "a.example", 22, A, AuthorityOnly(at(1))),
            ("@cert-authority n1 $A\nn1 $B", "n1", 22, B, Trusted),
            ("@nonsense n1 $A", "n1", 22, A, Unknown),
            ("n1 ssh-ed25519 AAAA!", "n1", 22, A, Unknown),
            ("n1 ssh-ed25519", "n1", 22, A, Unknown),
            (rsa_like, "n1", 22, A, Unknown),
            (&h22, "n1", 22, A, Trusted),
            (&h22, "n1", 22, B, Differs(at(1))),
            (&h22, "n2", 22, A, Unknown),
            (&h2222, "n1", 2222, A, Trusted),
            ("|1|bad $A", "n1", 22, A, Unknown),
        ];
        for (file, host, port, key, expected) in cases {
            assert_eq!(judge(file, host, port, key), expected, "{file:?} {host} {port}");
        }
    }

    #[test]
    fn wildcards_end_in_time() {
        assert!(!wild("*a".repeat(40).as_bytes(), "a".repeat(39).as_bytes()));
        assert!(wild(b"a*b*", b"axxbyy"));
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in ".{0,200}") {
            let mut known = KnownHosts::default();
            known.add(Path::new("k"), &line);
        }
    }
}
