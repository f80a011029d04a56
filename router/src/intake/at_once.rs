//! What most jobs are: placed by one look at the fleet, for free. Such a job is read, decided on and written down
//! before anybody is waited for; what then stays in memory are the messages that place it, and its own as it came.

use policy::admit::{admit, admit_tenant, check_unknown};
use policy::plan::Plan;
use runtime::clock;
use schemas::codec::{self, CONTENT_TYPE};
use schemas::{Failure, Job};

use super::arrived::Arrived;
use super::taken::{Taken, same_address, sniff_id};
use super::{Intake, Refused, Verdict};
use crate::place::{self, PlaceError, Written};

/// What is not placed by one look.
pub(super) enum Begun {
    /// The router stops.
    Nothing,
    /// It is no job, or no good one.
    Refused(Box<Refused>),
    /// It is to be looked at more closely, or to wait, or to be paid for; with its plan if one was made.
    Taken(Box<(Taken, Option<Plan>)>),
}

impl Intake {
    /// Takes a job as far as it goes without waiting for anybody.
    pub(super) fn begin(&self, arrived: &Arrived) -> Result<Written, Begun> {
        let router = &self.router;
        if router.soft.is_cancelled() {
            return Err(Begun::Nothing);
        }
        let taken = match self.read(arrived) {
            Ok(taken) => taken,
            Err(refused) => return Err(Begun::Refused(refused)),
        };
        // Whoever waits already comes first.
        let at_once = !arrived.may_have_tracks(taken.job.id)
            && taken.job.idempotency_key.is_none()
            && policy::admit::results(&taken.job).next().is_none()
            && router.room.is_empty()
            && taken.is_over(router).is_none();
        if !at_once {
            return Err(Begun::Taken(Box::new((taken, None))));
        }
        match place::decide(router, &taken.placing(), &[]) {
            Plan::Assign(assign) if assign.reserve_micro_usd.0 == 0 => {
                let alone =
                    arrived.is_first(taken.job.id, clock::now_ms()) && !router.is_short_of_room_for_facts();
                Ok(place::write_first(taken, *assign, alone))
            }
            plan => Err(Begun::Taken(Box::new((taken, Some(plan))))),
        }
    }

    pub(super) async fn store(&self, arrived: Arrived, written: Written) {
        let verdict = match written.store(&self.router).await {
            Ok(Some(placed)) => Ok(Verdict::of(&placed)),
            Ok(None) => Box::pin(self.placed_before(&arrived)).await,
            Err(error) => Err(error),
        };
        self.say(&arrived, verdict).await;
    }

    async fn placed_before(&self, arrived: &Arrived) -> Result<Verdict, PlaceError> {
        let taken = match self.read(arrived) {
            Ok(taken) => taken,
            Err(refused) => return self.refuse(arrived, *refused).await,
        };
        place::placed_before(&self.router, &taken.placing()).await.map(|placed| Verdict::of(&placed))
    }

    /// Decodes and admits a job.
    fn read(&self, arrived: &Arrived) -> Result<Taken, Box<Refused>> {
        let (header, payload) = (arrived.content_type.as_deref(), &arrived.payload);
        let submitted_at_ms = arrived.submitted_at_ms;
        let schemas = &self.router.schemas;
        let job: Job = codec::decode(header, payload).map_err(|error| {
            if let Some(failure) = schemas.check_job(header, payload) {
                return Box::new(Refused { job: None, id: sniff_id(header, payload), failure });
            }
            let field = match &error {
                codec::DecodeError::Malformed { field, .. } => field.clone(),
                codec::DecodeError::ContentType(_) => CONTENT_TYPE.to_owned(),
            };
            let failure = Failure::invalid(&field, format!("the job cannot be read: {error}"));
            Box::new(Refused { job: None, id: sniff_id(header, payload), failure })
        })?;
        if let Some(failure) = schemas.check(job.schema_version.into()) {
            return Err(Box::new(Refused { id: Some(job.id), job: Some(job), failure }));
        }
        let config = self.router.config();
        let address = same_address(&arrived.subject, &job).and_then(|()| check_unknown(&job));
        let admitted = match address.and_then(|()| admit_tenant(&job.tenant, &config.tenants)) {
            Err(failure) => Err(failure),
            // As of the time it was submitted: a deadline that passes while it waits is no fault of the job's.
            Ok(()) => admit(&job, &config.catalog, &config.policy, payload.len(), submitted_at_ms),
        };
        match admitted {
            Ok(admitted) => Ok(Taken { job, admitted, submitted_at_ms }),
            Err(failure) => Err(Box::new(Refused { id: Some(job.id), job: Some(job), failure })),
        }
    }
}
