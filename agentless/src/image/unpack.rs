//! Layers as they unpack: looked through on this machine, and written nowhere.
//!
//! A layer that is small and unpacks to very much fills a node's disk. So what lies beside the project is unpacked once, into a
//! hash, when it is pinned: how much comes out is bounded, and it has to be what the image's configuration names, which a
//! node would find only after all of it has travelled. What zstd has packed is not looked into; nodes pull what a
//! registry has by themselves.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::oci::spell;

/// The most that a layer may unpack to, in bytes.
const MOST: u64 = 64 << 30;
/// How many times its size it may unpack to: gzip can reach some 1,030, file systems of programs 2 to 10.
const RATIO: u64 = 200;
/// What it may unpack to whatever its size, in bytes: files of zeros are legitimate.
const ANYWAY: u64 = 256 << 20;

/// A layer that was looked through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// The digest of its bytes as they are.
    pub(super) digest: String,
    /// The digest of what it unpacks to; nothing if that was not looked into, and why not if it cannot be.
    pub(super) unpacked: Result<Option<String>, String>,
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        self.size += read as u64;
        Ok(read)
    }
}

/// Looks a layer through to its end.
///
/// # Errors
/// If it cannot be read.
pub(super) fn look<R: Read>(bytes: R) -> io::Result<Layer> {
    let mut bytes = Hashing { inner: bytes, hash: Sha256::new(), size: 0 };
    let mut head = Vec::with_capacity(4);
    (&mut bytes).take(4).read_to_end(&mut head)?;
    let unpacked = match head.as_slice() {
        [0x1f, 0x8b, ..] => {
            let packed = BufReader::with_capacity(1 << 16, head.chain(&mut bytes));
            count(MultiGzDecoder::new(packed))
        }
        [0x28, 0xb5, 0x2f, 0xfd] => Ok(None),
        _ => Ok(Some(String::new())),
    };
    // All of it counts for its digest, also what follows where nothing more unpacks.
    io::copy(&mut bytes, &mut io::sink())?;
    let digest = spell(&bytes.hash.finalize());
    let is_plain = unpacked.as_ref().is_ok_and(|unpacked| unpacked.as_deref() == Some(""));
    let unpacked = if is_plain { Ok(Some(digest.clone())) } else { unpacked };
    Ok(Layer { digest, unpacked })
}

/// Hashes what unpacks, up to the limits.
fn count<R: Read>(
    mut decoder: MultiGzDecoder<BufReader<io::Chain<&[u8], &mut Hashing<R>>>>,
) -> Result<Option<String>, String> {
    let (mut hash, mut out) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read =
            decoder.read(&mut buffer).map_err(|error| format!("is no whole gzip: {error}"))?;
        if read == 0 {
            return Ok(Some(spell(&hash.finalize())));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        out += read as u64;
        let packed = decoder.get_ref().get_ref().get_ref().1.size;
        if out > MOST || out > ANYWAY && out / RATIO > packed {
            return Err(format!(
                "unpacks to more than {} MiB from {packed} bytes: no node is filled with that",
                out >> 20
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::image::oci::digest_of;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("room");
        encoder.finish().expect("room")
    }

    fn looked(bytes: &[u8]) -> Layer {
        look(bytes).expect("bytes in memory")
    }

    #[test]
    fn both_digests_are_told() {
        let text = b"a file system".repeat(9000);
        let layer = looked(&packed(&text));
        assert_eq!(layer.digest, digest_of(&packed(&text)));
        assert_eq!(layer.unpacked, Ok(Some(digest_of(&text))));
        let plain = looked(&text);
        assert_eq!(
            (&plain.digest, &plain.unpacked),
            (&digest_of(&text), &Ok(Some(digest_of(&text))))
        );
        // Two members one after the other are one file.
        let both = [packed(b"a"), packed(b"b")].concat();
        assert_eq!(looked(&both).unpacked, Ok(Some(digest_of(b"ab"))));
        for short in [&b""[..], b"\x1f", b"\x28\xb5\x2f"] {
            assert_eq!(looked(short).unpacked, Ok(Some(digest_of(short))));
        }
        assert_eq!(looked(b"\x28\xb5\x2f\xfd whatever").unpacked, Ok(None));
    }

    #[test]
    fn what_is_no_whole_gzip_is_said_and_hashed_to_its_end() {
        let whole = packed(&b"a file system".repeat(9000));
        for cut in [3, 10, whole.len() / 2, whole.len() - 1] {
            let bytes = &whole[..cut];
            let layer = looked(bytes);
            assert_eq!(layer.digest, digest_of(bytes));
            assert!(layer.unpacked.is_err(), "{cut} bytes");
        }
        let mut damaged = whole;
        let middle = damaged.len() / 2;
        damaged[middle] ^= 4;
        assert!(looked(&damaged).unpacked.is_err());
        assert_eq!(looked(&damaged).digest, digest_of(&damaged));
    }

    /// 300 MiB of zeros are some 1.3 MiB at this level, 600 MiB in two steps less than 3 KiB.
    #[test]
    fn a_bomb_ends_early() {
        let zeros = vec![0_u8; 1 << 20];
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..300 {
            encoder.write_all(&zeros).expect("room");
        }
        let bomb = encoder.finish().expect("room");
        assert!(bomb.len() < 400_000, "{}", bomb.len());
        let layer = looked(&bomb);
        assert_eq!(layer.digest, digest_of(&bomb));
        let why = layer.unpacked.expect_err("too much");
        assert!(why.contains("unpacks to more than 256 MiB"), "{why}");
    }
}
