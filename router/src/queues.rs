//! Which queues there are: those of the catalog's services, those that workers read, and those in which work was left.

use std::collections::BTreeSet;

use async_nats::jetstream::consumer::Info;
use protocol::Ports as _;
use protocol::router::RouterPorts as _;
use runtime::clock;
use schemas::topology::stream;
use schemas::{Backend, Queue, subjects};

use crate::shared::Router;
use crate::streams;

/// The queues in which work may wait, each once.
pub(crate) fn all(router: &Router) -> BTreeSet<(Backend, Queue)> {
    let catalog = router.config().catalog;
    let of_services = catalog
        .services
        .iter()
        .map(|service| (service.backend.clone(), Queue::of_class(service.class.clone())));
    router.with_fleet(|fleet| {
        let known = fleet.backends.iter().flat_map(|(backend, view)| {
            view.queues().into_iter().map(|queue| (backend.clone(), queue)).collect::<Vec<_>>()
        });
        of_services.chain(known).collect()
    })
}

/// A queue is not removed before this, milliseconds: its first worker has announced itself by then.
const KEPT_MS: i64 = 10 * 60 * 1_000;

/// Lists the queues: finds those in which work was left, and removes the consumers of empty ones
/// without a reader. A server that comes back with what it had has its consumer made anew.
pub(crate) async fn look(router: &Router) {
    let consumers = match streams::all_consumers(router, stream::WORK).await {
        Ok(consumers) => consumers,
        Err(error) => {
            tracing::debug!(%error, "listing the queues");
            return;
        }
    };
    for info in consumers {
        let Some((backend, queue)) = subjects::work_filter_parts(&info.config.filter_subject) else {
            continue;
        };
        let jobs = info.num_pending + info.num_ack_pending as u64;
        let is_known = router
            .with_fleet(|fleet| fleet.view(&backend).is_some_and(|view| view.queues().contains(&queue)));
        if is_known || queue.capability.is_none() {
            continue;
        }
        if jobs > 0 {
            router.change_fleet(|fleet| fleet.set_backlog(&backend, queue, jobs));
        } else if is_old(&info)
            && let Err(error) = streams::remove_consumer(router, stream::WORK, &info.name).await
        {
            tracing::debug!(%error, consumer = info.name, "removing a queue without a reader");
        }
    }
}

fn is_old(info: &Info) -> bool {
    clock::now_ms() - clock::ms_of_ns(info.created.unix_timestamp_nanos()) >= KEPT_MS
}
