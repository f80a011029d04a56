//! Rows for `COPY … FROM STDIN (FORMAT binary)`: what Postgres takes in for the least, several rows to a page and to a
//! record of its log. It cannot pass over a row that is there, so it is for rows that are known to be new; and for
//! many: `sqlx` leaves Nagle's algorithm on, and the end of a short copy then waits for up to 40 ms until the server
//! has acknowledged what came before it.
//!
//! The format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"; a value is as the type's
//! `send` function writes it.

use ledger_read::clamp_ms;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use uuid::Uuid;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Postgres counts time from the year 2000: that moment in Unix seconds.
const EPOCH_SECONDS: f64 = 946_684_800.0;

/// Bytes that are sent at once, and room for most rows that make them so many: the memory stays where it is, and the
/// system has few pages of it to clear.
const CHUNK: usize = 1 << 20;
const ROOM: usize = 1 << 16;

/// One statement under way.
pub(super) struct Copy<'c> {
    statement: PgCopyIn<&'c mut PgConnection>,
    columns: i16,
    bytes: Vec<u8>,
}

impl<'c> Copy<'c> {
    /// Begins a statement whose rows have so many columns each. Dropped before its end, it stores nothing and costs the
    /// connection.
    pub(super) async fn begin(
        connection: &'c mut PgConnection,
        statement: &str,
        columns: i16,
    ) -> Result<Self, sqlx::Error> {
        let mut bytes = Vec::with_capacity(CHUNK + ROOM);
        bytes.extend_from_slice(SIGNATURE);
        // Neither flags nor a header extension.
        bytes.extend_from_slice(&[0; 8]);
        Ok(Self { statement: connection.copy_in_raw(statement).await?, columns, bytes })
    }

    /// Begins a row: its columns follow, in their order.
    pub(super) async fn row(&mut self) -> Result<&mut Self, sqlx::Error> {
        if self.bytes.len() >= CHUNK {
            self.statement.send(self.bytes.as_slice()).await?;
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
        Ok(self)
    }

    pub(super) fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.value(value.as_bytes())
    }

    pub(super) fn integer(&mut self, value: i32) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    pub(super) fn bigint(&mut self, value: i64) -> &mut Self {
        self.value(&value.to_be_bytes())
    }

    pub(super) fn boolean(&mut self, value: bool) -> &mut Self {
        self.value(&[u8::from(value)])
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.value(value.as_bytes())
    }

    /// A `timestamptz`, of Unix milliseconds: as the function `at_ms` makes it, to the last bit of the latest deadline.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "as Postgres computes it"
    )]
    pub(super) fn at_ms(&mut self, value: i64) -> &mut Self {
        let seconds = clamp_ms(value) as f64 / 1_000.0 - EPOCH_SECONDS;
        self.value(&((seconds * 1_000_000.0).round_ties_even() as i64).to_be_bytes())
    }

    /// A `jsonb`: its version, then its text.
    pub(super) fn jsonb(&mut self, value: &impl Serialize) -> &mut Self {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, 0, 0, 1]);
        // Maps with texts for names, and a buffer that grows: neither fails.
        let _ = serde_json::to_writer(&mut self.bytes, value);
        let length = length(self.bytes.len() - from - 4);
        self.bytes[from..from + 4].copy_from_slice(&length);
        self
    }

    /// A value, or none.
    pub(super) fn maybe<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        if let Some(value) = value {
            return write(self, value);
        }
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        self
    }

    fn value(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(&length(bytes.len()));
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Stores the rows.
    pub(super) async fn end(mut self) -> Result<(), sqlx::Error> {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        self.statement.send(self.bytes.as_slice()).await?;
        self.statement.finish().await.map(|_| ())
    }
}

/// A value is a part of a message, which is far smaller than two gigabytes.
fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes()
}
