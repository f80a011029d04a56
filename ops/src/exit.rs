//! How the command ends. The numbers follow `sysexits.h` where it has one, and are the same as those of
//! the fleet's processes.

use runtime::exit::{Exit, Fault};
use stack::ports::PortError;

/// What was asked for was done, or holds.
pub const OK: u8 = 0;
/// What was asked about failed or does not hold.
pub const DOES_NOT_HOLD: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;

/// Every exit code with its meaning, as the README shows it.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (OK, "what was asked for was done, or holds"),
    (DOES_NOT_HOLD, "what was asked about failed or does not hold: a job failed, an audit found something"),
    (USAGE, "the command line makes no sense"),
    (Exit::BrokerAbsent as u8, "the broker does not answer"),
    (Exit::Crashed as u8, "a defect"),
    (Exit::PortOccupied as u8, "an address is in use"),
    (Exit::DatabaseAbsent as u8, "the database does not answer"),
    (Exit::TopologyMissing as u8, "streams or buckets are missing: run `argosy topology apply`"),
    (Exit::BrokerTooOld as u8, "the nats-server is too old"),
    (Exit::Config as u8, "a configuration document or setting is wrong"),
];

/// Something that was asked about does not hold. It has been shown already; the words are a summary.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DoesNotHold(pub String);

/// A command line that parses and makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The exit code of an error, found anywhere in its chain.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return fault.exit as u8;
        }
        if cause.is::<Usage>() {
            return USAGE;
        }
        match cause.downcast_ref::<PortError>() {
            Some(PortError::Taken { .. } | PortError::None { .. }) => return Exit::PortOccupied as u8,
            Some(PortError::Unknown { .. } | PortError::Twice { .. }) => return USAGE,
            None => {}
        }
        if cause.is::<ledger_read::Error>() {
            return Exit::DatabaseAbsent as u8;
        }
    }
    DOES_NOT_HOLD
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_code_is_found_in_the_chain() {
        let absent = Err::<(), _>(Fault::new(Exit::BrokerAbsent, "no broker")).context("asking").unwrap_err();
        assert_eq!(code_of(&absent), 69);
        assert_eq!(code_of(&Usage("both".to_owned()).into()), USAGE);
        assert_eq!(code_of(&DoesNotHold("lost".to_owned()).into()), DOES_NOT_HOLD);
        assert_eq!(code_of(&anyhow::anyhow!("anything else")), DOES_NOT_HOLD);
        let name = || "broker".to_owned();
        let taken = Err::<(), _>(PortError::Taken { name: name(), port: 80 }).context("up").unwrap_err();
        assert_eq!(code_of(&taken), 71);
        assert_eq!(code_of(&PortError::Unknown { name: name(), known: String::new() }.into()), USAGE);
        let mut codes: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), EXIT_CODES.len(), "each code is there once");
    }
}
