//! Columns for people: each as wide as its widest cell, colour not counted.

use crate::paint;

/// How a cell is painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Of less interest.
    Dim,
    /// To be looked at.
    Notice,
    /// Wrong.
    Bad,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// Renders rows below their heads, a line each; nothing without rows. Heads that begin with `>` are set
/// to the right.
pub(crate) fn render(heads: &[&str], rows: &[Vec<Cell>]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let bare = |head: &&str| head.trim_start_matches('>').to_owned();
    let right: Vec<bool> = heads.iter().map(|head| head.starts_with('>')).collect();
    let head: Vec<Cell> = heads.iter().map(|h| Cell::toned(bare(h), Tone::Dim)).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &Vec<Cell>| {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
        let mut out = String::new();
        for (column, cell) in row.iter().enumerate().take(last + 1) {
            let width = widths.get(column).copied().unwrap_or(0);
            let pad = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let painted = match cell.tone {
                Tone::Plain => cell.text.clone(),
                Tone::Dim => paint::dim(&cell.text),
                Tone::Notice => paint::notice(&cell.text),
                Tone::Bad => paint::error(&cell.text),
            };
            if column > 0 {
                out.push_str("  ");
            }
            if right.get(column).copied().unwrap_or(false) {
                out.push_str(&pad);
                out.push_str(&painted);
            } else {
                out.push_str(&painted);
                if column < last {
                    out.push_str(&pad);
                }
            }
        }
        out
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "10".into(), "".into()], vec!["long".into(), "9".into()]];
        assert_eq!(render(&["NAME", ">N", "X"], &rows), ["NAME   N  X", "a     10", "long   9"]);
    }
}
