//! Support for the acceptance tests: starting the world and talking to it.
