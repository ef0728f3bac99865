//! A page for each code that lowering reports, one file each.

macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        const PAGES: &[(&str, &str)] = &[$(($code, include_str!(concat!("../../explain/", $code, ".md")))),*];

        /// Every code, in order.
        pub const CODES: &[&str] = &[$($code),*];
    };
}

pages![
    "E0501", "E0502", "E0503", "E0504", "E0505", "E0506", "E0507", "E0508", "E0509", "E0510",
    "E0511", "E0512", "E0513", "E0514", "E0540", "E0541", "E0542", "E0543", "E0544", "E0545",
    "E0546", "E0547", "E0548", "E0549", "E0550", "E0551", "E0552", "E0553", "E0554", "E0555",
    "E0556", "E0557", "E0558", "E0559", "E0560", "E0561", "E0562", "E0563",
];

/// The page of a code: what it means, an example, and what to do.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == code).map(|(_, page)| *page)
}
