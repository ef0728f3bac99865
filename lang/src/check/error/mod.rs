//! The mistakes that checking finds, in words: a file a subject.

mod matching;
mod names;
mod numbers;
mod overlays;
mod tests;
mod values;
mod wording;
