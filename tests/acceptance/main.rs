//! What the adapter promises, proved from outside.
