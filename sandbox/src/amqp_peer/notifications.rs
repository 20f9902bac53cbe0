//! Change notifications of the registry (spec: registry-apis part B): each goes to all who receive from its address.

use amqp_proto::Message;
use time::OffsetDateTime;

use super::{
    links::{Goal, LinkEnd},
    router::Router,
};
use crate::world::Change;

impl Router {
    /// Tells of a change of the world.
    pub(super) fn on_change(&mut self, change: &Change) {
        let receivers = self
            .addresses
            .get(change.address())
            .map(|address| address.receivers.clone())
            .unwrap_or_default();
        if !receivers.is_empty() {
            let message = self.notification(change);
            for receiver in receivers {
                self.push_own(receiver, message.clone());
            }
        }
        if let Change::Tenant { tenant, .. } = change {
            self.grant_commands(tenant);
        }
    }

    fn notification(&mut self, change: &Change) -> Vec<u8> {
        let now = OffsetDateTime::now_utc();
        let mut message = Message::data(change.to_json(now).to_string());
        let properties = &mut message.properties;
        properties.message_id = Some(format!("sandbox-{}", self.next_id()).into());
        properties.to = Some(change.address().to_owned());
        properties.content_type = Some("application/json".to_owned());
        properties.creation_time = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).ok();
        let mut bytes = Vec::with_capacity(message.size_hint());
        message.encode(&mut bytes);
        bytes
    }

    /// Applications that send commands to a tenant get credit once it exists.
    fn grant_commands(&mut self, wanted: &str) {
        let senders: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| {
                matches!(&link.end, LinkEnd::From { target: Goal::Commands { tenant }, .. } if tenant == wanted)
            })
            .map(|(id, _)| *id)
            .collect();
        for sender in senders {
            self.grant(sender);
        }
    }
}
