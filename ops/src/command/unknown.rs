//! An id that is known nowhere.

use super::session::Session;
use super::tenant_note;
use crate::exit::DoesNotHold;
use schemas::{JobId, Tenant};

/// No router, no lane and no event knows the id, or they know it as another tenant's. Where the tenant is unknown too,
/// that is said beside it.
pub(crate) async fn unknown(session: &Session, job: JobId, tenant: Option<&Tenant>) -> anyhow::Error {
    if let Some(tenant) = tenant {
        tenant_note::note(session, tenant).await;
    }
    DoesNotHold(format!("job {job} is unknown: nothing is known of this id")).into()
}
