//! Somebody else's client: the Python example publishes in both encodings and gets its picture.

use anyhow::{Context as _, ensure};
use tests::fleet::{TestFleet, root};

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_gets_its_picture() -> anyhow::Result<()> {
    let fleet = TestFleet::start(|options| {
        options.comfyui.truncate(1);
        (options.runpod, options.gemini) = (None, None);
    })
    .await?;
    let libraries = root().join(".argosy/python");
    ensure!(libraries.is_dir(), "run `ops/scripts/obtain --with-python-client` first (make test does)");
    for encoding in ["msgpack", "json"] {
        let out = tempfile::tempdir()?;
        let run = tokio::process::Command::new("python3")
            .arg(root().join("examples/python/publish.py"))
            .args(["--nats", &fleet.stack.nats_url(), "--encoding", encoding, "--out"])
            .arg(out.path())
            .arg("a harbour in the morning")
            .env("PYTHONPATH", &libraries)
            .output()
            .await
            .context("python3 runs")?;
        let (said, wrong) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        ensure!(run.status.success(), "{encoding}: {said}{wrong}");
        let pictures: Vec<_> = std::fs::read_dir(out.path())?.flatten().collect();
        ensure!(pictures.len() == 1, "{encoding}: {said}");
        let bytes = std::fs::read(pictures[0].path())?;
        ensure!(bytes.starts_with(b"\x89PNG"), "{encoding}: no PNG");
    }
    Ok(())
}
