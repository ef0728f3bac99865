//! Whether a host's certificate holds for a name, by OpenSSH's PROTOCOL.certkeys.
//!
//! Stricter than it in one point: a certificate that names no host vouches for none of them, where the protocol lets it vouch
//! for all. Whose certificates count is known_hosts' to say.

use berth_engine::plan::moment;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate};

use super::known_hosts::wild;

/// Says why a certificate does not hold for a host at a moment, in seconds since 1970.
pub(crate) fn check(certificate: &Certificate, host: &str, now: u64) -> Result<(), String> {
    if certificate.verify_signature().is_err() {
        return Err("its signature is wrong".to_owned());
    }
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None }) {
        return Err(
            "it is signed by means of SHA-1: sign it anew with `ssh-keygen -t rsa-sha2-512`"
                .to_owned(),
        );
    }
    if certificate.cert_type() != CertType::Host {
        return Err("it is a user's and not a host's: sign it with `ssh-keygen -h`".to_owned());
    }
    // Nothing is defined that a host's could have.
    if !certificate.critical_options().is_empty() {
        return Err("it has critical options, which a host's has not".to_owned());
    }
    if now < certificate.valid_after() {
        return Err(format!(
            "it is valid from {} on, by this machine's clock",
            utc(certificate.valid_after())
        ));
    }
    if now >= certificate.valid_before() {
        return Err(format!("it was valid until {}", utc(certificate.valid_before())));
    }
    let names = certificate.valid_principals();
    if names.is_empty() {
        return Err("it names no host: sign it with `ssh-keygen -n`".to_owned());
    }
    let host = host.to_ascii_lowercase();
    let is_named =
        names.iter().any(|name| wild(name.to_ascii_lowercase().as_bytes(), host.as_bytes()));
    if !is_named {
        return Err(format!("it is for {} and not for {host}", names.join(", ")));
    }
    Ok(())
}

fn utc(seconds: u64) -> String {
    format!("{} UTC", moment::utc(seconds.saturating_mul(1000)))
}
