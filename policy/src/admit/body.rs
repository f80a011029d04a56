//! What is to be made: sizes, files, and which class of the catalog it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::catalog::Model;
use schemas::config::Limits;
use schemas::workflow;
use schemas::workflow::files::{Files, use_by_table};
use schemas::{Body, Catalog, Class, Failure, Input, Job, Kind};

use super::admitted::{Admitted, Form};
use super::limits::INPUT_NAME_MAX_BYTES;
use super::shorten::shortened;
use super::sources;

/// Checks what can be checked without the catalog.
pub(super) fn check(job: &Job, limits: &Limits) -> Result<(), Failure> {
    let body = &job.body;
    if body.kind == Kind::Unknown {
        return Err(Failure::invalid("body.kind", "body.kind is not known: use image or video"));
    }
    check_text("body.prompt", body.prompt.as_deref(), limits)?;
    check_text("body.negative_prompt", body.negative_prompt.as_deref(), limits)?;
    check_side("body.width", body.width, limits)?;
    check_side("body.height", body.height, limits)?;
    check_range("body.steps", body.steps, limits.steps_max, "steps")?;
    if body.kind == Kind::Image && body.duration_ms.is_some() {
        return Err(Failure::invalid(
            "body.duration_ms",
            "body.duration_ms is for videos: leave it out, or set body.kind to video",
        ));
    }
    check_range("body.duration_ms", body.duration_ms, limits.duration_max_ms, "milliseconds")?;
    check_inputs(&body.inputs, limits)?;
    extra_data(body)?;
    if body.keep_previews && body.workflow.is_none() {
        let words = "body.keep_previews goes beside body.workflow: leave it out";
        return Err(Failure::invalid("body.keep_previews", words));
    }
    sources::check(job)
}

/// Keys of accounts that a page of ComfyUI puts beside a workflow.
const PARTNER_KEYS: [&str; 2] = ["api_key_comfy_org", "auth_token_comfy_org"];

/// What goes beside a workflow is stored with the job, in streams, backups and rows: a key must not be.
fn extra_data(body: &Body) -> Result<(), Failure> {
    let Some(extra) = &body.extra_data else { return Ok(()) };
    let field = "body.extra_data";
    if body.workflow.is_none() {
        return Err(Failure::invalid(field, "body.extra_data goes beside body.workflow: leave it out"));
    }
    let Some(extra) = extra.as_object() else {
        return Err(Failure::invalid(
            field,
            "body.extra_data must be an object, for example {\"extra_pnginfo\": …}",
        ));
    };
    if let Some(key) = PARTNER_KEYS.into_iter().find(|key| extra.contains_key(*key)) {
        let words = format!(
            "body.extra_data.{key} is the key of an account: jobs are stored, and keys must not be; leave it out, and set \
             the key at the server"
        );
        return Err(Failure::invalid(&format!("{field}.{key}"), words));
    }
    let is_flat = extra.values().all(|value| workflow::is_within(value, workflow::DEPTH_MAX));
    if !is_flat {
        let words = format!("body.extra_data nests more than {} deep", workflow::DEPTH_MAX);
        return Err(Failure::invalid(field, words));
    }
    Ok(())
}

fn check_text(field: &str, text: Option<&str>, limits: &Limits) -> Result<(), Failure> {
    let (bytes, most) = (text.unwrap_or_default().len(), limits.prompt_max_bytes);
    if bytes > most {
        return Err(Failure::invalid(
            field,
            format!("{field} is {bytes} bytes: at most {most} are accepted; shorten it"),
        ));
    }
    Ok(())
}

fn check_side(field: &str, side: Option<u32>, limits: &Limits) -> Result<(), Failure> {
    let (least, most, step) = (limits.side_min_px, limits.side_max_px, limits.side_multiple_px.max(1));
    let Some(side) = side else { return Ok(()) };
    if (least..=most).contains(&side) && side % step == 0 {
        return Ok(());
    }
    let nearest = (side.clamp(least, most) / step * step).max(least);
    Err(Failure::invalid(
        field,
        format!(
            "{field} is {side}: it must be {least} to {most} pixels and a multiple of {step}; {nearest} would do"
        ),
    ))
}

fn check_range(field: &str, value: Option<u32>, most: u32, unit: &str) -> Result<(), Failure> {
    match value {
        Some(value) if value == 0 || value > most => Err(Failure::invalid(
            field,
            format!("{field} is {value}: it must be 1 to {most} {unit}, or be left out"),
        )),
        _ => Ok(()),
    }
}

fn check_inputs(inputs: &[Input], limits: &Limits) -> Result<(), Failure> {
    let (count, most) = (inputs.len(), limits.inputs_max);
    if count > most {
        return Err(Failure::invalid(
            "body.inputs",
            format!("body.inputs has {count} files: at most {most} are accepted"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, input) in inputs.iter().enumerate() {
        let name = &input.name;
        let field = |part: &str| format!("body.inputs[{index}].{part}");
        if !is_plain_file_name(name) {
            let text = format!(
                "{} is `{}`: it must be a plain file name of 1 to {INPUT_NAME_MAX_BYTES} bytes, without folders and \
                 without a leading dot, for example photo.png",
                field("name"),
                shortened(name)
            );
            return Err(Failure::invalid(&field("name"), text));
        }
        if !seen.insert(name) {
            let text = format!(
                "{} is `{}` a second time: give each input a name of its own",
                field("name"),
                shortened(name)
            );
            return Err(Failure::invalid(&field("name"), text));
        }
        if input.artifact.bucket.is_empty() || input.artifact.key.is_empty() {
            let text = format!(
                "{} needs a bucket and a key: put the file into the artifact store first",
                field("artifact")
            );
            return Err(Failure::invalid(&field("artifact"), text));
        }
        if !input.media_type.contains('/') {
            let text = format!(
                "{} is `{}`: it must be like image/png",
                field("media_type"),
                shortened(&input.media_type)
            );
            return Err(Failure::invalid(&field("media_type"), text));
        }
    }
    Ok(())
}

/// A name that stays inside the folder it is put into, on every file system.
fn is_plain_file_name(name: &str) -> bool {
    (1..=INPUT_NAME_MAX_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && !name.chars().any(|c| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// Finds the class, and what a server would need.
pub(super) fn classify(job: &Job, catalog: &Catalog, limits: &Limits) -> Result<Admitted, Failure> {
    let named =
        job.body.model.as_deref().map(|name| model_named(name, job.body.kind, catalog)).transpose()?;
    let admitted = match &job.body.workflow {
        Some(graph) => of_workflow(graph, named, &job.body, catalog, limits)?,
        None => of_prompt(job, named, catalog)?,
    };
    check_made(&admitted, catalog)?;
    Ok(admitted)
}

fn of_workflow(
    graph: &serde_json::Value,
    named: Option<&Model>,
    body: &Body,
    catalog: &Catalog,
    limits: &Limits,
) -> Result<Admitted, Failure> {
    let field = "body.workflow";
    let requirements =
        workflow::requirements(graph).map_err(|error| Failure::invalid(field, error.to_string()))?;
    let (nodes, most) = (graph.as_object().map_or(0, serde_json::Map::len), limits.workflow_max_nodes);
    if nodes > most {
        return Err(Failure::invalid(
            field,
            format!("{field} has {nodes} nodes: at most {most} are accepted"),
        ));
    }
    let vram = |class: &Class| catalog.class(class).map_or(0, |spec| spec.vram_bytes);
    check_files(graph, body, catalog)?;
    let uses = |model: &&Model| model.files.iter().any(|file| requirements.uses(file));
    // A shared file (a text encoder) says less than the need for memory: the largest decides.
    let by_files = catalog.models.iter().filter(uses).max_by_key(|model| vram(&model.class));
    let default = || catalog.default_classes.get(&body.kind).cloned();
    let class = by_files.or(named).map(|model| model.class.clone()).or_else(default).ok_or_else(|| {
        Failure::invalid(
            "body.model",
            format!(
                "body.model is needed: nothing in the workflow tells its class, and {} has no default",
                body.kind.as_str()
            ),
        )
    })?;
    check_kind(&class, body.kind, catalog, "the workflow's files are")?;
    Ok(Admitted { class, form: Form::Workflow, requirements: Arc::new(requirements) })
}

/// A workflow may name only files that the job brought, as far as well-known nodes go; a worker looks again with its
/// server's own description of the nodes.
fn check_files(graph: &serde_json::Value, body: &Body, catalog: &Catalog) -> Result<(), Failure> {
    let own = body.inputs.iter().map(|input| (input.name.as_str(), String::new()));
    let server = |name: &str| catalog.server_inputs.contains(name);
    let files = Files { own: own.collect(), server: &server, uses: &use_by_table, uploads: None };
    files.check(graph).map_err(|error| error.failure())
}

fn of_prompt(job: &Job, named: Option<&Model>, catalog: &Catalog) -> Result<Admitted, Failure> {
    let body = &job.body;
    if body.prompt.as_deref().is_none_or(|prompt| prompt.trim().is_empty()) {
        return Err(Failure::invalid(
            "body.prompt",
            "body.prompt and body.workflow are both missing: a job needs one of them",
        ));
    }
    let default = || catalog.default_models.get(&body.kind).and_then(|name| catalog.model(name));
    let model = named.or_else(default).ok_or_else(|| {
        Failure::invalid(
            "body.model",
            format!(
                "body.model is needed, {} has no default: use one of {}",
                body.kind.as_str(),
                models(body.kind, catalog)
            ),
        )
    })?;
    check_kind(&model.class, body.kind, catalog, &format!("model `{}` is", model.model))?;
    // A model without a template is made only by those who take prompts as they are.
    let requirements = model.requirements().map_err(|error| {
        Failure::invalid(
            "body.model",
            format!(
                "the catalog's template of model `{}` cannot be used ({error}): tell the operator",
                model.model
            ),
        )
    })?;
    Ok(Admitted { class: model.class.clone(), form: Form::Prompt, requirements })
}

fn model_named<'a>(name: &str, kind: Kind, catalog: &'a Catalog) -> Result<&'a Model, Failure> {
    catalog.model(name).ok_or_else(|| {
        Failure::invalid(
            "body.model",
            format!(
                "body.model is `{}`, which no backend has: use one of {}",
                shortened(name),
                models(kind, catalog)
            ),
        )
    })
}

fn check_kind(class: &Class, kind: Kind, catalog: &Catalog, what: &str) -> Result<(), Failure> {
    let Some(spec) = catalog.class(class) else {
        return Err(Failure::invalid(
            "body.model",
            format!("{what} of class {class}, which the catalog lacks: tell the operator"),
        ));
    };
    if spec.kind == kind {
        return Ok(());
    }
    let (wanted, made) = (kind.as_str(), spec.kind.as_str());
    Err(Failure::invalid(
        "body.kind",
        format!(
            "body.kind is {wanted}, but {what} for {made}: set body.kind to {made}, or use one of {}",
            models(kind, catalog)
        ),
    ))
}

/// Some service must take it in this form, else no wait would help.
fn check_made(admitted: &Admitted, catalog: &Catalog) -> Result<(), Failure> {
    let made = catalog.services.iter().any(|service| {
        service.class == admitted.class
            && match admitted.form {
                Form::Prompt => service.prompts,
                Form::Workflow => service.workflows,
            }
    });
    if made {
        return Ok(());
    }
    let (class, form) = (&admitted.class, admitted.form.as_str());
    let field = if admitted.form == Form::Prompt { "body.model" } else { "body.workflow" };
    Err(Failure::invalid(
        field,
        format!("no backend makes class {class} from a {form}: choose another model"),
    ))
}

/// The models of a kind, for an error's cure.
fn models(kind: Kind, catalog: &Catalog) -> String {
    let of_kind = |model: &&Model| catalog.class(&model.class).is_some_and(|spec| spec.kind == kind);
    let mut names: Vec<_> = catalog.models.iter().filter(of_kind).map(|model| model.model.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}
