//! Schedules: when a cron's container runs, as crontab(5) writes it.
//!
//! The language reads the text; a node's systemd is who looks at the clock, so that a schedule becomes calendar events of
//! systemd.time(7) here, with the time zone in each. Where both days are restricted, either will do, as crontab(5) says.

use std::collections::BTreeSet;

use berth_lang::cron_fields;
use serde::{Deserialize, Serialize};

/// How a cron's container runs on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cron {
    /// When: minute, hour, day of the month, month, day of the week.
    pub schedule: String,
    /// By the clocks of which zone of the IANA's: `Europe/Berlin`.
    pub zone: String,
    /// How often one that failed is started again.
    pub retries: u32,
    /// How long one may take, with all that is tried again, in milliseconds.
    pub timeout_ms: u64,
    /// Whether one that was missed, since the node was off, is made up for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catch_up: bool,
}

/// systemd's weeks begin with Monday.
const WEEK: [(u32, &str); 7] =
    [(1, "Mon"), (2, "Tue"), (3, "Wed"), (4, "Thu"), (5, "Fri"), (6, "Sat"), (0, "Sun")];

impl Cron {
    /// What systemd's timer has as `OnCalendar`, one or two; none if the text is no schedule.
    pub fn calendars(&self) -> Vec<String> {
        let events = calendars(&self.schedule).unwrap_or_default().into_iter();
        events.map(|event| format!("{event} {}", self.zone)).collect()
    }
}

/// The calendar events that a schedule is, without a zone.
fn calendars(schedule: &str) -> Option<Vec<String>> {
    let [minutes, hours, days, months, week] = cron_fields(schedule)?;
    let restricts = |field: usize| {
        let field = schedule.split_whitespace().nth(field);
        field.is_some_and(|field| !field.starts_with('*'))
    };
    let event = |days: Option<&BTreeSet<u32>>, week: Option<&BTreeSet<u32>>| {
        let names = WEEK.iter().filter(|(day, _)| week.is_some_and(|week| week.contains(day)));
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        let names = if names.is_empty() { String::new() } else { format!("{} ", names.join(",")) };
        let days = days.map_or_else(|| "*".to_owned(), |days| list(days, 31));
        let (months, hours, minutes) = (list(&months, 12), list(&hours, 24), list(&minutes, 60));
        format!("{names}*-{months}-{days} {hours}:{minutes}:00")
    };
    let all_week = week.len() == 7;
    Some(match (restricts(2), restricts(4)) {
        (true, true) => vec![event(Some(&days), None), event(None, Some(&week))],
        // `*/2` takes away, and yet does not restrict: both have to hold.
        _ => vec![event(Some(&days), (!all_week).then_some(&week))],
    })
}

/// Numbers as systemd lists them; `*` for all that there are.
fn list(numbers: &BTreeSet<u32>, all: usize) -> String {
    if numbers.len() == all {
        return "*".to_owned();
    }
    numbers.iter().map(|number| format!("{number:02}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::calendars;

    #[test]
    fn schedules_become_calendar_events() {
        for (text, expected) in [
            ("* * * * *", "*-*-* *:*:00"),
            ("0 3 * * *", "*-*-* 03:00:00"),
            ("*/15 8-18/5 * * *", "*-*-* 08,13,18:00,15,30,45:00"),
            ("50/4 0 * * *", "*-*-* 00:50,54,58:00"),
            ("30 4 1,15 * *", "*-*-01,15 04:30:00"),
            ("0 0 * * 0", "Sun *-*-* 00:00:00"),
            ("0 0 * * 7", "Sun *-*-* 00:00:00"),
            ("0 0 * * 0-7", "*-*-* 00:00:00"),
            ("0 0 * JAN-mar Mon-Fri", "Mon,Tue,Wed,Thu,Fri *-01,02,03-* 00:00:00"),
            // Either of two days will do.
            ("0 0 13 * 5", "*-*-13 00:00:00 | Fri *-*-* 00:00:00"),
            // Both have to hold of what begins with a star.
            ("0 0 */10 * 5", "Fri *-*-01,11,21,31 00:00:00"),
            ("0 0 * * */2", "Tue,Thu,Sat,Sun *-*-* 00:00:00"),
            ("0 0 29 2 *", "*-02-29 00:00:00"),
        ] {
            let events = calendars(text).expect("a schedule");
            assert_eq!(events.join(" | "), expected, "{text}");
        }
        assert_eq!(calendars("0 0 30 2 *"), None);
    }
}
