//! What speaks against one backend, gathered as it is found.

use std::borrow::Cow;

use schemas::{FilterReason, Rejection};

/// All that speaks against a backend; the order in which it is added is the order in which it is told.
#[derive(Default)]
pub(super) struct Rejections(Vec<Rejection>);

impl Rejections {
    pub(super) fn add(&mut self, reason: FilterReason, detail: impl Into<Cow<'static, str>>) {
        self.0.push(Rejection { reason, detail: detail.into() });
    }

    pub(super) fn into_list(self) -> Vec<Rejection> {
        self.0
    }
}
