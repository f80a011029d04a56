//! Who is told how far a run is.

/// What a demo or a drill tells while it runs.
pub trait Audience {
    /// So many of all have ended.
    fn ended(&mut self, ended: usize, all: usize);
    /// Something worth a line.
    fn line(&mut self, line: &str);
}
