//! Consumers as they should be, with what an operator set at them.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, FromConsumer as _, pull};
use schemas::topology::ConsumerSpec;

use super::limits::{Limit, Merge};

/// The client library's form of a consumer.
#[must_use]
pub fn consumer_config(spec: &ConsumerSpec) -> pull::Config {
    pull::Config {
        durable_name: Some(spec.name.clone()),
        filter_subject: spec.filter.clone(),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: Duration::from_millis(spec.ack_wait_ms),
        max_deliver: spec.max_deliver,
        max_ack_pending: spec.max_ack_pending,
        ..pull::Config::default()
    }
}

/// A consumer as it should be, with everything of it that is not ours as it is.
pub(super) fn merged_consumer(
    merge: &mut Merge<'_>,
    spec: &ConsumerSpec,
    have: &consumer::Config,
) -> pull::Config {
    let want = consumer_config(spec);
    // What is not ours stays as it is. A consumer of another kind is made ours.
    let kept = pull::Config::try_from_consumer_config(have.clone()).unwrap_or_else(|_| want.clone());
    merge.exact("filter", want.filter_subject.clone(), &mut have.filter_subject.clone());
    pull::Config {
        durable_name: want.durable_name,
        filter_subject: want.filter_subject,
        filter_subjects: want.filter_subjects,
        headers_only: want.headers_only,
        ack_policy: want.ack_policy,
        ack_wait: merge.time(Limit::AckWait, want.ack_wait, have.ack_wait),
        max_deliver: merge.limit(Limit::MaxDeliver, want.max_deliver, have.max_deliver),
        max_ack_pending: merge.limit(Limit::MaxAckPending, want.max_ack_pending, have.max_ack_pending),
        ..kept
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::consumer::IntoConsumerConfig as _;
    use schemas::topology::{Topology, stream};

    use super::*;

    #[test]
    fn what_an_operator_set_at_a_consumer_stays_when_a_field_of_ours_changes() {
        let specs = Topology::new(1).consumers;
        let spec = specs.iter().find(|spec| spec.stream == stream::JOBS).expect("a lane's");
        let of_operator = pull::Config {
            description: Some("mind the gap".to_owned()),
            max_waiting: 77,
            backoff: vec![Duration::from_secs(15), Duration::from_secs(60)],
            inactive_threshold: Duration::from_secs(86_400),
            metadata: [("owner".to_owned(), "ops".to_owned())].into(),
            num_replicas: 3,
            ..consumer_config(spec)
        };
        // Ours are wrong: raised ones stay, the others are brought back.
        let have = pull::Config {
            max_ack_pending: spec.max_ack_pending + 5,
            max_deliver: 1,
            filter_subject: "argosy.jobs.other.*".to_owned(),
            headers_only: true,
            ..of_operator.clone()
        };
        let mut merge = Merge::new(&[]);
        let merged = merged_consumer(&mut merge, spec, &have.into_consumer_config());
        let wanted = pull::Config { max_ack_pending: spec.max_ack_pending + 5, ..of_operator.clone() };
        assert_eq!(merged, wanted);
        assert!(!merge.changes.is_empty());
        // Where nothing of ours is wrong, nothing changes.
        let mut merge = Merge::new(&[]);
        assert_eq!(
            merged_consumer(&mut merge, spec, &of_operator.clone().into_consumer_config()),
            of_operator
        );
        assert!(merge.changes.is_empty(), "{:?}", merge.changes);
    }
}
