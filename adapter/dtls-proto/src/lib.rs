//! DTLS 1.2 server engine (RFC 6347), without I/O.
