//! Versions of servers, as far as they matter: major and minor.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Major and minor number; patch levels and pre-releases make no difference to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second; 0 when there is none ("18beta1").
    pub minor: u32,
}

impl Version {
    /// The oldest nats-server with atomic batches and message schedules.
    pub const NATS_AT_LEAST: Version = Version { major: 2, minor: 12 };
    /// The oldest PostgreSQL the ledger is tested with.
    pub const POSTGRES_AT_LEAST: Version = Version { major: 14, minor: 0 };

    /// Reads `--version` output ("nats-server: v2.12.1", "postgres (PostgreSQL) 15.6 (Debian …)") or a bare
    /// "2.12.1". `None` when there is no number where one belongs.
    pub fn parse(text: &str) -> Option<Self> {
        let tail = text.split_once("(PostgreSQL)").or_else(|| text.split_once(':')).map_or(text, |(_, t)| t);
        let tail = tail.trim_start().trim_start_matches('v');
        let (major, rest) = number(tail)?;
        let minor = rest.strip_prefix('.').and_then(number).map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_real_servers() {
        let cases = [
            ("nats-server: v2.12.1\n", Some((2, 12))),
            ("nats-server: v2.15.0-RC.1", Some((2, 15))),
            ("nats-server: v2.9.10", Some((2, 9))),
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some((15, 18))),
            ("postgres (PostgreSQL) 18beta1", Some((18, 0))),
            ("postgres (PostgreSQL) 9.6.24", Some((9, 6))),
            ("2.15.1", Some((2, 15))),
            ("18.4", Some((18, 4))),
            ("nats-server: unknown", None),
            ("postgres (PostgreSQL)", None),
            ("", None),
            ("99999999999.1", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(major, minor)| Version { major, minor });
            assert_eq!(Version::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn minor_numbers_are_compared_as_numbers() {
        assert!(Version::parse("2.9.10").unwrap() < Version::NATS_AT_LEAST);
        assert!(Version::parse("2.12.0").unwrap() >= Version::NATS_AT_LEAST);
        assert!(Version::parse("13.22").unwrap() < Version::POSTGRES_AT_LEAST);
        assert!(Version::parse("14.0").unwrap() >= Version::POSTGRES_AT_LEAST);
    }
}
