//! The nouns that users write, in the Berth language itself.
