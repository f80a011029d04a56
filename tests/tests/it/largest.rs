//! The largest message of each kind that its inputs allow fits into what the broker takes, whatever clients and providers
//! put into it.

use std::collections::BTreeMap;

use policy::{admit, defaults};
use schemas::artifact::result_key;
use schemas::job::JOB_WIRE_MAX_BYTES;
use schemas::topology::MESSAGE_MAX_BYTES;
use schemas::{
    Artifact, ArtifactRef, Assignment, AttemptFacts, AttemptId, AttemptRecord, CarriedDecision, DeadLetter,
    Event, Fact, Failure, FailureCode, Input, Job, JobFacts, JobState, Manifest, Outcome, Parked, codec,
    samples,
};
use serde::Serialize;
use serde_json::{Value, json};

/// What headers and subject may take beside the bytes.
const BESIDE_BYTES: usize = 4 * 1024;

fn fits<T: Serialize>(what: &str, message: &T) -> usize {
    let bytes = codec::encode(message).len();
    assert!(bytes + BESIDE_BYTES <= MESSAGE_MAX_BYTES as usize, "{what}: {bytes} bytes");
    bytes
}

fn numbers(count: usize) -> Value {
    json!({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0], "a": vec![0.5; count]}}})
}

/// A job with so many numbers in its workflow, and with as much of everything else as is admitted.
fn job(count: usize) -> Job {
    let limits = defaults::policy().limits;
    let mut job = samples::job();
    job.body.workflow = Some(numbers(count));
    job.body.model = None;
    job.body.inputs = (0..limits.inputs_max)
        .map(|n| Input {
            name: format!("{n:0>251}.png"),
            artifact: ArtifactRef::new("ARTIFACTS", format!("in/{}/{n:0>900}", job.tenant)),
            ..samples::job().body.inputs[0].clone()
        })
        .collect();
    job.labels = (0..limits.labels_max).map(|n| (format!("{n:0>256}"), "\u{1f600}".repeat(64))).collect();
    job.constraints.deadline_ms = None;
    job
}

fn admitted(job: &Job) -> Result<usize, Failure> {
    let published = serde_json::to_vec(job).expect("JSON").len();
    let (catalog, policy) = (defaults::catalog(), defaults::policy());
    admit::admit(job, &catalog, &policy, published, samples::TIME_MS).map(|_| published)
}

/// The largest job that is admitted.
fn largest_job() -> Job {
    assert_eq!(admitted(&job(0)).err(), None, "all but the numbers is good");
    let (mut least, mut most) = (0, 128_000);
    while most - least > 1 {
        let middle = usize::midpoint(least, most);
        match admitted(&job(middle)) {
            Ok(_) => least = middle,
            Err(failure) => {
                assert_eq!(failure.code, FailureCode::InvalidJob, "{failure:?}");
                most = middle;
            }
        }
    }
    assert!(least > 60_000, "{least} numbers are admitted");
    job(least)
}

/// A provider that says as much as it can.
fn failure() -> Failure {
    let long = "CUDA \u{1f4a5}".repeat(300_000);
    let missing = vec!["m".repeat(100_000); 500];
    let failure = Failure::new(FailureCode::Transient, long.as_str()).with_words(&long).with_missing(missing);
    Failure { field: Failure::invalid(&long, "").field, ..failure }
}

fn attempt(attempt: u32) -> AttemptFacts {
    AttemptFacts { attempt, failure: Some(failure()), ..samples::attempt_facts() }
}

/// The attempts that a job can have had, as they go on with it.
fn history() -> Vec<AttemptFacts> {
    (1..defaults::policy().max_attempts_ever).map(|n| attempt(n).as_history()).collect()
}

fn assignment() -> Assignment {
    let decision = Some(CarriedDecision::new(&samples::decision()));
    Assignment { job: largest_job(), history: history(), decision, ..samples::assignment() }
}

fn all_attempts() -> Vec<AttemptFacts> {
    let decision = Some(CarriedDecision::new(&samples::decision()));
    history().into_iter().chain([AttemptFacts { decision, ..attempt(30) }]).collect()
}

fn artifacts() -> Vec<Artifact> {
    let owner = "t".repeat(64).parse().expect("a name");
    let attempt = AttemptId { job: samples::job_id(), attempt: 30 };
    let at = ArtifactRef::new("ARTIFACTS", result_key(Some(&owner), attempt, "99999.webm"));
    let described = runtime::artifacts::describe("B", Some(&owner), attempt, 0, &"t/".repeat(9_000), b"");
    let media_type = described.media_type;
    vec![
        Artifact {
            at,
            media_type,
            width: Some(u32::MAX),
            height: Some(u32::MAX),
            bytes: u64::MAX,
            ..samples::artifact()
        };
        Manifest::INLINE_MAX
    ]
}

fn manifest() -> Option<Manifest> {
    artifacts().pop().map(|file| Manifest { file, count: 5_760, bytes: u64::MAX })
}

#[test]
fn a_job_is_measured_as_it_is_handed_on() {
    let largest = largest_job();
    let bytes = fits("job", &largest);
    assert!(bytes <= JOB_WIRE_MAX_BYTES && bytes > JOB_WIRE_MAX_BYTES - 100, "{bytes}");
    // Half a megabyte of `0.5`, within the limit of a publish.
    let mut plain = samples::job();
    (plain.body.workflow, plain.body.model) = (Some(numbers(128_000)), None);
    let failure = admitted(&plain).expect_err("too long as it is handed on");
    assert_eq!(failure.field.as_deref(), Some("body.workflow"));
    assert!(
        failure.message.contains("takes 115") && failure.message.contains("655360"),
        "{}",
        failure.message
    );
    // As many whole numbers take no more room than in JSON.
    plain.body.workflow = Some(json!({"9": {"class_type": "SaveImage", "inputs": {"a": vec![7; 250_000]}}}));
    assert!(admitted(&plain).is_ok());
}

#[test]
fn an_assignment() {
    fits("assignment", &assignment());
}

#[test]
fn a_failed_attempt() {
    fits(
        "failed attempt",
        &DeadLetter { assignment: assignment(), ended_attempt: attempt(30), ..samples::dead_letter() },
    );
}

#[test]
fn every_kind_of_event() {
    let mut job = largest_job();
    // So many unknown fields as are named at all.
    (0..500).for_each(|n| job.unknown.insert(format!("{n:0>900}"), json!(1)));
    let facts = JobFacts::of(&job, None, 1);
    for sample in samples::events() {
        let mut event = sample;
        match &mut event.fact {
            Fact::Assigned { facts: of, .. } | Fact::Running { facts: of, .. } => *of = facts.clone(),
            Fact::Retrying { facts: of, ended_attempt, .. } | Fact::Charged { facts: of, ended_attempt } => {
                (*of, *ended_attempt) = (facts.clone(), attempt(30));
            }
            Fact::Ended { facts: of, artifacts: made, manifest: list, failure: why, attempts, .. } => {
                (*of, *made, *list) = (facts.clone(), artifacts(), manifest());
                (*why, *attempts) = (Some(failure()), all_attempts());
            }
            Fact::Refused { failure: why } => *why = failure(),
            Fact::Duplicate { .. } | Fact::Unknown => {}
        }
        fits(event.fact.kind(), &event);
    }
}

#[test]
fn the_end_of_a_job_that_was_refused_for_its_labels() {
    for labels in [
        BTreeMap::from([("k".repeat(400_000), "v".repeat(400_000))]),
        (0..100_000).map(|n| (format!("{n:05}"), "v".to_owned())).collect(),
    ] {
        let refused = Job { labels, ..samples::job() };
        let failure = admitted(&refused).expect_err("refused");
        assert!(
            failure.message.len() < 500 && failure.field.as_deref().unwrap_or_default().len() < 300,
            "{failure:?}"
        );
        let ended = Fact::Ended {
            facts: JobFacts::of_refused(&refused, 1),
            state: JobState::Failed,
            artifacts: Vec::new(),
            manifest: None,
            failure: Some(failure),
            attempts: Vec::new(),
        };
        assert!(fits("ended", &Event::new(1, refused.tenant.clone(), refused.id, 0, ended)) < 64 * 1024);
    }
}

#[test]
fn a_long_name_is_not_quoted_twice() {
    // A label that is no text: the decoder names it by its path, and says what it found.
    let (key, value) = ("k".repeat(400_000), "v".repeat(400_000));
    let job = json!({"id": samples::job_id(), "labels": {key.as_str(): {value.as_str(): 1}}});
    let error = codec::decode::<Job>(None, job.to_string().as_bytes()).expect_err("no text");
    let codec::DecodeError::Malformed { field, .. } = &error else { panic!("{error}") };
    let failure = Failure::invalid(field, format!("the job cannot be read: {error}"));
    let bytes = fits("failure", &failure);
    assert!(bytes < 2_000 && failure.message.contains("bytes)"), "{bytes}: {failure:?}");
}

#[test]
fn a_claim() {
    let outcome = Outcome {
        artifacts: artifacts(),
        manifest: manifest(),
        failure: Some(failure()),
        ..Outcome::default()
    };
    fits("claim", &AttemptRecord { outcome: Some(outcome), ..samples::attempt_record() });
}

#[test]
fn what_is_put_aside() {
    let job = codec::encode(&largest_job());
    // As long as a publish can be at all, and what fails for good after all its attempts.
    for payload in [vec![0xff; 900_000], vec![b'{'; MESSAGE_MAX_BYTES as usize], job] {
        let original = ("argosy.jobs.standard.studio-a", Some("application/json"), payload.as_slice());
        let brief = |facts: AttemptFacts| AttemptFacts {
            failure: facts.failure.as_ref().map(Failure::brief),
            ..facts
        };
        let attempts = all_attempts().into_iter().map(brief).collect();
        let parked = Parked::new(1, failure(), original, attempts);
        fits("parked", &parked);
        let is_whole = payload.len() < MESSAGE_MAX_BYTES as usize;
        assert_eq!(parked.original().is_ok_and(|bytes| bytes == payload), is_whole);
    }
}
