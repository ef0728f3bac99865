//! Numbers with units into exact quantities. The unit `m` alone says nothing: minutes or thousandths
//! of a core, as the place that it stands in decides.

use super::ast::Number;

/// A unit that may follow a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    None,
    /// Minutes, or thousandths of a core.
    M,
    Percent,
    /// A number of milliseconds.
    Time(u64),
    /// A number of bytes.
    Size(u64),
}

/// Every unit, in the order in which they are suggested.
pub(crate) const UNITS: [(&str, Unit); 16] = [
    ("", Unit::None),
    ("m", Unit::M),
    ("%", Unit::Percent),
    ("ms", Unit::Time(1)),
    ("s", Unit::Time(1_000)),
    ("h", Unit::Time(3_600_000)),
    ("d", Unit::Time(86_400_000)),
    ("B", Unit::Size(1)),
    ("KB", Unit::Size(1_000)),
    ("MB", Unit::Size(1_000_000)),
    ("GB", Unit::Size(1_000_000_000)),
    ("TB", Unit::Size(1_000_000_000_000)),
    ("KiB", Unit::Size(1 << 10)),
    ("MiB", Unit::Size(1 << 20)),
    ("GiB", Unit::Size(1 << 30)),
    ("TiB", Unit::Size(1 << 40)),
];

/// The unit of a number; nothing if it is unknown.
pub(crate) fn unit(number: &Number) -> Option<Unit> {
    UNITS.iter().find(|(text, _)| *text == &*number.unit).map(|(_, unit)| *unit)
}

/// The number times a scale, exactly; nothing if that has a fraction left or is too large.
pub(crate) fn scaled(number: &Number, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.digits.split_once('.').unwrap_or((&number.digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole: u128 = whole.parse().ok()?;
    let base = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let exact = whole.checked_mul(base)?.checked_add(parts)?.checked_mul(scale.into())?;
    if exact % base != 0 {
        return None;
    }
    u64::try_from(exact / base).ok().filter(|&n| i64::try_from(n).is_ok())
}

/// Reads `500m`, `1_000` or `64MiB` outside a file, as an input from the command line.
pub(crate) fn number(text: &str) -> Option<Number> {
    let split =
        text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.')).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let valid = digits.starts_with(|c: char| c.is_ascii_digit())
        && !digits.ends_with('.')
        && digits.matches('.').count() <= 1;
    valid.then(|| Number { digits: digits.replace('_', "").into(), unit: unit.into() })
}

#[cfg(test)]
mod tests {
    use super::{number, scaled};

    #[test]
    fn quantities_are_exact() {
        let of = |text, scale| number(text).and_then(|n| scaled(&n, scale));
        assert_eq!(of("1.5", 1000), Some(1500));
        assert_eq!(of("1.50", 1000), Some(1500));
        assert_eq!(of("0.0001", 1000), None);
        assert_eq!(of("1_000GiB", 1 << 30), Some(1000 << 30));
        assert_eq!(of("99999999999999999999999", 1), None);
        assert!(number("1.2.3").is_none());
    }
}
