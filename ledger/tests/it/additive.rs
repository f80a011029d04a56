//! Whether a migration only adds: the release before it runs on the new tables while processes are replaced.
//!
//! The check reads the SQL's words, not its meaning. What it cannot see (a lock held for long, rows written anew) is
//! seen when the migration runs under load: `trials/tests/it/migrations.rs`.

use std::collections::BTreeSet;

/// A migration that drops what an earlier release stopped using begins a line with this and that release's version.
const CONTRACT: &str = "-- contract: unused since release ";

/// A migration may not do this, in any release.
const NEVER: [(&str, &str); 6] = [
    ("rename", "renames: running processes use the old name; add the new one beside it"),
    ("truncate", "removes rows: the books keep every row"),
    ("delete from", "removes rows: the books keep every row"),
    ("lock table", "locks a table: reservations would wait"),
    ("vacuum full", "rewrites a table under a lock"),
    ("set data type", "changes a column's type: add a column of the new type beside it"),
];

/// Why a migration is not additive; empty when it is. `version` is the release that is being made.
pub(crate) fn refusals(sql: &str, version: &str) -> Vec<String> {
    let contract = sql.lines().find_map(|line| line.strip_prefix(CONTRACT));
    let is_contract = contract.is_some_and(|since| is_earlier(since.trim(), version));
    let mut found = Vec::new();
    if contract.is_some() && !is_contract {
        found.push(format!("`{CONTRACT}<version>` needs a release before {version}"));
    }
    let statements = statements(sql);
    let altered: BTreeSet<&str> = statements.iter().filter_map(|words| altered_table(words)).collect();
    if altered.len() > 1 {
        found.push(format!(
            "alters more than one table ({altered:?}): the ledger locks them in orders of its own, and Postgres would \
             end one of the two; make a migration for each"
        ));
    }
    for words in statements {
        let mut refuse = |why: &str| found.push(format!("{why}: {}", words.join(" ")));
        let text = format!(" {} ", words.join(" "));
        // What one statement takes out of a table and puts into another is moved: all of it, or nothing.
        let is_move =
            [" delete from ", " returning ", " insert into "].iter().all(|part| text.contains(part));
        for (banned, why) in NEVER.into_iter().filter(|(banned, _)| !(is_move && *banned == "delete from")) {
            if text.contains(&format!(" {banned} ")) {
                refuse(why);
            }
        }
        let is_retyped = |at: usize| at >= 2 && matches!(words[at - 2].as_str(), "alter" | "column");
        if (0..words.len()).any(|at| words[at] == "type" && is_retyped(at)) && words[0] == "alter" {
            refuse("changes a column's type: add a column of the new type beside it");
        }
        if !is_contract && words.iter().any(|word| word == "drop") {
            refuse("drops what running processes may use: do it in a later release, marked as its contract");
        }
        if !is_contract && text.contains(" set not null ") {
            refuse("forbids nulls that running processes may write: do it in a later release");
        }
        if text.starts_with(" alter table ") {
            for added in additions(&words) {
                check_addition(&added, &mut refuse);
            }
        }
    }
    found
}

/// The table that a statement alters.
fn altered_table(words: &[String]) -> Option<&str> {
    let behind = words.strip_prefix(&["alter".to_owned(), "table".to_owned()])?;
    behind.iter().map(String::as_str).find(|word| !matches!(*word, "if" | "exists" | "only"))
}

/// What an `alter table` adds: the words behind each `add`, up to the comma that ends it.
fn additions(words: &[String]) -> Vec<Vec<&str>> {
    let (mut all, mut depth): (Vec<Vec<&str>>, i32) = (Vec::new(), 0);
    let mut is_inside = false;
    for word in words {
        depth += match word.as_str() {
            "(" => 1,
            ")" => -1,
            _ => 0,
        };
        match word.as_str() {
            "add" if depth == 0 => {
                all.push(Vec::new());
                is_inside = true;
            }
            "," if depth == 0 => is_inside = false,
            _ => {
                if let (true, Some(last)) = (is_inside, all.last_mut()) {
                    last.push(word);
                }
            }
        }
    }
    all
}

fn check_addition(added: &[&str], refuse: &mut impl FnMut(&str)) {
    let text = format!(" {} ", added.join(" "));
    let has = |words: &str| text.contains(&format!(" {words} "));
    match added.first().copied() {
        Some("constraint" | "check" | "foreign" | "unique" | "primary" | "exclude") => {
            if (has("check") || has("foreign key")) && !has("not valid") {
                refuse(
                    "reads the whole table under a lock: add it `not valid`, validate it in a later migration",
                );
            }
            if (has("unique") || has("primary key") || has("exclude")) && !has("using index") {
                refuse("builds an index under a lock: create it concurrently first, then `using index`");
            }
        }
        _ => {
            if has("not null") && !has("default") && !has("generated") {
                refuse("running processes insert rows without this column: give it a default");
            }
            if has("generated") && has("stored") {
                refuse("writes every row anew under a lock: add a plain column and fill it step by step");
            }
        }
    }
}

fn is_earlier(since: &str, version: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u32>> { text.split('.').map(|n| n.parse().ok()).collect() };
    matches!((numbers(since), numbers(version)), (Some(since), Some(version)) if since < version)
}

/// The words of each statement in small letters, without comments and the insides of texts. The bodies of functions
/// and blocks are read like statements, with the texts that they may execute.
fn statements(sql: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut rest = sql;
    let mut is_body = false;
    while let Some(first) = rest.chars().next() {
        let skip = if let Some(comment) = rest.strip_prefix("--") {
            2 + comment.find('\n').unwrap_or(comment.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            2 + comment.find("*/").map_or(comment.len(), |end| end + 2)
        } else if let Some(tag) = dollar_tag(rest) {
            is_body = !is_body;
            all.push(Vec::new());
            tag
        } else if first == '\'' && !is_body {
            1 + rest[1..].find('\'').map_or(rest.len() - 1, |end| end + 1)
        } else if first == ';' {
            all.push(Vec::new());
            1
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if let Some(last) = all.last_mut() {
                last.push(rest[..end].to_lowercase());
            }
            end
        } else {
            if let (Some(last), false) =
                (all.last_mut(), first.is_whitespace() || matches!(first, '\'' | '"'))
            {
                last.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[skip..];
    }
    all.retain(|words| !words.is_empty());
    all
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.')
}

/// The length of `$$` or `$name$` at the beginning.
fn dollar_tag(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('$')?;
    let end = inside.find('$')?;
    let is_name = inside[..end].chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && !inside.starts_with(|c: char| c.is_ascii_digit())).then_some(end + 2)
}

#[test]
fn what_only_adds_passes() {
    for sql in [
        "create table more (id uuid primary key, kind text not null);",
        "alter table jobs add column a text; alter table jobs add column b text;",
        "alter table jobs add column note text; comment on column jobs.note is 'drop table, or rename; it';",
        "alter table jobs add column weight bigint not null default 0, add column more numeric(6, 2);",
        "alter table charges add constraint positive check (posted_micro_usd >= 0) not valid;",
        "alter table charges add constraint one unique using index charges_one;",
        "-- drop table jobs;\ncreate or replace view analytics.notes as select id from jobs;",
        "/* truncate jobs; */ alter type state add value 'paused';",
        "create function f() returns trigger language plpgsql as $$ begin return null; end $$;",
    ] {
        assert_eq!(refusals(sql, "0.2.0"), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn what_takes_away_is_refused() {
    for sql in [
        "drop table budgets;",
        "alter table jobs\n  drop column class;",
        "ALTER TABLE jobs RENAME COLUMN class TO size;",
        "alter table charges alter column posted_micro_usd type numeric;",
        "alter table charges alter posted_micro_usd set data type numeric;",
        "alter table jobs alter column class set not null;",
        "alter table jobs add column weight bigint not null;",
        "alter table jobs add column a text, add weight bigint not null, add column b text default '';",
        "alter table jobs add column size bigint generated always as (1) stored;",
        "alter table charges add constraint positive check (posted_micro_usd >= 0);",
        "alter table charges add unique (job, attempt, tenant);",
        "alter table jobs add column a text; alter table only attempts add column a text;",
        "truncate jobs;",
        "create table more (id uuid); delete from jobs;",
        "do $$ begin execute format('alter table %I drop column class', 'jobs'); end $$;",
        "do $body$ begin lock table charges; end $body$;",
    ] {
        assert!(!refusals(sql, "0.2.0").is_empty(), "{sql}");
    }
}

#[test]
fn a_later_release_may_drop_what_an_earlier_one_stopped_using() {
    let of = |since: &str| format!("{CONTRACT}{since}\nalter table jobs drop column class;");
    assert_eq!(refusals(&of("0.1.0"), "0.2.0"), Vec::<String>::new());
    assert!(!refusals(&of("0.2.0"), "0.2.0").is_empty(), "not in the same release");
    assert!(!refusals(&of("soon"), "0.2.0").is_empty(), "not a version");
    let renames = format!("{CONTRACT}0.1.0\nalter table jobs rename to works;");
    assert!(!refusals(&renames, "0.2.0").is_empty(), "not even then");
}
