//! A page for each code, one file each.

macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        const PAGES: &[(&str, &str)] = &[$(($code, include_str!(concat!("../explain/", $code, ".md")))),*];

        /// Every code, in order.
        pub const CODES: &[&str] = &[$($code),*];
    };
}

pages![
    "E0101", "E0102", "E0103", "E0104", "E0105", "E0106", "E0107", "E0108", "E0109", "E0201",
    "E0202", "E0203", "E0204", "E0205", "E0206", "E0207", "E0208", "E0209", "E0210", "E0211",
    "E0212", "E0213", "E0214", "E0215", "E0216", "E0217", "E0218", "E0301", "E0302", "E0303",
    "E0304", "E0305", "E0306", "E0307", "E0308", "E0309", "E0310", "E0311", "E0312", "E0313",
    "E0314", "E0315", "E0316", "E0317", "E0318", "E0319", "E0320", "W0301", "E0401", "E0402",
    "E0403", "E0404", "E0405", "E0406", "E0407", "E0408", "E0409", "E0410", "E0411",
];

/// The page of a code: what it means, an example, and what to do.
pub fn explain(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == code).map(|(_, page)| *page)
}
