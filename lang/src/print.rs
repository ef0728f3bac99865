//! Values in the language's own notation: one line where it fits, one field a line where it does not.

use crate::program::{Resource, Secret};
use crate::value::{SecretPart, Value};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

const WIDTH: usize = 100;

/// Appends a resource and a line end.
pub(crate) fn resource(out: &mut String, resource: &Resource) {
    let _ = write!(out, "{} {} ", resource.kind.keyword(), resource.name);
    write_value(out, resource.value(), 0, 0);
    out.push('\n');
}

/// Appends a secret and a line end.
pub(crate) fn secret_item(out: &mut String, secret: &Secret) {
    let _ = writeln!(out, "secret {} = {}", secret.name, flat(&secret.source));
}

/// A value as a literal, on several lines where it is long.
pub(crate) fn literal(value: &Value) -> String {
    let line = flat(value);
    if line.len() <= WIDTH {
        return line;
    }
    let mut out = String::new();
    write_value(&mut out, value, 2, WIDTH);
    out
}

/// A value on one line.
pub(crate) fn line(value: &Value) -> String {
    flat(value)
}

/// A quantity, as it is written: the largest unit that divides it.
pub(crate) fn bytes(value: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(bits, _)| value != 0 && value.is_multiple_of(1u64 << bits));
    unit.map_or_else(|| format!("{value}B"), |(bits, name)| format!("{}{name}", value >> bits))
}

/// A duration, as it is written.
pub(crate) fn duration(value: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(scale, _)| value != 0 && value.is_multiple_of(*scale));
    unit.map_or_else(|| format!("{value}ms"), |(scale, name)| format!("{}{name}", value / scale))
}

/// A percentage, as it is written, from hundredths of a percent.
pub(crate) fn percent(value: u32) -> String {
    let (whole, rest) = (value / 100, value % 100);
    match (rest, rest % 10) {
        (0, _) => format!("{whole}%"),
        (_, 0) => format!("{whole}.{}%", rest / 10),
        _ => format!("{whole}.{rest:02}%"),
    }
}

/// Appends a string literal.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' => out.push_str("\\$"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// One line in the language's own notation, however long.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&flat(self))
    }
}

fn write_value(out: &mut String, value: &Value, indent: usize, used: usize) {
    let line = flat(value);
    if indent > 0 && indent + used + line.len() <= WIDTH {
        out.push_str(&line);
        return;
    }
    match value {
        Value::Record(fields) | Value::Map(fields) if !fields.is_empty() => {
            out.push_str("{\n");
            for (name, field) in fields {
                let _ = write!(out, "{:width$}{}: ", "", key(name), width = indent + 2);
                write_value(out, field, indent + 2, name.len() + 2);
                out.push('\n');
            }
            let _ = write!(out, "{:indent$}}}", "");
        }
        Value::List(values) if !values.is_empty() => {
            out.push_str("[\n");
            for element in values {
                let _ = write!(out, "{:width$}", "", width = indent + 2);
                write_value(out, element, indent + 2, 0);
                out.push('\n');
            }
            let _ = write!(out, "{:indent$}]", "");
        }
        Value::Case { name, fields } if !fields.is_empty() => {
            let _ = writeln!(out, "{name}(");
            for (field, value) in fields {
                let _ = write!(out, "{:width$}{field}: ", "", width = indent + 2);
                write_value(out, value, indent + 2, field.len() + 2);
                out.push('\n');
            }
            let _ = write!(out, "{:indent$})", "");
        }
        Value::Bool(_)
        | Value::Int(_)
        | Value::Str(_)
        | Value::Cpu(_)
        | Value::Bytes(_)
        | Value::Duration(_)
        | Value::Percent(_)
        | Value::Decimal(_)
        | Value::Secret(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Record(_)
        | Value::Case { .. }
        | Value::Ref { .. } => out.push_str(&line),
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Str(text) => {
            let mut out = String::new();
            string(&mut out, text);
            out
        }
        Value::Cpu(value) => format!("{value}m"),
        Value::Bytes(value) => bytes(*value),
        Value::Duration(value) => duration(*value),
        Value::Percent(value) => percent(*value),
        Value::Decimal(value) => value.to_string(),
        Value::Secret(parts) => secret(parts),
        Value::List(values) => {
            format!("[{}]", values.iter().map(flat).collect::<Vec<_>>().join(", "))
        }
        Value::Map(fields) | Value::Record(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Map(fields) | Value::Record(fields) => format!("{{ {} }}", flat_fields(fields)),
        Value::Case { name, fields } if fields.is_empty() => name.to_string(),
        Value::Case { name, fields } => format!("{name}({})", flat_fields(fields)),
        Value::Ref { name, .. } => name.to_string(),
    }
}

/// A text made with secrets, with their names in it.
pub(crate) fn secret(parts: &[SecretPart]) -> String {
    let mut out = String::from("secret \"");
    for part in parts {
        match part {
            SecretPart::Text(text) => {
                let mut quoted = String::new();
                string(&mut quoted, text);
                out.push_str(quoted.trim_matches('"'));
            }
            SecretPart::Secret(name) => {
                let _ = write!(out, "${{{name}}}");
            }
        }
    }
    out.push('"');
    out
}

fn flat_fields(fields: &BTreeMap<Arc<str>, Value>) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}: {}", key(name), flat(value))).collect();
    fields.join(", ")
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        return name.to_owned();
    }
    let mut out = String::new();
    string(&mut out, name);
    out
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, percent};

    #[test]
    fn quantities_print_as_written() {
        assert_eq!(
            (bytes(0), bytes(1 << 30), bytes(1500)),
            ("0B".into(), "1GiB".into(), "1500B".into())
        );
        assert_eq!(
            (duration(90_000), duration(60_000), duration(1)),
            ("90s".into(), "1m".into(), "1ms".into())
        );
        assert_eq!(
            (percent(1000), percent(1250), percent(1205)),
            ("10%".into(), "12.5%".into(), "12.05%".into())
        );
    }
}
