//! Whether a backend bills, and what of an attempt its provider limits. The word of a document is one of several and
//! the dearest holds: no document makes paid work free, or unlimited work limited.

use schemas::config::BackendConfig;
use schemas::{Offer, Service, Unit, Usage};

/// Backends of providers that bill.
pub const PAID_PROVIDERS: [&str; 2] = ["cloud", "gemini"];

/// The one protocol family of machines that are our own: every other one is spoken with a provider that bills.
pub const FREE_FAMILY: &str = "comfyui";

/// The one protocol family with a limit that the provider keeps and that follows from the reserved money.
pub const LIMITED_FAMILY: &str = "serverless";

/// The one protocol family whose provider keeps a single cap for all that comes back, pictures, words and thoughts
/// together.
pub const CAPPED_FAMILY: &str = "generate_content";

/// Whether one cap at the provider bounds everything that comes back.
#[must_use]
pub fn caps_output(service: &Service) -> bool {
    service.family == CAPPED_FAMILY
}

/// Whether a unit counts what comes back.
#[must_use]
pub const fn is_output(unit: Unit) -> bool {
    matches!(unit, Unit::TextToken | Unit::ImageToken | Unit::VideoToken)
}

/// The shortest limit of that kind that the provider takes: an attempt has to reserve at least as much.
pub const SHORTEST_LIMIT: Usage = Usage { unit: Unit::ExecutionMs, quantity: 5_000 };

/// A backend of this name bills, whatever is configured.
#[must_use]
pub fn is_paid_provider(backend: &str) -> bool {
    PAID_PROVIDERS.contains(&backend)
}

/// A service of this protocol bills, whatever is configured.
#[must_use]
pub fn is_paid_service(service: &Service) -> bool {
    is_paid_provider(service.backend.as_str()) || service.family != FREE_FAMILY
}

/// Whether work at a backend needs consent, reservation and claim: because document `policy` says so, or because its
/// name, the protocol of one of its services or one of its workers does.
#[must_use]
pub fn is_paid<'a>(
    config: &BackendConfig,
    services: impl IntoIterator<Item = &'a Service>,
    offers: impl IntoIterator<Item = &'a Offer>,
) -> bool {
    config.paid
        || is_paid_provider(config.backend.as_str())
        || services.into_iter().any(is_paid_service)
        || offers.into_iter().any(|offer| offer.paid == Some(true))
}

/// Whether the provider stops an attempt when the reserved money is used up, so that less than the maximum may be
/// reserved. A catalog that says so of a protocol without such a limit is not believed.
#[must_use]
pub fn stops_at_reservation(service: &Service) -> bool {
    service.stops_at_reservation && service.family == LIMITED_FAMILY
}

/// Providers take no limits shorter than this, milliseconds, however little time an attempt has.
const SHORTEST_AT_PROVIDER_MS: u64 = 15_000;

/// The longest that an attempt can be at its provider, milliseconds: as long as it may take it may wait in a queue
/// there, then it runs. Prices count until then.
#[must_use]
pub const fn longest_at_provider_ms(timeout_ms: u64) -> u64 {
    let longest_ms = timeout_ms.saturating_mul(2);
    if longest_ms < SHORTEST_AT_PROVIDER_MS { SHORTEST_AT_PROVIDER_MS } else { longest_ms }
}
