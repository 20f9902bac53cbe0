//! Tests of the endpoint as a whole.
