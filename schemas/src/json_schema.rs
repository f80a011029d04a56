//! JSON Schema of every message, for people who publish without our crates.

use schemars::{Schema, schema_for};

/// File name (without `.json`) and schema of every message.
#[must_use]
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("job", schema_for!(crate::Job)),
        ("assignment", schema_for!(crate::Assignment)),
        ("dead_letter", schema_for!(crate::DeadLetter)),
        ("event", schema_for!(crate::Event)),
        ("parked", schema_for!(crate::Parked)),
        ("progress", schema_for!(crate::Progress)),
        ("offer", schema_for!(crate::Offer)),
        ("attempt_record", schema_for!(crate::AttemptRecord)),
        ("key_record", schema_for!(crate::KeyRecord)),
        ("endpoint_bill", schema_for!(crate::bill::EndpointBill)),
        ("breaker", schema_for!(crate::breaker::BreakerRecord)),
        ("reserve_request", schema_for!(crate::reserve::ReserveRequest)),
        ("reserve_reply", schema_for!(crate::reserve::ReserveReply)),
        ("job_request", schema_for!(crate::api::JobRequest)),
        ("status_reply", schema_for!(crate::api::StatusReply)),
        ("explain_reply", schema_for!(crate::api::ExplainReply)),
        ("estimate_request", schema_for!(crate::api::EstimateRequest)),
        ("estimate_reply", schema_for!(crate::api::EstimateReply)),
        ("cancel_reply", schema_for!(crate::api::CancelReply)),
        ("backends_reply", schema_for!(crate::api::BackendsReply)),
        ("catalog", schema_for!(crate::Catalog)),
        ("price_list", schema_for!(crate::PriceList)),
        ("policy", schema_for!(crate::PolicyConfig)),
        ("tenants", schema_for!(crate::TenantsConfig)),
    ]
}
