//! What the operator's inbox takes: a tenant that fills it must leave room for the others, and a failed job ends whether it
//! is kept there or not.

/// Messages of a tenant that are kept whole, whatever their length.
const WHOLE_MESSAGES: u64 = 100;

/// Nothing is added from this share of the inbox on, percent: the rest is for what has to lie there, jobs of a newer
/// schema and events that the ledger cannot book.
const FULL_PERCENT: u64 = 95;

/// What is kept of one more message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxShare {
    /// The reason and the original.
    Whole,
    /// The reason, and the beginning of the original where it is long.
    Brief,
    /// Nothing.
    Nothing,
}

/// The inbox as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbox {
    /// Messages of the tenant in it.
    pub tenant_messages: u64,
    /// Messages that a tenant may have in it.
    pub tenant_messages_max: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold; none where there is no limit.
    pub limit_bytes: Option<u64>,
}

impl Inbox {
    /// How full it is, percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.limit_bytes.and_then(|limit| self.bytes.saturating_mul(100).checked_div(limit)).unwrap_or(0)
    }

    /// What it takes of one more message of the tenant.
    #[must_use]
    pub fn share(&self) -> InboxShare {
        if self.tenant_messages >= self.tenant_messages_max || self.percent() >= FULL_PERCENT {
            return InboxShare::Nothing;
        }
        if self.tenant_messages < WHOLE_MESSAGES.min(self.tenant_messages_max / 2) {
            return InboxShare::Whole;
        }
        InboxShare::Brief
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn inbox(tenant_messages: u64, bytes: u64) -> Inbox {
        let (limit_bytes, tenant_messages_max) = (Some(1_024 * MIB), 20_000);
        Inbox { tenant_messages, tenant_messages_max, bytes, limit_bytes }
    }

    #[test]
    fn a_tenants_first_messages_are_whole_and_those_past_its_share_are_none() {
        assert_eq!(inbox(0, 0).share(), InboxShare::Whole);
        assert_eq!(inbox(WHOLE_MESSAGES - 1, 600 * MIB).share(), InboxShare::Whole);
        assert_eq!(inbox(WHOLE_MESSAGES, 0).share(), InboxShare::Brief);
        assert_eq!(inbox(19_999, 0).share(), InboxShare::Brief);
        assert_eq!(inbox(20_000, 0).share(), InboxShare::Nothing);
        assert_eq!(
            inbox(0, 1_000 * MIB).share(),
            InboxShare::Nothing,
            "what is left is for what must lie there"
        );
        assert_eq!(Inbox { limit_bytes: None, ..inbox(0, 9_000 * MIB) }.share(), InboxShare::Whole);
        assert_eq!(Inbox { tenant_messages_max: 2, ..inbox(1, 0) }.share(), InboxShare::Brief);
    }

    #[test]
    fn no_tenant_takes_half_of_the_smallest_inbox() {
        // The largest parked message, and one in brief with a long history.
        let (whole, brief) = (MIB + MIB / 4, 16 * 1024);
        let (mut messages, mut bytes) = (0, 0);
        loop {
            match inbox(messages, bytes).share() {
                InboxShare::Whole => bytes += whole,
                InboxShare::Brief => bytes += brief,
                InboxShare::Nothing => break,
            }
            messages += 1;
        }
        assert!(messages == 20_000 && bytes < 512 * MIB, "{messages} messages, {} MiB", bytes / MIB);
    }
}
