//! Why the books cannot be read.

/// A failure to read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's URL is not one.
    #[error("not a database URL: use postgres://user:password@host:port/database ({0})")]
    Url(String),
    /// The database refused, or does not answer.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A sum has more rows than one answer may have; cut, its total would be wrong.
    #[error("more than {max} rows: ask for a shorter window, or for fewer dimensions")]
    TooManyRows {
        /// How many it may have.
        max: i64,
    },
    /// A stored value cannot be read back.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// A stored value that cannot be read back: a newer version wrote it, or a person did.
#[derive(Debug, thiserror::Error)]
#[error("stored event {id} is not readable: {message}")]
pub struct Unreadable {
    /// `<job>.<attempt>.<kind>`.
    pub id: String,
    /// What does not fit.
    pub message: String,
}
