//! Files into a checked program and one value: the Berth language.
