//! Reports that providers send about work they did for us (webhooks): `POST /reports/<attempt>?secret=…`,
//! beside the pages.
//!
//! A report is a hint only: it tells under which id the provider knows an attempt. What became of the work
//! is then asked of the provider, as ever. It is answered 200 once the id is durable.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::post;
use schemas::AttemptId;
use serde::Deserialize;
use tokio::sync::Semaphore;

/// The largest report: RunPod sends a whole job with its output along.
const REPORT_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Reports read at once; more are asked to come again.
const AT_ONCE: usize = 4;

/// Why a report was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It does not know the secret.
    Stranger,
    /// It names no attempt of ours, or no id.
    Unknown,
    /// The broker did not store it; the provider will try again.
    NotStored,
}

/// Who takes reports.
#[async_trait]
pub trait TakeReport: Send + Sync + 'static {
    /// Makes durable what the report says; a repeat changes nothing.
    async fn take(&self, attempt: AttemptId, secret: &str, report: &[u8]) -> Result<(), NotTaken>;
}

/// Where reports go; nowhere until a worker says that it takes them.
#[derive(Clone, Default)]
pub struct Inbox {
    taker: Arc<OnceLock<Arc<dyn TakeReport>>>,
}

impl Inbox {
    /// From now on reports go there; the first one to ask gets them.
    pub fn open(&self, taker: Arc<dyn TakeReport>) {
        let _ = self.taker.set(taker);
    }

    /// The page.
    pub(crate) fn page(self) -> Router {
        let state = Page { inbox: self, at_once: Arc::new(Semaphore::new(AT_ONCE)) };
        Router::new()
            .route("/reports/{attempt}", post(receive))
            .layer(DefaultBodyLimit::max(REPORT_MAX_BYTES))
            .with_state(state)
    }
}

#[derive(Clone)]
struct Page {
    inbox: Inbox,
    at_once: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    secret: String,
}

async fn receive(
    State(page): State<Page>,
    Path(attempt): Path<String>,
    Query(credentials): Query<Credentials>,
    report: Bytes,
) -> StatusCode {
    let Some(taker) = page.inbox.taker.get() else { return StatusCode::NOT_FOUND };
    let Ok(attempt) = attempt.parse::<AttemptId>() else { return StatusCode::NOT_FOUND };
    let Ok(_permit) = page.at_once.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
    match taker.take(attempt, &credentials.secret, &report).await {
        Ok(()) => StatusCode::OK,
        Err(NotTaken::Stranger) => StatusCode::FORBIDDEN,
        Err(NotTaken::Unknown) => StatusCode::NOT_FOUND,
        Err(NotTaken::NotStored) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
