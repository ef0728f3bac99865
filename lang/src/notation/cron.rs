//! Schedules of five fields: minute, hour, day of the month, month, day of the week.

use std::collections::BTreeSet;

use super::Malformed;

struct Part {
    name: &'static str,
    from: u32,
    to: u32,
    /// Names for numbers, from `from` on.
    names: &'static [&'static str],
}

const PARTS: [Part; 5] = [
    Part { name: "a minute", from: 0, to: 59, names: &[] },
    Part { name: "an hour", from: 0, to: 23, names: &[] },
    Part { name: "a day of the month", from: 1, to: 31, names: &[] },
    Part {
        name: "a month",
        from: 1,
        to: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    // Sunday is 0, and 7 too.
    Part {
        name: "a day of the week",
        from: 0,
        to: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// The days that a month may have.
const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What each of a schedule's five fields takes, in their order, with Sunday as 0 alone; nothing if it is none.
pub fn cron_fields(text: &str) -> Option<[BTreeSet<u32>; 5]> {
    let text = read(text).ok()?;
    let mut sets = PARTS.iter().zip(text.split(' ')).map(|(part, field)| {
        let set = values(part, field).unwrap_or_default().into_iter();
        set.map(|number| if part.to == 7 { number % 7 } else { number }).collect()
    });
    Some(std::array::from_fn(|_| sets.next().unwrap_or_default()))
}

/// Reads a schedule; gives it in small letters with one space between its fields.
pub(super) fn read(text: &str) -> Result<String, Malformed> {
    let lower = text.to_ascii_lowercase();
    let fields: Vec<&str> = lower.split_ascii_whitespace().collect();
    if fields.len() != PARTS.len() {
        let why = format!(
            "it has {} fields, not 5: minute, hour, day of the month, month, day of the week",
            fields.len()
        );
        return Err(Malformed::new(why));
    }
    let mut sets = Vec::with_capacity(fields.len());
    for (part, field) in PARTS.iter().zip(&fields) {
        sets.push(values(part, field)?);
    }
    // Days that no named month has would never come; a day of the week brings others.
    if let [_, _, days, months, _] = sets.as_slice()
        && fields.get(4) == Some(&"*")
    {
        let longest = DAYS.iter().zip(1u32..).filter(|(_, month)| months.contains(month));
        let longest = longest.map(|(days, _)| *days).max().unwrap_or(31);
        if days.iter().all(|&day| day > longest) {
            return Err(Malformed::new("no month of it has such a day, so it never comes"));
        }
    }
    Ok(fields.join(" "))
}

fn values(part: &Part, field: &str) -> Result<Vec<u32>, Malformed> {
    let mut found = Vec::new();
    for range in field.split(',') {
        let (range, step) = match range.split_once('/') {
            None => (range, 1),
            Some((range, step)) => {
                let step = step.parse::<u32>().ok().filter(|&step| step > 0 && step <= part.to);
                let Some(step) = step else {
                    return Err(bad(part, field, "a step is a number above 0"));
                };
                (range, step)
            }
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (part.from, part.to),
            None => {
                let from = number(part, field, range)?;
                (from, if step > 1 { part.to } else { from })
            }
            Some((from, to)) => (number(part, field, from)?, number(part, field, to)?),
        };
        if from > to {
            return Err(bad(part, field, "a range goes from the lesser to the greater"));
        }
        found.extend((from..=to).step_by(step as usize));
    }
    Ok(found)
}

fn number(part: &Part, field: &str, text: &str) -> Result<u32, Malformed> {
    let named = part.names.iter().position(|name| *name == text);
    let number = match named {
        Some(position) => Some(position as u32 + part.from),
        None => Some(text)
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok()),
    };
    number
        .filter(|number| (part.from..=part.to).contains(number))
        .ok_or_else(|| bad(part, field, &format!("it is {} to {}", part.from, part.to)))
}

fn bad(part: &Part, field: &str, why: &str) -> Malformed {
    Malformed::new(format!("`{field}` is not {}: {why}", part.name))
}

#[cfg(test)]
mod tests {
    use super::{cron_fields, read};

    #[test]
    fn schedules_are_read() {
        assert_eq!(read("0  3 * * MON-fri").as_deref(), Ok("0 3 * * mon-fri"));
        assert_eq!(read("*/15 0-6,12 1 jan 7").as_deref(), Ok("*/15 0-6,12 1 jan 7"));
        for bad in
            ["", "* * * *", "60 * * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *", "1, * * * *"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("0 0 30 2 *").is_err() && read("0 0 31 4,6 *").is_err());
        let days = cron_fields("0 3 * * 5-7").map(|[.., days]| days);
        assert_eq!(days, Some([0, 5, 6].into()));
        assert_eq!(cron_fields("0 3 * *"), None);
        assert!(read("0 0 30 2 mon").is_ok() && read("0 0 29 2 *").is_ok());
    }
}
