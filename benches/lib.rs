//! Benches of the adapter as a whole; each is a target of its own. `cargo bench -p benches` runs them.
