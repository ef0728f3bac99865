//! The name that a person probably meant.
//!
//! Distance is optimal string alignment (Damerau–Levenshtein without repeated edits of one place).

/// The closest candidate, if one is close enough to be offered; ties go to the first in order.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted_length = wanted.chars().count();
    if wanted_length == 0 || wanted_length > 64 {
        return None;
    }
    let limit = (wanted_length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(wanted_length) <= limit)
        .map(|candidate| (distance(wanted, candidate), candidate))
        .filter(|&(distance, candidate)| {
            distance <= limit && distance < wanted_length && candidate != wanted
        })
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    let at = |row: usize, column: usize| row * width + column;
    for row in 0..=a.len() {
        for column in 0..=b.len() {
            rows[at(row, column)] = if row == 0 || column == 0 {
                row + column
            } else {
                let same = usize::from(a[row - 1] != b[column - 1]);
                let mut best = (rows[at(row - 1, column - 1)] + same)
                    .min(rows[at(row - 1, column)] + 1)
                    .min(rows[at(row, column - 1)] + 1);
                let swapped = row > 1
                    && column > 1
                    && a[row - 1] == b[column - 2]
                    && a[row - 2] == b[column - 1];
                if swapped {
                    best = best.min(rows[at(row - 2, column - 2)] + 1);
                }
                best
            };
        }
    }
    rows[at(a.len(), b.len())]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn offers_what_was_meant_and_nothing_wild() {
        let fields = ["image", "replicas", "ports"];
        assert_eq!(nearest("replcas", fields), Some("replicas"));
        assert_eq!(nearest("imgae", fields), Some("image"));
        assert_eq!(nearest("secrets", fields), None);
        assert_eq!(nearest("", fields), None);
    }
}
