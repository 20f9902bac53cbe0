//! CoAP message layer for a server (RFC 7252), without I/O.
