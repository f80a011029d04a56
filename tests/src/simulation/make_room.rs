//! The ledger makes room in the simulated stream of events, by the shipped steps.

use std::panic::Location;
use std::rc::Rc;

use policy::retention::{Limits, Log};
use protocol::make_room::{LogPorts, StoredFact, make_room};
use protocol::{PortError, PublishError, StoredMessage};
use schemas::{Event, Fact, JobId, Tenant, codec, subjects};

use super::Promise;
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
        let wanted = self.first_to_leave();
        let steps = Steps::new(async move {
            let Ok(made) = make_room(&ports, &LIMITS).await else { return };
            ports.world(|world| {
                let made = made.unwrap_or_default();
                world.figures.facts_removed += made.removed as u64;
                world.figures.markers += made.markers as u64;
                if wanted.is_some_and(|wanted| world.first_to_leave() == Some(wanted)) {
                    world.broken(
                        Promise::Bound,
                        "room is made for events, and a booked one that is old stays".to_owned(),
                    );
                }
            });
        });
        self.begin(process, Task::Router(steps, None));
    }

    /// The first fact in its stream, if it is booked and old enough to leave.
    fn first_to_leave(&self) -> Option<u64> {
        let (sequence, (_, _, at_ms)) = self.broker.facts.first_key_value()?;
        let is_old = self.now_ms - at_ms > LIMITS.young_ms.cast_signed();
        (is_old && *sequence <= self.broker.acknowledged_up_to(LEDGER)).then_some(*sequence)
    }

    /// Of a job that had ended before, nothing but the end is stored once more.
    fn watch_stored_again(&mut self, event: &Event, begun_ms: i64) {
        let job = number(event.job);
        if matches!(event.fact, Fact::Assigned { .. } | Fact::Retrying { .. })
            && self.had_ended(job, begun_ms)
        {
            self.broken(Promise::Bound, format!("job {job} has ended, and where it was is stored once more"));
        }
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

/// A call that a ledger makes for room: muted, it brings what nothing brings.
macro_rules! calls {
    ($(fn $name:ident(&$self:ident $(, $arg:ident: $type:ty)*) -> $output:ty { $call:expr })+) => {
        $(
            #[track_caller]
            fn $name(&$self $(, $arg: $type)*) -> impl Future<Output = $output> {
                let muted = $self.is_muted(Location::caller(), stringify!($name));
                async move { if muted { Ok(Default::default()) } else { $call.await } }
            }
        )+
    };
}

impl LogPorts for SimulatedPorts {
    fn now_ms(&self) -> i64 {
        self.world(|world| world.now_ms)
    }

    #[track_caller]
    fn oldest_open_ms(&self) -> impl Future<Output = Result<i64, PortError>> {
        let muted = self.is_muted(Location::caller(), "oldest_open_ms");
        self.call(move |world| {
            let open = world.broker.messages.values().filter(|stored| stored.consumer != LEDGER && !muted);
            open.map(|stored| stored.published_ms).min().unwrap_or(world.now_ms)
        })
    }

    calls! {
        fn log(&self) -> Result<Option<Log>, PortError> {
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
        }
        fn first_facts(&self, up_to: u64, most: usize) -> Result<Vec<StoredFact>, PortError> {
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
        }
        fn last_of(&self, _tenant: &Tenant, job: JobId, kind: &'static str) -> Result<Option<u64>, PortError> {
            self.call(|world| Some(world.broker.last_of(number(job), kind)).filter(|sequence| *sequence > 0))
        }
        fn store_marker(&self, marker: &Event, after: u64) -> Result<(), PublishError> {
            async move {
                if self.mutation() == Mutation::SkipTheMarker {
                    return Ok(());
                }
                self.keep_fact(marker, None, Some(after)).await
            }
        }
        fn store_again(&self, message: &StoredMessage, is_last: bool) -> Result<(), PublishError> {
            async move {
                let event: Event = codec::decode(None, &message.payload).expect("our own");
                self.world(|world| world.watch_stored_again(&event, self.begun_ms));
                let expected = is_last.then_some(message.sequence);
                self.keep_fact(&event, expected.is_none().then_some(message.sequence), expected).await
            }
        }
        fn remove_up_to(&self, sequence: u64) -> Result<(), PortError> {
            self.call(move |world| world.broker.purge_facts(sequence))
        }
    }
}
