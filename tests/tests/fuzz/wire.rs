//! The fleet's own messages in both encodings, the configuration documents, subjects and workflows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use policy::{admit, defaults, validate};
use schemas::api::{BackendsReply, CancelReply, EstimateRequest, ExplainReply, JobRequest, StatusReply};
use schemas::reserve::{ReserveReply, ReserveRequest};
use schemas::workflow::files::{Files, use_by_table};
use schemas::{
    Assignment, AttemptRecord, Catalog, DeadLetter, DecodeError, Encoding, Event, Job, Offer, Parked,
    PolicyConfig, PriceList, Progress, TenantsConfig, codec, samples, subjects, workflow,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::fuzz::corpus;

use crate::memory;
use crate::target::{self, Target};

static CATALOG: LazyLock<Catalog> = LazyLock::new(defaults::catalog);
static POLICY: LazyLock<PolicyConfig> = LazyLock::new(defaults::policy);

const ENCODINGS: [Encoding; 2] = [Encoding::MessagePack, Encoding::Json];

/// Decodes as receivers do, by the first byte; what is understood can be sent on and understood again.
pub(crate) fn wire<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    match codec::decode::<T>(None, bytes) {
        Ok(message) => {
            sent_on(&message);
            true
        }
        Err(DecodeError::Malformed { .. }) => false,
        Err(DecodeError::ContentType(_)) => unreachable!("there was no header"),
    }
}

fn sent_on<T: Serialize + DeserializeOwned>(message: &T) {
    let again = codec::decode::<T>(None, &codec::encode(message));
    if let Err(error) = again {
        panic!("it was read, sent on and not read again: {error}");
    }
}

/// A job goes all the way that a job goes: admitted, rendered, assigned, failed, put aside.
fn job(bytes: &[u8]) -> bool {
    let Ok(job) = codec::decode::<Job>(None, bytes) else { return false };
    // What is not known of it is carried on, refused, or named in few words.
    let warnings = job.warnings();
    assert!(warnings.len() <= 17 && warnings.iter().all(|warning| warning.len() < 400), "{warnings:?}");
    if let Err(failure) = admit::check_unknown(&job) {
        assert!(failure.message.len() < 8_000, "{} bytes", failure.message.len());
        return true;
    }
    if admit::admit(&job, &CATALOG, &POLICY, bytes.len(), samples::TIME_MS).is_err() {
        return true;
    }
    for model in &CATALOG.models {
        let mut graph = model.render(&job.body, job.id, "argosy/x");
        workflow::set_prefix(&mut graph, "argosy/y");
    }
    let assignment = Assignment { job, ..samples::assignment() };
    sent_on(&assignment);
    sent_on(&DeadLetter { assignment, ..samples::dead_letter() });
    true
}

fn event(bytes: &[u8]) -> bool {
    let Ok(event) = codec::decode::<Event>(None, bytes) else { return false };
    let _ = ledger::event_check::check(event.clone());
    sent_on(&event);
    let _ = ledger::fold::fold(&[event.clone(), event]);
    true
}

fn graph(bytes: &[u8]) -> bool {
    let Ok(mut graph) = serde_json::from_slice::<Value>(bytes) else { return false };
    let needs = workflow::requirements(&graph);
    let _ = needs.map(|needs| needs.absent_candidates(&samples::offer()).count());
    let files = Files {
        own: BTreeMap::from([("photo.png", "argosy/a/0-photo.png".to_owned())]),
        server: &|_| false,
        uses: &use_by_table,
        uploads: Some("argosy"),
    };
    let _ = files.rewrite(&mut graph);
    workflow::set_prefix(&mut graph, "argosy/y");
    true
}

fn subject(bytes: &[u8]) -> bool {
    subjects::parse(&String::from_utf8_lossy(bytes)).is_some()
}

/// A target for each encoding, from the golden bytes.
pub(crate) fn golden(name: &str, files: &[&str], check: fn(&[u8]) -> bool) -> Vec<Target> {
    let of = |encoding: usize| files.iter().map(move |file| corpus::golden(file)[encoding].clone());
    let names = ["msgpack", "json"].into_iter().enumerate();
    names.map(|(encoding, ending)| Target::new(format!("{name} {ending}"), of(encoding), check)).collect()
}

/// A target for each encoding, from an example.
pub(crate) fn example<T: Serialize + DeserializeOwned>(name: &str, value: &Value) -> Vec<Target> {
    let message: T = serde_json::from_value(value.clone()).expect("an example that fits");
    let named = ENCODINGS.into_iter().zip(["msgpack", "json"]);
    named
        .map(|(encoding, ending)| {
            Target::new(format!("{name} {ending}"), [encoding.encode(&message)], wire::<T>)
        })
        .collect()
}

#[test]
fn jobs_and_what_becomes_of_them() {
    let workflow = json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0], "a": [[1.5, null]]}},
    });
    let mut with_workflow = samples::job();
    (with_workflow.body.workflow, with_workflow.body.prompt) = (Some(workflow.clone()), None);
    let mut with_unknown = serde_json::to_value(samples::job()).expect("plain data");
    with_unknown["trace"] = json!({"a": [1.5, {"b": null}]});
    with_unknown["body"]["lora"] = json!(["x", -1]);
    with_unknown["body"]["inputs"][0]["mask"] = json!({"c": [[]]});
    let mut with_guards = with_unknown.clone();
    with_guards["constraints"]["max_cost_usd"] = json!("0.25");
    with_guards["options"] = json!({"limits": [{"budget": 1}]});
    let mut jobs = golden("job", &["job"], job);
    for (target, encoding) in jobs.iter_mut().zip(ENCODINGS) {
        target.starts.push(encoding.encode(&with_workflow));
        target.starts.extend([encoding.encode(&with_unknown), encoding.encode(&with_guards)]);
    }
    let assignment = Assignment { job: with_workflow, ..samples::assignment() };
    let mut assignments = golden("assignment", &["assignment"], wire::<Assignment>);
    for (target, encoding) in assignments.iter_mut().zip(ENCODINGS) {
        target.starts.push(encoding.encode(&assignment));
    }
    jobs.extend(assignments);
    jobs.extend(golden("dead letter", &["dead_letter"], wire::<DeadLetter>));
    jobs.push(Target::new("workflow", [workflow.to_string()], graph));
    target::run(jobs);
}

#[test]
fn events_offers_claims() {
    let events = ["assigned", "charged", "ended", "refused", "retrying", "running"];
    let events: Vec<String> = events.iter().map(|kind| format!("event_{kind}")).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let mut targets = golden("event", &events, event);
    targets.extend(golden("offer", &["offer"], wire::<Offer>));
    targets.extend(golden("claim", &["attempt_record"], wire::<AttemptRecord>));
    targets.extend(golden("parked", &["parked"], wire::<Parked>));
    targets.extend(golden("progress", &["progress"], wire::<Progress>));
    targets.extend(golden("reserve request", &["reserve_request"], wire::<ReserveRequest>));
    targets.extend(golden("reserve reply", &["reserve_reply"], wire::<ReserveReply>));
    target::run(targets);
}

type Decoder = fn(&[u8]);

/// A list or a map that claims four thousand million elements sets nothing aside, wherever it stands.
#[test]
fn a_claimed_length_sets_nothing_aside() {
    const CLAIMS: [&[u8]; 4] = [
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xdc, 0xff, 0xff],
        &[0xdd, 0, 0, 0x20, 0, 0xdd, 0, 0, 0x20, 0, 0xdd, 0, 0, 0x20, 0],
    ];
    const SLACK_BYTES: usize = 16 * 1024;
    fn decoder<T: DeserializeOwned>(bytes: &[u8]) {
        drop(codec::decode::<T>(Some("application/msgpack"), bytes));
    }
    let decoders: [(&str, Decoder); 8] = [
        ("job", decoder::<Job>),
        ("assignment", decoder::<Assignment>),
        ("dead_letter", decoder::<DeadLetter>),
        ("event_ended", decoder::<Event>),
        ("attempt_record", decoder::<AttemptRecord>),
        ("offer", decoder::<Offer>),
        ("reserve_request", decoder::<ReserveRequest>),
        ("reserve_reply", decoder::<ReserveReply>),
    ];
    for (name, decode) in decoders {
        let [message, _] = corpus::golden(name);
        let ((), honest) = memory::measured(|| decode(&message));
        let lists = (0..message.len()).filter(|at| matches!(message[*at], 0x80..=0x9f));
        for (at, claim) in lists.flat_map(|at| CLAIMS.map(|claim| (at, claim))) {
            let mut claiming = message.clone();
            claiming.splice(at..=at, claim.iter().copied());
            let ((), held) = memory::measured(|| decode(&claiming));
            assert!(held <= honest + SLACK_BYTES, "{name}: {held} bytes held for a claim at byte {at}");
        }
    }
}

#[test]
fn requests_and_replies() {
    let job = samples::job_id();
    let mut targets = example::<JobRequest>("job request", &json!({"job": job}));
    targets.extend(example::<EstimateRequest>("estimate request", &json!({"job": samples::job()})));
    targets.extend(example::<CancelReply>(
        "cancel reply",
        &json!({"job": job, "state": "running", "effect": "x"}),
    ));
    let status = json!({"job": job, "state": "running", "known": true, "events": samples::events()});
    targets.extend(example::<StatusReply>("status reply", &status));
    let decisions =
        json!({"job": job, "state": "running", "decisions": [samples::decision()], "known": true});
    targets.extend(example::<ExplainReply>("explain reply", &decisions));
    let backends = json!({"time_ms": 1, "backends": [], "ledger_available": true});
    targets.extend(example::<BackendsReply>("backends reply", &backends));
    target::run(targets);
}

#[test]
fn configuration_and_subjects() {
    let checked = |bytes: &[u8]| {
        let Ok(policy) = codec::decode::<PolicyConfig>(None, bytes) else { return false };
        let _ = validate::policy(&policy);
        true
    };
    let catalog = |bytes: &[u8]| {
        let Ok(catalog) = codec::decode::<Catalog>(None, bytes) else { return false };
        let _ = validate::catalog(&catalog);
        let job = samples::job();
        let _ = admit::admit(&job, &catalog, &POLICY, 1, samples::TIME_MS);
        true
    };
    let names = [
        subjects::jobs(schemas::Lane::Batch, &samples::job().tenant),
        "argosy.work.local.image-large.019ab0e0-3a00-7000-8000-000000000001".to_owned(),
        "argosy.dead.cloud.019ab0e0-3a00-7000-8000-000000000001".to_owned(),
        "argosy.events.studio-a.019ab0e0-3a00-7000-8000-000000000001.ended".to_owned(),
        "argosy.parked.unknown.invalid_job.unknown".to_owned(),
        "argosy.progress.studio-a.019ab0e0-3a00-7000-8000-000000000001".to_owned(),
    ];
    target::run(vec![
        Target::new("policy", [defaults::POLICY_JSON], checked),
        Target::new("catalog", [defaults::CATALOG_JSON], catalog),
        Target::new("prices", [defaults::PRICES_JSON], wire::<PriceList>),
        Target::new("tenants", [defaults::TENANTS_JSON], wire::<TenantsConfig>),
        Target::new("subject", names, subject),
    ]);
}
