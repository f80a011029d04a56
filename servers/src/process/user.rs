//! The account a child runs under. PostgreSQL refuses to run as root, and a fresh machine is often root.

use rustix::process::geteuid;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The account of last resort: `nobody` on Linux and macOS alike, near enough.
const NOBODY: RunAs = RunAs { uid: 65534, gid: 65534 };

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl RunAs {
    /// Whom an unprivileged server runs as: nobody else when we are not root (`None`); else who owns the
    /// nearest existing ancestor of `dir`, else the account `postgres`, else `nobody`.
    pub fn unprivileged(dir: &Path) -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let owner = dir.ancestors().find_map(|ancestor| std::fs::metadata(ancestor).ok());
        if let Some(owner) = owner.filter(|owner| owner.uid() != 0) {
            return Some(Self { uid: owner.uid(), gid: owner.gid() });
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(account(&accounts, "postgres").or_else(|| account(&accounts, "nobody")).unwrap_or(NOBODY))
    }

    /// Whether this account may walk down to `path`: every directory above it is searchable, and it is too.
    /// Extra groups are not counted, for a child started by us has none.
    pub fn reaches(self, path: &Path) -> bool {
        path.ancestors().all(|dir| match std::fs::metadata(dir) {
            Ok(metadata) if metadata.is_dir() => {
                let shift = match (metadata.uid() == self.uid, metadata.gid() == self.gid) {
                    (true, _) => 6,
                    (false, true) => 3,
                    (false, false) => 0,
                };
                (metadata.mode() >> shift) & 0o1 != 0
            }
            Ok(_) => true,
            // What is not there yet will be made by us; a path that cannot be read is not reached.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        })
    }
}

/// An account of a passwd file. Accounts of other sources (LDAP) are not asked for: system accounts are local.
fn account(passwd: &str, name: &str) -> Option<RunAs> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        (found == name).then_some(RunAs { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn accounts_are_read_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:x:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account(passwd, "postgres"), Some(RunAs { uid: 101, gid: 104 }));
        assert_eq!(account(passwd, "nobody"), None);
    }

    #[test]
    fn a_closed_directory_on_the_way_is_not_passed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        let stranger = RunAs { uid: 54321, gid: 54321 };
        assert!(stranger.reaches(&inner) && stranger.reaches(&inner.join("not-there-yet")));
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.reaches(&inner));
        let owner = std::fs::metadata(dir.path()).unwrap();
        assert!(RunAs { uid: owner.uid(), gid: owner.gid() }.reaches(&inner));
    }
}
