//! The values of labels (spec: metrics-health §2).

use amqp_client::Outcome;
use coap_proto::Code;

macro_rules! labels {
    ($($(#[$doc:meta])+ $name:ident { $($(#[$value_doc:meta])+ $value:ident = $text:literal,)+ })+) => {
        $(
            $(#[$doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $name {
                $($(#[$value_doc])+ $value,)+
            }

            impl $name {
                /// Every value.
                pub const ALL: &'static [Self] = &[$(Self::$value,)+];

                /// As it is written in a label.
                #[must_use]
                pub const fn as_str(self) -> &'static str {
                    match self {
                        $(Self::$value => $text,)+
                    }
                }
            }
        )+
    };
}

labels! {
    /// `type` of the telemetry meters.
    UploadKind {
        /// Telemetry.
        Telemetry = "telemetry",
        /// Events.
        Event = "event",
    }
    /// `status`: what became of a message.
    Status {
        /// It was handed on.
        Forwarded = "forwarded",
        /// The device or the application made a mistake.
        Unprocessable = "unprocessable",
        /// All else.
        Undeliverable = "undeliverable",
    }
    /// `qos`: whether an upload was confirmable.
    Qos {
        /// NON.
        AtMostOnce = "0",
        /// CON.
        AtLeastOnce = "1",
    }
    /// `ttd`: what became of waiting for a command.
    Ttd {
        /// Nobody waited.
        None = "none",
        /// A command came, even if it was over the limit then.
        Command = "command",
        /// None came.
        Expired = "expired",
    }
    /// `direction` of commands.
    Direction {
        /// To a device that need not answer.
        OneWay = "one-way",
        /// To a device that is to answer.
        Request = "request",
        /// The answer.
        Response = "response",
    }
    /// `type` of the AMQP meters: the endpoint of the link.
    Link {
        /// Telemetry.
        Telemetry = "telemetry",
        /// Events.
        Event = "event",
        /// Responses to commands.
        CommandResponse = "command_response",
        /// The tenant service.
        Tenant = "tenant",
        /// The device registration service.
        Registration = "registration",
        /// The credentials service.
        Credentials = "credentials",
        /// The command router.
        CommandRouter = "cmd_router",
    }
    /// `outcome` of a delivery.
    Disposition {
        /// Accepted.
        Accepted = "accepted",
        /// Rejected.
        Rejected = "rejected",
        /// Released.
        Released = "released",
        /// Modified.
        Modified = "modified",
        /// The link or its connection went away.
        Aborted = "aborted",
    }
    /// `transport` below CoAP.
    Transport {
        /// DTLS.
        Dtls = "dtls",
        /// UDP.
        Udp = "udp",
    }
    /// `of`: whose budget is used up.
    BudgetOf {
        /// A device's.
        Device = "device",
        /// A tenant's.
        Tenant = "tenant",
    }
    /// `what` there is a budget of.
    Spent {
        /// Telemetry, events and command responses.
        Messages = "messages",
        /// Bytes of their payloads.
        Bytes = "bytes",
        /// DTLS handshakes.
        Handshakes = "handshakes",
    }
    /// `what` of the meter of reloads.
    Reloaded {
        /// The server's certificate and key.
        ServerIdentity = "server_identity",
        /// The keys that seal session tickets.
        TicketKeys = "ticket_keys",
        /// Whom AMQP connections trust, and who they are.
        ServiceTls = "service_tls",
        /// The configuration file, of which the log levels take effect.
        Configuration = "configuration",
    }
}

impl Status {
    /// What the code of a response says.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        match code.class() {
            2 => Self::Forwarded,
            4 => Self::Unprocessable,
            _ => Self::Undeliverable,
        }
    }
}

impl Disposition {
    /// What a receiver says.
    #[must_use]
    pub const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Accepted => Self::Accepted,
            Outcome::Rejected { .. } => Self::Rejected,
            Outcome::Released => Self::Released,
            // Modified, and what else may come: it was not taken as it is.
            _ => Self::Modified,
        }
    }
}
