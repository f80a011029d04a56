//! Jobs for tests: small pictures, quick to make.

use schemas::{Body, Job, JobId, Tenant};

/// A tenant by name.
///
/// # Panics
/// When the name is not one.
#[must_use]
pub fn tenant(name: &str) -> Tenant {
    name.parse().expect("a tenant's name")
}

/// A prompt for a small picture, tenant `default`.
#[must_use]
pub fn prompt(words: &str) -> Job {
    let body = Body {
        prompt: Some(words.to_owned()),
        model: Some("sd15".to_owned()),
        width: Some(512),
        height: Some(512),
        ..Body::default()
    };
    Job::new(JobId::new(), tenant("default"), body, runtime::clock::now_ms())
}

/// The same, consenting to paid backends and confined to one.
///
/// # Panics
/// When the name is not a backend's.
#[must_use]
pub fn paid_prompt(words: &str, backend: &str) -> Job {
    let mut job = prompt(words);
    job.constraints.allow_paid = Some(true);
    job.constraints.backends = Some(vec![backend.parse().expect("a backend's name")]);
    job
}
