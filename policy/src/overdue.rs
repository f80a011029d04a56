//! Whether an assignment that waits for too long is planned again.

use schemas::{Backend, PolicyConfig};

use crate::plan::Plan;

/// It has waited undelivered for longer than the fleet's bound.
#[must_use]
pub fn is_overdue(assigned_at_ms: i64, now_ms: i64, policy: &PolicyConfig) -> bool {
    u64::try_from(now_ms.saturating_sub(assigned_at_ms)).is_ok_and(|waited| waited >= policy.overdue_after_ms)
}

/// Planned again it would go elsewhere, so it is worth taking back. Where it would stay it keeps its turn:
/// taking it back would only put it behind.
#[must_use]
pub fn moves(backend: &Backend, again: &Plan) -> bool {
    matches!(again, Plan::Assign(assign) if assign.backend != *backend)
}
