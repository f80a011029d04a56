//! How much a broker may still set aside, and what of it a new fleet takes.

use crate::doctor::Varz;
use async_nats::jetstream;

/// Half of what the broker may still set aside: the limit of its account, or else of the node that may set aside least. None
/// where neither is known.
pub(crate) async fn half_of_free(jetstream: &jetstream::Context, nodes: &[Varz]) -> Option<i64> {
    let account = jetstream.query_account().await.ok();
    let of_account = account.and_then(|account| {
        let limit = account.limits.max_storage.filter(|limit| *limit > 0)?;
        Some(limit.saturating_sub(i64::try_from(account.storage).unwrap_or(i64::MAX)))
    });
    of_account.or_else(|| of_nodes(nodes)).map(|free| free.max(0) / 2)
}

/// What the node may still set aside that may least.
fn of_nodes(nodes: &[Varz]) -> Option<i64> {
    let free = nodes.iter().filter_map(|node| {
        let limit = node.jetstream.config.as_ref()?.max_storage;
        (limit > 0).then(|| limit.saturating_sub(node.jetstream.stats.reserved_storage))
    });
    free.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_node_decides() {
        let node = |json: &str| serde_json::from_str::<Varz>(json).expect("varz");
        let large = node(r#"{"jetstream":{"config":{"max_storage":900},"stats":{"reserved_storage":100}}}"#);
        let small = node(r#"{"jetstream":{"config":{"max_storage":500},"stats":{}}}"#);
        assert_eq!(of_nodes(std::slice::from_ref(&large)), Some(800));
        assert_eq!(of_nodes(&[large, small]), Some(500));
        assert_eq!(of_nodes(&[node("{}")]), None);
        assert_eq!(of_nodes(&[]), None);
    }
}
