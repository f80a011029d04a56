//! What breaks a promise, in words.

/// Findings listed in words; the counts go on.
const FINDINGS_MAX: usize = 100;

/// Collects findings up to a bound, and says so when it is reached.
#[derive(Default)]
pub(super) struct Findings {
    listed: Vec<String>,
    unlisted: u64,
}

impl Findings {
    pub(super) fn push(&mut self, finding: String) {
        if self.listed.len() < FINDINGS_MAX {
            self.listed.push(finding);
        } else {
            self.unlisted += 1;
        }
    }

    pub(super) fn into_words(mut self) -> Vec<String> {
        if self.unlisted > 0 {
            self.listed.push(format!("and {} more", self.unlisted));
        }
        self.listed
    }
}
