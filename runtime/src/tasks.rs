//! Every task has an owner. A task that ends before its time takes the process down: half a process is
//! worse than none, and the supervisor starts a whole one.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lifecycle::Lifecycle;

/// The process's tasks.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    lifecycle: Lifecycle,
    defect: Arc<OnceLock<String>>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { tracker: TaskTracker::new(), lifecycle, defect: Arc::new(OnceLock::new()) }
    }

    /// Runs a task that ends only after the soft stop. An error, a panic or an early end stops the process.
    pub fn spawn<F, E>(&self, name: &'static str, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let this = self.clone();
        let inner = self.tracker.spawn(future);
        self.tracker.spawn(async move {
            let defect = match inner.await {
                Ok(Ok(())) if this.lifecycle.soft.is_cancelled() => return,
                Ok(Ok(())) => "ended by itself".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::error!(task = name, error = defect, "task failed, stopping");
            let _ = this.defect.set(format!("task {name}: {defect}"));
            this.lifecycle.soft.cancel();
        });
    }

    /// Runs a short piece of work that may end whenever it likes, within the process's life.
    pub fn spawn_piece<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(future);
    }

    /// Waits until all tasks have ended.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// What brought the process down, if a task did.
    #[must_use]
    pub fn defect(&self) -> Option<&str> {
        self.defect.get().map(String::as_str)
    }

    /// Fires at the soft stop.
    #[must_use]
    pub const fn soft(&self) -> &CancellationToken {
        &self.lifecycle.soft
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn defect_of(
        body: impl Future<Output = Result<(), std::io::Error>> + Send + 'static,
    ) -> Option<String> {
        let tasks = Tasks::new(Lifecycle::default());
        tasks.spawn("loop", body);
        tasks.soft().cancelled().await;
        tasks.finished().await;
        tasks.defect().map(str::to_owned)
    }

    #[tokio::test]
    async fn an_end_before_its_time_stops_the_process_as_a_defect() {
        assert_eq!(defect_of(async { Ok(()) }).await.as_deref(), Some("task loop: ended by itself"));
        assert_eq!(
            defect_of(async { Err(std::io::Error::other("x")) }).await.as_deref(),
            Some("task loop: x")
        );
        let panicked = defect_of(async { panic!("on purpose") }).await;
        assert!(panicked.is_some_and(|defect| defect.contains("panicked")));
    }

    #[tokio::test]
    async fn an_end_after_the_soft_stop_is_none() {
        let lifecycle = Lifecycle::default();
        let tasks = Tasks::new(lifecycle.clone());
        lifecycle.soft.cancel();
        tasks.spawn("loop", async { Ok::<(), std::io::Error>(()) });
        tasks.finished().await;
        assert_eq!(tasks.defect(), None);
    }
}
