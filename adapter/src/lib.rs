//! The Hono CoAP protocol adapter: hands telemetry, events and command responses of devices to AMQP 1.0,
//! and commands to devices.
//!
//! ```text
//! UDP datagram in                                                              UDP datagram out
//!   │ dtls-server   DTLS session {peer, principal}; keys are looked up aside               ▲ seal
//!   │ coap-proto    Endpoint::handle_datagram -> Event::Request                 poll_transmit
//!   ▼ serve         admission; a task per request; the loop never waits        ACK, answer later
//!     route         Operation::{Upload, CommandResponse, Discovery}            4.04 4.05   │
//!     authn         Principal -> the device, or a gateway acting for it        4.01 4.03   │
//!     tenant        adapter enabled? budget? data volume? effective ttd        4.03 4.29   │
//!     registration  does the device exist, may this gateway act for it?        4.04 4.03   │
//!     command       ttd > 0: open the inbox before the upload is sent          5.03        │
//!     upload        AMQP message -> credit -> transfer -> disposition          4.00 5.03   │
//!     command       wait for a command or the end of ttd                                   │
//!     respond       outcome or rejection -> code, options, payload ────────────────────────┘
//! ```
//!
//! [`app::App`] owns all parts; [`pipeline::Pipeline`] names the steps in order. A module imports
//! only modules that stand below it in this list.

pub mod app;

pub mod serve;

pub mod pipeline;

pub mod diagnostics;

pub mod exchange;

pub mod respond;

pub mod command;

pub mod upload;

pub mod authn;

pub mod route;

pub mod rejection;

pub mod tenant;

pub mod monitoring;

pub mod config;

mod http;

/// The adapter type by which tenants and messages name this adapter.
pub const ADAPTER: &str = observability::COMPONENT;
