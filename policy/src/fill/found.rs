//! Where the search for a wish's place ends.

use std::collections::BTreeSet;

use super::graph::{Place, Unclear};

/// What a search came to.
#[derive(Debug)]
pub(super) struct Found {
    /// Where the wish belongs.
    pub(super) places: BTreeSet<Place>,
    /// Inputs that follow the wish, whatever they hold.
    pub(super) along: BTreeSet<Place>,
    /// Inputs that hold its value, and that of something else.
    pub(super) shared: BTreeSet<Place>,
    /// Why it is not certain: clauses.
    pub(super) doubts: Vec<String>,
}

impl Found {
    pub(super) const fn new() -> Self {
        Self { places: BTreeSet::new(), along: BTreeSet::new(), shared: BTreeSet::new(), doubts: Vec::new() }
    }

    pub(super) fn doubt(why: impl Into<String>) -> Self {
        Self { doubts: vec![why.into()], ..Self::new() }
    }

    /// Takes in the end of one branch.
    pub(super) fn end(&mut self, end: Result<Place, Unclear>) {
        match end {
            Ok(place) => _ = self.places.insert(place),
            Err(Unclear { why, shared }) => {
                self.doubts.push(why);
                self.shared.extend(shared);
            }
        }
    }
}
