//! The files of migrations: frozen ones never change, later ones only add.

use ledger::migrations::{FROZEN, MIGRATOR, file_name, is_frozen};

use crate::additive;

/// A migration's file with its checksum in hexadecimal digits.
type File = (String, String);

/// The migrations that the first release froze.
const FROZEN_AT_LEAST: usize = 10;

fn files() -> Vec<File> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    MIGRATOR.iter().map(|migration| (file_name(migration), hex(&migration.checksum))).collect()
}

/// What is wrong with the frozen migrations.
fn complaints(frozen: &str, files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for (nth, line) in frozen.lines().enumerate() {
        let Some((checksum, file)) = line.split_once("  ") else {
            found.push(format!("SHA384SUMS: line {}: no checksum and file: {line}", nth + 1));
            continue;
        };
        if !file.starts_with(&format!("{:04}_", nth + 1)) {
            found.push(format!("SHA384SUMS: line {}: {file} is not migration {:04}", nth + 1, nth + 1));
        }
        match files.iter().find(|(name, _)| name == file) {
            None => found.push(format!(
                "ledger/migrations/{file} is frozen and is not there: put it back, and add a new migration instead"
            )),
            Some((_, now)) if now != checksum => found.push(format!(
                "ledger/migrations/{file} is frozen and was changed: restore it, and add a new migration instead"
            )),
            Some(_) => {}
        }
    }
    found
}

#[test]
fn frozen_migrations_are_unchanged() {
    assert_eq!(complaints(FROZEN, &files()), Vec::<String>::new());
    assert!(FROZEN.lines().count() >= FROZEN_AT_LEAST, "SHA384SUMS lost lines: restore them");
    // A migration before a frozen one would be applied nowhere in that order.
    let after = MIGRATOR.iter().skip_while(|migration| is_frozen(migration));
    let late: Vec<String> = after.filter(|migration| is_frozen(migration)).map(file_name).collect();
    assert!(late.is_empty(), "frozen migrations follow one that is not: {late:?}");
}

#[test]
fn a_changed_or_missing_frozen_migration_is_named_with_its_cure() {
    let mut files = files();
    files[3].1.replace_range(0..1, "-");
    let missing = files.remove(8);
    let found = complaints(FROZEN, &files);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("0004_analytics.sql is frozen and was changed"), "{found:?}");
    assert!(found[1].contains(&missing.0), "{found:?}");
    assert!(found.iter().all(|complaint| complaint.contains("add a new migration")), "{found:?}");
    let gap: String = FROZEN.lines().skip(1).map(|line| format!("{line}\n")).collect();
    assert!(!complaints(&gap, &files).is_empty(), "a line of the list is gone");
}

#[test]
fn migrations_that_are_not_frozen_only_add() {
    for migration in MIGRATOR.iter().filter(|migration| !is_frozen(migration)) {
        let refusals = additive::refusals(migration.sql.as_str(), env!("CARGO_PKG_VERSION"));
        assert!(refusals.is_empty(), "ledger/migrations/{}: {refusals:#?}", file_name(migration));
    }
}
