//! The suite that every backend passes.

use std::sync::Arc;

use async_trait::async_trait;
use schemas::{Assignment, Catalog, FailureCode};
use simulators::Fault;
use simulators::runpod::{Config, OutputMode};
use worker_host::Backend;
use worker_host::conformance::{Fixture, exercise};

use crate::world::{World, assignment, simulated};

struct RunPod(World);

#[async_trait]
impl Fixture for RunPod {
    async fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.0.backend())
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::new(policy::defaults::catalog())
    }

    fn assignment(&self) -> Assignment {
        assignment()
    }

    async fn fault(&self, name: Option<&str>) {
        self.0.arm(name.map(Fault::always).into_iter().collect());
    }

    async fn work_started(&self) -> u64 {
        self.0.admin().stats().posts
    }

    async fn is_working(&self) -> bool {
        self.0.admin().stats().running_now > 0
    }

    fn failures(&self) -> Vec<(&'static str, FailureCode)> {
        vec![
            ("lost_run_answer", FailureCode::OutcomeUnknown),
            ("completed_without_output", FailureCode::UnusableResult),
            ("failed_json_error", FailureCode::UnusableResult),
            ("shape_any_unusable", FailureCode::UnusableResult),
            ("result_elsewhere", FailureCode::UnusableResult),
            ("failed_oom", FailureCode::OutOfMemory),
            ("timed_out_after_retries", FailureCode::Transient),
            ("http_429", FailureCode::RateLimited),
            ("http_401", FailureCode::ProviderStopped),
            ("http_502", FailureCode::OutcomeUnknown),
            ("status_404", FailureCode::OutcomeUnknown),
        ]
    }

    fn is_paid(&self) -> bool {
        true
    }

    fn can_resume(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn with_results_in_the_answer() {
    exercise(&RunPod(World::start(simulated()).await)).await;
}

#[tokio::test]
async fn with_results_behind_urls() {
    let config = Config { output: OutputMode::S3Url, ..simulated() };
    exercise(&RunPod(World::start(config).await)).await;
}
