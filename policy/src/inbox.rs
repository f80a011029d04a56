//! What the operator's inbox takes: a tenant that fills it must leave room for the others, and a failed job ends whether it
//! is kept there or not. A job of a newer schema waits there only within its tenant's share; past it, it ends.

use schemas::parked::BRIEF_BYTES_MAX;

/// Messages of a tenant that are kept whole, whatever their length.
const WHOLE_MESSAGES: u64 = 100;

/// Nothing that has ended is added from this share of the inbox on, percent.
const FULL_PERCENT: u64 = 95;

/// The same for jobs of a newer schema, which have not ended and wait here. The rest is for the fleet's own messages:
/// failed attempts of a newer schema, and events that the ledger cannot book.
const FULL_FOR_UNENDED_PERCENT: u64 = 98;

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

/// What a message is put aside for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseOf {
    /// Its job ends: the reason counts, and the beginning of the original helps.
    Reason,
    /// Its job waits for a newer router: the original is of use only whole.
    Original {
        /// How long the original is.
        bytes: usize,
    },
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
    pub fn share(&self, use_of: UseOf) -> InboxShare {
        let full_percent = match use_of {
            UseOf::Reason => FULL_PERCENT,
            UseOf::Original { .. } => FULL_FOR_UNENDED_PERCENT,
        };
        if self.tenant_messages >= self.tenant_messages_max || self.percent() >= full_percent {
            return InboxShare::Nothing;
        }
        if self.tenant_messages < WHOLE_MESSAGES.min(self.tenant_messages_max / 2) {
            return InboxShare::Whole;
        }
        match use_of {
            UseOf::Reason => InboxShare::Brief,
            // What is brief keeps an original as short as this whole.
            UseOf::Original { bytes } if bytes <= BRIEF_BYTES_MAX => InboxShare::Whole,
            UseOf::Original { .. } => InboxShare::Nothing,
        }
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
        assert_eq!(inbox(0, 0).share(UseOf::Reason), InboxShare::Whole);
        assert_eq!(inbox(WHOLE_MESSAGES - 1, 600 * MIB).share(UseOf::Reason), InboxShare::Whole);
        assert_eq!(inbox(WHOLE_MESSAGES, 0).share(UseOf::Reason), InboxShare::Brief);
        assert_eq!(inbox(19_999, 0).share(UseOf::Reason), InboxShare::Brief);
        assert_eq!(inbox(20_000, 0).share(UseOf::Reason), InboxShare::Nothing);
        assert_eq!(
            inbox(0, 1_000 * MIB).share(UseOf::Reason),
            InboxShare::Nothing,
            "what is left is for what must lie there"
        );
        assert_eq!(
            Inbox { limit_bytes: None, ..inbox(0, 9_000 * MIB) }.share(UseOf::Reason),
            InboxShare::Whole
        );
        assert_eq!(Inbox { tenant_messages_max: 2, ..inbox(1, 0) }.share(UseOf::Reason), InboxShare::Brief);
    }

    #[test]
    fn a_job_of_a_newer_schema_is_kept_whole_within_its_tenants_share_or_not_at_all() {
        use InboxShare::{Nothing, Whole};
        for (tenant_messages, bytes, percent, share) in [
            (0, 900_000, 0, Whole),
            (WHOLE_MESSAGES - 1, 900_000, 50, Whole),
            (WHOLE_MESSAGES, 900_000, 0, Nothing),
            (WHOLE_MESSAGES, BRIEF_BYTES_MAX + 1, 0, Nothing),
            (WHOLE_MESSAGES, BRIEF_BYTES_MAX, 0, Whole),
            (19_999, 1, 0, Whole),
            (20_000, 1, 0, Nothing),
            (u64::MAX, 0, 0, Nothing),
            (7, 40, 97, Whole),
            (7, 40, 98, Nothing),
            (7, 40, 100, Nothing),
        ] {
            let inbox = inbox(tenant_messages, percent * 1_024 * MIB / 100 + 1);
            assert_eq!(
                inbox.share(UseOf::Original { bytes }),
                share,
                "{tenant_messages} {bytes} {percent} %"
            );
        }
    }

    #[test]
    fn no_tenant_takes_half_of_the_smallest_inbox() {
        // The largest parked message, and one in brief with a long history.
        let (whole, brief) = (MIB + MIB / 4, 16 * 1024);
        let longest = UseOf::Original { bytes: 1_000_000 };
        let shortened = UseOf::Original { bytes: BRIEF_BYTES_MAX };
        // What is longest first, as a flood of publishes of a newer schema would be; then what still fits.
        for uses in [[UseOf::Reason; 2], [longest, shortened], [longest, UseOf::Reason]] {
            let (mut messages, mut bytes) = (0, 0);
            loop {
                let use_of = uses[usize::from(messages >= WHOLE_MESSAGES)];
                match inbox(messages, bytes).share(use_of) {
                    InboxShare::Whole if messages < WHOLE_MESSAGES => bytes += whole,
                    InboxShare::Whole | InboxShare::Brief => bytes += brief,
                    InboxShare::Nothing => break,
                }
                messages += 1;
            }
            assert!(messages == 20_000 && bytes < 512 * MIB, "{messages} messages, {} MiB", bytes / MIB);
        }
    }
}
