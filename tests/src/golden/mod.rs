//! Exchanges recorded from Hono, and permitted differences.
//!
//! A folder of recordings has `setup.json` (who exists) and `cases/*.json`, one exchange or dialogue each; the README beside the
//! vectors tells the fields. [`Folder`] reads them, [`answer`] and [`message`] bring both sides into a form that only differs if
//! it matters, [`differences`] tells where.

mod case;
pub mod answer;
pub mod message;
mod moment;
mod difference;

pub use case::{
    Case, Consumer, Exchange, Folder, Principal, Request, Response, Setup, Stage, Transport,
};
pub use difference::differences;
pub use moment::Moment;
