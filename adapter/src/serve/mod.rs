//! The shell around [`coap_proto::Endpoint`]: a task for each port, and a task for each request.
//!
//! ```text
//! Transport::next ─> Endpoint ─> Event::Request ─> task: Pipeline::handle ─> respond::answer ───┐
//! Transport::send <─ Endpoint <─ acknowledge / respond <──────────── Reply (bounded channel) <──┘
//! ```
//!
//! **Invariant.** A port waits for datagrams, replies and deadlines only, never for what a request needs.

mod kept;
mod port;
mod pulse;
mod transport;

pub(crate) use kept::Kept;
pub use port::{Port, Serving, Stop};
pub use pulse::Pulse;
pub use transport::{Arrival, Plain, Renewal, Transport};
