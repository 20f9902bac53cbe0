//! UDP sockets in batches and the task around dtls-proto.
