//! Which hosts the operator trusts with results, wherever their addresses lead.

use reqwest::Url;

/// Hosts that results may come from although their addresses are not public, or speak plain http.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// Host and, where it is limited to one, port.
    hosts: Vec<(String, Option<u16>)>,
}

/// An entry that is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host: write `minio.internal`, `minio.internal:9000` or `[fd00::5]:9000`")]
pub struct NotAHost(pub String);

impl AllowedHosts {
    /// The origin of the address that the operator configured, and the entries of the setting: `host`, or
    /// `host:port`.
    ///
    /// # Errors
    /// An entry that is neither.
    pub fn new(configured: &Url, entries: &[String]) -> Result<Self, NotAHost> {
        let mut hosts = vec![(host(configured).to_owned(), configured.port_or_known_default())];
        for entry in entries {
            hosts.push(parsed(entry).ok_or_else(|| NotAHost(entry.clone()))?);
        }
        Ok(Self { hosts })
    }

    /// Whether the operator trusts this address.
    #[must_use]
    pub fn holds(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let met =
            |entry: &&(String, Option<u16>)| entry.0 == host(url) && (entry.1.is_none() || entry.1 == port);
        self.hosts.iter().find(met).is_some()
    }
}

/// The host as the URL standard writes it: lower case, no dot at the end, an address in its usual form.
pub(super) fn host(url: &Url) -> &str {
    let host = url.host_str().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host)
}

fn parsed(entry: &str) -> Option<(String, Option<u16>)> {
    // The ending keeps an explicit port 80 apart from none.
    let bare = entry.rsplit_once(':').is_none_or(|(_, after)| after.ends_with(']') || after.contains(']'));
    let url: Url = format!("http://{entry}/").parse().ok()?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let name = host(&url);
    if !plain
        || name.is_empty()
        || name.contains('*')
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return None;
    }
    Some((name.to_owned(), if bare { None } else { url.port_or_known_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_host_with_or_without_a_port() {
        let base = "https://api.example/v2".parse().expect("a URL");
        let entries = ["Minio.Internal:9000", "10.0.0.5", "[fd00::5]", "[fd00::6]:81", "plain:80"];
        let allowed = AllowedHosts::new(&base, &entries.map(str::to_owned)).expect("hosts");
        let cases = [
            ("https://api.example/x", true),
            ("https://api.example:444/x", false),
            ("http://api.example/x", false),
            ("http://minio.internal:9000/x", true),
            ("http://minio.internal.:9000/x", true),
            ("http://minio.internal/x", false),
            ("http://10.0.0.5:1234/x", true),
            ("http://167772165/x", true),
            ("http://10.0.0.6/x", false),
            ("http://[fd00::5]:7/x", true),
            ("http://[fd00::6]:81/x", true),
            ("http://[fd00::6]:82/x", false),
            ("http://plain/x", true),
            ("https://plain/x", false),
            ("http://10.0.0.5@10.0.0.6/x", false),
        ];
        for (url, holds) in cases {
            assert_eq!(allowed.holds(&url.parse().expect("a URL")), holds, "{url}");
        }
        for entry in ["", "http://x", "a/b", "u@x", "a b", "x:port", "*"] {
            let refused = AllowedHosts::new(&base, &[entry.to_owned()]);
            assert_eq!(refused, Err(NotAHost(entry.to_owned())), "{entry}");
        }
    }
}
