//! Fields of a job that this version does not know. Where such a field may guard money, the job is refused: a guard
//! that is dropped in silence is money spent without consent. All others have no effect, are carried on, and are named
//! in the warnings of the job's events.
//!
//! Asked at intake and of estimates, and nowhere else: a job that was accepted by a newer router may have guards that
//! an older one does not know, and it is no longer to be refused.

mod cure;
mod fields;
mod guards;
mod nearest;

use schemas::workflow::{DEPTH_MAX, is_within};
use schemas::{Class, Failure, Job, JobFacts, UnknownFields};
use serde_json::Value;

pub use self::fields::{BODY_FIELDS, CONSTRAINTS, JOB_FIELDS, PREFERENCES};

use super::shorten::shortened;
use crate::fill::ignored;

/// Fields that a refusal names; of the others it says how many there are.
const NAMED_MAX: usize = 8;

/// Refuses a job with an unknown field in `constraints` or `preferences`, or with one elsewhere that reads like a
/// guard of money. Names every such field, and for each the nearest known one.
///
/// # Errors
/// `invalid_job` with the path of the first of them.
pub fn check_unknown(job: &Job) -> Result<(), Failure> {
    if job.is_known() {
        return Ok(());
    }
    for (field, value) in job.unknown_fields() {
        if !is_within(value, DEPTH_MAX) {
            let words =
                format!("field {field} is not known and nests more than {DEPTH_MAX} deep: leave it out");
            return Err(Failure::invalid(&field, words));
        }
    }
    let mut found = Vec::new();
    for (part, own, unknown) in [
        ("constraints", CONSTRAINTS.as_slice(), &job.constraints.unknown),
        ("preferences", PREFERENCES.as_slice(), &job.preferences.unknown),
    ] {
        for (name, value) in unknown.iter() {
            let cure = cure::cure(part, own, name, value);
            found.push(Refused { field: format!("{part}.{}", shortened(name)), cure });
        }
    }
    misplaced("", &job.unknown, &mut found);
    misplaced("body.", &job.body.unknown, &mut found);
    for (nth, input) in job.body.inputs.iter().enumerate() {
        misplaced(&format!("body.inputs[{nth}]."), &input.unknown, &mut found);
        misplaced(&format!("body.inputs[{nth}].artifact."), &input.artifact.unknown, &mut found);
    }
    refusal(&found)
}

/// What the job's events and its estimate say of fields that have no effect: those that this version does not know,
/// and those that a workflow outranks because it does not say the same.
#[must_use]
pub fn warnings(job: &Job) -> Vec<String> {
    let mut warnings = job.warnings();
    warnings.extend(outranked(job));
    warnings
}

/// A warning for each field that has no effect because the job's workflow decides, and does not say the same.
#[must_use]
pub fn outranked(job: &Job) -> Vec<String> {
    let without_effect = ignored(&job.body).into_iter();
    without_effect.map(|field| format!("field body.{field} has no effect: body.workflow decides")).collect()
}

/// The job without its body, as its events carry it, with all its [`warnings`].
#[must_use]
pub fn facts(job: &Job, class: Option<Class>, submitted_at_ms: i64) -> JobFacts {
    JobFacts { warnings: warnings(job), ..JobFacts::of(job, class, submitted_at_ms) }
}

/// Refuses a request whose own fields, beside the job in it, read like a guard of money.
///
/// # Errors
/// `invalid_job` with the first of them.
pub fn check_request(unknown: &UnknownFields) -> Result<(), Failure> {
    let mut found = Vec::new();
    misplaced("", unknown, &mut found);
    refusal(&found)
}

/// A field for which a job is refused.
struct Refused {
    field: String,
    cure: String,
}

fn misplaced(prefix: &str, unknown: &UnknownFields, found: &mut Vec<Refused>) {
    for (name, value) in unknown.iter() {
        let field = format!("{prefix}{}", shortened(name));
        match guards::guard(name) {
            Some(target) => {
                let cure = format!("has no effect here: use {target}{}", cure::unit(&target, name, value));
                found.push(Refused { field, cure });
            }
            None => nested(&field, value, found),
        }
    }
}

/// Guards inside a value that is passed over as a whole, where their names leave no doubt.
fn nested(field: &str, value: &Value, found: &mut Vec<Refused>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = format!("{field}.{}", shortened(name));
                match guards::guard_of_money_inside(name) {
                    Some(target) => {
                        let cure = format!("has no effect here: use {target}");
                        found.push(Refused { field: inner, cure });
                    }
                    None => nested(&inner, value, found),
                }
            }
        }
        Value::Array(values) => {
            for (nth, value) in values.iter().enumerate() {
                nested(&format!("{field}[{nth}]"), value, found);
            }
        }
        _ => {}
    }
}

fn refusal(found: &[Refused]) -> Result<(), Failure> {
    let Some(first) = found.first() else { return Ok(()) };
    let named = found.iter().take(NAMED_MAX);
    let named: Vec<String> = named.map(|refused| format!("{} {}", refused.field, refused.cure)).collect();
    let mut words = named.join("; ");
    if found.len() > NAMED_MAX {
        words.push_str(&format!("; and {} more unknown fields", found.len() - NAMED_MAX));
    }
    Err(Failure::invalid(&first.field, words))
}
