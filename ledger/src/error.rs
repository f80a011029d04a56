//! What can go wrong at the database, and whether waiting helps.

use ledger_read::Unreadable;
use sqlx::migrate::MigrateError;

/// A failure of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's URL is not one.
    #[error("not a database URL: use postgres://user:password@host:port/database ({0})")]
    Url(String),
    /// The database refused, or is not there.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The migrations could not be applied.
    #[error("migrations: {0}")]
    Migrate(#[from] MigrateError),
    /// A stored event cannot be read back.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The batch is larger than a batch may be.
    #[error("{len} items are more than the {max} that one batch may have")]
    TooMany {
        /// Items in the batch.
        len: usize,
        /// Its limit.
        max: usize,
    },
}

impl Error {
    /// The data itself is what the database objects to (SQLSTATE classes 22 and 23), or cannot be read
    /// back: trying again with the same data gives the same answer. A key that is there already is no matter of
    /// the data: events are told apart before they are stored.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                !error.is_unique_violation()
                    && error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
            }
            Self::Url(_) | Self::Database(_) | Self::Migrate(_) => false,
            Self::Unreadable(_) | Self::TooMany { .. } => true,
        }
    }

    /// Waiting may help: the database is away, overloaded, or two transactions stood in each other's way.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(error)
            | Self::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                is_passing(error)
            }
            Self::Url(_) | Self::Migrate(_) | Self::Unreadable(_) | Self::TooMany { .. } => false,
        }
    }
}

fn is_passing(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return true };
    error.code().is_some_and(|code| {
        // Connection, resources, operator intervention ("starting up"), serialisation.
        ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class))
    })
}
