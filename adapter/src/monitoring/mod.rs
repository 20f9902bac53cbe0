//! What operators see of the adapter.

pub mod health;
