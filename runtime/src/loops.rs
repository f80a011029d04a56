//! The background loops behind a connection: the reader of acknowledgements, the writers of groups, the keeper of the
//! newest acknowledgement.
//!
//! A publish waits for what such a loop does. A loop that ends unexpectedly must therefore end the process: without it
//! every publish would wait for ever while the process calls itself ready. [`Loops`] owns the loops, and
//! [`Loops::first_end`] resolves when one of them returns or panics; [`crate::process`] turns that into exit code 70.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The loops of one connection. They end with the last clone.
#[derive(Debug, Clone)]
pub struct Loops {
    ended: watch::Sender<Option<&'static str>>,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    handles: Vec<(&'static str, AbortHandle)>,
}

/// Announces the end of its loop when it is dropped, so that a panic is an end like any other.
struct Announcement {
    name: &'static str,
    ended: watch::Sender<Option<&'static str>>,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.ended.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(self.name);
            is_first
        });
    }
}

impl Default for Loops {
    fn default() -> Self {
        Self { ended: watch::Sender::new(None), running: Arc::default() }
    }
}

impl Loops {
    /// Runs a loop that has no end of its own.
    pub fn run(&self, name: &'static str, body: impl Future<Output = ()> + Send + 'static) {
        let announcement = Announcement { name, ended: self.ended.clone() };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = running.tasks.spawn(async move {
            let _announcement = announcement;
            body.await;
        });
        running.handles.push((name, handle));
    }

    /// Resolves with the name of the first loop that ended.
    pub async fn first_end(&self) -> &'static str {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(name) = *ended.borrow_and_update() {
                return name;
            }
            // The sender lives as long as `self`.
            if ended.changed().await.is_err() {
                return "all loops";
            }
        }
    }

    /// The names of the loops, in the order of their start.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.handles.iter().map(|(name, _)| *name).collect()
    }

    /// Ends the loops of a name, as a defect would. Only tests have a reason to.
    pub fn abort(&self, name: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.handles.iter().filter(|(other, _)| *other == name).for_each(|(_, handle)| handle.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_announced_by_name() {
        let loops = Loops::default();
        loops.run("stays", std::future::pending());
        loops.run("returns", async {});
        assert_eq!(loops.first_end().await, "returns");
        assert_eq!(loops.names(), ["stays", "returns"]);
    }

    #[tokio::test]
    async fn a_panic_and_an_abort_are_ends() {
        let loops = Loops::default();
        loops.run("panics", async { panic!("on purpose") });
        assert_eq!(loops.first_end().await, "panics");
        let loops = Loops::default();
        loops.run("waits", std::future::pending());
        loops.abort("waits");
        assert_eq!(loops.first_end().await, "waits");
    }
}
