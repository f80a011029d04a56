//! `argosy get`: what was made is downloaded later, under names of one's own, and over no other file.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use anyhow::ensure;
use schemas::JobId;
use serde_json::Value;
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

/// Two nodes save under names of their own, and the command line gets the workflow as a page posts it.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_called_what_their_workflow_calls_them() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| (options.runpod, options.gemini) = (None, None)).await?;
    let text = std::fs::read_to_string(root().join("ops/workflows/sdxl_txt2img.json"))?;
    let mut graph: Value = serde_json::from_str(&text)?;
    let nodes = graph.as_object_mut().expect("a graph");
    let is_save = |node: &Value| node["class_type"] == "SaveImage";
    let (first, save) = nodes
        .iter()
        .find(|(_, node)| is_save(node))
        .map(|(id, node)| (id.clone(), node.clone()))
        .expect("one");
    let second = "second".to_owned();
    nodes.insert(second.clone(), save);
    for (node, prefix) in [(&first, "sea/boat"), (&second, "harbour")] {
        nodes[node]["inputs"]["filename_prefix"] = prefix.into();
    }
    let page = serde_json::json!({"prompt": graph, "client_id": "page", "extra_data": {"extra_pnginfo": {"workflow": {"nodes": []}}}});
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("posted.json");
    std::fs::write(&file, page.to_string())?;
    let mut command = tokio::process::Command::new(fleet.stack.options().bin_dir.join("argosy"));
    command.arg("submit").arg("--workflow").arg(&file).current_dir(root());
    let output = command.env("ARGOSY_NATS__URL", fleet.stack.nats_url()).output().await?;
    let job: JobId = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    let tracker = fleet.stack.wait_ended(&[job], LIMIT).await?;
    let artifacts = &tracker.jobs()[&job].artifacts;
    let saved: BTreeSet<_> = artifacts
        .iter()
        .filter_map(|artifact| artifact.saved.as_ref())
        .map(|saved| (saved.node.as_deref(), saved.subfolder.as_str(), saved.prefix.as_deref()))
        .collect();
    let expected =
        [(Some(first.as_str()), "sea", Some("sea/boat")), (Some(second.as_str()), "", Some("harbour"))];
    ensure!(saved == expected.into() && artifacts.len() == 2, "{artifacts:?}");
    ensure!(fleet.stack.audit(&[job], LIMIT).await?.holds());
    let out = folder.path().join("out");
    let output = get(&fleet, &out, &[&job.to_string(), "--name", "{file}"]).await?;
    let expected = ["boat_00001_.png", "harbour_00001_.png"].map(str::to_owned);
    ensure!(output.status.success() && names(&out)? == expected.into(), "{output:?}");
    Ok(())
}
