//! One filled-in sample of every message: the subject of the golden files, and of examples elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::bill::{EndpointBill, utc_day};
use crate::breaker::{BreakerKind, BreakerRecord};
use crate::digest::{Digest, DigestJob, DigestKind};
use crate::reserve::{Grant, Reservation, ReserveReply, ReserveRequest};
use crate::*;

/// A fixed moment: 2026-11-23T10:00:00Z in Unix milliseconds.
pub const TIME_MS: i64 = 1_795_428_000_000;

/// A fixed job id.
///
/// # Panics
/// Never: the text is a UUID.
#[must_use]
pub fn job_id() -> JobId {
    "019ab0e0-3a00-7000-8000-000000000001".parse().expect("a UUID")
}

fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("samples use valid names"))
}

/// A job with every field set.
#[must_use]
pub fn job() -> Job {
    Job {
        schema_version: SCHEMA_VERSION,
        id: job_id(),
        idempotency_key: Some("order-1042/cover".to_owned()),
        time_ms: TIME_MS,
        tenant: name("studio-a"),
        lane: Lane::Interactive,
        body: Body {
            kind: Kind::Image,
            prompt: Some("a lighthouse at dusk".to_owned()),
            negative_prompt: Some("blurry".to_owned()),
            workflow: None,
            extra_data: None,
            keep_previews: false,
            model: Some("sdxl".to_owned()),
            width: Some(1024),
            height: Some(768),
            steps: Some(20),
            seed: Some(7),
            duration_ms: None,
            inputs: vec![Input {
                name: "photo.png".to_owned(),
                artifact: ArtifactRef::new("ARTIFACTS", "in/photo.png"),
                media_type: "image/png".to_owned(),
                unknown: UnknownFields::default(),
            }],
            unknown: UnknownFields::default(),
        },
        constraints: Constraints {
            max_cost_micro_usd: Some(MicroUsd(100_000)),
            deadline_ms: Some(TIME_MS + 600_000),
            backends: Some(vec![name("local"), name("cloud")]),
            exclude_backends: vec![name("gemini")],
            allow_paid: Some(true),
            retry_unknown: Some(true),
            failover_on_refusal: false,
            max_attempts: Some(4),
            unknown: UnknownFields::default(),
        },
        preferences: Preferences {
            profile: Profile::Cheapest,
            backend: Some(name("local")),
            patience_ms: Some(30_000),
            unknown: UnknownFields::default(),
        },
        labels: BTreeMap::from([("project".to_owned(), "harbour".to_owned())]),
        unknown: UnknownFields::default(),
    }
}

/// A failed attempt's facts.
#[must_use]
pub fn attempt_facts() -> AttemptFacts {
    AttemptFacts {
        attempt: 1,
        backend: name("cloud"),
        class: name("image-large"),
        model: "ampere-24".to_owned(),
        worker: Some(name("cloud-1")),
        simulated: true,
        assigned_at_ms: TIME_MS + 5,
        started_at_ms: Some(TIME_MS + 9),
        finished_at_ms: TIME_MS + 31_000,
        provider_id: Some("c80f-u1".to_owned()),
        usage: vec![Usage { unit: Unit::ExecutionMs, quantity: 30_000 }],
        charge: Charge::posted(MicroUsd(5_700)),
        energy_mj: None,
        failure: Some(
            Failure::new(FailureCode::Transient, "the worker lost its ComfyUI")
                .with_words("WebSocket communication error"),
        ),
        decision: None,
    }
}

/// An assignment: the second attempt of [`job`].
#[must_use]
pub fn assignment() -> Assignment {
    Assignment {
        schema_version: SCHEMA_VERSION,
        time_ms: TIME_MS + 31_010,
        submitted_at_ms: TIME_MS + 2,
        attempt: 2,
        counted_attempts: 1,
        backend: name("local"),
        class: name("image-large"),
        capability: None,
        model: "comfyui".to_owned(),
        timeout_ms: 300_000,
        reserved_micro_usd: MicroUsd::ZERO,
        decision: None,
        warnings: Vec::new(),
        job: job(),
        history: vec![attempt_facts()],
    }
}

/// An assignment that no `assigned` event tells of: the first attempt of [`job`].
#[must_use]
pub fn first_assignment() -> Assignment {
    Assignment {
        time_ms: TIME_MS + 5,
        attempt: 1,
        counted_attempts: 0,
        decision: Some(CarriedDecision::new(&decision())),
        history: Vec::new(),
        ..assignment()
    }
}

/// A decision with a winner and a loser.
#[must_use]
pub fn decision() -> Decision {
    let weights = Terms { priority: 0.4, cost: 0.3, speed: 0.2, queue: 0.1 };
    let winner = Candidate {
        backend: name("local"),
        rejections: Vec::new(),
        terms: Terms { priority: 1.0, cost: 1.0, speed: 0.75, queue: 1.0 },
        score: 0.95,
        expected_micro_usd: MicroUsd::ZERO,
        reserve_micro_usd: MicroUsd::ZERO,
        wait_ms: 0,
        completion_ms: 15_000,
        backlog: 0,
        slots: 2,
        simulated: true,
    };
    let loser = Candidate {
        backend: name("gemini"),
        rejections: vec![Rejection {
            reason: FilterReason::NotAllowedByJob,
            detail: "constraints.exclude_backends names it".into(),
        }],
        terms: Terms::default(),
        score: 0.0,
        expected_micro_usd: MicroUsd(70_000),
        reserve_micro_usd: MicroUsd(80_000),
        ..winner.clone()
    };
    Decision {
        time_ms: TIME_MS + 5,
        attempt: 1,
        class: name("image-large"),
        choice: Some(name("local")),
        reason: "local scores 0.950; nothing else is eligible".to_owned(),
        candidates: vec![winner, loser],
        second_best_micro_usd: None,
        weights,
        consent: "the job allows paid backends".into(),
    }
}

/// A produced file.
#[must_use]
pub fn artifact() -> Artifact {
    Artifact {
        at: ArtifactRef::new("ARTIFACTS", format!("out/{}/1/0.png", job_id())),
        media_type: "image/png".to_owned(),
        bytes: 123_456,
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        width: Some(1024),
        height: Some(768),
        saved: Some(Box::new(SavedAs {
            node: Some("9".to_owned()),
            file_name: "lighthouse_00001_.png".to_owned(),
            subfolder: "sea".to_owned(),
            prefix: Some("sea/lighthouse".to_owned()),
            preview: false,
        })),
    }
}

/// One event of each kind, in the order of a life.
#[must_use]
pub fn events() -> Vec<Event> {
    let facts = JobFacts::of(&job(), Some(name("image-large")), TIME_MS + 2);
    let event = |attempt, fact| Event::new(TIME_MS + 40_000, name("studio-a"), job_id(), attempt, fact);
    vec![
        event(
            1,
            Fact::Assigned {
                facts: facts.clone(),
                backend: name("cloud"),
                class: name("image-large"),
                capability: None,
                model: "ampere-24".to_owned(),
                reserved_micro_usd: MicroUsd(22_800),
                decision: decision(),
            },
        ),
        event(
            1,
            Fact::Running {
                facts: facts.clone(),
                backend: name("cloud"),
                worker: name("cloud-1"),
                started_at_ms: TIME_MS + 9,
            },
        ),
        event(
            1,
            Fact::Retrying {
                facts: facts.clone(),
                ended_attempt: attempt_facts(),
                disposition: "failover".to_owned(),
                next_at_ms: TIME_MS + 31_005,
            },
        ),
        event(
            2,
            Fact::Ended {
                facts: facts.clone(),
                state: JobState::Completed,
                artifacts: vec![artifact()],
                manifest: None,
                failure: None,
                attempts: vec![attempt_facts()],
            },
        ),
        event(2, Fact::Charged { facts, ended_attempt: attempt_facts() }),
        event(0, Fact::Refused { failure: Failure::invalid("body.kind", "unknown kind") }),
        event(0, Fact::Duplicate { of: JobId::from_parts(TIME_MS, [7; 10]) }),
    ]
}

/// A worker's presence.
#[must_use]
pub fn offer() -> Offer {
    Offer {
        schema_version: SCHEMA_VERSION,
        worker: name("local-1"),
        backend: name("local"),
        time_ms: TIME_MS,
        started_at_ms: TIME_MS - 60_000,
        classes: vec![ClassOffer { class: name("image-large"), learned_ms: Some(9_500) }],
        slots: 1,
        free_slots: 1,
        health: Health::Healthy,
        health_reason: None,
        unavailable_until_ms: None,
        clock_skew_ms: None,
        breaker: Some(ServerBreaker {
            consecutive_failures: 5,
            open_until_ms: Some(TIME_MS - 60_000),
            reason: Some("transient: the download failed".to_owned()),
        }),
        running: Vec::new(),
        models: Some(BTreeSet::from(["sd_xl_base_1.0.safetensors".to_owned()])),
        nodes: Some(BTreeSet::from(["KSampler".to_owned(), "SaveImage".to_owned()])),
        file_choices: None,
        capability: None,
        gpus: vec![Gpu {
            name: "NVIDIA GeForce RTX 4090".to_owned(),
            vram_total_bytes: 25_757_220_864,
            vram_free_bytes: 24_000_000_000,
            utilisation_percent: Some(3),
            temperature_celsius: Some(41),
            power_mw: Some(58_000),
            energy_mj: Some(1_234_567),
        }],
        simulated: true,
        paid: Some(false),
    }
}

/// A paid attempt's claim.
#[must_use]
pub fn attempt_record() -> AttemptRecord {
    AttemptRecord {
        schema_version: SCHEMA_VERSION,
        job: job_id(),
        attempt: 1,
        backend: name("cloud"),
        worker: name("cloud-1"),
        state: AttemptState::Started,
        claimed_at_ms: TIME_MS + 8,
        started_at_ms: Some(TIME_MS + 9),
        reserved_micro_usd: MicroUsd(22_800),
        provider_id: Some("c80f-u1".to_owned()),
        outcome: None,
        delivered: None,
        nonce: None,
    }
}

/// What an endpoint was billed on a day.
#[must_use]
pub fn endpoint_bill() -> EndpointBill {
    EndpointBill {
        workers: [name("cloud-1")].into(),
        billed_micro_usd: Some(MicroUsd(12_350)),
        asked_at_ms: Some(TIME_MS),
        seen_micro_usd: MicroUsd(2_470),
        standby_micro_usd: MicroUsd(19_950),
        ..EndpointBill::new(name("cloud"), "jpnw0v75y3qoql".to_owned(), utc_day(TIME_MS), false)
    }
}

/// A model of a provider that is out for a while.
#[must_use]
pub fn breaker() -> BreakerRecord {
    BreakerRecord {
        consecutive_failures: 1,
        open_until_ms: Some(TIME_MS + 3_600_000),
        reason: Some("quota_exhausted: 100 of 100 a day".to_owned()),
        ..BreakerRecord::closed(
            name("gemini"),
            BreakerKind::Quota,
            Some("gemini-3.1-flash-image".to_owned()),
            "router-1".to_owned(),
            TIME_MS,
        )
    }
}

/// The first job that came with a key.
#[must_use]
pub fn key_record() -> KeyRecord {
    KeyRecord {
        schema_version: SCHEMA_VERSION,
        tenant: name("studio-a"),
        job: job_id(),
        content_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        asked_sha256: None,
        time_ms: TIME_MS,
        deadline: None,
    }
}

/// What waits in a router's hands.
#[must_use]
pub fn digest() -> Digest {
    let ways = vec![(name("local"), 0.0, 4_000.0, 4_800.0), (name("cloud"), 6_650.0, 35_000.0, 52_500.0)];
    Digest {
        router: "router-4711-1795428000000".to_owned(),
        tenants: vec![name("studio-a"), name("studio-b")],
        kinds: vec![DigestKind { reference_micro_usd: 6_650.0, ways, capabilities: Vec::new() }],
        jobs: vec![
            DigestJob(TIME_MS, 300_000, None, 1.0, 0, 0),
            DigestJob(TIME_MS + 250, 60_000, Some(TIME_MS + 90_000), 4.0, 1, 0),
        ],
    }
}

/// What lies in the operator's inbox.
#[must_use]
pub fn parked() -> Parked {
    Parked {
        schema_version: SCHEMA_VERSION,
        time_ms: TIME_MS,
        failure: Failure::invalid("body.prompt", "a job needs a prompt or a workflow"),
        subject: "argosy.jobs.interactive.studio-a".to_owned(),
        content_type: Some("application/json".to_owned()),
        payload_base64: "e30=".to_owned(),
        payload: None,
        cut_from_bytes: None,
        attempts: Vec::new(),
    }
}

/// A progress report.
#[must_use]
pub fn progress() -> Progress {
    Progress {
        schema_version: SCHEMA_VERSION,
        time_ms: TIME_MS,
        job: job_id(),
        attempt: 1,
        backend: name("local"),
        worker: name("local-1"),
        phase: Phase::Running,
        step: 5,
        steps: 20,
        detail: Some("KSampler".to_owned()),
    }
}

/// A failed attempt.
#[must_use]
pub fn dead_letter() -> DeadLetter {
    DeadLetter {
        schema_version: SCHEMA_VERSION,
        time_ms: TIME_MS + 31_000,
        assignment: assignment(),
        ended_attempt: attempt_facts(),
    }
}

/// A reservation and its answer.
#[must_use]
pub fn reserve() -> (ReserveRequest, ReserveReply) {
    let reservation = Reservation {
        job: job_id(),
        attempt: 1,
        tenant: name("studio-a"),
        backend: name("cloud"),
        amount_micro_usd: MicroUsd(22_800),
        max_cost_micro_usd: Some(MicroUsd(100_000)),
        time_ms: TIME_MS,
    };
    let refusal = Some("daily budget of tenant studio-a: 5000000 of 5000000 micro-USD are used".to_owned());
    (
        ReserveRequest { schema_version: SCHEMA_VERSION, reservations: vec![reservation] },
        ReserveReply {
            schema_version: SCHEMA_VERSION,
            grants: vec![Grant { granted: false, refusal }],
            error: None,
        },
    )
}
