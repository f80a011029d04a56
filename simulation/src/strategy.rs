//! How decisions are made: the shipped router is one way, each baseline another, and a planner over all that wait
//! would be one more. A strategy is notified of what happened, then decides once for the moment.

use crate::world::{Notice, Shared};

/// A way to decide.
pub trait Strategy {
    /// Something happened. A job that arrived, or whose attempt failed, is the strategy's to place or to end.
    fn notice(&mut self, world: &Shared, notice: Notice);

    /// Everything of this moment has happened: places what is to be placed.
    fn decide(&mut self, world: &Shared);
}
