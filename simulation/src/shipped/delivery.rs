//! A message in a simulated router's hand. What it holds is not encoded.

use std::rc::Rc;
use std::sync::Arc;

use protocol::router::Delivery;
use schemas::codec::DecodeError;
use schemas::{DeadLetter, Job, JobId};

/// What a message holds.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Job(Arc<Job>),
    Failed(Rc<DeadLetter>),
}

/// A job or a failed attempt.
#[derive(Debug, Clone)]
pub(crate) struct SimDelivery {
    pub(crate) payload: Payload,
    pub(crate) subject: Rc<str>,
    pub(crate) sequence: u64,
    pub(crate) published_ms: i64,
    pub(crate) deliveries: i64,
    pub(crate) has_more_behind: bool,
}

impl Delivery for SimDelivery {
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
        match &self.payload {
            Payload::Job(job) => Some(job.id),
            Payload::Failed(_) => None,
        }
    }

    fn has_more_behind(&self) -> bool {
        self.has_more_behind
    }

    fn job(&self) -> Result<Job, DecodeError> {
        let Payload::Job(job) = &self.payload else { unreachable!("lanes hold jobs") };
        Ok(Job::clone(job))
    }

    fn failed_attempt(&self) -> Result<DeadLetter, DecodeError> {
        let Payload::Failed(letter) = &self.payload else {
            unreachable!("failed attempts have a stream of their own")
        };
        Ok(DeadLetter::clone(letter))
    }
}
