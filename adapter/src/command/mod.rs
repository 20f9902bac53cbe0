//! Commands from applications to devices, and the devices' answers (spec: coap-adapter §6, §7).

pub mod message;
pub mod request_id;
pub mod inbox;
pub mod consumer;
pub(crate) mod count;
pub mod location;
pub mod response;
