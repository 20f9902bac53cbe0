//! The code of a rejection, as operators see it.

use registry_client::ServiceError;

use super::Rejection;
use crate::monitoring::reason::Reason;

impl Rejection {
    /// What operators are told.
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
