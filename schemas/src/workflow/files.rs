//! Files that a workflow names: each must be one that the job brought, under a name that no other job can have.
//!
//! A ComfyUI server keeps the files of all jobs in one input folder. It resolves a name in several forms:
//! `photo.png`, `photo.png [input]`, `pasted/photo.png`, `clipspace\photo.png`, in lists, in objects. All of
//! them are read here, by one function, for the check at admission and for the rewriting in the workers. What
//! is neither the job's own nor, by the catalog, the server's is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::needs::{each_text, is_link};
use super::nodes::{self, FileUse};
use crate::{Body, Catalog, Failure};

/// Folders of the input folder where ComfyUI's own editor puts what a person pastes or masks.
const EDITOR_FOLDERS: [&str; 2] = ["pasted/", "clipspace/"];
/// What an input says that names no file on purpose.
const NO_FILE: [&str; 3] = ["", "None", "none"];
/// The annotations that ComfyUI takes off a name. It takes the character before them too.
const ANNOTATIONS: [(&str, bool); 3] = [("[input]", true), ("[output]", false), ("[temp]", false)];
/// So many of the job's files are named in an error.
const NAMED_MAX: usize = 8;
/// So much of a file's name stays in the name that it is uploaded under, bytes.
const STEM_MAX_BYTES: usize = 80;
/// So much of its ending, bytes.
const ENDING_MAX_BYTES: usize = 12;

/// What an input of a node is for, where files are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputUse {
    /// It names a file that is no model.
    File(FileUse),
    /// It is words for people or for a model, whatever they look like.
    Words,
    /// It is neither, as far as is known.
    Other,
}

/// What the table of well-known nodes says of an input.
#[must_use]
pub fn use_by_table(class: &str, input: &str) -> InputUse {
    match nodes::file_use(class, input) {
        Some(file) => InputUse::File(file),
        // A saving node's name prefix is set by whoever submits.
        None if nodes::takes_words(class) || input == "filename_prefix" => InputUse::Words,
        None => InputUse::Other,
    }
}

/// A name that a workflow may not use, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node {node} ({class}), input `{input}`: {why}")]
pub struct ForeignFile {
    /// The node's id.
    pub node: String,
    /// Its class.
    pub class: String,
    /// The input's name.
    pub input: String,
    /// What is wrong, with the cure.
    pub why: Why,
}

impl ForeignFile {
    /// The failure to end a job with.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let field = match self.why {
            Why::NotBrought { .. } | Why::NotInput { .. } => "body.inputs",
            Why::Path { .. } | Why::Linked => "body.workflow",
        };
        Failure::invalid(field, self.to_string())
    }
}

/// Why a name may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Not among the job's inputs.
    #[error(
        "`{name}` is not among the job's files ({brought}): bring it in body.inputs under this name, or ask the \
         operator to add it to server_inputs of the catalog if it is the server's"
    )]
    NotBrought {
        /// As the workflow says it.
        name: String,
        /// The names of what the job brought.
        brought: String,
    },
    /// A file of the folder where the results of all jobs lie.
    #[error(
        "`{name}` is in the folder where the results of all jobs lie: bring the earlier result in body.inputs, by \
         the bucket and key of its artifact, and put its name there here"
    )]
    NotInput {
        /// As the workflow says it.
        name: String,
    },
    /// A path or a folder of the server's disk.
    #[error(
        "`{name}` is a path of the server's disk, where a job's files never are: use a node that takes uploads \
         (LoadImage, LoadVideo, LoadAudio, VHS_LoadVideo), or ask the operator to add it to server_inputs of the \
         catalog"
    )]
    Path {
        /// As the workflow says it.
        name: String,
    },
    /// Another node says the name, when it is too late to look at it.
    #[error("it is linked to another node: write the file's name into the input itself")]
    Linked,
}

/// A job's own files, and what else its workflow may name.
pub struct Files<'a> {
    /// What the workflow must say for each, by the name in `body.inputs`.
    pub own: BTreeMap<&'a str, String>,
    /// Files that the catalog says are the server's.
    pub server: &'a (dyn Fn(&str) -> bool + Sync),
    /// What inputs are for, by class and name.
    pub uses: &'a (dyn Fn(&str, &str) -> InputUse + Sync),
    /// The folder of the uploads of all jobs, where a name in it is to be refused wherever it stands but in words.
    pub uploads: Option<&'a str>,
}

impl Files<'_> {
    /// Whether the workflow names only what it may.
    ///
    /// # Errors
    /// The first name that it may not use.
    pub fn check(&self, graph: &Value) -> Result<(), ForeignFile> {
        for (node, class, inputs) in nodes_of(graph) {
            for (input, value) in inputs {
                self.value(class, input, value).map_err(|why| foreign(node, class, input, why))?;
            }
        }
        Ok(())
    }

    /// Puts the names of the job's uploads in the place of the job's own names for them, in every form, and then
    /// makes sure that no input names any other file.
    ///
    /// # Errors
    /// The first name that the workflow may not use; the graph is then of no use.
    pub fn rewrite(&self, graph: &mut Value) -> Result<(), ForeignFile> {
        self.check(graph)?;
        for (_, class, inputs) in nodes_of_mut(graph) {
            for (input, value) in inputs {
                let used = (self.uses)(&class, input);
                self.replace(used, value);
            }
        }
        self.verify(graph)
    }

    fn value(&self, class: &str, input: &str, value: &Value) -> Result<(), Why> {
        let used = (self.uses)(class, input);
        if matches!(used, InputUse::File(_)) && value.as_array().is_some_and(|items| is_link(items)) {
            return Err(Why::Linked);
        }
        let mut result = Ok(());
        each_text(value, &mut |text| {
            if result.is_ok() {
                result = self.text(used, text);
            }
        });
        result
    }

    fn text(&self, used: InputUse, text: &str) -> Result<(), Why> {
        match used {
            InputUse::Words => Ok(()),
            InputUse::Other if self.is_upload(text) => Err(self.not_brought(text)),
            InputUse::Other => Ok(()),
            InputUse::File(_) if NO_FILE.contains(&text) || self.is_servers(text) => Ok(()),
            InputUse::File(FileUse::Path) => Err(Why::Path { name: shortened(text) }),
            InputUse::File(FileUse::Upload) if self.own_of(text).is_some() => Ok(()),
            InputUse::File(FileUse::Upload) => Err(match Reference::of(text).folder {
                Folder::Shared => Why::NotInput { name: shortened(text) },
                Folder::Input => self.not_brought(text),
            }),
        }
    }

    /// A file in the folder of the uploads.
    fn is_upload(&self, text: &str) -> bool {
        let Some(uploads) = self.uploads else { return false };
        let path = Reference::of(text).path;
        let below = path.strip_prefix("3d/").unwrap_or(&path).strip_prefix(uploads);
        below.is_some_and(|rest| rest.starts_with('/'))
    }

    /// A file that the catalog says is the server's.
    fn is_servers(&self, text: &str) -> bool {
        (self.server)(text) || text.strip_suffix(" [input]").is_some_and(self.server)
    }

    /// The job's own file that a name in a file input means.
    fn own_of(&self, text: &str) -> Option<&str> {
        let exact = |name: &str| self.own.get_key_value(name).map(|(own, _)| *own);
        let reference = Reference::of(text);
        if let Some(own) = exact(text) {
            return Some(own);
        }
        if reference.folder == Folder::Shared || reference.escapes {
            return None;
        }
        exact(reference.path.rsplit('/').next().unwrap_or_default())
    }

    /// The same in an input of which nothing is known: only the forms that are ComfyUI's own, since a text may end
    /// in a file's name by chance.
    fn own_of_other(&self, text: &str) -> Option<&str> {
        let (bare, is_input) = annotated(text);
        let path = bare.replace('\\', "/");
        let name = EDITOR_FOLDERS.iter().find_map(|folder| path.strip_prefix(folder)).unwrap_or(&path);
        let own = self
            .own
            .get_key_value(text)
            .or_else(|| is_input.unwrap_or(true).then(|| self.own.get_key_value(name)).flatten());
        own.map(|(own, _)| *own)
    }

    fn replace(&self, used: InputUse, value: &mut Value) {
        match value {
            Value::String(text) => {
                let own = match used {
                    InputUse::Words => None,
                    InputUse::Other => self.own_of_other(text),
                    InputUse::File(FileUse::Path) => None,
                    InputUse::File(_) if self.is_servers(text) && !self.own.contains_key(text.as_str()) => {
                        None
                    }
                    InputUse::File(FileUse::Upload) => self.own_of(text),
                };
                if let Some(name) = own.and_then(|own| self.own.get(own)) {
                    *text = name.clone();
                }
            }
            Value::Array(items) if !is_link(items) => {
                items.iter_mut().for_each(|item| self.replace(used, item));
            }
            Value::Object(map) => map.values_mut().for_each(|item| self.replace(used, item)),
            Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// No input that names a file names another than the job's uploads and the server's own.
    fn verify(&self, graph: &Value) -> Result<(), ForeignFile> {
        for (node, class, inputs) in nodes_of(graph) {
            for (input, value) in inputs {
                let InputUse::File(_) = (self.uses)(class, input) else { continue };
                let mut wrong = None;
                each_text(value, &mut |text| {
                    let is_own = self.own.values().any(|name| name == text);
                    if !is_own && !self.is_servers(text) && !NO_FILE.contains(&text) {
                        wrong.get_or_insert(text);
                    }
                });
                if let Some(text) = wrong {
                    return Err(foreign(node, class, input, self.not_brought(text)));
                }
            }
        }
        Ok(())
    }

    fn not_brought(&self, text: &str) -> Why {
        let mut names: Vec<_> = self.own.keys().take(NAMED_MAX).map(|name| shortened(name)).collect();
        if self.own.len() > NAMED_MAX {
            names.push("…".to_owned());
        }
        let brought = if names.is_empty() { "it has none".to_owned() } else { names.join(", ") };
        Why::NotBrought { name: shortened(text), brought }
    }
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// The input folder.
    Input,
    /// `output` or `temp`.
    Shared,
}

/// A name as ComfyUI resolves it.
struct Reference {
    folder: Folder,
    /// Below the folder, with `/`, without `.` parts.
    path: String,
    /// It leads out of the folder.
    escapes: bool,
}

impl Reference {
    fn of(text: &str) -> Self {
        let (bare, is_input) = annotated(text);
        let path = bare.replace('\\', "/");
        let bytes = path.as_bytes();
        let is_absolute =
            path.starts_with('/') || (bytes.len() > 1 && bytes[1] == b':') || path.contains("://");
        let escapes = is_absolute || path.split('/').any(|part| part == "..");
        let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let folder = if is_input == Some(false) { Folder::Shared } else { Folder::Input };
        Self { folder, path: parts.join("/"), escapes }
    }
}

/// A name without its annotation, and whether that says the input folder. The blank before it may be absent: the
/// server then takes the name's last letter for it, and what is meant is the whole name all the same.
fn annotated(text: &str) -> (&str, Option<bool>) {
    let text = text.trim();
    for (annotation, is_input) in ANNOTATIONS {
        if let Some(bare) = text.strip_suffix(annotation) {
            return (bare.trim_end(), Some(is_input));
        }
    }
    (text, None)
}

/// Files that a job's graph may name beyond the job's own: what the catalog says, and for a prompt what its
/// template says, which is the operator's.
#[must_use]
pub fn server_inputs(body: &Body, catalog: &Catalog) -> BTreeSet<String> {
    let mut names = catalog.server_inputs.clone();
    let model = body.model.as_ref().or_else(|| catalog.default_models.get(&body.kind));
    let template = model.and_then(|name| catalog.model(name)).filter(|_| body.workflow.is_none());
    for (_, class, inputs) in template.iter().flat_map(|model| nodes_of(&model.template)) {
        for (input, value) in inputs {
            if matches!(use_by_table(class, input), InputUse::File(_)) {
                each_text(value, &mut |text| {
                    names.insert(text.to_owned());
                });
            }
        }
    }
    names
}

/// The name to upload a job's file under: its place among the inputs first, so that no two are the same on any file
/// system, then so much of its own name as every file system takes.
#[must_use]
pub fn upload_name(index: usize, name: &str) -> String {
    let plain = |text: &str, most: usize| -> String {
        let kept =
            text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' });
        kept.take(most).collect()
    };
    match name.rsplit_once('.') {
        Some((stem, ending)) if !ending.is_empty() => {
            format!("{index}-{}.{}", plain(stem, STEM_MAX_BYTES), plain(ending, ENDING_MAX_BYTES))
        }
        _ => format!("{index}-{}", plain(name, STEM_MAX_BYTES)),
    }
}

fn foreign(node: &str, class: &str, input: &str, why: Why) -> ForeignFile {
    ForeignFile { node: shortened(node), class: shortened(class), input: shortened(input), why }
}

/// Enough of a client's text to recognise it.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(SHOWN_CHARS).collect::<String>())
}

type Inputs = serde_json::Map<String, Value>;

fn nodes_of(graph: &Value) -> impl Iterator<Item = (&str, &str, &Inputs)> {
    graph.as_object().into_iter().flatten().filter_map(|(id, node)| {
        let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default();
        Some((id.as_str(), class, node.get("inputs")?.as_object()?))
    })
}

fn nodes_of_mut(graph: &mut Value) -> impl Iterator<Item = (&str, String, &mut Inputs)> {
    graph.as_object_mut().into_iter().flatten().filter_map(|(id, node)| {
        let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some((id.as_str(), class, node.get_mut("inputs")?.as_object_mut()?))
    })
}
