//! The ledger makes room in the simulated stream of events, by the shipped steps.

use std::rc::Rc;

use policy::retention::{Limits, Log};
use protocol::make_room::{LogPorts, StoredFact, make_room};
use protocol::{PortError, PublishError, StoredMessage};
use schemas::{Event, JobId, Tenant, codec, subjects};

use super::broker::{LEDGER, Message, Named, Payload, Published};
use super::executor::Steps;
use super::mutation::Mutation;
use super::ports::{SimulatedPorts, number};
use super::process::Role;
use super::task::Task;
use super::world::{Away, Reach, World};

/// Everything that is booked leaves, but for what is younger than the longest time for which a process is stopped.
const LIMITS: Limits = Limits { full_percent: 0, age_ms: u64::MAX, young_ms: 300_000 };

impl World {
    /// A ledger that can be reached makes room.
    pub(crate) fn make_room(&mut self) {
        let now_ms = self.now_ms;
        let mut processes = self.processes.iter();
        let found =
            processes.position(|process| process.role == Role::Ledger && process.is_reachable(now_ms));
        let Some(process) = found else { return };
        let ports = self.router_ports(process, None);
        let steps = Steps::new(async move {
            let made = make_room(&ports, &LIMITS).await;
            if let Ok(Some(made)) = made {
                ports.world(|world| {
                    world.figures.facts_removed += made.removed as u64;
                    world.figures.markers += made.markers as u64;
                });
            }
        });
        self.begin(process, Task::Router(steps));
    }

    /// Stores a fact once more. It is nothing new, so the invariants do not see it.
    fn store_again(&mut self, process: usize, message: &Message) -> Result<Published, Away> {
        let reach = self.reach(process);
        if reach == Reach::Nowhere {
            return Err(Away);
        }
        let published = self.broker.publish(message, self.now_ms);
        self.changed_ms = self.now_ms;
        if published == Published::New {
            self.figures.facts_kept += 1;
            self.dispatch(LEDGER);
        }
        if reach == Reach::Unanswered { Err(Away) } else { Ok(published) }
    }
}

impl SimulatedPorts {
    async fn keep_fact(
        &self,
        event: &Event,
        id: Option<u64>,
        expected: Option<u64>,
    ) -> Result<(), PublishError> {
        let message = Message {
            consumer: LEDGER,
            job: number(event.job),
            payload: Payload::Event(Rc::new(event.clone())),
            id: id.map(|sequence| (u32::try_from(sequence).unwrap_or(u32::MAX), Named::Copy)),
            expected,
        };
        let published = self.world(|world| world.store_again(self.process, &message));
        self.moment().await;
        match published {
            Ok(Published::Occupied) => Err(PublishError::Occupied { subject: String::new() }),
            Ok(_) => Ok(()),
            Err(Away) => Err(PublishError::Away { subject: String::new(), source: "away".into() }),
        }
    }
}

impl LogPorts for SimulatedPorts {
    fn now_ms(&self) -> i64 {
        self.world(|world| world.now_ms)
    }

    async fn log(&self) -> Result<Option<Log>, PortError> {
        self.call(|world| {
            let (first_sequence, (_, _, first_at_ms)) = world.broker.facts.first_key_value()?;
            Some(Log {
                first_sequence: *first_sequence,
                first_at_ms: *first_at_ms,
                booked_up_to: world.broker.acknowledged_up_to(LEDGER),
                bytes: u64::MAX / 2,
                limit_bytes: Some(1),
            })
        })
        .await
    }

    async fn first_facts(&self, up_to: u64, most: usize) -> Result<Vec<StoredFact>, PortError> {
        self.call(|world| {
            let first = world.broker.facts.range(..=up_to).take(most);
            let facts = first.map(|(sequence, (_, event, at_ms))| StoredFact {
                at_ms: *at_ms,
                message: StoredMessage {
                    subject: subjects::event(&event.tenant, event.job, event.fact.kind()),
                    content_type: None,
                    payload: codec::encode(&**event),
                    sequence: *sequence,
                },
            });
            facts.collect()
        })
        .await
    }

    async fn last_of(
        &self,
        _tenant: &Tenant,
        job: JobId,
        kind: &'static str,
    ) -> Result<Option<u64>, PortError> {
        self.call(|world| Some(world.broker.last_of(number(job), kind)).filter(|sequence| *sequence > 0))
            .await
    }

    async fn oldest_open_ms(&self) -> Result<i64, PortError> {
        self.call(|world| {
            let open = world.broker.messages.values().filter(|stored| stored.consumer != LEDGER);
            open.map(|stored| stored.published_ms).min().unwrap_or(world.now_ms)
        })
        .await
    }

    async fn store_marker(&self, marker: &Event, after: u64) -> Result<(), PublishError> {
        if self.mutation() == Mutation::SkipTheMarker {
            return Ok(());
        }
        self.keep_fact(marker, None, Some(after)).await
    }

    async fn store_again(&self, message: &StoredMessage, is_last: bool) -> Result<(), PublishError> {
        let event: Event = codec::decode(None, &message.payload).expect("our own");
        let expected = is_last.then_some(message.sequence);
        self.keep_fact(&event, expected.is_none().then_some(message.sequence), expected).await
    }

    async fn remove_up_to(&self, sequence: u64) -> Result<(), PortError> {
        self.call(|world| world.broker.purge_facts(sequence)).await
    }
}
