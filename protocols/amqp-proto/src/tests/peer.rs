//! The scripted peer: it sends what a test specifies, and records what it receives.

use fe2o3_amqp_types::{
    definitions::{Error, ErrorCondition, Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{DeliveryState, Source, Target, TargetArchetype},
    performatives::{
        Attach, Begin, Close, Detach, Disposition, Flow, Open, Performative, Transfer,
    },
    primitives::Symbol,
};

use crate::frame::{self, AMQP_HEADER, Frame, SASL_HEADER};

#[derive(Default)]
pub(crate) struct Peer {
    /// What the client has not heard yet.
    pub(super) said: Vec<u8>,
    /// The frames heard; the headers are left out.
    pub(super) heard: Vec<Frame>,
    /// The last attach heard.
    attach: Option<Attach>,
    /// Whether SASL frames are to be expected.
    sasl: bool,
    pub(super) sasl_frames: Vec<Vec<u8>>,
    pub(super) next_incoming_id: u32,
}

impl Peer {
    pub(super) fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Some(rest) = bytes.strip_prefix(&SASL_HEADER) {
                (self.sasl, bytes) = (true, rest);
                continue;
            }
            if let Some(rest) = bytes.strip_prefix(&AMQP_HEADER) {
                (self.sasl, bytes) = (false, rest);
                continue;
            }
            let size = frame::size(*bytes.first_chunk().unwrap(), u32::MAX).unwrap();
            let (whole, rest) = bytes.split_at(size);
            bytes = rest;
            if self.sasl {
                self.sasl_frames
                    .push(frame::sasl_body(whole).unwrap().to_vec());
                continue;
            }
            let frame = Frame::decode(whole).unwrap();
            match &frame.performative {
                Some(Performative::Attach(attach)) => self.attach = Some(attach.clone()),
                Some(Performative::Transfer(_)) => self.next_incoming_id += 1,
                _ => {}
            }
            self.heard.push(frame);
        }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
    }

    pub(super) fn perform(&mut self, performative: impl serde::Serialize) {
        frame::write(&mut self.said, 0, &performative);
    }

    pub(super) fn open(&mut self, max_frame_size: u32, idle_time_out: Option<u32>) {
        self.perform(Open {
            container_id: "peer".to_owned(),
            hostname: None,
            max_frame_size: max_frame_size.into(),
            channel_max: 0.into(),
            idle_time_out,
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        });
    }

    pub(super) fn begin(&mut self, incoming_window: u32) {
        self.perform(Begin {
            remote_channel: Some(0),
            next_outgoing_id: 0,
            incoming_window,
            outgoing_window: 1000,
            handle_max: Handle(u32::MAX),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        });
    }

    /// Answers the last attach heard, by this handle.
    pub(super) fn answer_attach(&mut self, handle: u32) {
        let attach = self.answer(handle);
        self.perform(attach);
    }

    /// What would answer the last attach heard.
    pub(super) fn answer(&self, handle: u32) -> Attach {
        let attach = self.attach.clone().unwrap();
        let sends = attach.role == Role::Receiver;
        Attach {
            handle: Handle(handle),
            role: if sends { Role::Sender } else { Role::Receiver },
            initial_delivery_count: sends.then_some(0),
            ..attach
        }
    }

    /// An attach of the peer's own.
    pub(super) fn attach(&mut self, name: &str, handle: u32) {
        self.perform(Attach {
            name: name.to_owned(),
            handle: Handle(handle),
            role: Role::Sender,
            snd_settle_mode: SenderSettleMode::Mixed,
            rcv_settle_mode: ReceiverSettleMode::First,
            source: Some(Box::new(Source::default())),
            target: Some(Box::new(TargetArchetype::Target(Target::default()))),
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: Some(0),
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        });
    }

    pub(super) fn flow(&self) -> Flow {
        Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: 1000,
            next_outgoing_id: 0,
            outgoing_window: 1000,
            handle: None,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
            properties: None,
        }
    }

    /// Credit, counted from the first message on.
    pub(super) fn give_credit(&mut self, handle: u32, credit: u32) {
        let flow = Flow {
            handle: Some(Handle(handle)),
            delivery_count: Some(0),
            link_credit: Some(credit),
            ..self.flow()
        };
        self.perform(flow);
    }

    pub(super) fn dispose(
        &mut self,
        first: u32,
        last: u32,
        settled: bool,
        state: Option<DeliveryState>,
    ) {
        self.perform(Disposition {
            role: Role::Receiver,
            first,
            last: (last != first).then_some(last),
            settled,
            state,
            batchable: false,
        });
    }

    pub(super) fn transfer(number: u32) -> Transfer {
        Transfer {
            handle: Handle(0),
            delivery_id: Some(number),
            delivery_tag: Some(number.to_be_bytes().to_vec().into()),
            message_format: Some(0),
            settled: None,
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        }
    }

    pub(super) fn send(&mut self, transfer: &Transfer, part: &[u8]) {
        frame::write_transfer(&mut self.said, 0, transfer, part);
    }

    pub(super) fn detach(&mut self, handle: u32, condition: Option<&str>) {
        self.perform(Detach {
            handle: Handle(handle),
            closed: true,
            error: condition.map(error),
        });
    }

    pub(super) fn close(&mut self, condition: Option<&str>) {
        self.perform(Close {
            error: condition.map(error),
        });
    }
}

pub(super) fn error(condition: &str) -> Error {
    let condition = ErrorCondition::Custom(Symbol::from(condition));
    Error::new(condition, "because".to_owned(), None)
}
