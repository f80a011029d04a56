//! Whether a publish is a job that can be run at all. Every refusal names the field, the limit and the
//! cure; the texts are held by `tests/tables/admit.txt`.
//!
//! What depends on the moment (workers, queues, budgets) is the plan's business, not asked here.

mod admitted;
mod body;
mod constraints;
mod limits;
mod shorten;
mod sources;
mod unknown;

use schemas::calendar::DAY_MS;
use schemas::codec;
use schemas::job::JOB_WIRE_MAX_BYTES;
use schemas::key::IDEMPOTENCY_KEY_MAX_BYTES;
use schemas::{
    Catalog, Failure, FailureCode, Job, Lane, Listing, PolicyConfig, SCHEMA_VERSION, Tenant, TenantsConfig,
};

use self::shorten::shortened;

pub use unknown::{
    BODY_FIELDS, CONSTRAINTS, JOB_FIELDS, PREFERENCES, check_request, check_unknown, facts, outranked,
    warnings,
};

pub use self::admitted::{Admitted, Form};
pub use self::limits::{INPUT_NAME_MAX_BYTES, LABEL_MAX_BYTES};
pub use self::sources::{check_result, results};

/// How many times longer than its publish a job can be as MessagePack: a list of `1e9` becomes one of nine bytes each,
/// a struct by position gets its names.
const WIRE_GROWTH_MAX: usize = 3;

/// Checks a job against the limits and the catalog.
///
/// # Errors
/// `invalid_job` with the field to mend; `expired` when the deadline passed after the job was made.
pub fn admit(
    job: &Job,
    catalog: &Catalog,
    policy: &PolicyConfig,
    payload_bytes: usize,
    now_ms: i64,
) -> Result<Admitted, Failure> {
    envelope(job, policy, payload_bytes)?;
    made_at(job, now_ms)?;
    constraints::check(job, policy, now_ms)?;
    constraints::check_preferences(job, policy)?;
    labels(job, policy)?;
    body::check(job, &policy.limits)?;
    body::classify(job, catalog, &policy.limits)
}

/// Checks whether jobs of the tenant are taken in.
///
/// # Errors
/// `invalid_job` for an unlisted tenant where such tenants are refused.
pub fn admit_tenant(tenant: &Tenant, tenants: &TenantsConfig) -> Result<(), Failure> {
    match tenants.of(tenant).listing {
        Listing::Own | Listing::Default => Ok(()),
        Listing::Refused => Err(Failure::invalid(
            "tenant",
            format!(
                "tenant `{tenant}` is not known here: unlisted tenants are refused (unlisted: refuse in document \
                 tenants); use the name of a listed one, or list it: argosy tenants set {tenant} --paid never"
            ),
        )),
    }
}

/// How far ahead of its publish an id may seem to have been made, milliseconds: clocks differ.
pub const ID_AHEAD_MAX_MS: i64 = DAY_MS;

/// How long before its publish an id may have been made, milliseconds. The fleet remembers for this time that a job
/// has ended ([`crate::retention`]); a later publish could be the repeat of a job that is forgotten.
pub const ID_BEHIND_MAX_MS: i64 = 7 * DAY_MS;

/// Checks at its publish that a job is not older than the fleet's memory of what has ended. Of an id without a time the job's
/// own time counts: a repeat says the same.
///
/// # Errors
/// `invalid_job`: it was made too long ago, or an id without a time comes with a time that is to come.
pub fn check_age(job: &Job, published_at_ms: i64) -> Result<(), Failure> {
    let (field, made_ms) = match job.id.time_ms() {
        Some(made_ms) => ("id", made_ms),
        None => ("time_ms", job.time_ms),
    };
    let behind_ms = published_at_ms.saturating_sub(made_ms);
    // How far ahead a UUIDv7 may be is looked at in `made_at`.
    let is_ahead = field == "time_ms" && behind_ms < -ID_AHEAD_MAX_MS;
    if behind_ms <= ID_BEHIND_MAX_MS && !is_ahead {
        return Ok(());
    }
    let (days, side, most_ms) = if is_ahead {
        (-behind_ms / DAY_MS, "after", ID_AHEAD_MAX_MS)
    } else {
        (behind_ms / DAY_MS, "before", ID_BEHIND_MAX_MS)
    };
    let words = format!(
        "by its {field} job {} was made {days} days {side} it was published: at most {} are possible, since another publish \
         could repeat a job that has ended; publish the request under a new UUIDv7",
        job.id,
        most_ms / DAY_MS
    );
    Err(Failure::invalid(field, words))
}

/// The ledger keeps rows by the month that is in the id: one from months ahead fills a month that is not prepared.
fn made_at(job: &Job, published_at_ms: i64) -> Result<(), Failure> {
    // An id that is no UUIDv7 has no time, and its rows have a place of their own.
    let ahead_ms = job.id.time_ms().map_or(0, |made_ms| made_ms.saturating_sub(published_at_ms));
    if ahead_ms <= ID_AHEAD_MAX_MS {
        return Ok(());
    }
    let words = format!(
        "id {} says that it was made {} hours after it was published: a UUIDv7 may be at most {} hours ahead; set the \
         clock of the machine that makes ids",
        job.id,
        ahead_ms / 3_600_000,
        ID_AHEAD_MAX_MS / 3_600_000
    );
    Err(Failure::invalid("id", words))
}

fn envelope(job: &Job, policy: &PolicyConfig, payload_bytes: usize) -> Result<(), Failure> {
    if payload_bytes > policy.limits.job_max_bytes {
        return Err(Failure::invalid(
            ".",
            format!(
                "the job is {payload_bytes} bytes: at most {} are accepted; put files into the artifact store and \
                 name them in body.inputs",
                policy.limits.job_max_bytes
            ),
        ));
    }
    check_wire(job, payload_bytes)?;
    if job.schema_version == 0 {
        let words = format!("schema_version is 0: this fleet reads 1 to {SCHEMA_VERSION}");
        return Err(Failure::invalid("schema_version", words));
    }
    if job.schema_version > SCHEMA_VERSION {
        return Err(too_new(job.schema_version.into(), SCHEMA_VERSION));
    }
    if job.id.0.is_nil() {
        return Err(Failure::invalid(
            "id",
            "id is the nil UUID, which all careless clients share: send a new UUIDv7 for each job",
        ));
    }
    if let Some(key) = &job.idempotency_key
        && !(1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len())
    {
        return Err(Failure::invalid(
            "idempotency_key",
            format!(
                "idempotency_key is {} bytes: use 1 to {IDEMPOTENCY_KEY_MAX_BYTES}, or leave it out",
                key.len()
            ),
        ));
    }
    if job.lane == Lane::Unknown {
        return Err(Failure::invalid("lane", "lane is not known: use interactive, standard or batch"));
    }
    Ok(())
}

/// A job travels on as MessagePack, in an assignment with its earlier attempts; that must fit into a message too. JSON
/// can be much shorter: `0.5` has three characters there, and nine bytes as a number.
fn check_wire(job: &Job, payload_bytes: usize) -> Result<(), Failure> {
    // What is short cannot become too long: a number of four bytes becomes nine.
    if payload_bytes <= JOB_WIRE_MAX_BYTES / WIRE_GROWTH_MAX {
        return Ok(());
    }
    let bytes = codec::encode(job).len();
    if bytes <= JOB_WIRE_MAX_BYTES {
        return Ok(());
    }
    let largest = match &job.body.workflow {
        Some(_) => "body.workflow",
        None => ".",
    };
    Err(Failure::invalid(
        largest,
        format!(
            "the job is {payload_bytes} bytes and takes {bytes} as it is handed on (a number with a fraction takes 9): at \
             most {JOB_WIRE_MAX_BYTES} are possible; put long lists of numbers into a file and name it in body.inputs"
        ),
    ))
}

/// What is said of a job of a newer schema than is read here.
#[must_use]
pub fn too_new(schema_version: u64, reads: u16) -> Failure {
    let words = format!(
        "schema_version is {schema_version}, and up to {reads} is read here: upgrade the routers, then run \
         `argosy parked redrive`"
    );
    Failure { field: Some("schema_version".to_owned()), ..Failure::new(FailureCode::TooNew, words) }
}

/// What is said of a job of a newer schema that the inbox does not take: it ends.
#[must_use]
pub fn not_put_aside(too_new: &Failure) -> Failure {
    let read = too_new.message.split(": ").next().unwrap_or_default();
    let words = format!(
        "{read}; it cannot wait for newer routers, as the inbox is full or its tenant's share of it is used up \
         (router.parked_per_tenant; of long messages a tenant's first 100 wait): upgrade the routers, make room with \
         `argosy parked discard`, then publish it again"
    );
    Failure::invalid("schema_version", words)
}

fn labels(job: &Job, policy: &PolicyConfig) -> Result<(), Failure> {
    let (count, most) = (job.labels.len(), policy.limits.labels_max);
    if count > most {
        return Err(Failure::invalid(
            "labels",
            format!("labels has {count} entries: at most {most} are accepted"),
        ));
    }
    let long = job.labels.iter().find(|(name, value)| name.len().max(value.len()) > LABEL_MAX_BYTES);
    match long {
        Some((name, _)) => Err(Failure::invalid(
            &format!("labels.{}", shortened(name)),
            format!("a label's name and value may have {LABEL_MAX_BYTES} bytes each: shorten it"),
        )),
        None => Ok(()),
    }
}
