//! Ranges of addresses of both families.

use super::Malformed;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: its first address, and how many bits all its addresses share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: IpAddr,
    prefix: u32,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// Whether an address, or a range, is of IPv6.
pub(crate) fn is_v6(text: &str) -> bool {
    text.contains(':')
}

impl Range {
    /// Reads `10.0.0.0/8`. The bits after the prefix must be 0.
    pub(crate) fn read(text: &str) -> Result<Self, Malformed> {
        let Some((address, prefix)) = text.split_once('/') else {
            let meant =
                text.parse::<IpAddr>().ok().map(|address| format!("{address}/{}", width(address)));
            return Err(Malformed { why: "it has no `/` and prefix length".to_owned(), meant });
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(Malformed::new(format!("`{address}` is not an address")));
        };
        let width = width(address);
        let plain = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse::<u32>().ok().filter(|&prefix| plain && prefix <= width);
        let Some(prefix) = prefix else {
            return Err(Malformed::new(format!("a prefix length here is 0 to {width}")));
        };
        let first = from_bits(address, bits(address) & mask(width, prefix));
        let range = Self { first, prefix };
        if first == address {
            return Ok(range);
        }
        let why = format!("`{address}` lies inside the range, which starts at `{first}`");
        Err(Malformed { why, meant: Some(range.to_string()) })
    }

    /// How many bits all its addresses share.
    pub(crate) fn prefix(self) -> u32 {
        self.prefix
    }

    /// Whether an address lies in it.
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        let width = width(self.first);
        address.is_ipv6() == self.first.is_ipv6()
            && bits(address) & mask(width, self.prefix) == bits(self.first)
    }

    /// The address that is so many after its first; nothing past its end.
    pub(crate) fn address(self, index: u64) -> Option<IpAddr> {
        let address = bits(self.first).checked_add(index.into())?;
        let width = width(self.first);
        let inside = width == 128 || address <= u32::MAX.into();
        let address = from_bits(self.first, address);
        (inside && self.holds(address)).then_some(address)
    }

    /// One of the ranges of a longer prefix that it is made of; nothing where there is none.
    pub(crate) fn part(self, prefix: u64, index: u64) -> Option<Self> {
        let width = width(self.first);
        let prefix = u32::try_from(prefix).ok().filter(|&p| p >= self.prefix && p <= width)?;
        let fits = prefix - self.prefix >= 64 || index >> (prefix - self.prefix) == 0;
        let offset = u128::from(index).checked_shl(width - prefix).filter(|_| fits && prefix > 0);
        let offset = if index == 0 { 0 } else { offset? };
        Some(Self { first: from_bits(self.first, bits(self.first) | offset), prefix })
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// An address of the same family.
fn from_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(bits as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
    }
}

fn mask(width: u32, prefix: u32) -> u128 {
    let ones = u128::MAX >> (128 - width);
    ones ^ ones.checked_shr(prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn ranges_are_read_and_taken_apart() {
        let of = |text| Range::read(text).map(|range| range.to_string());
        assert_eq!(of("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(of("FD00:0:0::/48").as_deref(), Ok("fd00::/48"));
        assert_eq!(of("0.0.0.0/0").as_deref(), Ok("0.0.0.0/0"));
        assert_eq!(of("10.1.2.3/8").map_err(|e| e.meant), Err(Some("10.0.0.0/8".into())));
        assert!(of("10.0.0.0/33").is_err() && of("10.0.0.0/+8").is_err() && of("::/").is_err());
        let range = Range::read("10.0.0.0/8").expect("a range");
        assert_eq!(range.address(300).map(|a| a.to_string()).as_deref(), Some("10.0.1.44"));
        assert_eq!(range.address(1 << 24), None);
        assert_eq!(range.part(16, 2).map(|r| r.to_string()).as_deref(), Some("10.2.0.0/16"));
        assert_eq!(range.part(16, 256), None);
        assert_eq!(range.part(7, 0), None);
        let all = Range::read("::/0").expect("a range");
        assert_eq!(all.part(64, 1).map(|r| r.to_string()).as_deref(), Some("0:0:0:1::/64"));
    }
}
