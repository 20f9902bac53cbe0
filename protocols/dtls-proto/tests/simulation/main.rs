//! Client and server cores on one clock, in virtual time, over a network that loses, doubles and delays by a seed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;
mod pair;
mod forge;
mod pki;
mod handshakes;
mod agreement;
mod certificates;
mod raw_keys;
mod connection_ids;
mod paths;
mod resumption;
mod restart;
mod bad_network;
mod path_mtu;
mod partial_hellos;
mod record_limits;
mod forged_fragments;
mod seeds;
mod keys;
mod failures;
mod floods;
mod repeats;
mod limits;
mod places;
mod live;
mod hostile;
mod bytes;
mod corpus;
