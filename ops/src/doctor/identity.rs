//! Whether the monitoring pages are those of the broker that commands are connected to.

use super::{Finding, Varz, Verdict};

/// The broker that a command is connected to, as it introduced itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    /// Its id, made anew at each start.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Its cluster's name, if it is in one.
    pub cluster: Option<String>,
}

/// Compares the nodes that tell about themselves with the broker that is connected to: what another broker says about
/// itself says nothing of this one. None when the pages are its own, or none are known.
#[must_use]
pub fn identity(connected: &Connected, nodes: &[Varz]) -> Option<Finding> {
    const CHECK: &str = "broker identity";
    let is_of_cluster = |node: &Varz| {
        connected.cluster.as_ref().is_some_and(|name| !name.is_empty() && *name == node.cluster.name)
    };
    if nodes.is_empty() {
        return None;
    }
    let has_own_page = nodes.iter().any(|node| node.server_id == connected.server_id);
    let stranger = nodes.iter().find(|node| node.server_id != connected.server_id && !is_of_cluster(node));
    let seen = match stranger {
        Some(node) => format!(
            "the monitoring page is of server {} ({}), and the connection goes to {} ({})",
            node.server_name, node.server_id, connected.server_name, connected.server_id
        ),
        None if has_own_page => return None,
        None => {
            format!("no monitoring page is of server {}, which the connection goes to", connected.server_name)
        }
    };
    let cure = "give --monitor the addresses of the broker that --nats names, one for each of its nodes";
    Some(Finding::not(Verdict::Bad, CHECK, seen, cure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Cluster;

    fn node(id: &str, cluster: &str) -> Varz {
        let cluster = Cluster { name: cluster.to_owned(), ..Cluster::default() };
        Varz { server_id: id.to_owned(), server_name: format!("name-{id}"), cluster, ..Varz::default() }
    }

    fn connected(cluster: Option<&str>) -> Connected {
        Connected {
            server_id: "A".to_owned(),
            server_name: "name-A".to_owned(),
            cluster: cluster.map(str::to_owned),
        }
    }

    #[test]
    fn only_the_brokers_own_pages_are_believed() {
        let single = connected(None);
        assert_eq!(identity(&single, &[]), None);
        assert_eq!(identity(&single, &[node("A", "")]), None);
        let other = identity(&single, &[node("B", "")]).expect("another broker");
        assert!(other.verdict == Verdict::Bad && other.seen.contains("name-B"), "{other:?}");
        let clustered = connected(Some("east"));
        assert_eq!(identity(&clustered, &[node("A", "east"), node("B", "east")]), None);
        assert!(identity(&clustered, &[node("A", "east"), node("C", "west")]).is_some());
        assert!(identity(&clustered, &[node("B", "east")]).is_some(), "its own page is missing");
    }
}
