//! YAML 1.2 by its core schema, with the place of everything. Anchors may stand, aliases may not: data
//! says what it says where it stands, and cannot grow behind its size.

use super::{Bad, MAX_DEPTH, field, number, rel, string};
use crate::syntax::ast::{Expr, ExprKind, Rel};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};

/// Reads a whole text, of one document.
pub(super) fn read(text: &str) -> Result<Expr, Bad> {
    let offsets = (!text.is_ascii()).then(|| {
        let starts = text.char_indices().map(|(at, _)| at);
        starts.chain([text.len()]).collect()
    });
    let mut reader = Reader { text, offsets, events: Parser::new_from_str(text) };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd, at) => return Err(bad("the file says nothing", at)),
            (event, at) => {
                let value = reader.value(event, at, 0)?;
                return reader.end().map(|()| value);
            }
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    /// The bytes at which characters start, where those are not the same.
    offsets: Option<Vec<usize>>,
    events: Parser<'t, StrInput<'t>>,
}

fn bad(why: &str, at: Rel) -> Bad {
    Bad { why: why.to_owned(), at }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Rel), Bad> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                let (start, end) = (self.offset(&span.start), self.offset(&span.end));
                Ok((event, rel(start, end.max(start))))
            }
            Some(Err(error)) => {
                let at = self.offset(error.marker());
                Err(Bad::new(error.info(), at, at))
            }
            None => Err(Bad::new("the file ends too early", self.text.len(), self.text.len())),
        }
    }

    fn offset(&self, marker: &Marker) -> usize {
        let at = match &self.offsets {
            None => marker.index(),
            Some(offsets) => offsets.get(marker.index()).copied().unwrap_or(self.text.len()),
        };
        at.min(self.text.len())
    }

    /// After the document, nothing comes.
    fn end(&mut self) -> Result<(), Bad> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, at) => return Err(bad("the file holds more than one document", at)),
            }
        }
    }

    fn value(&mut self, event: Event<'t>, at: Rel, depth: usize) -> Result<Expr, Bad> {
        if depth > MAX_DEPTH {
            return Err(bad("it nests more than 96 deep", at));
        }
        match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(bad("a tag: types are the language's", at)),
            Event::Scalar(text, style, _, None) => Ok(scalar(&text, style, at)),
            Event::SequenceStart(_, None) => {
                let mut elements = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            let at = Rel { end: end.end.max(at.end), ..at };
                            return Ok(Expr { kind: ExprKind::List(elements), at });
                        }
                        (event, at) => elements.push(self.value(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(_, None) => {
                let mut fields = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => {
                            let at = Rel { end: end.end.max(at.end), ..at };
                            return Ok(Expr { kind: ExprKind::Record(fields), at });
                        }
                        (Event::Scalar(name, style, _, None), at) => {
                            let (event, value_at) = self.next()?;
                            let value = self.value(event, value_at, depth + 1)?;
                            fields.push(field(&name, inside(style, at), value));
                        }
                        (_, at) => return Err(bad("a key is a plain text", at)),
                    }
                }
            }
            Event::Alias(_) => Err(bad("an alias: write the value itself", at)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Err(bad("a value is expected here", at)),
        }
    }
}

/// The place of a key without its quotes, so that what is written instead keeps them.
fn inside(style: ScalarStyle, at: Rel) -> Rel {
    match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if at.end > at.start + 1 => {
            Rel { start: at.start + 1, end: at.end - 1 }
        }
        ScalarStyle::SingleQuoted
        | ScalarStyle::DoubleQuoted
        | ScalarStyle::Plain
        | ScalarStyle::Literal
        | ScalarStyle::Folded => at,
    }
}

/// A scalar by YAML 1.2's core schema: `yes`, `no` and `on` are texts.
fn scalar(text: &str, style: ScalarStyle, at: Rel) -> Expr {
    if style != ScalarStyle::Plain {
        return string(text, at);
    }
    let kind = match text {
        "" | "~" | "null" => ExprKind::Absent,
        "true" => ExprKind::Bool(true),
        "false" => ExprKind::Bool(false),
        _ => return decimal(text, at).unwrap_or_else(|| string(text, at)),
    };
    Expr { kind, at }
}

/// A number as everybody reads it: `007` and `1_000` are texts.
fn decimal(text: &str, at: Rel) -> Option<Expr> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let formed = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let leading = whole.len() > 1 && whole.starts_with('0');
    if formed(whole) && formed(fraction) && !leading { number(text, at) } else { None }
}
