//! Rows for `COPY … FROM STDIN (FORMAT binary)`: what Postgres takes in for the least, several rows to a page and to a
//! record of its log. It cannot pass over a row that is there, so it is for rows that are known to be new.
//!
//! The format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"; a value is as the type's
//! `send` function writes it.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::calendar::clamp_ms;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Postgres counts time from the year 2000: that moment in Unix milliseconds.
const EPOCH_MS: i64 = 946_684_800_000;

/// Bytes that are sent at once.
const CHUNK: usize = 1 << 20;

/// The rows of one statement.
pub(super) struct Copy {
    columns: i16,
    bytes: Vec<u8>,
}

impl Copy {
    /// No rows yet, of so many columns each.
    pub(super) fn of(columns: i16) -> Self {
        let mut bytes = Vec::with_capacity(CHUNK);
        bytes.extend_from_slice(SIGNATURE);
        // Neither flags nor a header extension.
        bytes.extend_from_slice(&[0; 8]);
        Self { columns, bytes }
    }

    /// Begins a row: its columns follow, in their order.
    pub(super) fn row(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
        self
    }

    pub(super) fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.value(value.as_bytes())
    }

    pub(super) fn integer(&mut self, value: i32) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.value(value.as_bytes())
    }

    /// A `timestamptz`, of Unix milliseconds.
    pub(super) fn at_ms(&mut self, value: i64) -> &mut Self {
        self.value(&((clamp_ms(value) - EPOCH_MS) * 1_000).to_be_bytes())
    }

    fn value(&mut self, bytes: &[u8]) -> &mut Self {
        // A value is a part of a message, which is far smaller than two gigabytes.
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Stores the rows.
    pub(super) async fn into_table(
        mut self,
        connection: &mut PgConnection,
        statement: &str,
    ) -> Result<(), sqlx::Error> {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        for chunk in self.bytes.chunks(CHUNK) {
            copy.send(chunk).await?;
        }
        copy.finish().await.map(|_| ())
    }
}
