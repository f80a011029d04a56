//! What the command tells people of a running fleet: strangers' words steer nothing, tables fit the screen, a key that
//! was used before and a tenant that nobody knows are said.

use anyhow::{Context as _, ensure};
use runtime::escape::is_steering;
use schemas::{Job, JobId};
use serde_json::Value;
use std::process::Output;
use tests::fleet::{LIMIT, TestFleet, root};
use tests::jobs::{prompt, tenant};

async fn argosy(fleet: &TestFleet, arguments: &[&str], columns: Option<&str>) -> anyhow::Result<Output> {
    let mut command = fleet.argosy(arguments);
    command.current_dir(root()).stdin(std::process::Stdio::null()).env_remove("COLUMNS");
    Ok(command.envs(columns.map(|columns| ("COLUMNS", columns))).output().await?)
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn small_fleet() -> anyhow::Result<TestFleet> {
    TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_running_fleet_fit_and_strangers_words_steer_nothing() -> anyhow::Result<()> {
    const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}fox\r\nthe audit holds 狐狸 🦊";
    let fleet = small_fleet().await?;
    let mut good = prompt("a fox");
    good.labels.insert("note".to_owned(), format!("{HOSTILE} {}", "long ".repeat(30)));
    // A file that nobody has brought: the refusal quotes its name.
    let mut bad = prompt("a fox");
    bad.body.model = Some(HOSTILE.to_owned());
    fleet.stack.submit(&[good.clone(), bad.clone()]).await?;
    fleet.stack.wait_ended(&[good.id, bad.id], LIMIT).await?;
    ensure!(fleet.stack.audit(&[good.id, bad.id], LIMIT).await?.holds());
    let (id, refused) = (good.id.to_string(), bad.id.to_string());
    let tables: [&[&str]; 7] = [
        &["jobs"],
        &["backends"],
        &["parked", "list"],
        &["costs"],
        &["costs", "--by", "label:note"],
        &["tenants"],
        &["status", &id],
    ];
    for arguments in tables {
        for columns in [80, 120] {
            let output = argosy(&fleet, arguments, Some(&columns.to_string())).await?;
            let text = said(&output.stdout);
            ensure!(output.status.success() && text.lines().count() > 1, "{arguments:?}: {output:?}");
            // Signs that are two columns wide are the hostile ones, once in a line.
            let wide = 8;
            let fits = text.lines().all(|line| line.chars().count() <= columns + wide);
            ensure!(fits, "{arguments:?} at {columns}:\n{text}");
        }
    }
    let all: [&[&str]; 7] = [
        &["explain", &id],
        &["explain", &refused],
        &["status", &refused],
        &["watch", &refused],
        &["parked", "show", "1"],
        &["get", "--label", HOSTILE],
        &["config", "show", "tenants"],
    ];
    for arguments in all.into_iter().chain(tables) {
        for json in [false, true] {
            let arguments = [arguments, if json { &["--json"][..] } else { &[] }].concat();
            let output = argosy(&fleet, &arguments, None).await?;
            for text in [said(&output.stdout), said(&output.stderr)] {
                ensure!(!text.chars().any(|c| c != '\n' && is_steering(c)), "{arguments:?}: {text:?}");
                let forged = text.lines().any(|line| line.starts_with("the audit holds"));
                ensure!(!forged, "{arguments:?}: {text}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_before_is_said_and_so_is_its_refusal() -> anyhow::Result<()> {
    let fleet = small_fleet().await?;
    let submit = async |words: &[&str]| {
        argosy(&fleet, &[&["submit", "--model", "sd15", "--key", "order-7"], words].concat(), None).await
    };
    let first = submit(&["a fox"]).await?;
    ensure!(first.status.success() && first.stderr.is_empty(), "{first:?}");
    let first: JobId = said(&first.stdout).trim().parse()?;
    let again = submit(&["a fox"]).await?;
    let words = said(&again.stderr);
    ensure!(again.status.success() && words.contains(&format!("is the same as job {first}")), "{again:?}");
    let third = submit(&["a fox", "--json"]).await?;
    let line: Value = serde_json::from_slice(&third.stdout).with_context(|| format!("{third:?}"))?;
    ensure!(line["same_as"] == first.to_string() && line["state"] == "submitted", "{line}");
    let other = submit(&["a hare"]).await?;
    let words = said(&other.stderr);
    ensure!(other.status.code() == Some(1) && words.contains("was refused"), "{other:?}");
    fleet.stack.wait_ended(&[first], LIMIT).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_nobody_knows_is_said_and_is_no_error() -> anyhow::Result<()> {
    let fleet = small_fleet().await?;
    let job = Job { tenant: tenant("studio-q"), ..prompt("a fox") };
    let told = async |arguments: &[&str], code: i32| -> anyhow::Result<String> {
        let output = argosy(&fleet, arguments, None).await?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {output:?}");
        Ok(said(&output.stderr))
    };
    let id = job.id.to_string();
    for arguments in [&["jobs", "--tenant", "studio-q"][..], &["parked", "list", "--tenant", "studio-q"]] {
        let words = told(arguments, 0).await?;
        ensure!(words.starts_with("argosy: tenant studio-q is unknown"), "{arguments:?}: {words}");
        let words = told(&[arguments, &["--json"]].concat(), 0).await?;
        let line: Value = serde_json::from_str(&words).with_context(|| words.clone())?;
        ensure!(line["warning"].as_str().is_some_and(|words| words.contains("studio-q")), "{line}");
    }
    let words = told(&["status", &id, "--tenant", "studio-q"], 1).await?;
    ensure!(
        words.contains("tenant studio-q is unknown") && words.contains("nothing is known of this id"),
        "{words}"
    );
    // Whose name nobody wrote, and who has a job, are not strangers.
    ensure!(!told(&["jobs", "--tenant", "default"], 0).await?.contains("unknown"));
    fleet.stack.submit(std::slice::from_ref(&job)).await?;
    fleet.stack.wait_ended(&[job.id], LIMIT).await?;
    for arguments in [&["jobs", "--tenant", "studio-q"][..], &["parked", "list", "--tenant", "studio-q"]] {
        ensure!(!told(arguments, 0).await?.contains("unknown"), "{arguments:?}");
    }
    Ok(())
}
