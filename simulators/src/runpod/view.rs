//! The job object that the API and the webhook show.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::handler::{self, Checked, Files};
use super::jobs::{Job, Status};
use super::shapes::{self, Made};
use super::{Endpoint, OutputMode};
use crate::chance;

impl Endpoint {
    pub(super) async fn show(&self, job: &Job) -> Value {
        let mut shown = json!({"id": job.id, "status": job.status.name()});
        if let Some(delay) = job.delay_ms {
            shown["delayTime"] = json!(delay);
        }
        if let Some(worker) = &job.worker_id {
            shown["workerId"] = json!(worker);
        }
        if let Some(execution) = job.execution_ms {
            shown["executionTime"] = json!(execution);
        }
        if let Some(error) = &job.error {
            shown["error"] = json!(error);
        }
        if let Some(retries) = job.retries {
            shown["retries"] = json!(retries);
        }
        let lost = job.fate.as_deref() == Some("completed_without_output");
        if job.status == Status::Completed && !lost {
            shown["output"] = self.output(job).await;
        }
        shown
    }

    async fn output(&self, job: &Job) -> Value {
        let files = self.files(job).await;
        let url = |name: &str| {
            let key = self.key(&job.id, name);
            format!("{}/_s3/{key}?X-Amz-Expires=604800&X-Amz-Signature=simulated", self.public_url)
        };
        let fate = job.fate.as_deref().unwrap_or_default();
        if fate == "result_elsewhere" {
            // The way into the private network of whoever believes it.
            return json!({"images": [{"filename": "a.png", "type": "s3_url",
                "data": "https://169.254.169.254/latest/meta-data/?X-Amz-Signature=simulated"}]});
        }
        let made = files.iter().map(|(name, bytes)| Made {
            name: name.clone(),
            bytes: bytes.clone(),
            url: url(name),
        });
        if let Some(shaped) = shapes::output(fate, &made.collect::<Vec<_>>()) {
            return shaped;
        }
        let images: Vec<_> = files
            .iter()
            .map(|(name, bytes)| match self.config.output {
                OutputMode::Base64 => {
                    json!({"filename": name, "type": "base64", "data": STANDARD.encode(bytes)})
                }
                OutputMode::S3Url => json!({"filename": name, "type": "s3_url", "data": url(name)}),
            })
            .collect();
        if images.is_empty() {
            return json!({"status": "success_no_images", "images": []});
        }
        json!({"images": images})
    }

    /// Key in the simulated bucket: `{job}/{8 hex}.ext`.
    fn key(&self, job: &str, name: &str) -> String {
        let extension = name.rsplit('.').next().unwrap_or("bin");
        format!(
            "{job}/{}.{extension}",
            chance::hex(self.config.seed, &[b"s3", job.as_bytes(), name.as_bytes()], 8)
        )
    }

    /// An object of the simulated bucket: name and content.
    pub(super) async fn object(&self, key: &str) -> Option<(String, Vec<u8>)> {
        let (id, _) = key.split_once('/')?;
        let job = self.store.visible(id).filter(|job| job.status == Status::Completed)?;
        let files = self.files(&job).await;
        files.iter().find(|(name, _)| self.key(id, name) == key).cloned()
    }

    /// The files of a completed job: kept since it ran, or drawn again after a restart (they are deterministic).
    async fn files(&self, job: &Job) -> Arc<Files> {
        if let Some(files) = self.store.lock().files.get(&job.id) {
            return Arc::clone(files);
        }
        let (input, catalog) = (job.input.clone(), Arc::clone(&self.catalog));
        let drawn = tokio::task::spawn_blocking(move || match handler::check(&input, &catalog) {
            Checked::Runs { accepted, uploads, .. } => handler::run(&accepted, &uploads, &catalog),
            Checked::Refused(_) | Checked::NoInput => Files::new(),
        });
        let files = Arc::new(drawn.await.unwrap_or_default());
        self.store.lock().files.insert(job.id.clone(), Arc::clone(&files));
        files
    }
}
