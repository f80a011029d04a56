//! The address of a server, which may hold a user and a password (`nats://user:password@host:4222`).
//!
//! Whatever prints an address prints `***` in their place; only [`Address::expose`] gives them away.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::secret_text;

/// What is printed in the place of user and password.
const HIDDEN: &str = "***@";

/// One address, or several separated by commas.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Takes an address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole text, password included: only to connect, and for files that only their owner reads.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The single addresses, each without its user and password, and what was there in their place.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = self.0.as_str();
        let next = move || {
            let length = (!rest.is_empty()).then(|| length_of_first(rest))?;
            let (one, others) = rest.split_at(length);
            rest = others.strip_prefix(',').unwrap_or(others);
            Some(one.trim())
        };
        std::iter::from_fn(next).filter(|one| !one.is_empty()).map(Part::of)
    }
}

/// Where the first of several addresses ends: at a comma, but for one in a password, before which there is neither an
/// `@` nor a host with its port.
fn length_of_first(text: &str) -> usize {
    let is_whole = |one: &str| {
        let rest = one.split_once("://").map_or(one, |(_, rest)| rest);
        let port = rest.rsplit_once(':').map_or("", |(_, port)| port);
        rest.contains('@') || port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut commas = text.match_indices(',').map(|(at, _)| at);
    commas.find(|at| is_whole(text[..*at].trim())).unwrap_or(text.len())
}

/// One address of several.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    scheme: &'a str,
    /// `user:password`, as written.
    user_info: Option<&'a str>,
    host: &'a str,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Self {
        let (scheme, rest) = match text.find("://") {
            Some(at) => text.split_at(at + 3),
            None => ("", text),
        };
        // A password may hold any character but these, and often holds an `@`: the last one ends it. A path or a
        // query may hold one too, so the part before them is looked at, unless only there is one: then somebody
        // forgot to escape a slash, and too much is hidden rather than too little.
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let end = rest[..authority].rfind('@').or_else(|| rest.rfind('@'));
        match end {
            Some(at) => Self { scheme, user_info: Some(&rest[..at]), host: &rest[at + 1..] },
            None => Self { scheme, user_info: None, host: rest },
        }
    }

    /// The address without user and password.
    #[must_use]
    pub fn bare(&self) -> String {
        format!("{}{}", self.scheme, self.host)
    }

    /// User and password, percent signs decoded; a user alone has no password.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, Option<String>)> {
        let (user, password) = match self.user_info?.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (self.user_info?, None),
        };
        Some((decoded(user), password.map(decoded)))
    }
}

/// `%40` becomes `@`; what is no such escape stays.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let digits =
            tail.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let hidden = if part.user_info.is_some() { HIDDEN } else { "" };
            write!(f, "{comma}{}{hidden}{}", part.scheme, part.host)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for Address {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(url.into())
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret_text(deserializer).map(Self)
    }
}

/// Written as it is printed. A file that must hold the password writes [`Address::expose`].
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_printed() {
        let cases = [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://svc:hush@broker:4222", "nats://***@broker:4222"),
            ("tls://hush@broker", "tls://***@broker"),
            ("svc:hush@broker:4222", "***@broker:4222"),
            ("nats://a:hush@x:1, nats://b:hush2@y:2,nats://z:3,", "nats://***@x:1,nats://***@y:2,nats://z:3"),
            ("nats://svc:hu@sh@broker:4222", "nats://***@broker:4222"),
            ("nats://svc:hu/sh@broker:4222", "nats://***@broker:4222"),
            ("nats://svc:hush,hush@x:1,nats://[::1],y:2", "nats://***@x:1,nats://[::1],y:2"),
            (
                "postgres://argosy:hush%40@h:5432/db?application_name=a@b",
                "postgres://***@h:5432/db?application_name=a@b",
            ),
            ("", ""),
        ];
        for (written, printed) in cases {
            let address = Address::new(written);
            assert_eq!(address.to_string(), printed, "{written}");
            assert_eq!(format!("{address:?} {address:#?}"), format!("{printed} {printed}"), "{written}");
            assert_eq!(serde_json::to_value(&address).expect("text"), printed, "{written}");
            assert_eq!(address.expose(), written);
            assert!(!printed.contains("hush"));
        }
    }

    #[test]
    fn what_connects_gets_the_parts() {
        let address = Address::new("nats://svc%3A1:p%40ss%zz@a:1,tls://token@b,nats://c");
        let parts: Vec<_> = address.parts().map(|part| (part.bare(), part.credentials())).collect();
        let user = |user: &str, password: Option<&str>| Some((user.to_owned(), password.map(str::to_owned)));
        assert_eq!(
            parts,
            [
                ("nats://a:1".to_owned(), user("svc:1", Some("p@ss%zz"))),
                ("tls://b".to_owned(), user("token", None)),
                ("nats://c".to_owned(), None),
            ]
        );
    }
}
