//! Bucket `BILLS`: what providers bill for an endpoint and UTC day.
//!
//! Several workers may serve one endpoint, and each may be killed at any moment: a document is read, merged
//! (`policy::overhead::merge`) and written under the condition that no other write came between.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use policy::overhead::{BillUpdate, merge};
use protocol::PortError;
use schemas::bill::EndpointBill;
use schemas::codec;
use schemas::topology::{BucketSpec, Topology, bucket};

use crate::exit::{Exit, Fault};
use crate::telemetry;
use crate::topology::{bucket_config, open_bucket};

/// What errors name.
const BUCKET: &str = "bucket BILLS";
/// Writes of others that are waited out before giving up.
const TRIES: u32 = 20;
/// Pause after each.
const PAUSE: Duration = Duration::from_millis(20);

/// Opens the bucket. A broker whose topology is of an earlier release has none: it is made, with as many copies as
/// the configuration has.
///
/// # Errors
/// The broker does not answer, or refuses the bucket.
pub async fn open(jetstream: &jetstream::Context) -> Result<kv::Store, Fault> {
    let missing = match open_bucket(jetstream, bucket::BILLS).await {
        Err(fault) if fault.exit == Exit::TopologyMissing => fault,
        opened => return opened,
    };
    let config = jetstream.get_stream(format!("KV_{}", bucket::CONFIG)).await;
    let Ok(config) = config else { return Err(missing) };
    let replicas = config.cached_info().config.num_replicas;
    let spec =
        Topology::new(replicas).buckets.into_iter().find(|spec: &BucketSpec| spec.name == bucket::BILLS);
    let Some(spec) = spec else { return Err(missing) };
    let made = jetstream.create_or_update_key_value(bucket_config(&spec, replicas)).await;
    made.map_err(|error| Fault::new(Exit::BrokerAbsent, format!("{BUCKET}: {}", telemetry::chain(&error))))
}

/// Adds an update to an endpoint's day.
///
/// # Errors
/// The broker does not answer, what is there cannot be read, or others write without a pause.
pub async fn publish(
    store: &kv::Store,
    day: &EndpointBill,
    update: &BillUpdate,
) -> Result<EndpointBill, PortError> {
    let away = |source: protocol::errors::Source| PortError::Away { what: BUCKET, source };
    let key = day.key();
    for _ in 0..TRIES {
        let entry = store.entry(key.as_str()).await.map_err(|error| away(error.into()))?;
        let entry = entry.filter(|entry| entry.operation == kv::Operation::Put);
        let Some(entry) = entry else {
            let bill = merge(day.clone(), update);
            match store.create(key.as_str(), codec::encode(&bill).into()).await {
                Ok(_) => return Ok(bill),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
                Err(error) => return Err(away(error.into())),
            }
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let read = codec::decode::<EndpointBill>(None, &entry.value);
        let read = read.map_err(|error| PortError::Unreadable { what: BUCKET, source: Box::new(error) })?;
        let bill = merge(read, update);
        match store.update(key.as_str(), codec::encode(&bill).into(), entry.revision).await {
            Ok(_) => return Ok(bill),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
            Err(error) => return Err(away(error.into())),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(away(format!("{key} is written by others without a pause").into()))
}
