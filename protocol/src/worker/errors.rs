//! Why an assignment is not settled by this delivery.

use schemas::{Backend, Class};

use crate::errors::{ClaimError, PortError, PublishError};

/// Why an assignment is handed back. Nothing is lost: it is delivered again, and its claim says how far it got.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    /// An event or a failed attempt was not stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broker did not take the acknowledgement.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The claim could not be read or written.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The outcome is not in the claim, so it must not be published.
    #[error("the outcome was not recorded: {0}")]
    NotRecorded(#[source] ClaimError),
    /// The catalog has changed since the job was placed.
    #[error("the catalog has no service {backend}/{class} any more")]
    NoService {
        /// Where it was placed.
        backend: Backend,
        /// In which class.
        class: Class,
    },
    /// The process stops, and the provider works on.
    #[error("left at the provider, to be resumed")]
    LeftAtProvider,
    /// The process stops, and the result is delivered.
    #[error("delivered and left where it is kept, to be stored")]
    LeftDelivered,
    /// The backend did not return after the hard stop.
    #[error("the backend did not stop in time")]
    NotAborted,
    /// The claim is not as it was when the wait for it began.
    #[error("the claim changed in between")]
    ClaimChanged,
    /// The claim was there when the wait for it began.
    #[error("its claim is gone")]
    ClaimGone,
    /// The process stops while the assignment waits.
    #[error("stopping")]
    Stopping,
}
