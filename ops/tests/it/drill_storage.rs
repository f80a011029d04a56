//! What a drill fills, on a real broker: the artifact store refuses what is new and keeps what it has, and it is made
//! larger again even when the broker is down at the moment.

use crate::repository;
use crate::scratch;
use runtime::broker::Broker;
use runtime::config::NatsConfig;
use schemas::topology::{Topology, bucket};
use servers::{Found, NatsOptions, NatsServer};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use trials::drill::storage::Storage;

const LIMIT: Duration = Duration::from_secs(60);

async fn max_bytes(broker: &Broker) -> i64 {
    let stream = broker.jetstream.get_stream(format!("OBJ_{}", bucket::ARTIFACTS)).await.expect("the store");
    stream.cached_info().config.max_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_store_refuses_keeps_all_files_and_is_made_larger_by_a_broker_that_was_down() {
    let (_scratch, dir) = scratch();
    let found = Found::load(repository()).expect("run ops/scripts/obtain first");
    let mut server = NatsServer::start(&found, NatsOptions::new(&dir)).await.expect("a broker");
    let config = NatsConfig { url: server.url().into(), ..NatsConfig::default() };
    let broker = Broker::connect(&config, "test").await.expect("it answers");
    runtime::topology::apply(&broker.jetstream, &Topology::new(1)).await.expect("the topology");
    let own = max_bytes(&broker).await;
    let files = broker.jetstream.get_object_store(bucket::ARTIFACTS).await.expect("the store");
    let bytes = [7_u8; 4_096];
    for n in 0..20 {
        files.put(format!("before-{n}").as_str(), &mut bytes.as_slice()).await.expect("there is room");
    }
    let storages = Storage::all(&broker.jetstream).await.expect("all refuse what is new");
    let store = &storages[0];
    assert_eq!(store.name(), "artifact-store");

    tokio::time::timeout(LIMIT, store.fill()).await.expect("filled");
    assert!(max_bytes(&broker).await < 200_000, "of {own}");
    let mut taken = 0;
    while files.put(format!("full-{taken}").as_str(), &mut bytes.as_slice()).await.is_ok() {
        taken += 1;
        assert!(taken < 10, "it is never full");
    }
    for n in 0..20 {
        let mut file = files.get(format!("before-{n}")).await.expect("it is kept");
        let mut read = Vec::new();
        file.read_to_end(&mut read).await.expect("whole");
        assert_eq!(read, bytes, "file {n}");
    }

    server.kill9().expect("killed");
    let again = async { server.restart().await.expect("back") };
    let (enlarged, ()) = tokio::join!(store.enlarge_within(LIMIT), again);
    enlarged.expect("made larger");
    assert_eq!(max_bytes(&broker).await, own);
    files.put("after", &mut bytes.as_slice()).await.expect("there is room again");

    for storage in &storages[1..] {
        let config = async |name: &str| {
            let stream = broker.jetstream.get_stream(name).await.expect("it is there");
            stream.cached_info().config.clone()
        };
        let own = config(storage.stream()).await;
        tokio::time::timeout(LIMIT, storage.fill()).await.expect("filled");
        assert!(config(storage.stream()).await.max_bytes < 200_000, "{}", storage.name());
        storage.enlarge_within(LIMIT).await.expect("made larger");
        assert_eq!(config(storage.stream()).await, own, "{} is left as it was", storage.name());
    }
}
