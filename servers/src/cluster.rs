//! The broker as one node or as a cluster on loopback, whose nodes reach one another only over links that can be
//! cut: each has its own link to each other one, and advertises nothing that would lead around them.

use super::link::{Link, LinkState};
use super::nats::Peers;
use super::{Found, NatsOptions, NatsServer, ServerError, free_port};

/// A broker's nodes.
#[derive(Debug)]
pub struct NatsCluster {
    /// The nodes; one alone is no cluster.
    pub nodes: Vec<NatsServer>,
    links: Links,
}

/// The links between the nodes of a cluster.
#[derive(Debug, Default)]
pub struct Links(Vec<(usize, usize, Link)>);

impl Links {
    /// Changes every link that leads to a node or away from it.
    pub fn set(&self, node: usize, state: LinkState) {
        for (_, _, link) in self.0.iter().filter(|(from, to, _)| [*from, *to].contains(&node)) {
            link.set(state);
        }
    }
}

impl NatsCluster {
    /// Starts so many nodes, each in a folder of its own below that of the options, and waits until all answer.
    /// A cluster takes a moment longer until it has elected a leader.
    ///
    /// # Errors
    /// As [`NatsServer::start`], of the first node that does not start.
    pub async fn start(found: &Found, options: NatsOptions, nodes: usize) -> Result<Self, ServerError> {
        if nodes <= 1 {
            let node = NatsServer::start(found, options).await?;
            return Ok(Self { nodes: vec![node], links: Links::default() });
        }
        let dir = options.dir.clone();
        let mut ports = Vec::new();
        while ports.len() < nodes {
            let port = free_port().map_err(ServerError::files(&dir))?;
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let mut links = Links::default();
        let mut starts = Vec::new();
        for (from, &port) in ports.iter().enumerate() {
            let mut routes = Vec::new();
            for (to, &far) in ports.iter().enumerate().filter(|(to, _)| *to != from) {
                let link = Link::to(far, &dir).await?;
                routes.push(link.port());
                links.0.push((from, to, link));
            }
            let name = format!("nats-server-{}", from + 1);
            let options = NatsOptions {
                dir: dir.join(&name),
                name,
                peers: Some(Peers { port, routes }),
                ..options.clone()
            };
            starts.push(NatsServer::start(found, options));
        }
        Ok(Self { nodes: futures::future::try_join_all(starts).await?, links })
    }

    /// Where clients find it: all nodes, separated by commas.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// Where its nodes tell about themselves, separated by commas.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        self.nodes.iter().map(NatsServer::monitor_url).collect::<Vec<_>>().join(",")
    }

    /// The nodes and the links between them, apart.
    pub fn parts(&mut self) -> (&mut [NatsServer], &Links) {
        (&mut self.nodes, &self.links)
    }
}
