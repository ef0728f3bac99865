//! Signatures of a registry's images, as `cosign sign --key` keeps them beside an image.
//!
//! A signature is an image of its own under the tag `sha256-<digest>.sig`; each of its layers is a small
//! text that names the signed digest, with the signature of that text as an annotation. Nothing in it is
//! believed before a key of the project's own has signed it. Source: cosign's `SIGNATURE_SPEC.md`.
//!
//! Deliberately absent: certificates and transparency logs (`cosign sign` without a key), which need others'
//! servers to be believed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self as algorithm, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::oci::Descriptor;

/// The most signatures of one image that are looked at.
pub(super) const SIGNATURE_LIMIT: usize = 64;
/// The longest text that is signed, in bytes.
pub(super) const PAYLOAD_LIMIT: u64 = 64 * 1024;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";

// RFC 5480, RFC 8017 and RFC 8410.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Why a file holds no key that signatures can be checked with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct KeyError {
    /// Which file.
    path: PathBuf,
    /// What is wrong.
    why: String,
}

/// A public key that may sign images.
pub(super) struct Key {
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
}

impl Key {
    /// Reads a PEM file, as `cosign generate-key-pair` or `openssl pkey -pubout` write it.
    pub(super) fn read(path: &Path) -> Result<Self, KeyError> {
        let bad = |why: String| KeyError { path: path.to_owned(), why };
        let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        Self::parse(&text).map_err(bad)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let (label, der) = pem_rfc7468::decode_vec(text.trim_ascii())
            .map_err(|_| "it is no public key in PEM".to_owned())?;
        if label != "PUBLIC KEY" {
            return Err(format!("it holds a {label}, not a PUBLIC KEY"));
        }
        let info = SubjectPublicKeyInfoRef::try_from(der.as_slice())
            .map_err(|error| format!("its key is not readable: {error}"))?;
        let curve = info.algorithm.parameters_oid().ok();
        let algorithm: &dyn VerificationAlgorithm = match (info.algorithm.oid, curve) {
            (EC, Some(P256)) => &algorithm::ECDSA_P256_SHA256_ASN1,
            (EC, Some(P384)) => &algorithm::ECDSA_P384_SHA256_ASN1,
            (RSA, _) => &algorithm::RSA_PKCS1_2048_8192_SHA256,
            (ED25519, _) => &algorithm::ED25519,
            _ => {
                return Err(
                    "its key is of a kind that is not known here; use ECDSA P-256".to_owned()
                );
            }
        };
        let bytes = info.subject_public_key.as_bytes().unwrap_or_default().to_vec();
        Ok(Self { algorithm, bytes })
    }
}

/// What a signature's image lists.
#[derive(Deserialize)]
pub(super) struct Signatures {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(flatten)]
    blob: Descriptor,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

impl Signatures {
    /// The signed texts' blobs, each with its signature.
    pub(super) fn listed(self) -> Vec<(Descriptor, String)> {
        let signed = self.layers.into_iter().filter(|layer| layer.blob.media_type == PAYLOAD);
        let signed = signed.filter(|layer| layer.blob.size <= PAYLOAD_LIMIT);
        let both = signed.filter_map(|mut layer| {
            let signature = layer.annotations.remove(ANNOTATION)?;
            Some((layer.blob, signature))
        });
        both.take(SIGNATURE_LIMIT).collect()
    }
}

/// What is signed.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SignedImage,
    r#type: String,
}

#[derive(Deserialize)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Judges one signature of a text: one of the keys has made it, and the text is about the digest.
pub(super) fn verify(
    payload: &[u8],
    signature: &str,
    keys: &[Key],
    digest: &str,
) -> Result<(), String> {
    let signature = STANDARD
        .decode(signature.trim())
        .map_err(|_| "its signature is not readable".to_owned())?;
    let made = |key: &Key| {
        UnparsedPublicKey::new(key.algorithm, &key.bytes).verify(payload, &signature).is_ok()
    };
    if !keys.iter().any(made) {
        return Err("another key has signed it".to_owned());
    }
    let payload: Payload = serde_json::from_slice(payload)
        .map_err(|_| "what is signed is not a text about an image".to_owned())?;
    if payload.critical.r#type != KIND {
        return Err("what is signed is not a text about an image".to_owned());
    }
    if payload.critical.image.digest != digest {
        return Err("its signature is that of another image".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    use super::*;
    use crate::image::oci::digest_of;

    struct Signer {
        pair: EcdsaKeyPair,
        key: Key,
    }

    fn signer() -> Signer {
        let (how, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).expect("generate");
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).expect("read");
        let bytes = pair.public_key().as_ref().to_vec();
        Signer { pair, key: Key { algorithm: &algorithm::ECDSA_P256_SHA256_ASN1, bytes } }
    }

    impl Signer {
        fn sign(&self, text: &str) -> String {
            let signed = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("sign");
            STANDARD.encode(signed)
        }
    }

    fn payload(digest: &str, kind: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.test/web"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
        )
    }

    #[test]
    fn only_a_key_of_the_project_s_own_counts_and_only_for_its_digest() {
        let (ours, theirs) = (signer(), signer());
        let digest = digest_of(b"image");
        let text = payload(&digest, KIND);
        let signature = ours.sign(&text);
        let keys = [ours.key, theirs.key];
        let judged = |text: &str, signature: &str, keys: &[Key], digest: &str| {
            verify(text.as_bytes(), signature, keys, digest)
        };
        assert_eq!(judged(&text, &signature, &keys, &digest), Ok(()));
        let refused = |found: Result<(), String>, word: &str| {
            let why = found.expect_err(word);
            assert!(why.contains(word), "{why}");
        };
        refused(judged(&text, &signature, &keys[1..], &digest), "another key");
        refused(judged(&text, &signature, &[], &digest), "another key");
        refused(judged(&text, &signature, &keys, &digest_of(b"other")), "another image");
        refused(judged(&text, "???", &keys, &digest), "not readable");
        refused(judged(&text.replace("web", "api"), &signature, &keys, &digest), "another key");
    }

    #[test]
    fn every_flipped_bit_of_text_or_signature_is_refused() {
        let ours = signer();
        let digest = digest_of(b"image");
        let text = payload(&digest, KIND);
        let signature = STANDARD.decode(ours.sign(&text)).expect("base64");
        let keys = [ours.key];
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&bytes, &STANDARD.encode(&signature), &keys, &digest).is_err(), "{bit}");
        }
        for bit in 0..signature.len() * 8 {
            let mut bytes = signature.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(text.as_bytes(), &STANDARD.encode(bytes), &keys, &digest).is_err());
        }
    }

    #[test]
    fn what_is_signed_must_be_about_an_image() {
        let ours = signer();
        let digest = digest_of(b"image");
        let keys = |signer: Signer| [signer.key];
        let texts =
            [payload(&digest, "atomic container signature"), "{}".to_owned(), digest.clone()];
        let signed: Vec<_> = texts.iter().map(|text| (text, ours.sign(text))).collect();
        let keys = keys(ours);
        for (text, signature) in signed {
            let why = verify(text.as_bytes(), &signature, &keys, &digest).expect_err(text);
            assert!(why.contains("not a text about an image"), "{why}");
        }
    }

    #[test]
    fn keys_of_openssl_are_read_and_others_are_told() {
        let openssl = |args: &str| {
            let run = std::process::Command::new("sh").args(["-c", args]).output().expect("sh");
            run.stdout
        };
        let kinds = [
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "-algorithm ED25519",
        ];
        for kind in kinds {
            let text =
                openssl(&format!("openssl genpkey {kind} 2>/dev/null | openssl pkey -pubout"));
            assert!(Key::parse(&text).is_ok(), "{kind}: {:?}", Key::parse(&text).err());
        }
        let private = openssl("openssl genpkey -algorithm ED25519");
        let wrong = |text: &[u8]| Key::parse(text).err().expect("refused");
        assert!(wrong(&private).contains("PRIVATE KEY, not a PUBLIC KEY"));
        assert!(wrong(b"ssh-ed25519 AAAA").contains("no public key in PEM"));
        let curve = openssl(
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 | openssl pkey -pubout",
        );
        assert!(wrong(&curve).contains("not known here"));
        let cut = openssl(
            "openssl genpkey -algorithm ED25519 | openssl pkey -pubout | sed 2s/..../AAAA/",
        );
        assert!(Key::parse(&cut).is_err());
    }

    #[test]
    fn signatures_are_taken_from_what_a_registry_lists() {
        let one = |kind: &str, size: u64| {
            format!(
                r#"{{"mediaType":"{kind}","digest":"sha256:0","size":{size},"annotations":{{"{ANNOTATION}":"MEQ="}}}}"#
            )
        };
        let parts =
            [one(PAYLOAD, 200), one("application/json", 200), one(PAYLOAD, PAYLOAD_LIMIT + 1)];
        let read = |layers: String| {
            let text = format!(r#"{{"layers":[{layers}]}}"#);
            serde_json::from_str::<Signatures>(&text).expect("json").listed()
        };
        assert_eq!(read(parts.join(",")).len(), 1);
        assert_eq!(read(vec![one(PAYLOAD, 1); 100].join(",")).len(), SIGNATURE_LIMIT);
        assert!(read(String::new()).is_empty());
    }
}
