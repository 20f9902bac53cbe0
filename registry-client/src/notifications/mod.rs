//! Change notifications: what is remembered of the registry is forgotten when it tells of a change (spec: registry-apis B).

mod notification;
mod receiver;
#[cfg(test)]
mod tests;

pub use self::{
    notification::{Change, Notification, Subject},
    receiver::{Caches, Event, Events, Notifications},
};
