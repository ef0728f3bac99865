//! Exact decimal numbers: no binary fraction ever stands for a written one.

use std::fmt;

/// The most digits after the point.
const MAX_SCALE: u32 = 18;

/// A number of at most 18 digits after its point, without trailing zeros, so that equal numbers are
/// equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: i64,
    scale: u32,
}

impl Decimal {
    /// The number `digits` / 10^`scale`; nothing if it is too large or too fine.
    pub fn new(digits: i128, scale: u32) -> Option<Self> {
        let (mut digits, mut scale) = (digits, scale);
        while scale > 0 && digits % 10 == 0 {
            digits /= 10;
            scale -= 1;
        }
        Some(Self { digits: i64::try_from(digits).ok().filter(|_| scale <= MAX_SCALE)?, scale })
    }

    /// Reads `1`, `1.5` or `-0.25`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        if unsigned.is_empty() || !plain(unsigned) || !plain(fraction) || text.ends_with('.') {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        Self::new(format!("{whole}{fraction}").parse().ok()?, u32::try_from(fraction.len()).ok()?)
    }

    /// The sum; nothing if it is out of bounds.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        Self::new(self.at(scale)?.checked_add(other.at(scale)?)?, scale)
    }

    /// The product; nothing if it is out of bounds.
    pub(crate) fn times(self, other: Self) -> Option<Self> {
        Self::new(i128::from(self.digits) * i128::from(other.digits), self.scale + other.scale)
    }

    /// The number with its sign changed.
    pub(crate) fn negated(self) -> Option<Self> {
        Self::new(-i128::from(self.digits), self.scale)
    }

    /// So many of a quantity, rounded down to a whole one.
    pub(crate) fn of(self, quantity: i128) -> Option<i128> {
        let base = 10i128.checked_pow(self.scale)?;
        Some(quantity.checked_mul(self.digits.into())?.div_euclid(base))
    }

    /// What orders it among others: its number of the finest steps.
    pub(crate) fn rank(self) -> i128 {
        self.at(MAX_SCALE).unwrap_or(i128::MAX)
    }

    fn at(self, scale: u32) -> Option<i128> {
        let factor = 10i128.checked_pow(scale.checked_sub(self.scale)?)?;
        i128::from(self.digits).checked_mul(factor)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let base = 10u64.pow(self.scale);
        let width = self.scale as usize;
        write!(f, "{sign}{}.{:0width$}", digits / base, digits % base)
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn decimals_are_exact() {
        let of = |text| Decimal::read(text).expect("a decimal");
        assert_eq!(of("0.1").plus(of("0.2")), Some(of("0.3")));
        assert_eq!(of("100.50").times(of("-2")).map(|d| d.to_string()).as_deref(), Some("-201"));
        assert_eq!(of("-0.05").to_string(), "-0.05");
        assert_eq!(of("1.0"), of("1"));
        assert!(of("1.5").rank() > of("1.49999").rank());
        assert_eq!(of("0.7").of(1 << 30), Some(751_619_276));
        assert!(Decimal::read("1.").is_none() && Decimal::read("").is_none());
        assert!(Decimal::read("0.0000000000000000001").is_none());
    }
}
