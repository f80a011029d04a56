//! Follows a bucket: each entry as it is put or removed, through whatever happens to the connection.

use async_nats::jetstream::kv;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::exit::Fault;
use crate::telemetry;
use crate::trouble::Trouble;

/// Gives every entry to `take`, what is there first and then each change, until stopped. After trouble it begins anew, so
/// an entry may come twice.
///
/// # Errors
/// Never while the broker lives or comes back.
pub async fn follow(
    store: kv::Store,
    doing: &'static str,
    stop: CancellationToken,
    mut take: impl FnMut(&kv::Entry),
) -> Result<(), Fault> {
    let mut trouble = Trouble::new(doing);
    while !stop.is_cancelled() {
        let wait = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            reason = follow_once(&store, &mut take) => trouble.failed(&reason),
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

async fn follow_once(store: &kv::Store, take: &mut impl FnMut(&kv::Entry)) -> String {
    let mut entries = match store.watch_with_history(">").await {
        Ok(entries) => entries,
        Err(error) => return telemetry::chain(&error),
    };
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => take(&entry),
            Err(error) => return telemetry::chain(&error),
        }
    }
    "the watch closed".to_owned()
}
