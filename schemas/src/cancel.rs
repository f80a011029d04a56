//! Requests to cancel jobs, as they lie in bucket `CANCELS`.
//!
//! A request is the key `<tenant>.<job>`. Processes of release 0.1.0 write and read the key `<job>` alone, so beside the
//! first key a router writes that one too, with the tenant in its value: a process that reads values sees the same
//! request, and cancels no job of another tenant that borrowed the id.

use crate::{JobId, Tenant};

/// How the value begins that says whose job a key `<job>` means.
const FOR: &str = "for ";

/// The value of a request that names no tenant, as release 0.1.0 writes it.
const ANY: &str = "cancel";

/// A request to cancel a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Whose job; none where the request means the job of whatever tenant.
    pub tenant: Option<Tenant>,
    /// Which job.
    pub job: JobId,
}

impl CancelRequest {
    /// Keys and values under which the request is stored, in this order.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, String)> {
        let job = self.job;
        match &self.tenant {
            None => vec![(job.to_string(), ANY.to_owned())],
            Some(tenant) => {
                vec![(format!("{tenant}.{job}"), ANY.to_owned()), (job.to_string(), format!("{FOR}{tenant}"))]
            }
        }
    }

    /// The request that an entry of the bucket is; none where its key is no request's.
    #[must_use]
    pub fn read(key: &str, value: &[u8]) -> Option<Self> {
        if let Some((tenant, job)) = key.split_once('.') {
            return Some(Self { tenant: Some(tenant.parse().ok()?), job: job.parse().ok()? });
        }
        let said = std::str::from_utf8(value).ok().and_then(|value| value.strip_prefix(FOR));
        Some(Self { tenant: said.and_then(|tenant| tenant.parse().ok()), job: key.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn request(tenant: Option<&str>) -> CancelRequest {
        let tenant = tenant.map(|tenant| tenant.parse().expect("a name"));
        CancelRequest { tenant, job: samples::job_id() }
    }

    #[test]
    fn every_entry_of_a_request_is_read_as_that_request() {
        for tenant in [None, Some("studio-a"), Some("cancel"), Some("for")] {
            let request = request(tenant);
            let entries = request.entries();
            assert_eq!(entries.len(), if tenant.is_some() { 2 } else { 1 });
            for (key, value) in &entries {
                assert_eq!(
                    CancelRequest::read(key, value.as_bytes()),
                    Some(request.clone()),
                    "{key}: {value}"
                );
            }
            // What release 0.1.0 reads: a key that is a job's id.
            assert!(entries.iter().any(|(key, _)| *key == request.job.to_string()), "{entries:?}");
        }
        assert_eq!(request(Some("studio-a")).entries()[0].0, format!("studio-a.{}", samples::job_id()));
    }

    #[test]
    fn what_release_0_1_0_or_an_operator_wrote_means_whatever_tenant() {
        let key = samples::job_id().to_string();
        for value in ["cancel", "", "for ", "for Nobody Known", "yes please"] {
            assert_eq!(CancelRequest::read(&key, value.as_bytes()), Some(request(None)), "{value}");
        }
        assert_eq!(CancelRequest::read(&key, &[0xff, 0xfe]), Some(request(None)));
        for (key, value) in [("studio-a", "cancel"), ("studio-a.7", "cancel"), ("", ""), ("Studio.A", "")] {
            assert_eq!(CancelRequest::read(key, value.as_bytes()), None, "{key}");
        }
        assert_eq!(CancelRequest::read(&format!("Studio.{key}"), b"cancel"), None);
    }
}
