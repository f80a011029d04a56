//! What most jobs are: placed by one look at the fleet, for free. Such a job is read, decided on and written down
//! before anything is awaited; what then stays in memory are the messages that place it, and its own as it came.

use policy::admit::{admit, admit_tenant, check_age, check_unknown};
use policy::plan::Plan;
use schemas::Failure;
use schemas::codec::{self, CONTENT_TYPE};

use super::address::{check_address, sniff_id};
use super::arrived::Arrived;
use super::refuse::Refusal;
use crate::router::first_to_go::FirstToGo;
use crate::router::job::AdmittedJob;
use crate::router::place::{self, Prepared};
use crate::router::ports::{Delivery, RouterPorts};

/// What is not placed by one look.
pub(super) enum Begun {
    /// The router stops.
    Nothing,
    /// It is no job, or no good one.
    Refused(Box<Refusal>),
    /// It is to be looked at more closely, or to wait, or to be paid for; with its plan if one was made.
    Admitted(Box<(AdmittedJob, Option<Plan>)>),
}

/// Takes a job as far as it goes without awaiting anything.
pub(super) fn begin<P: RouterPorts>(
    ports: &P,
    arrived: &Arrived<P::Delivery>,
) -> Result<Prepared<P::Message>, Begun> {
    if ports.is_stopping() {
        return Err(Begun::Nothing);
    }
    let admitted = match read(ports, arrived) {
        Ok(admitted) => admitted,
        Err(refusal) => return Err(Begun::Refused(refusal)),
    };
    let id = admitted.job.id;
    // A job that waits already comes first.
    let at_once = !arrived.may_have_tracks(id)
        && admitted.job.idempotency_key.is_none()
        && policy::admit::results(&admitted.job).next().is_none()
        && ports.room().is_empty_everywhere(ports.now_ms())
        && admitted.is_over(ports.is_cancelled(&admitted.job.tenant, id), ports.now_ms()).is_none();
    if !at_once {
        return Err(Begun::Admitted(Box::new((admitted, None))));
    }
    match place::decide_first(ports, &admitted.first_attempt()) {
        Plan::Assign(assign) if assign.reserve_micro_usd.0 == 0 => {
            let alone = arrived.is_first(id, ports.now_ms()) && !ports.is_short_of_room_for_events();
            Ok(place::prepare_first(ports, admitted, *assign, alone))
        }
        plan => Err(Begun::Admitted(Box::new((admitted, Some(plan))))),
    }
}

/// Decodes and admits a job.
pub(super) fn read<P: RouterPorts>(
    ports: &P,
    arrived: &Arrived<P::Delivery>,
) -> Result<AdmittedJob, Box<Refusal>> {
    let message = &arrived.message;
    let submitted_at_ms = message.published_at_ms();
    let schemas = ports.schemas();
    let job = message.job().map_err(|error| {
        let (header, payload) = (message.content_type(), message.payload());
        if let Some(failure) = schemas.check_job(header, payload) {
            return Box::new(Refusal { facts: None, id: sniff_id(header, payload), failure });
        }
        let field = match &error {
            codec::DecodeError::Malformed { field, .. } => field.clone(),
            codec::DecodeError::ContentType(_) => CONTENT_TYPE.to_owned(),
        };
        let failure = Failure::invalid(&field, format!("the job cannot be read: {error}"));
        Box::new(Refusal { facts: None, id: sniff_id(header, payload), failure })
    })?;
    if let Some(failure) = schemas.check(job.schema_version.into()) {
        return Err(Box::new(Refusal::of(&job, submitted_at_ms, failure)));
    }
    let config = ports.config();
    let address = check_address(message.subject(), &job).and_then(|()| check_unknown(&job));
    let address = address.and_then(|()| check_age(&job, submitted_at_ms));
    let admitted = match address.and_then(|()| admit_tenant(&job.tenant, &config.tenants)) {
        Err(failure) => Err(failure),
        // As of the time it was submitted: a deadline that passes while it waits is no fault of the job's.
        Ok(()) => admit(&job, &config.catalog, &config.policy, message.payload().len(), submitted_at_ms),
    };
    match admitted {
        Ok(admitted) => Ok(AdmittedJob { job, admitted, submitted_at_ms, inputs: FirstToGo::default() }),
        Err(failure) => Err(Box::new(Refusal::of(&job, submitted_at_ms, failure))),
    }
}
