//! The suite that every backend passes, for both families.

use std::sync::Arc;

use async_trait::async_trait;
use schemas::{Assignment, Catalog, FailureCode};
use simulators::Fault;
use worker_host::Backend;
use worker_host::conformance::{Fixture, exercise};

use crate::world::{World, picture, video};

/// Faults that answer instead of the API, for both families alike.
const HTTP: [(&str, FailureCode); 7] = [
    ("http_429_minute", FailureCode::RateLimited),
    ("http_429_day", FailureCode::QuotaExhausted),
    ("http_429_limit_zero", FailureCode::ProviderStopped),
    ("http_503", FailureCode::Transient),
    ("api_key_invalid", FailureCode::ProviderStopped),
    ("error_in_array", FailureCode::Transient),
    ("lost_answer", FailureCode::OutcomeUnknown),
];

struct Gemini {
    world: World,
    /// Background work, which can be resumed and cancelled.
    background: bool,
}

#[async_trait]
impl Fixture for Gemini {
    async fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.world.backend())
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::new(policy::defaults::catalog())
    }

    fn assignment(&self) -> Assignment {
        if self.background { video() } else { picture() }
    }

    async fn fault(&self, name: Option<&str>) {
        self.world.arm(name.map(Fault::always).into_iter().collect());
    }

    async fn work_started(&self) -> u64 {
        self.world.admin().stats().posts
    }

    async fn is_working(&self) -> bool {
        // Of background work the states tell; the count of running ones goes on after a cancel.
        let stats = self.world.admin().stats();
        let jobs = |state: &str| stats.jobs.get(state).copied().unwrap_or_default();
        match self.background {
            true => {
                let ended = ["completed", "failed", "cancelled", "incomplete"].map(jobs);
                jobs("in_progress") > ended.into_iter().sum()
            }
            false => stats.running_now > 0,
        }
    }

    fn failures(&self) -> Vec<(&'static str, FailureCode)> {
        let own: &[(&str, FailureCode)] = match self.background {
            true => &[
                ("interaction_error_string_code", FailureCode::InvalidJob),
                ("interaction_failed", FailureCode::Transient),
                ("completed_without_content", FailureCode::UnusableResult),
                ("file_expired", FailureCode::NotStored),
                ("words_only", FailureCode::UnusableResult),
                ("interaction_incomplete", FailureCode::UnusableResult),
            ],
            false => &[
                ("prompt_blocked", FailureCode::ContentRefused),
                ("image_safety", FailureCode::ContentRefused),
                ("no_image", FailureCode::UnusableResult),
                ("words_only", FailureCode::UnusableResult),
                ("finish_other", FailureCode::UnusableResult),
            ],
        };
        HTTP.iter().chain(own).copied().collect()
    }

    fn is_paid(&self) -> bool {
        true
    }

    fn can_resume(&self) -> bool {
        self.background
    }

    fn can_cancel(&self) -> bool {
        self.background
    }
}

#[tokio::test]
async fn pictures_by_generate_content() {
    exercise(&Gemini { world: World::start().await, background: false }).await;
}

#[tokio::test]
async fn videos_by_interactions() {
    let suite = Gemini { world: World::start().await, background: true };
    exercise(&suite).await;
    assert_eq!(suite.world.admin().stats().key_leaks, 0);
}
