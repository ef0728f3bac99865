//! Colour and time for people. Colour only on a terminal, and never when `NO_COLOR` is set.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

/// Says whether standard output takes colour.
pub(crate) fn colour() -> bool {
    static COLOUR: OnceLock<bool> = OnceLock::new();
    *COLOUR
        .get_or_init(|| std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal())
}

fn with(code: &str, text: &str) -> String {
    if colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Red and bold.
pub(crate) fn error(text: &str) -> String {
    with("1;31", text)
}

/// Green.
pub(crate) fn good(text: &str) -> String {
    with("32", text)
}

/// Yellow.
pub(crate) fn notice(text: &str) -> String {
    with("33", text)
}

/// Dim.
pub(crate) fn dim(text: &str) -> String {
    with("2", text)
}

/// Bold.
pub(crate) fn bold(text: &str) -> String {
    with("1", text)
}

/// One of six colours, by a number.
pub(crate) fn one_of(number: u32, text: &str) -> String {
    with(["36", "33", "32", "35", "34", "31"][number as usize % 6], text)
}

/// Colours a plan's lines by what they begin with.
pub(crate) fn plan(text: &str) -> String {
    if !colour() {
        return text.to_owned();
    }
    let line = |line: &str| match line.chars().next() {
        Some('+') => good(line),
        Some('~') => notice(line),
        Some('-') => error(line),
        Some('=') => with("36", line),
        Some('!') => with("35", line),
        Some('P' | 'N') => bold(line),
        Some(_) | None => line.to_owned(),
    };
    text.lines().map(|l| line(l) + "\n").collect()
}

/// Colours a difference's lines by what they begin with.
pub(crate) fn diff(text: &str) -> String {
    if !colour() {
        return text.to_owned();
    }
    let line = |line: &str| match line.chars().next() {
        Some('+') => good(line),
        Some('-') => error(line),
        Some('@') => with("36", line),
        Some(_) | None => line.to_owned(),
    };
    text.lines().map(|l| line(l) + "\n").collect()
}

/// Text from a node, a line each, with everything escaped that a terminal would act on.
pub(crate) fn escaped(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let clean = |line: &str| -> String {
        line.chars()
            .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
            .take(500)
            .collect()
    };
    text.lines().map(clean).collect()
}

pub(crate) use berth_engine::plan::moment::utc as time;

/// A length of time for people: `850ms`, `3.2s`, `4m10s`, `3h`, `2d`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    if ms < 1000 {
        format!("{ms}ms")
    } else if seconds < 60 {
        format!("{}.{}s", seconds, ms % 1000 / 100)
    } else if seconds < 3600 {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    } else if seconds < 172_800 {
        format!("{}h", seconds / 3600)
    } else {
        format!("{}d", seconds / 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, time};

    #[test]
    fn dates_and_durations_read_well() {
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(time(1_795_356_603_000), "2026-11-22 14:10:03");
        assert_eq!(duration(850), "850ms");
        assert_eq!(duration(250_000), "4m10s");
    }
}
