//! Where a job's files come from: inputs, and results of the same tenant; never another tenant's.

use schemas::artifact::{Origin, OriginError};
use schemas::{Artifact, ArtifactRef, Event, Fact, Failure, Input, Job, JobId};

use super::shorten::shortened;

/// Checks by bucket and key alone what each input is.
pub(super) fn check(job: &Job) -> Result<(), Failure> {
    for (index, input) in job.body.inputs.iter().enumerate() {
        if let Err(error) = input.artifact.origin(&job.tenant) {
            let part = if matches!(error, OriginError::Bucket(_)) { "bucket" } else { "key" };
            let field = format!("body.inputs[{index}].artifact.{part}");
            return Err(Failure::invalid(&field, format!("body.inputs[{index}].artifact: {error}")));
        }
    }
    Ok(())
}

/// Bucket and folder of a file.
fn folder(at: &ArtifactRef) -> (&str, &str) {
    (&at.bucket, at.key.rsplit_once('/').map_or("", |(folder, _)| folder))
}

/// The inputs that are results of earlier jobs, with their place among the inputs: [`check_result`] says of each
/// whether the job may use it. Most jobs have none.
pub fn results(job: &Job) -> impl Iterator<Item = (usize, &Input, JobId)> {
    job.body.inputs.iter().enumerate().filter_map(|(index, input)| match input.artifact.origin(&job.tenant) {
        Ok(Origin::ResultOf(of)) => Some((index, input, of)),
        _ => None,
    })
}

/// Whether a result may be an input, by the end of the job that made it. `ended` is the `ended` event of that job in
/// the name of the tenant that wants to use the result; none where there is no such event.
///
/// The event must name the file: an event of a job that only borrowed another's id names none of the other's files.
///
/// # Errors
/// `invalid_job`: it is not known to be a result of this tenant.
pub fn check_result(job: &Job, index: usize, input: &Input, ended: Option<&Event>) -> Result<(), Failure> {
    let made = ended.is_some_and(|ended| match &ended.fact {
        Fact::Ended { artifacts, manifest, .. } => {
            let is_named = |artifact: &Artifact| artifact.at == input.artifact;
            // A list that is too long for the event is a file. Those that it names beside the first lie beside them.
            let beside = |artifact: &Artifact| folder(&artifact.at) == folder(&input.artifact);
            ended.tenant == job.tenant
                && (artifacts.iter().any(is_named)
                    || (manifest.is_some() && artifacts.iter().take(1).any(beside)))
        }
        _ => false,
    });
    if made {
        return Ok(());
    }
    let field = format!("body.inputs[{index}].artifact.key");
    if ended.is_some_and(Event::is_marker) {
        let text = format!(
            "{field} is `{}`: what that job made is no longer known, its events were removed to make room; put the file under \
             in/{}/ and name that key",
            shortened(&input.artifact.key),
            job.tenant
        );
        return Err(Failure::invalid(&field, text));
    }
    let text = format!(
        "{field} is `{}`, which is no known result of tenant {}: wait until the job that makes it has ended, or put the \
         file under in/{}/ and name that key",
        shortened(&input.artifact.key),
        job.tenant,
        job.tenant
    );
    Err(Failure::invalid(&field, text))
}
