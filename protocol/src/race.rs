//! The first of two futures.

use std::pin::pin;

use futures::future::{Either, select};

/// What the first to end brings; the other one is dropped. The left one wins a tie.
pub async fn race<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> Raced<A, B> {
    match select(pin!(left), pin!(right)).await {
        Either::Left((left, _)) => Raced::Left(left),
        Either::Right((right, _)) => Raced::Right(right),
    }
}

/// Which of two ended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raced<A, B> {
    /// The left one.
    Left(A),
    /// The right one.
    Right(B),
}
