//! Sets of small numbers, a bit each, whose words can be combined without a copy.

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
}

/// The empty set.
pub static NONE: Bits = Bits { words: Vec::new() };

impl Bits {
    /// Makes room for the numbers below `len`.
    pub fn sized(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)] }
    }

    /// Adds a number.
    pub fn insert(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (number % 64);
    }

    /// Takes a number out.
    pub fn remove(&mut self, number: usize) {
        if let Some(word) = self.words.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Takes all numbers out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Says whether a number is in.
    pub fn contains(&self, number: usize) -> bool {
        self.word(number / 64) >> (number % 64) & 1 == 1
    }

    /// The 64 numbers from `64 * index`.
    pub fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Finds the lowest number that is not in, from `first` on.
    pub fn first_absent(&self, first: usize) -> usize {
        let mut index = first / 64;
        let mut word = !self.word(index) & (u64::MAX << (first % 64));
        while word == 0 {
            index += 1;
            word = !self.word(index);
        }
        index * 64 + word.trailing_zeros() as usize
    }

    /// Counts the numbers.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Lists the numbers, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words
            .iter()
            .enumerate()
            .flat_map(|(index, word)| ones(*word).map(move |bit| index * 64 + bit))
    }
}

/// Lists the bits that are set in a word, lowest first.
pub fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            bit
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_absent_number_is_found_across_words() {
        let mut bits = Bits::default();
        assert_eq!(bits.first_absent(2), 2);
        (0..130).for_each(|number| bits.insert(number));
        assert_eq!(bits.first_absent(2), 130);
        bits.remove(64);
        assert_eq!(bits.first_absent(2), 64);
        assert_eq!(bits.iter().count(), 129);
        assert!(bits.contains(129) && !bits.contains(64) && !bits.contains(1_000));
    }
}
