//! A broker of three nodes keeps going without one of them; the shipped configuration files are what the server
//! takes.

use crate::repository;
use crate::scratch;
use async_nats::jetstream::Context;
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use runtime::publish::{Message, Published};
use runtime::topology::apply;
use schemas::topology::{Topology, stream};
use servers::{Found, LinkState, NatsCluster, NatsOptions};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Does it until it succeeds: a cluster that elects a leader refuses everything meanwhile.
async fn until<T, E: std::fmt::Display>(what: &str, mut work: impl AsyncFnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert!(started.elapsed() < LIMIT, "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn message(number: u32) -> Message {
    let tenant = "default".parse().expect("a name");
    let subject = schemas::subjects::jobs(schemas::Lane::Batch, &tenant);
    Message::new(subject, format!("message-{number}"), &number)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_go_on_with_one_killed_or_parted() {
    let (_scratch, dir) = scratch();
    let found = Found::load(repository()).expect("run ops/scripts/obtain first");
    let mut cluster = NatsCluster::start(&found, NatsOptions::new(&dir), 3).await.expect("three nodes");
    let config = NatsConfig { url: cluster.url().into(), ..NatsConfig::default() };
    let broker = Broker::connect(&config, "test").await.expect("a node answers");
    let (jetstream, topology) = (&broker.jetstream, Topology::new(3));
    until("topology", async || apply(jetstream, &topology).await).await;
    let differences = runtime::topology::verify(jetstream, &topology).await.expect("the broker answers");
    assert_eq!(differences, Vec::<String>::new());
    let published = until("first", async || broker.publisher.publish(&message(0)).await).await;
    assert_eq!(published, Published::New);
    for node in 0..3 {
        cluster.nodes[node].kill9().expect("killed");
        until("without a node", async || broker.publisher.publish(&message(10 + node as u32)).await).await;
        cluster.nodes[node].restart().await.expect("back");
        let (_, links) = cluster.parts();
        let state = if node == 0 { LinkState::Stalled } else { LinkState::Cut };
        links.set(node, state);
        let others = NatsConfig { url: cluster.nodes[(node + 1) % 3].url().into(), ..NatsConfig::default() };
        let other = Broker::connect(&others, "test").await.expect("the others answer");
        until("parted", async || other.publisher.publish(&message(20 + node as u32)).await).await;
        cluster.parts().1.set(node, LinkState::Open);
        // With one that is still behind, the next to go would be the second.
        until("all are there", async || all_there(jetstream).await).await;
    }
    assert_eq!(until("all are there", async || all_there(jetstream).await).await, 7);
}

/// The messages of the stream of jobs, once both followers have what its leader has.
async fn all_there(jetstream: &Context) -> Result<u64, String> {
    let jobs = jetstream.get_stream(stream::JOBS).await.map_err(|error| error.to_string())?;
    let replicas = jobs.cached_info().cluster.as_ref().map_or(0, |cluster| cluster.replicas.len());
    let current = jobs.cached_info().cluster.iter().flat_map(|cluster| &cluster.replicas);
    match current.filter(|replica| replica.current).count() {
        2 => Ok(jobs.cached_info().state.messages),
        current => Err(format!("{current} of {replicas}")),
    }
}

#[test]
fn the_shipped_configurations_are_valid_and_sync() {
    let found = Found::load(repository()).expect("run ops/scripts/obtain first");
    for name in ["single.conf", "cluster.conf"] {
        let path = repository().join("ops").join("nats").join(name);
        let mut check = Command::new(&found.nats_server);
        check.args(["-t", "--config"]).arg(&path).env("NODE", "argosy-1").env("HOST", "10.0.0.1");
        let output = check.output().expect("nats-server runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&path).expect("readable");
        let settings = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        assert!(settings.clone().any(|line| line.trim() == "sync_interval: always"), "{name} does not sync");
    }
}
