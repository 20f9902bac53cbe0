//! Block-wise transfer of bodies that do not fit a datagram (RFC 7959): uploads by Block1, answers by Block2.
//!
//! ```text
//! POST 1:0/1/512 ─> Upload begins          2.31 1:0/1/512      POST          ─> the caller answers 1500 bytes
//! POST 1:1/1/512 ─> Upload grows           2.31 1:1/1/512                       2.04 2:0/1/512 Size2, the answer is kept
//! POST 1:2/0/512 ─> one whole Request      the caller answers   POST 2:1/0/512   2.04 2:1/1/512 from what is kept
//!                                          2.04 1:2/0/512       POST 2:2/0/512   2.04 2:2/0/512
//! ```
//!
//! Here are the rules for one transfer and the table of all; the endpoint asks them for each request and each answer, so that a
//! caller sees neither. The key of a transfer is the peer, the method, the URI and the list of
//! Request-Tag options (RFC 7959 §2.4, §2.5, RFC 9175 §3): a client has one transfer of each direction
//! under way for a resource, or several that differ in their tags.

mod value;

mod target;

mod upload;

mod cut;

mod table;

pub(crate) use cut::{Cut, Plan, Sizes, block_of, cut, plan};
pub(crate) use table::{Direction, Transfer, Transfers};
pub(crate) use target::Target;
pub(crate) use upload::{Progress, Upload, too_large};
pub use value::BlockSize;
pub(crate) use value::{Asked, Block};
