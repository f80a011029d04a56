//! Limits that several parts of a connection share.

use std::time::Duration;

/// How long the broker may take to answer a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
