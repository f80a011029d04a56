//! What the options ask for as the bodies of one or several jobs: workflows filled, seeds counted up, and
//! everything that would have no effect refused, before anything is sent.

use super::draft::Draft;
use super::job_options::{JobOptions, Material};
use crate::exit::Usage;
use policy::fill::{self, Candidate, Doubt, FillError, Wish, Wishes};
use runtime::escape;
use schemas::{Body, Catalog};
use serde_json::Value;

/// Inputs listed in a refusal; more would hide its beginning.
const CANDIDATES_MAX: usize = 12;
/// Characters of a value that are shown.
const VALUE_MAX_CHARS: usize = 40;

/// The drafts of `count` jobs. Each has a seed and a key of its own: `--seed 5` counts 5, 6, 7, and a
/// workflow without `--seed` counts on from the seed that it holds.
///
/// # Errors
/// [`Usage`] with the option and the cure: an option has no certain place in the workflow, an input file is
/// named by no node, or all jobs would be the same.
pub fn drafts(options: &JobOptions, material: &Material, count: u32) -> Result<Vec<Draft>, Usage> {
    let body = options.body(material);
    if let Some(seed) = body.seed
        && seed.checked_add(u64::from(count - 1)).is_none()
    {
        return Err(Usage(format!("--seed {seed} cannot be counted up {count} times: use a smaller one")));
    }
    let bodies = match &body.workflow {
        None => prompts(&body, count),
        Some(graph) => workflows(options, &body, graph, count)?,
    };
    let key = |index: usize| {
        let key = options.key.as_ref()?;
        Some(if count == 1 { key.clone() } else { format!("{key}/{}", index + 1) })
    };
    let drafts = bodies.into_iter().enumerate();
    Ok(drafts.map(|(index, (body, seed))| Draft { body, key: key(index), seed }).collect())
}

fn prompts(body: &Body, count: u32) -> Vec<(Body, Option<u64>)> {
    let seeds = (0..u64::from(count)).map(|index| body.seed.map(|seed| seed + index));
    seeds.map(|seed| (Body { seed, ..body.clone() }, seed)).collect()
}

fn workflows(
    options: &JobOptions,
    body: &Body,
    graph: &Value,
    count: u32,
) -> Result<Vec<(Body, Option<u64>)>, Usage> {
    if body.prompt.as_ref().is_some_and(|prompt| prompt.trim().is_empty()) {
        return Err(Usage(
            "the prompt is blank: leave it out and the workflow keeps its own, or write one".to_owned(),
        ));
    }
    let refused = |error| Usage(refusal(options, count, error));
    let filled = |graph: &Value, body: &Body, settings| {
        fill::fill(graph, &Wishes::of(body), settings).map(|filled| filled.graph).map_err(refused)
    };
    let first = filled(graph, body, &options.set)?;
    let unmentioned = fill::unmentioned(&first, options.input.iter().map(|(name, _)| name.as_str()));
    if let Some(name) = unmentioned.first() {
        return Err(Usage(format!(
            "--input {name}: no node of the workflow names this file, so it would have no effect: leave it out, or \
             name it where it belongs, for example --set NODE.image={name}"
        )));
    }
    let held = fill::seed_of(&first);
    if count == 1 {
        return Ok(vec![(Body { workflow: Some(first), ..body.clone() }, body.seed.or(held.ok()))]);
    }
    let seeded = |seed: u64| Body { seed: Some(seed), ..body.clone() };
    let counted = |base: u64, index: u32| {
        base.checked_add(u64::from(index)).ok_or_else(|| {
            Usage(format!("the workflow's seed {base} cannot be counted up {count} times: give --seed"))
        })
    };
    let mut bodies = Vec::new();
    match body.seed {
        // Each from the workflow as it came: what marks the seed's place is gone once it is filled.
        Some(base) => {
            for index in 0..count {
                let body = seeded(counted(base, index)?);
                let workflow = filled(graph, &body, &options.set)?;
                bodies.push((Body { workflow: Some(workflow), ..body.clone() }, body.seed));
            }
        }
        None => {
            let base = held.map_err(|doubt| refused(FillError::Doubts(vec![doubt])))?;
            for index in 0..count {
                let body = seeded(counted(base, index)?);
                let only = Body { seed: body.seed, ..Body::default() };
                let workflow = filled(&first, &only, &[])?;
                bodies.push((Body { workflow: Some(workflow), ..body.clone() }, body.seed));
            }
        }
    }
    Ok(bodies)
}

/// `--model` beside a workflow says what a machine needs where the workflow's files are not the catalog's;
/// elsewhere the files decide.
///
/// # Errors
/// [`Usage`]: the option would have no effect.
pub fn check_model(body: &Body, catalog: &Catalog) -> Result<(), Usage> {
    let Some(model) = fill::overruling_model(body, catalog) else { return Ok(()) };
    Err(Usage(format!(
        "--model {} would have no effect: the workflow's own files are those of model {}. Leave --model out, or put \
         other files into the workflow with --set",
        body.model.as_deref().unwrap_or_default(),
        model.model
    )))
}

/// What a wish is on the command line.
const fn option(wish: Wish) -> &'static str {
    match wish {
        Wish::Prompt => "the prompt",
        Wish::NegativePrompt => "--negative",
        Wish::Seed => "--seed",
        Wish::Steps => "--steps",
        Wish::Width => "--width",
        Wish::Height => "--height",
        Wish::Duration => "--duration-s",
    }
}

fn refusal(options: &JobOptions, count: u32, error: FillError) -> String {
    let file = options.workflow.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    match error {
        FillError::Form(error) => format!("{file}: {error}"),
        FillError::Set(error) => format!("--set {error}"),
        FillError::Clash(place, wish) => {
            format!("--set {place} and {} are for the same input: leave one of them out", option(wish))
        }
        FillError::Placeholder(place, wish) => format!(
            "{file}: {place} holds the placeholder {}: give {}, or --set {place}=VALUE",
            wish.placeholder(),
            option(wish)
        ),
        FillError::Doubts(doubts) => {
            let asked = doubts.iter().map(|doubt| in_words(doubt, options, count));
            format!("{file} is not submitted.\n{}", asked.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// A doubt with the words that resolve it.
fn in_words(doubt: &Doubt, options: &JobOptions, count: u32) -> String {
    let (wish, why) = (doubt.wish, &doubt.why);
    let counted = wish == Wish::Seed && options.seed.is_none();
    let head = if counted {
        format!("--count {count} would make the same picture {count} times: for the seed, {why}.")
    } else {
        format!("{} has no certain place: {why}.", option(wish))
    };
    if doubt.candidates.is_empty() {
        let useless = if counted { "--count" } else { option(wish) };
        return format!("{head} Leave {useless} out.");
    }
    let shown = doubt.candidates.iter().take(CANDIDATES_MAX).map(|candidate| line(candidate, wish));
    let more = doubt.candidates.len().saturating_sub(CANDIDATES_MAX);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let also = if counted { " and --seed with a number" } else { "" };
    let lines = shown.collect::<Vec<_>>().join("\n");
    format!(
        "{head} Leave it out, or mark where it belongs by adding one or several of these{also}:\n{lines}{more}"
    )
}

fn line(candidate: &Candidate, wish: Wish) -> String {
    let Candidate { place, class_type, title, value } = candidate;
    // A workflow may be somebody else's: its words stay on this line.
    let title = title.as_ref().map(|title| format!(" \"{}\"", escape::line(title))).unwrap_or_default();
    let (class_type, place) = (escape::line(class_type), place.to_string());
    let place = escape::line(&place);
    let mut now = value.to_string();
    if now.chars().count() > VALUE_MAX_CHARS {
        now = format!("{}…", now.chars().take(VALUE_MAX_CHARS).collect::<String>());
    }
    format!("  --set '{place}={}'    {class_type}{title}, now {now}", wish.placeholder())
}
