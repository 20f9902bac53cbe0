//! The deliveries of ours that have no outcome yet: by the name we gave them, by their number on the wire, and by their age.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use crate::{DeliveryId, LinkId};

/// Deliveries without outcome.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    places: Vec<Place>,
    free: Vec<u32>,
    by_number: HashMap<u32, DeliveryId>,
    /// In the order in which they are overdue; settled ones may still be among them, but not at the front.
    deadlines: VecDeque<(Instant, DeliveryId)>,
}

#[derive(Debug)]
struct Place {
    serial: u32,
    delivery: Option<Delivery>,
}

/// One delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) link: LinkId,
    /// Its number on the wire (§2.8.6), once its first frame was written.
    pub(super) number: Option<u32>,
}

impl Deliveries {
    pub(super) fn len(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    pub(super) fn insert(&mut self, link: LinkId, deadline: Option<Instant>) -> Option<DeliveryId> {
        let delivery = Some(Delivery { link, number: None });
        let id = match self.free.pop() {
            Some(place) => {
                let found = self.places.get_mut(place as usize)?;
                found.delivery = delivery;
                found.serial = found.serial.wrapping_add(1);
                let serial = found.serial;
                DeliveryId { place, serial }
            }
            None => {
                let place = u32::try_from(self.places.len()).ok()?;
                self.places.push(Place {
                    serial: 0,
                    delivery,
                });
                DeliveryId { place, serial: 0 }
            }
        };
        if let Some(deadline) = deadline {
            self.deadlines.push_back((deadline, id));
        }
        Some(id)
    }

    pub(super) fn get(&self, id: DeliveryId) -> Option<&Delivery> {
        let place = self.places.get(id.place as usize)?;
        place
            .delivery
            .as_ref()
            .filter(|_| place.serial == id.serial)
    }

    /// Gives a delivery its number on the wire.
    pub(super) fn number(&mut self, id: DeliveryId, number: u32) {
        if let Some(place) = self.places.get_mut(id.place as usize)
            && let Some(delivery) = place
                .delivery
                .as_mut()
                .filter(|_| place.serial == id.serial)
        {
            delivery.number = Some(number);
            self.by_number.insert(number, id);
        }
    }

    pub(super) fn remove(&mut self, id: DeliveryId) -> Option<Delivery> {
        let place = self.places.get_mut(id.place as usize)?;
        let delivery = place.delivery.take_if(|_| place.serial == id.serial)?;
        self.free.push(id.place);
        if let Some(number) = delivery.number {
            self.by_number.remove(&number);
        }
        while let Some((_, oldest)) = self.deadlines.front() {
            if self.get(*oldest).is_some() {
                break;
            }
            self.deadlines.pop_front();
        }
        Some(delivery)
    }

    /// Those with numbers from `first` to `last`, in their order (RFC 1982 arithmetic).
    pub(super) fn range(&self, first: u32, last: u32) -> Vec<DeliveryId> {
        let span = last.wrapping_sub(first);
        if (span as usize) < self.by_number.len() {
            let numbers = (0..=span).map(|offset| first.wrapping_add(offset));
            return numbers
                .filter_map(|number| self.by_number.get(&number).copied())
                .collect();
        }
        let mut found: Vec<_> = self
            .by_number
            .iter()
            .map(|(number, id)| (number.wrapping_sub(first), *id))
            .filter(|(offset, _)| *offset <= span)
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Those of one link, in the order of their places.
    pub(super) fn of_link(&self, link: LinkId) -> Vec<DeliveryId> {
        let of_link = |(place, found): (u32, &Place)| {
            found
                .delivery
                .filter(|delivery| delivery.link == link)
                .map(|_| DeliveryId {
                    place,
                    serial: found.serial,
                })
        };
        (0..).zip(&self.places).filter_map(of_link).collect()
    }

    /// When the oldest is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// The oldest, if it is overdue.
    pub(super) fn overdue(&self, now: Instant) -> Option<DeliveryId> {
        self.deadlines
            .front()
            .filter(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
    }
}
