//! Every subject, built and parsed here and nowhere else.

use crate::{Backend, FailureCode, JobId, Lane, Queue, Tenant};

/// The first token of everything of ours.
pub const PREFIX: &str = "argosy";

/// Stands in a parked subject for a name that could not be read.
pub const UNKNOWN: &str = "unknown";

/// Where clients publish jobs.
#[must_use]
pub fn jobs(lane: Lane, tenant: &Tenant) -> String {
    format!("argosy.jobs.{}.{tenant}", lane.as_str())
}

/// How the subjects of all jobs begin.
pub const JOBS_PREFIX: &str = "argosy.jobs.";

/// All jobs, and everything else that may lie in their stream.
pub const JOBS_FILTER: &str = "argosy.jobs.>";

/// All jobs of a lane.
#[must_use]
pub fn jobs_filter(lane: Lane) -> String {
    format!("argosy.jobs.{}.*", lane.as_str())
}

/// Whether intake reads a subject of stream `JOBS`: the lane is one of [`Lane::ALL`], and one token follows.
#[must_use]
pub fn is_read_by_intake(subject: &str) -> bool {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens.as_slice() {
        [PREFIX, "jobs", lane, tenant] => {
            !tenant.is_empty() && Lane::ALL.iter().any(|known| known.as_str() == *lane)
        }
        _ => false,
    }
}

/// The lane and the tenant in the subject of a job as they stand, readable or not.
#[must_use]
pub fn jobs_tokens(subject: &str) -> Option<(&str, &str)> {
    let (lane, tenant) = subject.strip_prefix(PREFIX)?.strip_prefix(".jobs.")?.split_once('.')?;
    Some((lane, tenant))
}

/// Where one job waits at a backend. The job id in it lets queued work be cancelled by purge.
#[must_use]
pub fn work(backend: &Backend, queue: &Queue, job: JobId) -> String {
    format!("argosy.work.{backend}.{queue}.{job}")
}

/// All work of a backend's queue: what one durable consumer serves.
#[must_use]
pub fn work_filter(backend: &Backend, queue: &Queue) -> String {
    format!("argosy.work.{backend}.{queue}.*")
}

/// The backend and the queue of such a filter; none of another.
#[must_use]
pub fn work_filter_parts(filter: &str) -> Option<(Backend, Queue)> {
    let rest = filter.strip_prefix("argosy.work.")?.strip_suffix(".*")?;
    let (backend, queue) = rest.split_once('.')?;
    Some((backend.parse().ok()?, queue.parse().ok()?))
}

/// All work.
pub const WORK_FILTER: &str = "argosy.work.*.*.*";

/// One job's work wherever it waits.
#[must_use]
pub fn work_of_job(job: JobId) -> String {
    format!("argosy.work.*.*.{job}")
}

/// A failed attempt's way back.
#[must_use]
pub fn dead(backend: &Backend, job: JobId) -> String {
    format!("argosy.dead.{backend}.{job}")
}

/// One job's failed attempts, wherever they failed.
#[must_use]
pub fn dead_of_job(job: JobId) -> String {
    format!("argosy.dead.*.{job}")
}

/// All failed attempts.
pub const DEAD_FILTER: &str = "argosy.dead.>";

/// How the subjects of all facts begin.
pub const EVENTS_PREFIX: &str = "argosy.events.";

/// A fact about a job; `kind` as in [`crate::Fact::kind`].
#[must_use]
pub fn event(tenant: &Tenant, job: JobId, kind: &str) -> String {
    format!("argosy.events.{tenant}.{job}.{kind}")
}

/// All facts about one job, whoever's it is.
#[must_use]
pub fn events_of_job(job: JobId) -> String {
    format!("argosy.events.*.{job}.>")
}

/// All facts about a tenant's jobs.
#[must_use]
pub fn events_of_tenant(tenant: &Tenant) -> String {
    format!("argosy.events.{tenant}.>")
}

/// All ends.
pub const ENDED_FILTER: &str = "argosy.events.*.*.ended";

/// All placements.
pub const ASSIGNED_FILTER: &str = "argosy.events.*.*.assigned";

/// All facts.
pub const EVENTS_FILTER: &str = "argosy.events.>";

/// The operator's inbox.
#[must_use]
pub fn parked(tenant: Option<&Tenant>, code: FailureCode, job: Option<JobId>) -> String {
    let tenant = tenant.map_or(UNKNOWN, Tenant::as_str);
    let job = job.map_or_else(|| UNKNOWN.to_owned(), |job| job.to_string());
    format!("argosy.parked.{tenant}.{}.{job}", code.as_str())
}

/// Everything that is parked of a tenant, or of no known tenant.
#[must_use]
pub fn parked_of_tenant(tenant: Option<&Tenant>) -> String {
    format!("argosy.parked.{}.>", tenant.map_or(UNKNOWN, Tenant::as_str))
}

/// What is parked of a job for a newer router, of any tenant.
#[must_use]
pub fn parked_too_new(job: JobId) -> String {
    format!("argosy.parked.*.{}.{job}", FailureCode::TooNew.as_str())
}

/// Live progress of a job, not stored.
#[must_use]
pub fn progress(tenant: &Tenant, job: JobId) -> String {
    format!("argosy.progress.{tenant}.{job}")
}

/// Live progress of everything.
pub const PROGRESS_FILTER: &str = "argosy.progress.>";

/// The routers' request endpoints. `argosy.api.<endpoint>` is the operator's form and answers for all tenants;
/// `argosy.api.<tenant>.<endpoint>` answers for one. The two differ in their number of tokens, so a tenant may have any
/// name, an endpoint's too, and `argosy.api.<tenant>.>` is all that a tenant's permission has to name.
pub const API: &str = "argosy.api";

/// Where an endpoint is asked: for one tenant, or for all.
#[must_use]
pub fn api(tenant: Option<&Tenant>, endpoint: &str) -> String {
    match tenant {
        Some(tenant) => format!("{API}.{tenant}.{endpoint}"),
        None => format!("{API}.{endpoint}"),
    }
}

/// The endpoint of every tenant, within [`API`].
#[must_use]
pub fn api_of_tenants(endpoint: &str) -> String {
    format!("*.{endpoint}")
}

/// The tenant in the subject of a request as it stands, readable or not; none of the operator's form.
#[must_use]
pub fn api_tenant(subject: &str) -> Option<&str> {
    let (tenant, _) = subject.strip_prefix(API)?.strip_prefix('.')?.split_once('.')?;
    Some(tenant)
}

/// All that the fleet's own processes ask each other: no tenant needs any of it.
pub const FLEET_FILTER: &str = "argosy.fleet.>";

/// Where all routers are asked for a job that waits; only the one that holds it answers.
pub const FLEET_WAITING: &str = "argosy.fleet.waiting";

/// Where all routers are asked for themselves; each answers.
pub const FLEET_PRESENCE: &str = "argosy.fleet.presence";

/// Where routers send each other digests of the jobs that wait in their hands.
pub const FLEET_DIGEST: &str = "argosy.fleet.digest";

/// Where the ledger reserves money.
pub const FLEET_RESERVE: &str = "argosy.fleet.reserve";

/// Where routers of release 0.1.0 ask the ledger, and where a ledger of that release is asked.
pub const FLEET_RESERVE_BEFORE: &str = "argosy.ledger.reserve";

/// What the broker says when a message of a consumer was delivered too often.
pub const MAX_DELIVERIES_FILTER: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>";

/// What a subject of ours names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `argosy.jobs.<lane>.<tenant>`
    Jobs(Lane, Tenant),
    /// `argosy.work.<backend>.<queue>.<job>`
    Work(Backend, Queue, JobId),
    /// `argosy.dead.<backend>.<job>`
    Dead(Backend, JobId),
    /// `argosy.events.<tenant>.<job>.<kind>`
    Event(Tenant, JobId, String),
    /// `argosy.parked.<tenant>.<code>.<job>`, each as it stands
    Parked(String, String, String),
    /// `argosy.progress.<tenant>.<job>`
    Progress(Tenant, JobId),
}

/// Reads a subject; none when it is not one of ours.
#[must_use]
pub fn parse(subject: &str) -> Option<Subject> {
    let mut tokens = subject.split('.');
    if tokens.next() != Some(PREFIX) {
        return None;
    }
    let rest: Vec<&str> = tokens.collect();
    match rest.as_slice() {
        ["jobs", lane, tenant] => {
            let lane = Lane::ALL.into_iter().find(|known| known.as_str() == *lane)?;
            Some(Subject::Jobs(lane, tenant.parse().ok()?))
        }
        ["work", backend, queue, job] => {
            Some(Subject::Work(backend.parse().ok()?, queue.parse().ok()?, job.parse().ok()?))
        }
        ["dead", backend, job] => Some(Subject::Dead(backend.parse().ok()?, job.parse().ok()?)),
        ["events", tenant, job, kind] => {
            Some(Subject::Event(tenant.parse().ok()?, job.parse().ok()?, (*kind).to_owned()))
        }
        ["parked", tenant, code, job] => {
            Some(Subject::Parked((*tenant).to_owned(), (*code).to_owned(), (*job).to_owned()))
        }
        ["progress", tenant, job] => Some(Subject::Progress(tenant.parse().ok()?, job.parse().ok()?)),
        _ => None,
    }
}
