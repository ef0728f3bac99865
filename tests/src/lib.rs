//! What the tests share: the case runner.
