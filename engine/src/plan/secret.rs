//! Secrets: what a plan knows of them, which is never what they hold.
//!
//! A secret is kept beside the text, encrypted. A plan has its name, a fingerprint that changes exactly when
//! what it holds does and says nothing of it to who has no key, and the encrypted text, so that a plan, a rollback and the ledger have what they
//! need and no more. What a file with secrets in it holds is written with a mark where each of them goes; an apply
//! opens them in memory, fills the marks in on the way to a node, and nothing keeps the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use berth_lang::{Program, SecretPart};
use zeroize::Zeroizing;

use super::body::PlanBody;
use super::canon::sha256;
use super::content::pods_made;
use super::graph::Graph;
use super::ledger::Head;
use super::names::ContentDigest;

/// Comes before the name of a secret in a file's content, and twice for itself.
const MARK: char = '\u{10}';

/// A secret as it is kept: encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Changes exactly when what it holds changes: hexadecimal digits.
    pub fingerprint: String,
    /// What it holds, encrypted, in text.
    pub text: Arc<str>,
}

/// The secrets of a program, by their names in the text.
pub type Vault = BTreeMap<String, Sealed>;

/// Stands in for a program's secrets where nobody opens them: in checks of a text by itself.
pub fn as_if(program: &Program) -> Vault {
    let sealed = |name: &str| Sealed { fingerprint: sha256(name.as_bytes()), text: "".into() };
    program.secrets.iter().map(|secret| (secret.name.clone(), sealed(&secret.name))).collect()
}

/// What is in a file with secrets in it: the text with marks, and the names of what is encrypted. Nothing if it
/// names a secret that is not in the vault.
pub fn content(parts: &[SecretPart], vault: &Vault) -> Option<(String, BTreeSet<ContentDigest>)> {
    let (mut text, mut sealed) = (String::new(), BTreeSet::new());
    for part in parts {
        match part {
            SecretPart::Text(part) => {
                for c in part.chars() {
                    text.extend(std::iter::repeat_n(c, if c == MARK { 2 } else { 1 }));
                }
            }
            SecretPart::Secret(name) => {
                let Sealed { fingerprint, .. } = vault.get(&**name)?;
                text.push(MARK);
                text.push_str(&format!("{{{name} {fingerprint}}}"));
                sealed.insert(ContentDigest::sealed(fingerprint));
            }
        }
    }
    Some((text, sealed))
}

/// A part of such a text.
enum Piece<'a> {
    Text(&'a str),
    Secret { name: &'a str, fingerprint: &'a str },
}

/// The parts of a file's content. A mark that names nothing is text.
fn pieces(content: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = content;
    while let Some((before, after)) = rest.split_once(MARK) {
        pieces.push(Piece::Text(before));
        let named = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let named = named.and_then(|(named, rest)| Some((named.rsplit_once(' ')?, rest)));
        if let Some(((name, fingerprint), after)) = named {
            pieces.push(Piece::Secret { name, fingerprint });
            rest = after;
        } else {
            let length = after.strip_prefix(MARK).map_or(0, |_| MARK.len_utf8());
            pieces.push(Piece::Text(
                rest.get(before.len()..before.len() + MARK.len_utf8()).unwrap_or(""),
            ));
            rest = after.get(length..).unwrap_or("");
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// A file's content for people: `postgres://app:${db_password 3f2a91cc}@db`.
pub fn shown(content: &str) -> String {
    let words = |piece| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Secret { name, fingerprint } => {
            format!("${{{name} {}}}", fingerprint.get(..8).unwrap_or(fingerprint))
        }
    };
    pieces(content).into_iter().map(words).collect()
}

/// The secrets that a plan or its undo brings to nodes, with a name that the text had for each.
pub fn needed(body: &PlanBody) -> BTreeMap<&ContentDigest, &str> {
    let mut needed = BTreeMap::new();
    for (_, pod) in pods_made(body) {
        for file in pod.files().filter(|file| !file.sealed.is_empty()) {
            let content = body.contents.get(&file.content).map_or("", |text| &**text);
            for piece in pieces(content) {
                if let Piece::Secret { name, fingerprint } = piece
                    && let Some(sealed) =
                        file.sealed.iter().find(|one| one.fingerprint() == Some(fingerprint))
                {
                    needed.insert(sealed, name);
                }
            }
        }
    }
    needed
}

/// The secrets that may not come back, by the text and by the ledger.
pub fn revoked(graph: &Graph, head: &Head) -> BTreeSet<ContentDigest> {
    let all = graph.revoked.union(&head.revoked);
    all.map(|fingerprint| ContentDigest::sealed(fingerprint)).collect()
}

/// What secrets hold, while an apply needs it: in memory, cleared when it is done, and never shown.
#[derive(Clone, Default)]
pub struct Opened(BTreeMap<ContentDigest, Zeroizing<String>>);

impl Opened {
    /// Takes in what a secret holds.
    pub fn insert(&mut self, sealed: ContentDigest, held: Zeroizing<String>) {
        self.0.insert(sealed, held);
    }

    /// Stands in for what a plan's secrets hold, on nodes that are simulated.
    pub fn as_if(body: &PlanBody) -> Self {
        Self::stand_in(needed(body).into_keys())
    }

    /// Stands in for what these hold.
    pub fn stand_in<'a>(sealed: impl IntoIterator<Item = &'a ContentDigest>) -> Self {
        let held = |sealed: &ContentDigest| Zeroizing::new(format!("what {sealed} holds"));
        Self(sealed.into_iter().map(|sealed| (sealed.clone(), held(sealed))).collect())
    }

    /// Says whether one is here.
    pub fn has(&self, sealed: &ContentDigest) -> bool {
        self.0.contains_key(sealed)
    }

    /// Fills what is marked in a file's content.
    ///
    /// # Errors
    /// The name of a secret that is not here.
    pub fn fill(&self, content: &str) -> Result<Zeroizing<String>, String> {
        let pieces = pieces(content);
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            parts.push(match piece {
                Piece::Text(text) => text,
                Piece::Secret { name, fingerprint } => {
                    let held = self.0.get(&ContentDigest::sealed(fingerprint));
                    held.ok_or_else(|| name.to_owned())?.as_str()
                }
            });
        }
        // Room for all of it at once: what grows leaves copies behind.
        let mut filled = Zeroizing::new(String::with_capacity(parts.iter().map(|p| p.len()).sum()));
        parts.into_iter().for_each(|part| filled.push_str(part));
        Ok(filled)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        let sealed = Sealed { fingerprint: "3f2a91cc0000".to_owned(), text: "age".into() };
        Vault::from([("db".to_owned(), sealed)])
    }

    #[test]
    fn what_is_filled_in_is_what_was_meant() {
        let parts = [
            SecretPart::Text("a\u{10}{db 3f2a91cc0000}\u{10}".into()),
            SecretPart::Secret("db".into()),
            SecretPart::Text("\u{10}\u{10}".into()),
        ];
        let (text, sealed) = content(&parts, &vault()).expect("it is known");
        let only = ContentDigest::sealed("3f2a91cc0000");
        assert_eq!(sealed, BTreeSet::from([only.clone()]));
        let mut opened = Opened::default();
        assert_eq!(opened.fill(&text).expect_err("nothing is open"), "db");
        opened.insert(only, Zeroizing::new("hush\u{10}{".to_owned()));
        let filled = opened.fill(&text).expect("it is open");
        assert_eq!(*filled, "a\u{10}{db 3f2a91cc0000}\u{10}hush\u{10}{\u{10}\u{10}");
        assert!(shown(&text).contains("${db 3f2a91cc}"), "{}", shown(&text));
        assert!(!format!("{opened:?}").contains("hush"), "{opened:?}");
    }

    #[test]
    fn what_is_not_in_the_vault_is_no_content() {
        assert_eq!(content(&[SecretPart::Secret("other".into())], &vault()), None);
    }
}
