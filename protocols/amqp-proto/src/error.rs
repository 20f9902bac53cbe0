//! What can be wrong with bytes that claim to be AMQP.

/// Why bytes are not what AMQP 1.0 says they should be. The peer is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first bytes of a connection that are neither AMQP 1.0 nor its SASL layer (part 2 §2.2).
    #[error("a protocol other than AMQP 1.0")]
    Protocol,
    /// A frame smaller than its own header, or larger than we said we take (part 2 §2.3.1).
    #[error("a frame of {0} bytes")]
    FrameSize(u32),
    /// A frame whose body starts outside of it (part 2 §2.3.1).
    #[error("a data offset of {0} words")]
    DataOffset(u8),
    /// A frame of another type than the layer it came in (part 2 §2.3.1).
    #[error("a frame of type {0} in the wrong place")]
    FrameType(u8),
    /// A frame whose body starts with something that is not a performative.
    #[error("no performative")]
    NoPerformative,
    /// Values deeper in each other than anything sensible is.
    #[error("values too deep in each other")]
    TooDeep,
    /// A value where a section of a message should be (part 3 §3.2).
    #[error("a section without descriptor")]
    NoSection,
    /// A section that the standard does not know (part 3 §3.2).
    #[error("an unknown section")]
    UnknownSection,
    /// A value that cannot be decoded.
    #[error("a malformed value")]
    Value(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl DecodeError {
    pub(crate) fn value(error: serde_amqp::Error) -> Self {
        Self::Value(Box::new(error))
    }
}
