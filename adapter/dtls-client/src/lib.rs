//! DTLS 1.2 client, without I/O.
