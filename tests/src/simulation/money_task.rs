//! The ledger process's steps: store a batch of events, then acknowledge them.

use super::broker::Payload;
use super::task::{Delivery, Next};
use super::world::World;

/// A batch of events in a ledger's hand.
pub(crate) struct Booking {
    process: usize,
    batch: Vec<Delivery>,
    stored: bool,
}

impl Booking {
    pub(crate) const fn new(process: usize, batch: Vec<Delivery>) -> Self {
        Self { process, batch, stored: false }
    }

    pub(crate) fn step(&mut self, world: &mut World) -> Next {
        if self.stored {
            for delivery in &self.batch {
                world.acknowledge(self.process, delivery.sequence, false);
            }
            return Next::Done;
        }
        if world.now_ms < world.books.away_until_ms {
            return Next::After(500);
        }
        for delivery in &self.batch {
            if let Payload::Event(event) = &delivery.payload {
                world.books.ingest(delivery.job, event);
            }
        }
        self.stored = true;
        Next::After(world.moment() * 5)
    }
}
