//! How a simulated process publishes: again and again until the broker answers, and what mutations do around it.

use std::rc::Rc;

use protocol::PublishError;
use protocol::ports::PUBLISH_AGAIN_MAX;
use schemas::{Event, Fact, JobState};

use super::{SimulatedPorts, number};
use crate::simulation::broker::{self, DEAD, LANES, LEDGER, Message, Named, Payload};
use crate::simulation::mutation::Mutation;
use crate::simulation::router::ports::purge;

/// An event as a message. With a mutation, ends are published wherever another end may be.
pub(super) fn event_message(mutation: Mutation, event: &Event, after: Option<u64>) -> Message {
    let twice = mutation == Mutation::SettleTwice && event.state().is_some_and(JobState::is_terminal);
    let expected = match event.fact {
        Fact::Ended { .. } => Some(0),
        Fact::Assigned { .. } if event.attempt == 1 => Some(0),
        _ => after,
    };
    let dropped = mutation == Mutation::DropTheMessageId && !event.state().is_some_and(JobState::is_terminal);
    let expected = expected.filter(|_| !twice && !dropped);
    // As the real one: a message with an expectation has no id.
    let id = (!twice && expected.is_none()).then(|| (event.attempt, Named::Event(event.fact.kind())));
    Message {
        consumer: LEDGER,
        job: number(event.job),
        id,
        payload: Payload::Event(Rc::new(event.clone())),
        expected,
    }
}

impl SimulatedPorts {
    /// A message that lies in the broker, once more.
    pub(super) fn copy_of(&self, sequence: u64) -> Option<Message> {
        self.world(|world| {
            let stored = world.broker.messages.get(&sequence)?;
            let again = u32::try_from(sequence).unwrap_or(u32::MAX);
            Some(Message {
                consumer: stored.consumer,
                job: stored.job,
                payload: stored.payload.clone(),
                id: Some((again, Named::Copy)),
                expected: None,
            })
        })
    }

    pub(super) async fn publish_patiently(
        &self,
        message: &Message,
    ) -> Result<broker::Published, PublishError> {
        let mut tries = 0;
        loop {
            let published = self.world(|world| world.publish(self.process, message));
            if let Ok(published) = published {
                self.moment().await;
                let is_stored = published == broker::Published::Occupied
                    && tries > 0
                    && self.world(|world| world.broker.holds(message));
                return Ok(if is_stored { broker::Published::Repeat } else { published });
            }
            tries += 1;
            if tries > PUBLISH_AGAIN_MAX {
                return Err(PublishError::Away { subject: String::new(), source: "away".into() });
            }
            self.pause((100 << tries).min(2_000)).await;
        }
    }

    /// What a mutation does before a message is published.
    pub(super) async fn before_publish(&self, message: &Message) {
        if self.mutation() == Mutation::AcknowledgeFirst
            && let Some(in_hand) = self.in_hand
        {
            let ends = match &message.payload {
                Payload::Event(event) => event.state().is_some_and(JobState::is_terminal),
                payload => matches!(payload, Payload::Dead(_)),
            };
            if ends {
                self.world(|world| world.acknowledge(self.process, in_hand.sequence, true));
                self.moment().await;
            }
        }
        if self.mutation() == Mutation::AcknowledgeTheJobFirst && matches!(message.payload, Payload::Work(_))
        {
            let _ = self.call(|world| world.acknowledge_of(self.process, message.job, LANES..DEAD)).await;
        }
        let follows = |event: &Event| matches!(event.fact, Fact::Retrying { .. });
        if self.mutation() == Mutation::AcknowledgeTheFailureFirst
            && matches!(&message.payload, Payload::Event(event) if follows(event))
        {
            let _ = self.call(|world| world.acknowledge_of(self.process, message.job, DEAD..LEDGER)).await;
        }
        let Payload::Event(event) = &message.payload else { return };
        if self.mutation() == Mutation::PurgeFirst && event.state() == Some(JobState::Cancelled) {
            let _ = self.call(|world| purge(world, message.job)).await;
        }
    }

    /// What a mutation does after a message was published.
    pub(super) async fn after_publish(&self, message: &Message) {
        if !matches!(message.payload, Payload::Work(_)) {
            return;
        }
        let late = self.late.borrow_mut().take();
        if let Some(reservation) = late {
            let _ = self.ask_ledger(reservation).await;
        }
    }
}
