//! Small waits.

use futures::{Stream, StreamExt};

/// The next of a stream, where there is one.
pub(crate) async fn next_of<S: Stream + Unpin>(stream: &mut Option<S>) -> Option<S::Item> {
    match stream {
        Some(stream) => stream.next().await,
        None => None,
    }
}
