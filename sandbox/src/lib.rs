//! The world around the adapter in one process.
