//! How a router asks a ledger for money.

use protocol::router::LedgerAway;
use protocol::router::rhythm::LEDGER_REPLY_LIMIT;
use schemas::reserve::{Grant, Reservation};

use crate::simulation::ports::{SimulatedPorts, number};
use crate::simulation::process::Role;
use crate::simulation::world::{Reach, World};

/// How long the ledger may take to answer, milliseconds.
const REPLY_LIMIT_MS: i64 = LEDGER_REPLY_LIMIT.as_millis() as i64;

impl SimulatedPorts {
    /// Asks a ledger for the attempt's money. One that is stopped answers no request.
    pub(crate) async fn ask_ledger(&self, reservation: Reservation) -> Result<Grant, LedgerAway> {
        let (reach, decided) = self.world(|world| {
            let reach = world.reach(self.process);
            let answered = reach != Reach::Nowhere && ledger_is_there(world);
            let job = number(reservation.job);
            let decided = answered.then(|| {
                let body = world.jobs[job as usize].clone().expect("it was submitted");
                let tenants = world.setting.tenants_for(&body, world.mutation);
                world.books.reserve(job, &reservation, &tenants)
            });
            (reach, decided)
        });
        match decided.filter(|_| reach == Reach::Through) {
            Some(Ok(())) => {
                self.moment().await;
                Ok(Grant { granted: true, refusal: None })
            }
            Some(Err(words)) => {
                self.world(|world| world.figures.refused_reservations += 1);
                self.moment().await;
                Ok(Grant { granted: false, refusal: Some(words) })
            }
            None => {
                self.world(|world| {
                    let now_ms = world.now_ms;
                    let router = &mut world.processes[self.process];
                    router.ledger_available = false;
                    router.ledger_asked_ms = now_ms + REPLY_LIMIT_MS;
                });
                self.pause(REPLY_LIMIT_MS).await;
                Err(LedgerAway)
            }
        }
    }
}

pub(super) fn ledger_is_there(world: &World) -> bool {
    let answers = world.now_ms >= world.books.away_until_ms;
    let there = |role, now_ms| {
        world.processes.iter().any(|process| process.role == role && process.is_reachable(now_ms))
    };
    answers && there(Role::Ledger, world.now_ms)
}
