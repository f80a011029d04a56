//! `argosy get`: what was made is downloaded later, under names of one's own, and over no other file.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use anyhow::ensure;
use schemas::JobId;
use tests::fleet::{LIMIT, TestFleet, root};
use tests::jobs::prompt;

async fn get(fleet: &TestFleet, out: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(fleet.stack.options().bin_dir.join("argosy"));
    command.arg("get").args(arguments).arg("--out").arg(out).current_dir(root());
    command.env("ARGOSY_NATS__URL", fleet.stack.nats_url());
    Ok(command.env("ARGOSY_LEDGER__DATABASE_URL", fleet.stack.database_url()).output().await?)
}

fn names(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_fetched_later_by_label_and_by_id() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let mut jobs = [prompt("a fox"), prompt("a hare"), prompt("a stone")];
    for (job, scene) in jobs.iter_mut().zip(["../wood", "wood 2", "quarry"]) {
        job.labels.insert("scene".to_owned(), scene.to_owned());
        job.labels.insert("book".to_owned(), if scene == "quarry" { "other" } else { "fables" }.to_owned());
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    fleet.stack.submit(&jobs).await?;
    fleet.stack.wait_ended(&ids, LIMIT).await?;
    ensure!(fleet.stack.audit(&ids, LIMIT).await?.holds());
    let folder = tempfile::tempdir()?;
    let by_label = folder.path().join("by label");
    let name = ["--label", "book=fables", "--name", "{label.scene}-{n}"];
    for _ in 0..2 {
        // The second time everything is there already.
        let output = get(&fleet, &by_label, &name).await?;
        ensure!(output.status.success(), "{output:?}");
        let expected = ["_wood-0.png", "wood 2-0.png"].map(str::to_owned);
        ensure!(names(&by_label)? == expected.into(), "{:?} {output:?}", names(&by_label)?);
    }
    // Two jobs under one name are two files.
    let one_name = folder.path().join("one name");
    let output = get(&fleet, &one_name, &["--label", "book=fables", "--name", "picture"]).await?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(names(&one_name)? == ["picture-2.png", "picture.png"].map(str::to_owned).into());
    let by_id = folder.path().join("by id");
    let output = get(&fleet, &by_id, &[&ids[2].to_string()]).await?;
    ensure!(output.status.success() && names(&by_id)? == [format!("{}-0.png", ids[2])].into(), "{output:?}");
    let refusals: [(&[&str], &str); 4] = [
        (&["--label", "book=none"], "no completed job has label book=none"),
        (&["01990000-0000-7000-8000-000000000001"], "is unknown"),
        (&[&ids[2].to_string(), "--tenant", "somebody-else"], "is unknown"),
        (&[&ids[2].to_string(), "--name", "{label.author}"], "no label `author`"),
    ];
    for (arguments, words) in refusals {
        let output = get(&fleet, &by_id, arguments).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains(words), "{arguments:?}: {output:?}");
    }
    Ok(())
}
