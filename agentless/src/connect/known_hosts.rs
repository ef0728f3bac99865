//! known_hosts in full: plain, hashed, `[host]:port`, wildcards, negation, `@revoked`,
//! `@cert-authority`. A host is trusted where `ssh` with the same files trusts it.
//!
//! russh's own check misses half of these (see its `keys/known_hosts.rs`), so Berth verifies by
//! itself, before anything is authenticated. The format is sshd(8)'s, "SSH_KNOWN_HOSTS FILE
//! FORMAT". This module reads files and judges keys; it never writes.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use sha1::Sha1;

use super::host_certificate;

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
    /// This very key is trusted for this host, or a certificate of an authority that is.
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
    /// A certificate authority is trusted for the host, and the certificate does not hold: why.
    NotVouched(Place, String),
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

    /// Judges what a host showed at a moment, in seconds since 1970.
    pub(crate) fn judge(
        &self,
        host: &str,
        port: u16,
        shown: &PublicKeyOrCertificate,
        now: u64,
    ) -> Verdict {
        let judge = |name: &str| {
            let here = Here(self.entries.iter().filter(|e| e.hosts.matches(name)).collect());
            match shown {
                PublicKeyOrCertificate::PublicKey { key, .. } => here.key(key.key_data()),
                PublicKeyOrCertificate::Certificate(shown) => here.certificate(shown, host, now),
            }
        };
        let [name, plain] = [port, 22].map(|port| known_as(host, port));
        let verdict = judge(&name);
        if verdict != Verdict::Unknown || name == plain {
            return verdict;
        }
        // As `ssh` does: a key of this host whatever the port.
        match judge(&plain) {
            verdict @ (Verdict::Trusted | Verdict::Revoked(_)) => verdict,
            _ => Verdict::Unknown,
        }
    }

    /// Whether there is an authority whose certificates vouch for a host.
    pub(crate) fn has_authority(&self, host: &str, port: u16) -> bool {
        self.of(host, port).any(|e| e.marker == Marker::Authority)
    }

    /// Orders host key algorithms so that those the host is known by are negotiated first.
    pub(crate) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let known = self.of(host, port).filter(|e| e.marker == Marker::None);
        let known: Vec<&str> = known.map(|e| e.algorithm.as_str()).collect();
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

    /// What may be of use for a host: of its port, or of any.
    fn of(&self, host: &str, port: u16) -> impl Iterator<Item = &Entry> {
        let names = [port, 22].map(|port| known_as(host, port));
        self.entries.iter().filter(move |e| names.iter().any(|name| e.hosts.matches(name)))
    }
}

/// The entries for one name.
struct Here<'a>(Vec<&'a Entry>);

impl Here<'_> {
    fn find(&self, marker: Marker, what: impl Fn(&Entry) -> bool) -> Option<&Place> {
        self.0.iter().find(|e| e.marker == marker && what(e)).map(|e| &e.place)
    }

    fn key(&self, key: &KeyData) -> Verdict {
        let same = |e: &Entry| e.key.key_data() == key;
        if let Some(place) = self.find(Marker::Revoked, same) {
            return Verdict::Revoked(place.clone());
        }
        if self.find(Marker::None, same).is_some() {
            return Verdict::Trusted;
        }
        if let Some(place) = self.find(Marker::None, |e| e.algorithm == key.algorithm().as_str()) {
            return Verdict::Differs(place.clone());
        }
        if let Some(place) = self.find(Marker::None, |_| true) {
            return Verdict::OtherAlgorithm(place.clone());
        }
        match self.find(Marker::Authority, |_| true) {
            Some(place) => Verdict::AuthorityOnly(place.clone()),
            None => Verdict::Unknown,
        }
    }

    /// A certificate's key may be trusted by itself, too.
    fn certificate(&self, shown: &Certificate, host: &str, now: u64) -> Verdict {
        let signed_it = |e: &Entry| e.key.key_data() == shown.signature_key();
        if let Some(place) = self.find(Marker::Revoked, signed_it) {
            return Verdict::Revoked(place.clone());
        }
        let by_itself = self.key(shown.public_key());
        if matches!(by_itself, Verdict::Trusted | Verdict::Revoked(_)) {
            return by_itself;
        }
        if let Some(place) = self.find(Marker::Authority, signed_it) {
            return match host_certificate::check(shown, host, now) {
                Ok(()) => Verdict::Trusted,
                Err(why) => Verdict::NotVouched(place.clone(), why),
            };
        }
        match self.find(Marker::Authority, |_| true) {
            Some(place) => {
                let by = shown.signature_key().fingerprint(HashAlg::Sha256);
                Verdict::NotVouched(place.clone(), format!("it is signed by another one, {by}"))
            }
            None => by_itself,
        }
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
pub(crate) fn wild(pattern: &[u8], text: &[u8]) -> bool {
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
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::{Builder, CertType};
    use russh::keys::ssh_key::private::Ed25519Keypair;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";
    const E: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBILjFQ5Bl1NxcG12OrbE57WVeJBB2VP+e60xjSkpPomP29UYsZK306lYKa8gp0vX31lR8aDuGOUGO5hz/0QxOMc=";
    const R: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCwACvW9bJc1PR01Ylreach5B1GQXYBrOI7ZqduIqUKasVBKt1BLqgpwesd1tZPk5YTsz2A1DFUMCtlOmb7RuhFp2/Ytmh8a0LRr9M2zocEDybyg9Qkidlpkhb2NR940KwNabzBZLZAdMOCATH1B/pfV4FxilvSQCgDZctGb6pEqw==";

    fn known(file: &str) -> KnownHosts {
        let keys = [("$A", A), ("$B", B), ("$E", E), ("$R", R)];
        let text = keys.iter().fold(file.to_owned(), |text, (name, key)| text.replace(name, key));
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), &text);
        known
    }

    fn judge(file: &str, host: &str, port: u16, key: &str) -> Verdict {
        let key = PublicKey::from_openssh(key).expect("key");
        known(file).judge(host, port, &key.into(), 0)
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
            ("n1 $A", "n1", 2222, A, Trusted),
            ("n1 $B", "n1", 2222, A, Unknown),
            ("[n1]:2222 $B\nn1 $A", "n1", 2222, A, Differs(at(1))),
            ("@revoked n1 $A", "n1", 2222, A, Revoked(at(1))),
            ("[n1]:22 $A", "n1", 22, A, Unknown),
            ("[n*]:* $A", "n1", 2222, A, Trusted),
            ("[n1]:2222 $A", "n1", 2222, A, Trusted),
            ("fd00::1 $A", "fd00::1", 22, A, Trusted),
            ("[fd00::1]:2222 $A", "fd00::1", 2222, A, Trusted),
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
            ("@revoked n2 $A\nn1 $A", "n1", 22, A, Trusted),
            ("n1 $E", "n1", 22, E, Trusted),
            ("n1 $R", "n1", 22, R, Trusted),
            ("n1 $E\nn1 $R\nn1 $A", "n1", 22, R, Trusted),
            ("n1 $E", "n1", 22, A, OtherAlgorithm(at(1))),
            ("n1 $A\nn1 $R", "n1", 22, E, OtherAlgorithm(at(1))),
            ("n1 $R\nn1 $A", "n1", 22, B, Differs(at(2))),
            (
                "n1 ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
                "n1",
                22,
                A,
                Unknown,
            ),
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

    /// What the certificate of a host says that differs from a right one, and what is told of it.
    #[test]
    fn certificates() {
        type Change = fn(&mut Builder) -> Result<&mut Builder, russh::keys::ssh_key::Error>;
        type Case = (&'static str, u16, (u64, u64), Change, &'static str);
        let [ca, other, host] = [1, 2, 3].map(|seed| {
            PrivateKey::new(Ed25519Keypair::from_seed(&[seed; 32]).into(), "").expect("a key")
        });
        let [ca_line, other_line, host_line] =
            [&ca, &other, &host].map(|key| key.public_key().to_openssh().expect("a line"));
        let n1: Change = |builder| builder.cert_type(CertType::Host)?.valid_principal("n1");
        let cases: Vec<Case> = vec![
            ("@cert-authority * $CA", 22, (0, u64::MAX), n1, "trusted"),
            ("@cert-authority n* $CA", 22, (1000, 2000), n1, "trusted"),
            ("@cert-authority n1 $CA", 22, (1500, 1501), n1, "trusted"),
            ("@cert-authority [n1]:2222 $CA", 2222, (0, 9999), n1, "trusted"),
            ("@cert-authority n1 $CA", 2222, (0, 9999), n1, "trusted"),
            (
                "@cert-authority * $CA",
                22,
                (0, 9999),
                |b| b.cert_type(CertType::Host)?.valid_principal("N?"),
                "trusted",
            ),
            ("n1 $B\n@cert-authority n1 $CA", 22, (0, 9999), n1, "trusted"),
            ("n1 $HOST", 22, (0, 9), n1, "trusted"),
            ("", 22, (0, 9999), n1, "unknown"),
            ("n1 $CA", 22, (0, 9999), n1, "differs"),
            ("@cert-authority n2 $CA", 22, (0, 9999), n1, "unknown"),
            ("@cert-authority * $OTHER", 22, (0, 9999), n1, "signed by another one, SHA256:"),
            ("@cert-authority * $CA\n@revoked * $CA", 22, (0, 9999), n1, "revoked"),
            ("@cert-authority * $CA\n@revoked n1 $HOST", 22, (0, 9999), n1, "revoked"),
            ("@cert-authority * $CA\n@revoked * $OTHER", 22, (0, 9999), n1, "trusted"),
            ("@cert-authority * $CA", 22, (0, 1500), n1, "valid until 1970-01-01 00:25:00 UTC"),
            ("@cert-authority * $CA", 22, (1501, 9999), n1, "valid from 1970-01-01 00:25:01 UTC"),
            (
                "@cert-authority * $CA",
                22,
                (0, 9999),
                |b| b.cert_type(CertType::Host)?.valid_principal("n2"),
                "for n2 and not for n1",
            ),
            (
                "@cert-authority * $CA",
                22,
                (0, 9999),
                |b| b.cert_type(CertType::Host)?.all_principals_valid(),
                "names no host",
            ),
            (
                "@cert-authority * $CA",
                22,
                (0, 9999),
                |b| b.cert_type(CertType::User)?.valid_principal("n1"),
                "a user's",
            ),
            (
                "@cert-authority * $CA",
                22,
                (0, 9999),
                |b| {
                    b.cert_type(CertType::Host)?
                        .valid_principal("n1")?
                        .critical_option("force-command", "id")
                },
                "critical options",
            ),
        ];
        for (file, port, (after, before), change, expected) in cases {
            let mut builder =
                Builder::new([7; 16], host.public_key(), after, before).expect("times");
            change(&mut builder).expect("a change");
            let certificate = builder.sign(&ca).expect("signed");
            let text = file.replace("$CA", &ca_line).replace("$OTHER", &other_line);
            let known = known(&text.replace("$HOST", &host_line));
            let told = match known.judge("n1", port, &certificate.into(), 1500) {
                Verdict::Trusted => "trusted".to_owned(),
                Verdict::Unknown => "unknown".to_owned(),
                Verdict::Revoked(_) => "revoked".to_owned(),
                Verdict::Differs(_) => "differs".to_owned(),
                Verdict::NotVouched(_, why) => why,
                other => format!("{other:?}"),
            };
            assert!(told.contains(expected), "{file:?} {port}: {told}, not {expected}");
        }
    }

    #[test]
    fn a_certificate_that_was_changed_does_not_hold() {
        let [ca, host] = [1, 3].map(|seed| {
            PrivateKey::new(Ed25519Keypair::from_seed(&[seed; 32]).into(), "").expect("a key")
        });
        let mut builder = Builder::new([7; 16], host.public_key(), 0, 9999).expect("times");
        builder.cert_type(CertType::Host).expect("a type").valid_principal("n1").expect("a name");
        let bytes = builder.sign(&ca).expect("signed").to_bytes().expect("bytes");
        let known =
            known(&format!("@cert-authority * {}", ca.public_key().to_openssh().expect("a line")));
        let mut changed = 0;
        for at in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            if let Some(byte) = bytes.get_mut(at / 8) {
                *byte ^= 1 << (at % 8);
            }
            if let Ok(certificate) = Certificate::from_bytes(&bytes) {
                let verdict = known.judge("n1", 22, &certificate.into(), 1500);
                assert_ne!(verdict, Verdict::Trusted, "bit {at}");
                changed += 1;
            }
        }
        assert!(changed > 500, "only {changed} could be read");
    }

    #[test]
    fn certificates_are_asked_for_where_an_authority_is_trusted() {
        for (file, has) in [
            ("n1 $A", false),
            ("@cert-authority n2 $A", false),
            ("@revoked n1 $A", false),
            ("@cert-authority n1 $A", true),
            ("@cert-authority [n1]:2222 $A", true),
        ] {
            assert_eq!(known(file).has_authority("n1", 2222), has, "{file}");
        }
        let first = |file: &str| known(file).algorithms("n1", 22).first().map(ToString::to_string);
        assert_eq!(first("n1 $E").as_deref(), Some("ecdsa-sha2-nistp256"));
        assert_eq!(first("n1 $R").as_deref(), Some("rsa-sha2-512"));
        assert_eq!(first("n1 $R\nn1 $A").as_deref(), Some("ssh-ed25519"));
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
