//! The names of all fields that this version knows.

/// Fields of a job itself.
pub const JOB_FIELDS: [&str; 10] = [
    "schema_version",
    "id",
    "idempotency_key",
    "time_ms",
    "tenant",
    "lane",
    "body",
    "constraints",
    "preferences",
    "labels",
];

/// Fields of `body`.
pub const BODY_FIELDS: [&str; 13] = [
    "kind",
    "prompt",
    "negative_prompt",
    "workflow",
    "extra_data",
    "keep_previews",
    "model",
    "width",
    "height",
    "steps",
    "seed",
    "duration_ms",
    "inputs",
];

/// Fields of `constraints`.
pub const CONSTRAINTS: [&str; 8] = [
    "max_cost_micro_usd",
    "deadline_ms",
    "backends",
    "exclude_backends",
    "allow_paid",
    "retry_unknown",
    "failover_on_refusal",
    "max_attempts",
];

/// Fields of `preferences`.
pub const PREFERENCES: [&str; 3] = ["profile", "backend", "patience_ms"];
