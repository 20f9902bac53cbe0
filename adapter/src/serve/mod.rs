//! The shell around [`coap_proto::Endpoint`]: a task for each port, and a task for each request.
//!
//! ```text
//! Transport::next ─> Endpoint ─> Event::Request ─> task: Pipeline::handle ─> respond::answer ───┐
//! Transport::send <─ Endpoint <─ acknowledge / respond <──────────── Reply (bounded channel) <──┘
//! ```
//!
//! **Invariant.** A port waits for datagrams, replies and deadlines only, never for what a request needs.

mod exchange;
mod kept;
mod places;
mod port;
mod transport;

pub use exchange::{AckDue, Exchange};
pub(crate) use kept::Kept;
pub use places::{Parked, Place, Places};
pub use port::{Port, Serving, Stop};
pub use transport::{Arrival, Plain, Renewal, Transport};
