//! A tenant that nobody knows, said where a command finds nothing of it: its name may be mistyped.

use super::session::Session;
use crate::say;
use async_nats::jetstream::{self, stream::DirectGetErrorKind};
use client::documents;
use ledger_read::JobFilter;
use schemas::topology::stream;
use schemas::{Tenant, TenantsConfig, subjects};

/// Whose jobs are those of which nobody said whose they are.
const DEFAULT: &str = "default";
/// Entries that are named.
const NAMED_MAX: usize = 8;

/// Says on standard error that a tenant is unknown, if it is certain: it has no entry, and nothing of it was ever seen.
/// It is no error: whether tenants need an entry is for document `tenants` to say.
pub(crate) async fn note(session: &Session, tenant: &Tenant) {
    if let Ok(Some(tenants)) = unlisted(session, tenant).await {
        say::warning(session.json, &words(tenant, &tenants));
    }
}

/// The document, if a tenant is known neither there nor anywhere else.
async fn unlisted(session: &Session, tenant: &Tenant) -> anyhow::Result<Option<TenantsConfig>> {
    if [DEFAULT, subjects::UNKNOWN].contains(&tenant.as_str()) {
        return Ok(None);
    }
    let jetstream = session.broker().await?.jetstream;
    let (_, tenants) = documents::tenants(&jetstream).await?;
    if tenants.tenants.contains_key(tenant) || is_in_streams(&jetstream, tenant).await? {
        return Ok(None);
    }
    if session.has_database() {
        let filter = JobFilter { tenant: Some(tenant.clone()), ..JobFilter::default() };
        if !session.reader().await?.jobs(&filter, 1).await?.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(tenants))
}

async fn is_in_streams(jetstream: &jetstream::Context, tenant: &Tenant) -> anyhow::Result<bool> {
    let prefix = subjects::PREFIX;
    for (name, subject) in [
        (stream::JOBS, format!("{prefix}.jobs.*.{tenant}")),
        (stream::EVENTS, format!("{prefix}.events.{tenant}.>")),
    ] {
        match jetstream.get_stream(name).await?.direct_get_last_for_subject(subject).await {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn words(tenant: &Tenant, tenants: &TenantsConfig) -> String {
    let named: Vec<&str> = tenants.tenants.keys().take(NAMED_MAX).map(Tenant::as_str).collect();
    let more = if tenants.tenants.len() > NAMED_MAX { ", …" } else { "" };
    let entries = if named.is_empty() {
        "no tenant has one".to_owned()
    } else {
        format!("those with one are {}{more}", named.join(", "))
    };
    format!(
        "tenant {tenant} is unknown: nothing of it was ever seen, and it has no entry in document tenants; {entries}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_that_may_be_meant_are_named() {
        let tenants = |names: &[String]| -> TenantsConfig {
            let entries: serde_json::Map<_, _> = names
                .iter()
                .map(|name| (name.clone(), serde_json::json!({ "allow_paid": "never" })))
                .collect();
            let document = serde_json::json!({ "default": { "allow_paid": "never" }, "tenants": entries });
            serde_json::from_value(document).expect("a document")
        };
        let strange = "studoi-a".parse().expect("a name");
        let said = words(&strange, &tenants(&["studio-a".to_owned(), "studio-b".to_owned()]));
        assert!(
            said.starts_with("tenant studoi-a is unknown") && said.ends_with("studio-a, studio-b"),
            "{said}"
        );
        assert!(words(&strange, &tenants(&[])).ends_with("no tenant has one"));
        let many: Vec<String> = (0..20).map(|nth| format!("t-{nth}")).collect();
        assert!(words(&strange, &tenants(&many)).ends_with(", …"));
    }
}
