//! Texts with a grammar of their own: addresses, address ranges, schedules, time zones, image references.
//!
//! A text is read once, where it is written or made, and stands from then on as it is printed: two
//! notations of one thing are the same text. Nothing here knows types or places.

mod address;
mod cron;
mod image;
mod zone;

pub(crate) use address::{Range, is_v6};
pub use cron::cron_fields;
pub(crate) use image::ImageRef;

use std::net::IpAddr;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Notation {
    /// An IPv4 or IPv6 address.
    Ip,
    /// A range of addresses, `10.0.0.0/8`.
    Cidr,
    /// A schedule of five fields, `0 3 * * mon-fri`.
    Cron,
    /// A time zone's name, `Europe/Berlin`.
    TimeZone,
    /// An image of a registry, `ghcr.io/acme/web:1.4`.
    ImageRef,
}

/// Why a text is not of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The reason, as it follows a colon.
    pub(crate) why: String,
    /// What was probably meant.
    pub(crate) meant: Option<String>,
}

impl Notation {
    /// The name of its type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ip => "Ip",
            Self::Cidr => "Cidr",
            Self::Cron => "Cron",
            Self::TimeZone => "TimeZone",
            Self::ImageRef => "ImageRef",
        }
    }

    /// Reads a text and gives it as it is printed.
    pub(crate) fn read(self, text: &str) -> Result<String, Malformed> {
        match self {
            Self::Ip => match text.parse::<IpAddr>() {
                Ok(address) => Ok(address.to_string()),
                Err(_) => Err(Malformed::new("an address is `10.0.0.11` or `fd00::1`")),
            },
            Self::Cidr => Range::read(text).map(|range| range.to_string()),
            Self::Cron => cron::read(text),
            Self::TimeZone => zone::read(text),
            Self::ImageRef => ImageRef::read(text).map(|_| text.to_owned()),
        }
    }
}

impl Malformed {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), meant: None }
    }
}
