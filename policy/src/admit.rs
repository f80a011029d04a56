//! Whether a publish is a job that can be run at all. Every refusal names the field, the limit and the
//! cure; the texts are held by `tests/tables/admit.txt`.
//!
//! What depends on the moment (workers, queues, budgets) is the plan's business, not asked here.

mod body;
mod constraints;
mod sources;
mod unknown;

use std::sync::Arc;

use schemas::codec;
use schemas::job::JOB_WIRE_MAX_BYTES;
use schemas::key::IDEMPOTENCY_KEY_MAX_BYTES;
use schemas::workflow::Requirements;
use schemas::{
    Catalog, Class, Failure, FailureCode, Job, Lane, Listing, PolicyConfig, SCHEMA_VERSION, Tenant,
    TenantsConfig,
};

pub use unknown::{
    BODY_FIELDS, CONSTRAINTS, JOB_FIELDS, PREFERENCES, check_request, check_unknown, facts, outranked,
    warnings,
};

pub use self::sources::{check_result, results};

/// The longest label or label name, bytes.
pub const LABEL_MAX_BYTES: usize = 256;
/// How many times longer than its publish a job can be as MessagePack: a list of `1e9` becomes one of nine bytes each,
/// a struct by position gets its names.
const WIRE_GROWTH_MAX: usize = 3;
/// The longest name of an input file, bytes: what file systems take.
pub const INPUT_NAME_MAX_BYTES: usize = 255;

/// How a job says what to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Words; a catalog template makes a workflow of them where one is needed.
    Prompt,
    /// A ComfyUI graph. A prompt beside it only describes.
    Workflow,
}

impl Form {
    /// Its token in events and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Workflow => "workflow",
        }
    }
}

/// What is known of a job that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What it needs of a machine.
    pub class: Class,
    /// How it says what to make.
    pub form: Form,
    /// What it needs of a ComfyUI server: the workflow's nodes and files, or the template's.
    pub requirements: Arc<Requirements>,
}

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

/// Enough of a client's text to recognise it, so that an error is not as long as its cause.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(SHOWN_CHARS).collect::<String>())
}
