//! CoAP front door that hands what devices say to AMQP 1.0. Whoever goes down this list sees a request travel:
//!
//! ```text
//! UDP datagram in                                                                UDP datagram out
//!   │ dtls-server   DTLS session {peer, principal}; keys are looked up aside                    ▲ seal
//!   │ coap-proto    Endpoint::handle_datagram -> Event::Request                                 ▲ poll_transmit
//!   ▼ serve         a task for each request; the port never waits for one       ACK now, answer later
//!     route         Operation::{Upload, CommandResponse, Discovery}             4.04 4.05       │
//!     authn         Principal -> the device, or a gateway that speaks for it    4.01 4.03       │
//!     tenant        is the adapter enabled? how long may a device wait?         4.03            │
//!     registration  does the device exist, may this gateway speak for it?       4.04 4.03       │
//!     upload        AMQP message -> link credit -> transfer -> disposition      4.00 5.03       │
//!     respond       2.04 Changed ───────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`app::App`] is all of it in one value; the steps are named in order in [`pipeline::Pipeline`].

pub mod app;

pub mod config;

pub mod serve;

pub mod route;

pub mod authn;

pub mod tenant;

pub mod pipeline;

pub mod exchange;

pub mod upload;

pub mod command;

pub mod respond;

pub mod rejection;

pub mod diagnostics;

pub mod monitoring;

mod http;

/// The adapter type by which tenants and messages name this adapter.
pub const ADAPTER: &str = "hono-coap";
