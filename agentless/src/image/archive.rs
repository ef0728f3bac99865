//! Where the files of a tar archive lie, without extracting it.
//!
//! Reads headers only and skips the data. Understands ustar, GNU long names and pax `path` and
//! `size`, and links within the archive, which is all that tools that write image archives use.
//! Source: POSIX.1 pax, "ustar Interchange Format" and "pax Extended Header".

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

const BLOCK: u64 = 512;
/// The most entries that an archive may have.
const ENTRY_LIMIT: usize = 65_536;
/// The longest extended header that is read.
const EXTENDED_LIMIT: u64 = 64 * 1024;

/// Where a file's bytes lie in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Why a file is not a tar archive that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("not readable")]
    Io(#[from] io::Error),
    #[error("not a tar archive: {0}")]
    Bad(&'static str),
}

/// Lists regular files by path, without a leading `./`. A path that occurs twice keeps its last
/// place, as tar does. A link stands for what it leads to, if that is a file of the archive.
pub(crate) fn index<R: Read + Seek>(archive: &mut R) -> Result<BTreeMap<String, Extent>, TarError> {
    let end = archive.seek(SeekFrom::End(0))?;
    let mut files = BTreeMap::new();
    let mut links = BTreeMap::new();
    let mut at = 0;
    let mut entries = 0;
    let mut next = Override::default();
    loop {
        let mut header = [0_u8; 512];
        if at + BLOCK > end {
            return Err(TarError::Bad("it ends within an entry"));
        }
        archive.seek(SeekFrom::Start(at))?;
        archive.read_exact(&mut header)?;
        if at == 0
            && let Some(how) = compressed(&header)
        {
            return Err(TarError::Bad(how));
        }
        if header.iter().all(|b| *b == 0) {
            follow(&mut files, &links);
            return Ok(files);
        }
        entries += 1;
        if entries > ENTRY_LIMIT {
            return Err(TarError::Bad("it has too many entries"));
        }
        check(&header)?;
        let kind = header[156];
        let mut size = number(&header[124..136])?;
        if !matches!(kind, b'x' | b'g' | b'L' | b'K') {
            size = next.size.unwrap_or(size);
        }
        let offset = at + BLOCK;
        let padded = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|s| s.checked_add(offset))
            .filter(|to| *to <= end || offset.checked_add(size) == Some(end))
            .ok_or(TarError::Bad("an entry is longer than the archive"))?;
        match kind {
            b'x' => next.pax(&extended(archive, size)?)?,
            b'L' => next.path = Some(text(&extended(archive, size)?)),
            b'K' => next.link = Some(text(&extended(archive, size)?)),
            b'g' => {}
            b'0' | 0 => {
                let path = next.path.take().unwrap_or_else(|| name(&header));
                let path = path.trim_start_matches("./").to_owned();
                links.remove(&path);
                files.insert(path, Extent { offset, size });
                next = Override::default();
            }
            b'1' | b'2' => {
                let path = next.path.take().unwrap_or_else(|| name(&header));
                let path = path.trim_start_matches("./").to_owned();
                let to = next.link.take().unwrap_or_else(|| text(&header[157..257]));
                // A hard link is named from the archive's top, a symbolic one from its own folder.
                let folder =
                    if kind == b'2' { path.rsplit_once('/').map_or("", |(f, _)| f) } else { "" };
                files.remove(&path);
                links.insert(path.clone(), plain(folder, &to));
                next = Override::default();
            }
            _ => next = Override::default(),
        }
        at = padded;
    }
}

/// Gives links the place of what they lead to; those that lead to links, or out of the archive, lead nowhere.
fn follow(files: &mut BTreeMap<String, Extent>, links: &BTreeMap<String, String>) {
    let found = links.iter().filter_map(|(path, to)| Some((path.clone(), *files.get(to)?)));
    let found: Vec<_> = found.collect();
    files.extend(found);
}

/// A link's path as one from the archive's top.
fn plain(folder: &str, to: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

/// What to do with an archive that is compressed as a whole.
fn compressed(start: &[u8]) -> Option<&'static str> {
    let is = |magic: &[u8]| start.starts_with(magic);
    match () {
        () if is(b"\x1f\x8b") => Some("it is compressed; `gunzip` it first"),
        () if is(b"\x28\xb5\x2f\xfd") => Some("it is compressed; `unzstd` it first"),
        () if is(b"\xfd7zXZ") => Some("it is compressed; `unxz` it first"),
        () => None,
    }
}

/// What an extended header says of the entry after it.
#[derive(Default)]
struct Override {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Override {
    /// Reads records of the form `LENGTH KEY=VALUE\n`.
    fn pax(&mut self, mut bytes: &[u8]) -> Result<(), TarError> {
        let bad = TarError::Bad("an extended header is not readable");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|b| *b == b' ');
            let length = space
                .and_then(|s| bytes.get(..s))
                .and_then(|l| std::str::from_utf8(l).ok())
                .and_then(|l| l.parse::<usize>().ok());
            let (Some(space), Some(length)) = (space, length) else {
                return Err(bad);
            };
            let Some(record) = bytes.get(space + 1..length.saturating_sub(1)) else {
                return Err(bad);
            };
            let mut parts = record.splitn(2, |b| *b == b'=');
            let (key, value) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
            match key {
                b"path" => self.path = Some(text(value)),
                b"linkpath" => self.link = Some(text(value)),
                b"size" => self.size = text(value).parse().ok(),
                _ => {}
            }
            bytes = bytes.get(length..).unwrap_or(b"");
        }
        Ok(())
    }
}

fn extended<R: Read>(archive: &mut R, size: u64) -> Result<Vec<u8>, TarError> {
    if size > EXTENDED_LIMIT {
        return Err(TarError::Bad("an extended header is too long"));
    }
    let mut bytes = Vec::new();
    archive.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(header: &[u8; 512]) -> Result<(), TarError> {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) })
        .sum();
    if number(&header[148..156])? == sum { Ok(()) } else { Err(TarError::Bad("a wrong checksum")) }
}

/// Octal digits, or GNU's big-endian number with the first bit set.
fn number(field: &[u8]) -> Result<u64, TarError> {
    let bad = || TarError::Bad("a number is not readable");
    let (first, rest) = field.split_first().ok_or_else(bad)?;
    if first & 0x80 != 0 {
        let mut value = u64::from(first & 0x3f);
        for byte in rest {
            value = value.checked_mul(256).ok_or_else(bad)? | u64::from(*byte);
        }
        return Ok(value);
    }
    let digits = text(field);
    let digits = digits.trim_matches(' ');
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|_| bad()) }
}

fn name(header: &[u8; 512]) -> String {
    let name = text(&header[..100]);
    let prefix =
        if &header[257..262] == b"ustar" { text(&header[345..500]) } else { String::new() };
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn entry(path: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[156] = kind;
        header[257..262].copy_from_slice(b"ustar");
        header[148..156].copy_from_slice(b"        ");
        let sum: u64 = header.iter().map(|b| u64::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut out = header.to_vec();
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    fn listed(parts: &[Vec<u8>]) -> Result<BTreeMap<String, Extent>, TarError> {
        let mut bytes = parts.concat();
        bytes.extend_from_slice(&[0; 1024]);
        index(&mut Cursor::new(bytes))
    }

    #[test]
    fn files_are_found_where_they_lie() {
        let files = listed(&[
            entry("blobs/", b'5', b""),
            entry("./oci-layout", b'0', b"{}"),
            entry("x", b'L', b"blobs/sha256/long\0"),
            entry("blobs/sha256/lo", b'0', b"abc"),
            entry("p", b'x', b"13 path=pax/n\n".get(..14).expect("pax")),
        ]);
        // The pax record's length counts itself: a wrong one is refused.
        assert!(files.is_err());
        let files = listed(&[
            entry("./oci-layout", b'0', b"{}"),
            entry("x", b'L', b"blobs/sha256/long\0"),
            entry("blobs/sha256/lo", b'0', b"abc"),
            entry("p", b'x', b"14 path=pax/n\n"),
            entry("short", b'0', b"12345"),
        ])
        .expect("index");
        assert_eq!(files["oci-layout"], Extent { offset: 512, size: 2 });
        assert_eq!(files["blobs/sha256/long"].size, 3);
        assert_eq!(files["pax/n"].size, 5);
    }

    #[test]
    fn bad_archives_are_refused() {
        assert!(index(&mut Cursor::new(b"hello".to_vec())).is_err());
        let mut cut = entry("a", b'0', &[1; 2000]);
        cut.truncate(1024);
        assert!(index(&mut Cursor::new(cut)).is_err());
        let mut flipped = entry("a", b'0', b"x");
        flipped[0] = b'b';
        assert!(listed(&[flipped]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), sizes in "[0-7\u{0} ]{12}") {
            let _ = index(&mut Cursor::new(bytes.clone()));
            let mut e = entry("a", b'x', &bytes);
            e[124..136].copy_from_slice(sizes.as_bytes());
            let _ = index(&mut Cursor::new(e));
        }
    }
}
