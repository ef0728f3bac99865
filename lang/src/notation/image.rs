//! References to images, after the grammar of the distribution project's `reference` package.

use super::Malformed;

/// A reference taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageRef<'t> {
    /// The registry, where it is named: `ghcr.io`.
    pub(crate) registry: Option<&'t str>,
    /// The path in it.
    pub(crate) path: &'t str,
    pub(crate) tag: Option<&'t str>,
    pub(crate) digest: Option<&'t str>,
}

impl<'t> ImageRef<'t> {
    /// Reads `registry:port/path:tag@sha256:…`.
    pub(crate) fn read(text: &'t str) -> Result<Self, Malformed> {
        let fail = |why: String| Err(Malformed::new(why));
        if text.is_empty() || text.len() > 512 {
            return fail("a reference has 1 to 512 characters".to_owned());
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
            let hex = hex.filter(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
            if hex.is_none() {
                return fail(format!("`{digest}` is not `sha256:` and 64 hexadecimal digits"));
            }
        }
        // A colon after the last slash starts a tag; before it, a registry's port.
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name.get(last..).and_then(|rest| rest.find(':')) {
            Some(at) => (name.get(..last + at).unwrap_or(""), name.get(last + at + 1..)),
            None => (name, None),
        };
        if let Some(tag) = tag {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let valid = tag.len() <= 128
                && tag.bytes().next().is_some_and(word)
                && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
            if !valid {
                return fail(format!("`{tag}` is not a tag"));
            }
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(first), rest)
            }
            Some(_) | None => (None, name),
        };
        if let Some(registry) = registry {
            let (host, port) = registry.rsplit_once(':').unwrap_or((registry, "1"));
            let valid = !host.is_empty()
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                })
                && port.parse::<u16>().is_ok_and(|port| port > 0);
            if !valid {
                return fail(format!("`{registry}` is not a registry"));
            }
        }
        for part in path.split('/') {
            if part.bytes().any(|b| b.is_ascii_uppercase()) {
                let lower = part.to_ascii_lowercase();
                return Err(Malformed {
                    why: format!("`{part}` has capitals, and a repository's name has none"),
                    meant: Some(text.replacen(part, &lower, 1)),
                });
            }
            if !component(part) {
                return fail(format!("`{part}` is not a part of a repository's name"));
            }
        }
        Ok(Self { registry, path, tag, digest })
    }
}

/// Letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn component(part: &str) -> bool {
    let mut separator = String::new();
    let mut started = false;
    for c in part.chars() {
        match c {
            'a'..='z' | '0'..='9' => {
                let fits = matches!(separator.as_str(), "" | "." | "_" | "__")
                    || separator.bytes().all(|b| b == b'-');
                if !fits || (!started && !separator.is_empty()) {
                    return false;
                }
                started = true;
                separator.clear();
            }
            '.' | '_' | '-' => separator.push(c),
            _ => return false,
        }
    }
    started && separator.is_empty()
}

#[cfg(test)]
mod tests {
    use super::ImageRef;

    #[test]
    fn references_are_taken_apart() {
        let of =
            |text| ImageRef::read(text).map(|r| (r.registry, r.path, r.tag, r.digest.is_some()));
        assert_eq!(of("nginx"), Ok((None, "nginx", None, false)));
        assert_eq!(of("acme/web:1.4"), Ok((None, "acme/web", Some("1.4"), false)));
        assert_eq!(of("localhost:5000/a/b"), Ok((Some("localhost:5000"), "a/b", None, false)));
        let pinned = format!("ghcr.io/acme/web:v1@sha256:{}", "0".repeat(64));
        assert_eq!(of(&pinned), Ok((Some("ghcr.io"), "acme/web", Some("v1"), true)));
        for bad in [
            "",
            "a b",
            "a:",
            "a/",
            "/a",
            "a..b",
            "a_b___c",
            "-a",
            "a:b c",
            "a@sha256:12",
            "x.y:z/a",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(
            ImageRef::read("Web:1").err().and_then(|bad| bad.meant).as_deref(),
            Some("web:1")
        );
    }
}
