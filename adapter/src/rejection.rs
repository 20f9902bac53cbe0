//! Why a request is refused: what every step of the pipeline returns, and the reason that operators
//! see. The response code and text are [`respond`](crate::respond)'s.

use amqp_client::{Outcome as Disposition, SendError};
use registry_client::ServiceError;

use crate::tenant::TenantError;
use crate::tenant::budget::Exhausted;
use observability::reason::Reason;

/// Why a request was not served. The device gets a code and a text; `Display` is what operators see.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// Nothing is at this path.
    #[error("no such resource")]
    NoSuchResource,
    /// The resource takes POST and PUT only.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// Discovery takes GET of one path only.
    #[error("only /.well-known/core can be read")]
    NotReadable,
    /// Discovery takes one query at most.
    #[error("more than one search query")]
    TooManySearchQueries,
    /// Discovery gives link-format only.
    #[error("only link-format is given")]
    NotAcceptable,
    /// POST without a session of a device.
    #[error("not authenticated")]
    NotAuthenticated,
    /// PUT in a session without naming a device.
    #[error("no device in the path")]
    NoDevice,
    /// PUT without session and without naming tenant and device.
    #[error("no tenant and device in the path")]
    NoTenantAndDevice,
    /// PUT for another tenant than the session's.
    #[error("the path names another tenant than the session's")]
    ForeignTenant,
    /// An event or a command response in a message that is not confirmable.
    #[error("{0} must be confirmable")]
    NotConfirmable(&'static str),
    /// Neither body nor content type, or a body with a content type that stands for none.
    #[error("content type and payload do not match")]
    ContentMismatch {
        /// The content type, if there is one.
        content_type: Option<String>,
    },
    /// A command response without usable request id or status.
    #[error("request id or status of a command response is missing or invalid")]
    MalformedCommandResponse {
        /// The request id as received.
        request_id: Option<String>,
        /// The status, if it is a number.
        status: Option<i32>,
    },
    /// The tenant is disabled.
    #[error("tenant is disabled")]
    TenantDisabled,
    /// The tenant does not allow CoAP.
    #[error("adapter is disabled for the tenant")]
    AdapterDisabled,
    /// The tenant has sent as much as it may.
    #[error("the tenant's data volume is used up")]
    MessageLimit,
    /// The device or its tenant has done as much as it may in a minute.
    #[error(transparent)]
    OverBudget(Exhausted),
    /// The tenant service did not give the tenant.
    #[error("tenant look-up failed")]
    Tenant(#[source] ServiceError),
    /// The registration service did not assert that the device may speak.
    #[error("registration assertion failed")]
    Registration(#[source] ServiceError),
    /// The command router did not take the registration of a device that waits.
    #[error("registration at the command router failed")]
    CommandRouter(#[source] ServiceError),
    /// The message could not be sent, or nobody said what became of it.
    #[error("sending downstream failed")]
    Send(#[source] SendError),
    /// The consumer did not take the message.
    #[error("the consumer did not accept the message: {0:?}")]
    NotAccepted(Disposition),
    /// The limit on requests in progress is reached.
    #[error("too many requests in progress")]
    Overloaded,
    /// The server is about to end.
    #[error("the server is stopping")]
    Stopping,
}

impl Rejection {
    /// The text for operators.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoSuchResource => Reason::NoSuchResource,
            Self::MethodNotAllowed | Self::NotReadable => Reason::MethodNotAllowed,
            Self::TooManySearchQueries => Reason::BadQuery,
            Self::NotAcceptable => Reason::NotAcceptable,
            Self::NotAuthenticated => Reason::NotAuthenticated,
            Self::NoDevice | Self::NoTenantAndDevice => Reason::NoDevice,
            Self::ForeignTenant => Reason::ForeignTenant,
            Self::NotConfirmable(_) => Reason::NotConfirmable,
            Self::ContentMismatch { .. } => Reason::ContentMismatch,
            Self::MalformedCommandResponse { .. } => Reason::MalformedCommandResponse,
            Self::TenantDisabled => Reason::TenantDisabled,
            Self::AdapterDisabled => Reason::AdapterDisabled,
            Self::MessageLimit => Reason::LimitExceeded,
            Self::OverBudget(_) => Reason::OverBudget,
            Self::Tenant(error) => Reason::of_service(error, Reason::TenantUnknown),
            Self::Registration(ServiceError { status: 403, .. }) => Reason::GatewayNotAllowed,
            Self::Registration(error) => Reason::of_service(error, Reason::DeviceUnknown),
            Self::CommandRouter(_) => Reason::CommandRouterFailed,
            Self::Send(error) => error.into(),
            Self::NotAccepted(disposition) => disposition.into(),
            Self::Overloaded => Reason::Overloaded,
            Self::Stopping => Reason::Stopping,
        }
    }
}

impl From<TenantError> for Rejection {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::TenantDisabled => Self::TenantDisabled,
            TenantError::AdapterDisabled => Self::AdapterDisabled,
        }
    }
}
