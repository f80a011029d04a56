//! When a null worker began with a job: told outside of any stream, in microseconds, so that the latency of a
//! fleet can be measured finer than its own messages tell time.

use bytes::Bytes;
use runtime::clock::now_us;
use schemas::JobId;
use uuid::Uuid;

/// Where it is told.
pub const SUBJECT: &str = "argosy.bench.started";

/// Tells.
#[derive(Debug, Clone)]
pub struct Started {
    client: async_nats::Client,
}

impl Started {
    /// Tells on a connection.
    #[must_use]
    pub const fn new(client: async_nats::Client) -> Self {
        Self { client }
    }

    /// Tells that a job begins now. What is not told is missing from the figures, and counted as missing.
    pub async fn tell(&self, job: JobId) {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(job.0.as_bytes());
        bytes[16..].copy_from_slice(&now_us().to_be_bytes());
        let _ = self.client.publish(SUBJECT, Bytes::copy_from_slice(&bytes)).await;
    }
}

/// Reads what was told: the job, and when, Unix microseconds.
#[must_use]
pub fn read(payload: &[u8]) -> Option<(JobId, i64)> {
    let (id, at_us) = payload.split_first_chunk::<16>()?;
    Some((JobId(Uuid::from_bytes(*id)), i64::from_be_bytes(at_us.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_start_is_none() {
        assert_eq!(read(b"short"), None);
        assert_eq!(read(&[0; 25]), None);
        let job = JobId::new();
        let mut bytes = job.0.as_bytes().to_vec();
        bytes.extend(7i64.to_be_bytes());
        assert_eq!(read(&bytes), Some((job, 7)));
    }
}
