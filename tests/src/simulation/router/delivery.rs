//! A message in a simulated router's hand.

use std::rc::Rc;

use protocol::router::Delivery;
use schemas::codec::DecodeError;
use schemas::{DeadLetter, Job, JobId, subjects};

use crate::simulation::broker::Payload;
use crate::simulation::task;
use crate::simulation::worker::ports::unreadable;

/// A job or a failed attempt. What it holds is not encoded: encoding is not simulated.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDelivery {
    pub(crate) job: u32,
    subject: String,
    payload: Payload,
    sequence: u64,
    published_ms: i64,
    deliveries: i64,
    named: bool,
    has_more_behind: bool,
}

impl SimulatedDelivery {
    pub(crate) fn of(delivery: &task::Delivery, has_more_behind: bool) -> Self {
        let subject = match &delivery.payload {
            Payload::Job(job) => subjects::jobs(job.lane, &job.tenant),
            Payload::Dead(letter) => subjects::dead(&letter.assignment.backend, letter.assignment.job.id),
            Payload::Unreadable(subject) => subject.clone(),
            Payload::Work(_) | Payload::Event(_) => unreachable!("routers pull jobs and failed attempts"),
        };
        Self {
            job: delivery.job,
            subject,
            payload: delivery.payload.clone(),
            sequence: delivery.sequence,
            published_ms: delivery.published_ms,
            deliveries: i64::from(delivery.delivered),
            named: delivery.named,
            has_more_behind,
        }
    }

    fn held_job(&self) -> &Rc<Job> {
        let Payload::Job(job) = &self.payload else { unreachable!("it is a job") };
        job
    }
}

impl Delivery for SimulatedDelivery {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn content_type(&self) -> Option<&str> {
        None
    }

    fn payload(&self) -> &[u8] {
        &[]
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn published_at_ms(&self) -> i64 {
        self.published_ms
    }

    fn deliveries(&self) -> i64 {
        self.deliveries
    }

    fn named(&self) -> Option<JobId> {
        self.named.then(|| self.held_job().id)
    }

    fn has_more_behind(&self) -> bool {
        self.has_more_behind
    }

    fn job(&self) -> Result<Job, DecodeError> {
        Ok(Job::clone(self.held_job()))
    }

    fn failed_attempt(&self) -> Result<DeadLetter, DecodeError> {
        match &self.payload {
            Payload::Dead(letter) => Ok(DeadLetter::clone(letter)),
            _ => Err(unreadable()),
        }
    }
}
