//! Responses to confirmable uploads, by the application's disposition (spec: coap-adapter §4,
//! observed §4).

/// What an application does, in the words of the recordings, and the code and text that the device gets for it.
pub const OUTCOMES: [(&str, &str, &str); 12] = [
    ("accept", "2.04", ""),
    ("reject", "4.00", "Error Code: 400"),
    ("reject:amqp:not-allowed", "4.00", "no thanks"),
    ("reject:amqp:unauthorized-access", "4.03", "no thanks"),
    (
        "reject:amqp:internal-error",
        "5.00",
        "Internal server error",
    ),
    (
        "reject:amqp:resource-limit-exceeded",
        "5.03",
        RESOURCE_LIMIT,
    ),
    ("release", "5.03", UNPROCESSED),
    ("modify", "5.03", UNPROCESSED),
    (
        "modify-undeliverable",
        "4.04",
        "consumer declared message as undeliverable, it should not be redelivered",
    ),
    ("none", "5.03", SILENT),
    ("no-credit", "5.03", SILENT),
    ("delay:0.8", "2.04", ""),
];

/// The response if there is no consumer.
pub const NOBODY: (&str, &str) = ("5.03", "no consumer available");

const UNPROCESSED: &str = "consumer didn't process the message";
const SILENT: &str = "consumer failed to indicate in time whether it has processed the message";
const RESOURCE_LIMIT: &str = "consumer rejected the message because a resource limit was exceeded, possibly a (tenant-specific) queue size limit";
