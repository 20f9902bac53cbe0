//! The performatives that come and go all the time (AMQP 1.0 part 2 §2.7.4 to §2.7.7), read and written straight, without the values in
//! between that the library makes. What is unusual in them is left to the library.

use fe2o3_amqp_types::{
    definitions::{DeliveryTag, Handle, Role},
    messaging::{Accepted, DeliveryState, Released},
    performatives::{Detach, Disposition, Flow, Performative, Transfer},
};

use crate::{
    frame::encode,
    read::{Descriptor, Item, Items},
    value,
};

/// Reads a performative; none if it is for the library to read, or to refuse.
pub(crate) fn read(bytes: &[u8]) -> Option<Performative> {
    let mut items = Items::all(bytes);
    let Item::Described(Descriptor::Code(code)) = items.next().ok()?? else {
        return None;
    };
    let Item::List(fields) = items.next().ok()?? else {
        return None;
    };
    match code {
        FLOW => flow(fields).map(Performative::Flow),
        TRANSFER => transfer(fields).map(Performative::Transfer),
        DISPOSITION => disposition(fields).map(Performative::Disposition),
        DETACH => detach(fields).map(Performative::Detach),
        _ => None,
    }
}

fn flow(fields: Items<'_>) -> Option<Flow> {
    let fields: [Item<'_>; 11] = fields.fields().ok()?;
    let [next_in, window_in, next_out, window_out, rest @ ..] = fields;
    let [
        handle,
        delivery_count,
        link_credit,
        available,
        drain,
        echo,
        Item::Null,
    ] = rest
    else {
        return None;
    };
    Some(Flow {
        next_incoming_id: uint(next_in)?,
        incoming_window: uint(window_in)??,
        next_outgoing_id: uint(next_out)??,
        outgoing_window: uint(window_out)??,
        handle: uint(handle)?.map(Handle),
        delivery_count: uint(delivery_count)?,
        link_credit: uint(link_credit)?,
        available: uint(available)?,
        drain: truth(drain)?.unwrap_or(false),
        echo: truth(echo)?.unwrap_or(false),
        properties: None,
    })
}

fn transfer(fields: Items<'_>) -> Option<Transfer> {
    let fields: [Item<'_>; 11] = fields.fields().ok()?;
    let [handle, delivery_id, delivery_tag, message_format, rest @ ..] = fields;
    let [
        settled,
        more,
        Item::Null,
        Item::Null,
        resume,
        aborted,
        batchable,
    ] = rest
    else {
        return None;
    };
    let delivery_tag = match delivery_tag {
        Item::Null => None,
        Item::Binary(tag) => Some(DeliveryTag::from(tag.to_vec())),
        _ => return None,
    };
    Some(Transfer {
        handle: Handle(uint(handle)??),
        delivery_id: uint(delivery_id)?,
        delivery_tag,
        message_format: uint(message_format)?,
        settled: truth(settled)?,
        more: truth(more)?.unwrap_or(false),
        rcv_settle_mode: None,
        state: None,
        resume: truth(resume)?.unwrap_or(false),
        aborted: truth(aborted)?.unwrap_or(false),
        batchable: truth(batchable)?.unwrap_or(false),
    })
}

fn disposition(mut fields: Items<'_>) -> Option<Disposition> {
    let mut field = || Some(fields.next().ok()?.unwrap_or(Item::Null));
    let role = match field()? {
        Item::Bool(true) => Role::Receiver,
        Item::Bool(false) => Role::Sender,
        _ => return None,
    };
    let first = uint(field()?)??;
    let last = uint(field()?)?;
    let settled = truth(field()?)?.unwrap_or(false);
    let state = match field()? {
        Item::Null => None,
        // What an outcome says of itself is for the library; these say nothing.
        Item::Described(Descriptor::Code(code)) => {
            let Item::List(_) = field()? else {
                return None;
            };
            match code {
                ACCEPTED => Some(DeliveryState::Accepted(Accepted {})),
                RELEASED => Some(DeliveryState::Released(Released {})),
                _ => return None,
            }
        }
        _ => return None,
    };
    let batchable = truth(field()?)?.unwrap_or(false);
    Some(Disposition {
        role,
        first,
        last,
        settled,
        state,
        batchable,
    })
}

fn detach(fields: Items<'_>) -> Option<Detach> {
    let [handle, closed, Item::Null] = fields.fields().ok()? else {
        return None;
    };
    Some(Detach {
        handle: Handle(uint(handle)??),
        closed: truth(closed)?.unwrap_or(false),
        error: None,
    })
}

/// Appends a flow.
pub(crate) fn put_flow(into: &mut Vec<u8>, flow: &Flow) {
    if flow.properties.is_some() {
        into.extend(encode(flow));
        return;
    }
    put(into, FLOW, |into| {
        put_uint(into, flow.next_incoming_id);
        value::uint(into, flow.incoming_window);
        value::uint(into, flow.next_outgoing_id);
        value::uint(into, flow.outgoing_window);
        put_uint(into, flow.handle.as_ref().map(|handle| handle.0));
        put_uint(into, flow.delivery_count);
        put_uint(into, flow.link_credit);
        put_uint(into, flow.available);
        put_truth(into, flow.drain);
        put_truth(into, flow.echo);
        10
    });
}

/// Appends a transfer.
pub(crate) fn put_transfer(into: &mut Vec<u8>, transfer: &Transfer) {
    if transfer.rcv_settle_mode.is_some() || transfer.state.is_some() {
        into.extend(encode(transfer));
        return;
    }
    put(into, TRANSFER, |into| {
        value::uint(into, transfer.handle.0);
        put_uint(into, transfer.delivery_id);
        match &transfer.delivery_tag {
            Some(tag) => value::binary(into, tag),
            None => into.push(NULL),
        }
        put_uint(into, transfer.message_format);
        match transfer.settled {
            Some(settled) => put_truth(into, settled),
            None => into.push(NULL),
        }
        put_truth(into, transfer.more);
        if !(transfer.resume || transfer.aborted || transfer.batchable) {
            return 6;
        }
        into.extend_from_slice(&[NULL; 2]);
        put_truth(into, transfer.resume);
        put_truth(into, transfer.aborted);
        put_truth(into, transfer.batchable);
        11
    });
}

/// Appends a disposition.
pub(crate) fn put_disposition(into: &mut Vec<u8>, disposition: &Disposition) {
    put(into, DISPOSITION, |into| {
        put_truth(into, disposition.role == Role::Receiver);
        value::uint(into, disposition.first);
        put_uint(into, disposition.last);
        put_truth(into, disposition.settled);
        match &disposition.state {
            None => into.push(NULL),
            Some(DeliveryState::Accepted(_)) => into.extend_from_slice(&EMPTY_ACCEPTED),
            Some(DeliveryState::Released(_)) => into.extend_from_slice(&EMPTY_RELEASED),
            Some(other) => into.extend(encode(other)),
        }
        put_truth(into, disposition.batchable);
        6
    });
}

fn put(into: &mut Vec<u8>, code: u64, fields: impl FnOnce(&mut Vec<u8>) -> usize) {
    into.push(0x00);
    value::Value::Ulong(code).encode(into);
    value::list(into, fields);
}

fn put_uint(into: &mut Vec<u8>, number: Option<u32>) {
    match number {
        Some(number) => value::uint(into, number),
        None => into.push(NULL),
    }
}

fn put_truth(into: &mut Vec<u8>, truth: bool) {
    into.push(if truth { 0x41 } else { 0x42 });
}

/// A number or nothing; none at all if it is something else.
const fn uint(item: Item<'_>) -> Option<Option<u32>> {
    match item {
        Item::Null => Some(None),
        Item::Uint(number) => Some(Some(number)),
        _ => None,
    }
}

/// A truth or nothing; none at all if it is something else.
const fn truth(item: Item<'_>) -> Option<Option<bool>> {
    match item {
        Item::Null => Some(None),
        Item::Bool(truth) => Some(Some(truth)),
        _ => None,
    }
}

const FLOW: u64 = 0x13;
const TRANSFER: u64 = 0x14;
const DISPOSITION: u64 = 0x15;
const DETACH: u64 = 0x16;
const ACCEPTED: u64 = 0x24;
const RELEASED: u64 = 0x26;
const EMPTY_ACCEPTED: [u8; 4] = [0x00, 0x53, 0x24, 0x45];
const EMPTY_RELEASED: [u8; 4] = [0x00, 0x53, 0x26, 0x45];
const NULL: u8 = 0x40;

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::messaging::{Modified, Rejected};
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    /// What the library makes of the same bytes.
    fn library(bytes: &[u8]) -> Performative {
        serde_amqp::from_slice(bytes).unwrap()
    }

    /// What the library writes is read alike, and what we write the library reads as what it wrote itself.
    fn agree<T: serde::Serialize>(performative: &T, put: fn(&mut Vec<u8>, &T)) {
        let bytes = encode(performative);
        let wanted = format!("{:?}", library(&bytes));
        let read = read(&bytes).expect("nothing unusual is in it");
        assert_eq!(format!("{read:?}"), wanted);
        let mut written = Vec::new();
        put(&mut written, performative);
        assert_eq!(format!("{:?}", library(&written)), wanted);
    }

    proptest! {
        #[test]
        fn flows_are_read_as_the_library_reads_them(
            session in any::<(u32, u32, u32)>(),
            (next, handle, count, credit, available) in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
            (drain, echo) in any::<(bool, bool)>(),
        ) {
            let flow = Flow {
                next_incoming_id: next,
                incoming_window: session.0,
                next_outgoing_id: session.1,
                outgoing_window: session.2,
                handle: handle.map(Handle),
                delivery_count: count,
                link_credit: credit,
                available,
                drain,
                echo,
                properties: None,
            };
            agree(&flow, put_flow);
        }

        #[test]
        fn transfers_are_read_as_the_library_reads_them(
            (handle, id, format) in any::<(u32, Option<u32>, Option<u32>)>(),
            tag in option::of(vec(any::<u8>(), 0..32)),
            settled in any::<Option<bool>>(),
            (more, resume, aborted, batchable) in any::<(bool, bool, bool, bool)>(),
        ) {
            let transfer = Transfer {
                handle: Handle(handle),
                delivery_id: id,
                delivery_tag: tag.map(DeliveryTag::from),
                message_format: format,
                settled,
                more,
                rcv_settle_mode: None,
                state: None,
                resume,
                aborted,
                batchable,
            };
            agree(&transfer, put_transfer);
        }

        #[test]
        fn dispositions_are_read_as_the_library_reads_them(
            (first, last) in any::<(u32, Option<u32>)>(),
            (receives, settled, batchable) in any::<(bool, bool, bool)>(),
            state in 0..3,
        ) {
            let role = if receives { Role::Receiver } else { Role::Sender };
            let state = match state {
                0 => None,
                1 => Some(DeliveryState::Accepted(Accepted {})),
                _ => Some(DeliveryState::Released(Released {})),
            };
            agree(&Disposition { role, first, last, settled, state, batchable }, put_disposition);
        }

        #[test]
        fn detaches_are_read_as_the_library_reads_them(handle in any::<u32>(), closed in any::<bool>()) {
            let detach = Detach { handle: Handle(handle), closed, error: None };
            agree(&detach, |into, detach| into.extend(encode(detach)));
        }

        #[test]
        fn any_bytes_are_read_or_left(bytes in vec(any::<u8>(), 0..60), code in 0x10_u8..0x19) {
            let mut performative = vec![0, 0x53, code];
            performative.extend(bytes);
            if let Some(ours) = read(&performative)
                && crate::nesting::is_shallow(&performative)
                && let Ok(theirs) = serde_amqp::from_slice::<Performative>(&performative)
            {
                prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
            }
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_library() {
        let disposition = |state| Disposition {
            role: Role::Receiver,
            first: 1,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        let rejected = DeliveryState::Rejected(Rejected { error: None });
        let modified = DeliveryState::Modified(Modified {
            delivery_failed: Some(true),
            undeliverable_here: None,
            message_annotations: None,
        });
        for state in [rejected, modified] {
            let bytes = encode(&disposition(state.clone()));
            assert!(read(&bytes).is_none());
            let mut written = Vec::new();
            put_disposition(&mut written, &disposition(state));
            assert_eq!(
                format!("{:?}", library(&written)),
                format!("{:?}", library(&bytes))
            );
        }
        for bytes in [
            b"".as_slice(),
            b"\x40",
            b"\x00\x53\x14\x45",
            b"\x00\x53\x14\xc0\x03\x02\x43",
            b"\x00\xa3\x12amqp:transfer:list\xc0\x02\x01\x43",
        ] {
            assert!(read(bytes).is_none(), "{bytes:02x?}");
        }
    }
}
