//! The provider's memory of its interactions, kept in a journal.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::journal::{self, Journal};

/// One interaction; every change is written whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Interaction {
    pub(super) id: String,
    /// `in_progress`, `completed`, `failed` or `cancelled`.
    pub(super) status: String,
    pub(super) model: String,
    /// Left out of all journal lines but the first.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) request: Value,
    pub(super) created_ms: u64,
    pub(super) updated_ms: u64,
    /// When the work is done, wall milliseconds.
    pub(super) ready_ms: u64,
    /// The fault drawn for it at its creation.
    pub(super) fate: Option<String>,
    /// Id of the file it makes.
    pub(super) file: String,
}

pub(super) struct Store {
    interactions: Mutex<BTreeMap<String, Interaction>>,
    media: Mutex<HashMap<String, Arc<Vec<u8>>>>,
    journal: Journal,
}

/// Made files kept in memory; others are drawn again (they are deterministic).
const MEDIA_KEPT: usize = 64;

impl Store {
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("interactions.jsonl");
        let mut interactions: BTreeMap<String, Interaction> = BTreeMap::new();
        for mut one in journal::read::<Interaction>(&path)? {
            if let Some(earlier) = interactions.remove(&one.id)
                && one.request.is_null()
            {
                one.request = earlier.request;
            }
            interactions.insert(one.id.clone(), one);
        }
        Ok(Self {
            interactions: Mutex::new(interactions),
            media: Mutex::default(),
            journal: Journal::open(&path)?,
        })
    }

    pub(super) fn open_ids(&self) -> Vec<String> {
        let all = self.interactions.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|one| one.status == "in_progress").map(|one| one.id.clone()).collect()
    }

    pub(super) fn insert(&self, one: Interaction) {
        self.journal.append(&one);
        self.interactions.lock().unwrap_or_else(PoisonError::into_inner).insert(one.id.clone(), one);
    }

    pub(super) fn get(&self, id: &str) -> Option<Interaction> {
        self.interactions.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// By the id of its file; the second and third of several have a number behind a dash.
    pub(super) fn by_file(&self, file: &str) -> Option<Interaction> {
        let file = file.split('-').next().unwrap_or_default();
        let all = self.interactions.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().find(|one| one.file == file).cloned()
    }

    /// Moves an interaction that is still in progress to a final status; says whether it did.
    pub(super) fn settle(&self, id: &str, status: &str, now_ms: u64) -> bool {
        let mut all = self.interactions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = all.get_mut(id).filter(|one| one.status == "in_progress") else { return false };
        status.clone_into(&mut one.status);
        one.updated_ms = now_ms;
        self.journal.append(&Interaction { request: Value::Null, ..one.clone() });
        true
    }

    pub(super) fn media(&self, file: &str) -> Option<Arc<Vec<u8>>> {
        self.media.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }

    pub(super) fn keep_media(&self, file: &str, bytes: &Arc<Vec<u8>>) {
        let mut media = self.media.lock().unwrap_or_else(PoisonError::into_inner);
        if media.len() >= MEDIA_KEPT {
            media.clear();
        }
        media.insert(file.to_owned(), Arc::clone(bytes));
    }
}
