//! Time zones by name.

use super::Malformed;
use crate::nearest::nearest;

/// The names of the IANA time zone database, 2025b, which is in the public domain.
const ZONES: &str = include_str!("zones.txt");

/// Reads a name; capitals matter.
pub(super) fn read(text: &str) -> Result<String, Malformed> {
    if ZONES.lines().any(|zone| zone == text) {
        return Ok(text.to_owned());
    }
    let same = ZONES.lines().find(|zone| zone.eq_ignore_ascii_case(text));
    let city = || ZONES.lines().find(|zone| zone.rsplit('/').next() == Some(text));
    let meant = same.or_else(city).or_else(|| nearest(text, ZONES.lines())).map(str::to_owned);
    Err(Malformed { why: "there is no such time zone".to_owned(), meant })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn zones_are_known_by_name() {
        assert_eq!(read("Europe/Berlin").as_deref(), Ok("Europe/Berlin"));
        assert_eq!(read("UTC").as_deref(), Ok("UTC"));
        let meant = |text| read(text).err().and_then(|bad| bad.meant);
        assert_eq!(meant("europe/berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(meant("Berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(meant("Europe/Berlim").as_deref(), Some("Europe/Berlin"));
    }
}
