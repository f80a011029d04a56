//! Whether what Postgres commits survives a power failure.

use crate::{Error, Reader};

/// The settings of the database's server that decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durability {
    /// Commits reach the disk.
    pub fsync: bool,
    /// Pages are whole after a crash.
    pub full_page_writes: bool,
    /// A commit is answered after it was written, not before.
    pub synchronous_commit: bool,
}

impl Reader {
    /// Reads the server's settings.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn durability(&self) -> Result<Durability, Error> {
        let row = sqlx::query!(
            r#"SELECT current_setting('fsync') = 'on' AS "fsync!",
                      current_setting('full_page_writes') = 'on' AS "full_page_writes!",
                      current_setting('synchronous_commit') <> 'off' AS "synchronous_commit!""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Durability {
            fsync: row.fsync,
            full_page_writes: row.full_page_writes,
            synchronous_commit: row.synchronous_commit,
        })
    }
}
