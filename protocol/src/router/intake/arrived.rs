//! A job's message as intake sees it: delivered by the lane's consumer, or read past it.

use schemas::JobId;
use schemas::topology::{self, stream};

use crate::ports::Answer;
use crate::router::parking::Original;
use crate::router::ports::{Delivery, RouterPorts};
use crate::router::read_past::Read;

/// How long after its id was made a job that is published is the first of that id: half the time for which the broker
/// remembers ids. The other half is for clocks that differ.
const FRESH_MS: i64 = topology::DUPLICATE_WINDOW_MS.cast_signed() / 2;

/// A job that is published longer than this after its id was made may be a repeat whose first the broker has forgotten:
/// one that was restarted knows only the ids of what it still has. Its tracks are looked for; what comes at once costs no
/// look-up, also from a client whose clock is wrong by as much as is tolerated.
const AT_ONCE_MS: i64 = policy::clocks::SKEW_MAX_MS.cast_signed();

/// How far in the future an id may seem to have been made.
const CLOCKS_DIFFER_MS: i64 = FRESH_MS / 2;

/// How long a job may have waited in its lane and still be the first of its id: one that was read past the consumer and
/// placed meanwhile may come again as if it were new, and the broker remembers the id of its assignment for this time.
const WAITED_MS: i64 = FRESH_MS + FRESH_MS / 2;

/// A message that was published this long ago may have been delivered to another router since.
const DELIVERED_AGAIN_MS: i64 = topology::INTAKE_ACK_WAIT_MS.cast_signed();

/// A message that holds a job.
pub struct Arrived<D> {
    pub(super) message: D,
    /// It was read past the consumer, which may deliver it as well.
    read: Option<Box<Read>>,
}

impl<D: Delivery> Arrived<D> {
    /// Delivered by the lane's consumer, which waits for its answer.
    #[must_use]
    pub const fn delivered(message: D) -> Self {
        Self { message, read: None }
    }

    /// The message.
    pub const fn message(&self) -> &D {
        &self.message
    }

    pub(super) fn read(message: D, read: Read) -> Self {
        Self { message, read: Some(Box::new(read)) }
    }

    /// It was read past the consumer.
    pub(super) const fn is_read(&self) -> bool {
        self.read.is_some()
    }

    /// Another router may have had it before.
    fn seen_before(&self) -> bool {
        self.is_read() || self.message.deliveries() > 1
    }

    /// Whether another router may have it, or have had it, by now.
    pub(super) fn may_be_anothers(&self, now_ms: i64) -> bool {
        self.seen_before() || now_ms - self.message.published_at_ms() >= DELIVERED_AGAIN_MS
    }

    /// Whether this is certainly the first that any router sees of a job: delivered once, and published so soon after
    /// its id was made, and under it, that the broker would have refused it as a repeat of an earlier publish.
    pub(super) fn is_first(&self, job: JobId, now_ms: i64) -> bool {
        let submitted_at_ms = self.message.published_at_ms();
        let age_ms = job.time_ms().map(|made_ms| submitted_at_ms - made_ms);
        !self.seen_before()
            && self.message.named() == Some(job)
            && now_ms - submitted_at_ms <= WAITED_MS
            && age_ms.is_some_and(|age_ms| (-CLOCKS_DIFFER_MS..=FRESH_MS).contains(&age_ms))
    }

    /// Whether a job may have left tracks without an `assigned` event. One whose id is no UUIDv7 never does: it is never
    /// certain to be the first. Nor does one that merely waited long in its lane: those that were read past the consumer
    /// are placed with their event. One that was not published at once may repeat what the broker has forgotten.
    pub(super) fn may_have_tracks(&self, job: JobId) -> bool {
        let submitted_at_ms = self.message.published_at_ms();
        let is_first = || self.is_first(job, submitted_at_ms);
        let Some(made_ms) = job.time_ms() else { return self.seen_before() };
        submitted_at_ms - made_ms > AT_ONCE_MS || !is_first()
    }

    /// Answers the broker. An answer that is lost ends in another delivery, and that finds the job's tracks
    /// ([`crate::router::place::recover`]).
    pub(super) async fn answer<P: RouterPorts<Delivery = D>>(&self, ports: &P, answer: Answer) {
        if !self.is_read() {
            return ports.answer(&self.message, answer).await;
        }
        // What is not placed stays where it is.
        if answer == Answer::Acknowledge
            && let Err(error) = ports.delete(stream::JOBS, self.message.sequence()).await
        {
            tracing::debug!(%error, "deleting what was placed; the consumer delivers it");
        }
    }

    pub(super) fn original(&self) -> Original {
        Original {
            subject: self.message.subject().to_owned(),
            content_type: self.message.content_type().map(str::to_owned),
            payload: self.message.payload().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Message {
        named: Option<JobId>,
        published_at_ms: i64,
        deliveries: i64,
    }

    impl Delivery for Message {
        fn subject(&self) -> &str {
            "argosy.jobs.standard.studio-a"
        }
        fn content_type(&self) -> Option<&str> {
            None
        }
        fn payload(&self) -> &[u8] {
            &[]
        }
        fn sequence(&self) -> u64 {
            1
        }
        fn published_at_ms(&self) -> i64 {
            self.published_at_ms
        }
        fn deliveries(&self) -> i64 {
            self.deliveries
        }
        fn named(&self) -> Option<JobId> {
            self.named
        }
        fn has_more_behind(&self) -> bool {
            false
        }
    }

    fn arrived(named: Option<JobId>, published_at_ms: i64, seen_before: bool) -> Arrived<Message> {
        let deliveries = if seen_before { 2 } else { 1 };
        Arrived::delivered(Message { named, published_at_ms, deliveries })
    }

    #[test]
    fn only_what_the_broker_would_have_known_as_a_repeat_is_the_first_of_its_id() {
        let made_ms = 1_795_428_000_000;
        let job = JobId::from_parts(made_ms, [7; 10]);
        let other = JobId::from_parts(made_ms, [8; 10]);
        let cases = [
            (arrived(Some(job), made_ms + 5, false), true),
            (arrived(Some(job), made_ms + AT_ONCE_MS, false), true),
            (arrived(Some(job), made_ms + AT_ONCE_MS + 1, false), true),
            (arrived(Some(job), made_ms + FRESH_MS, false), true),
            (arrived(Some(job), made_ms - CLOCKS_DIFFER_MS, false), true),
            // Published again after the broker may have forgotten it; by a clock that is far ahead.
            (arrived(Some(job), made_ms + FRESH_MS + 1, false), false),
            (arrived(Some(job), made_ms - CLOCKS_DIFFER_MS - 1, false), false),
            // Under another message id, or none, a repeat is not known.
            (arrived(Some(other), made_ms + 5, false), false),
            (arrived(None, made_ms + 5, false), false),
            (arrived(Some(job), made_ms + 5, true), false),
        ];
        for (case, (arrived, first)) in cases.iter().enumerate() {
            assert_eq!(arrived.is_first(job, arrived.message.published_at_ms + 5), *first, "case {case}");
            // What comes later than at once may repeat what the broker has forgotten since.
            let is_late = arrived.message.published_at_ms - made_ms > AT_ONCE_MS;
            assert_eq!(arrived.may_have_tracks(job), !first || is_late, "case {case}");
        }
    }

    #[test]
    fn what_waited_long_may_have_been_read_past_and_placed_with_its_event() {
        let made_ms = 1_795_428_000_000;
        let job = JobId::from_parts(made_ms, [7; 10]);
        let arrived = arrived(Some(job), made_ms + 5, false);
        let until_ms = arrived.message.published_at_ms + WAITED_MS;
        assert!(arrived.is_first(job, until_ms) && !arrived.is_first(job, until_ms + 1));
        assert!(!arrived.may_have_tracks(job));
    }

    #[test]
    fn what_was_published_an_answer_s_time_ago_may_be_in_another_router_s_hand() {
        let job = JobId::from_parts(1_795_428_000_000, [7; 10]);
        let may_be = |deliveries_before, after_ms| {
            let arrived = arrived(Some(job), 1_000, deliveries_before);
            arrived.may_be_anothers(1_000 + after_ms)
        };
        assert!(!may_be(false, 0) && !may_be(false, DELIVERED_AGAIN_MS - 1));
        assert!(may_be(false, DELIVERED_AGAIN_MS) && may_be(true, 0));
    }

    #[test]
    fn an_id_without_a_time_is_never_the_first_and_so_leaves_no_tracks_but_events() {
        let job = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("a UUID"));
        let (once, again) = (arrived(Some(job), 5, false), arrived(Some(job), 5, true));
        assert!(!once.is_first(job, 5) && !once.may_have_tracks(job));
        assert!(again.may_have_tracks(job));
    }
}
