//! The name that a person probably meant.
//!
//! Distance is optimal string alignment (Damerau–Levenshtein without repeated edits of one place).

/// The closest candidate, if one is close enough to be offered; ties go to the first in order.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wanted.chars().count();
    if length == 0 || length > 64 {
        return None;
    }
    let limit = (length / 3).max(1);
    let mut rows = Rows::of(wanted);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .filter_map(|candidate| Some((rows.distance(candidate, limit)?, candidate)))
        .filter(|&(distance, candidate)| distance < length && candidate != wanted)
        .min()
        .map(|(_, candidate)| candidate)
}

/// One word, and the last three rows of its table of distances to another.
struct Rows {
    wanted: Vec<char>,
    other: Vec<char>,
    rows: [Vec<usize>; 3],
}

impl Rows {
    fn of(wanted: &str) -> Self {
        let wanted: Vec<char> = wanted.chars().flat_map(char::to_lowercase).collect();
        let row = vec![0; wanted.len() + 1];
        Self { wanted, other: Vec::new(), rows: [row.clone(), row.clone(), row] }
    }

    /// The distance to another word; nothing where it is beyond the limit.
    fn distance(&mut self, other: &str, limit: usize) -> Option<usize> {
        let Self { wanted, other: letters, rows: [before, last, next] } = self;
        letters.clear();
        letters.extend(other.chars().flat_map(char::to_lowercase));
        let row = 0..=wanted.len();
        last.iter_mut().zip(row).for_each(|(cell, column)| *cell = column);
        for (index, &letter) in letters.iter().enumerate() {
            next[0] = index + 1;
            let mut least = next[0];
            for column in 1..=wanted.len() {
                let own = wanted[column - 1];
                let mut best = (last[column - 1] + usize::from(own != letter))
                    .min(last[column] + 1)
                    .min(next[column - 1] + 1);
                let swapped = index > 0
                    && column > 1
                    && own == letters[index - 1]
                    && wanted[column - 2] == letter;
                if swapped {
                    best = best.min(before[column - 2] + 1);
                }
                next[column] = best;
                least = least.min(best);
            }
            // A row looks at the two before it, and adds at least nothing to the least of the last.
            let settled = least > limit && last.iter().all(|&cell| cell >= limit);
            if settled {
                return None;
            }
            std::mem::swap(before, last);
            std::mem::swap(last, next);
        }
        let distance = last[wanted.len()];
        (distance <= limit).then_some(distance)
    }
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
