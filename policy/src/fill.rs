//! Fills the inputs of a client's own ComfyUI workflow: prompt, seed, steps and size where they can be found
//! without doubt, any other input by name. What cannot be placed is refused, never dropped.
//!
//! An option is placed where the workflow has one input for it, or several that hold the same value now:
//! these were one setting to whoever drew the workflow. Inputs are found by following links, and a node
//! that is not understood is a doubt, not a guess. Where an input holds a placeholder of the catalog's
//! templates (`{{seed}}`), the option goes there and nowhere else.

mod found;
mod graph;
mod number;
mod set;
mod size;
mod text;
mod wish;

use std::collections::BTreeSet;

use schemas::catalog::Model;
use schemas::workflow::{self, WorkflowError};
use schemas::{Body, Catalog};
use serde_json::Value;

use self::found::Found;
use self::graph::Graph;

pub use self::graph::{Candidate, Place};
pub use self::set::{Change, SetError, Setting};
pub use self::wish::{Wish, Wishes};

/// A workflow with its inputs filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// The workflow to send.
    pub graph: Value,
    /// What differs from the one that was given, or was confirmed.
    pub changes: Vec<Change>,
}

/// A wish that has no place without doubt.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubt {
    /// Which wish.
    pub wish: Wish,
    /// Why it is not placed: a clause.
    pub why: String,
    /// The inputs that may be meant.
    pub candidates: Vec<Candidate>,
}

/// Why a workflow is not filled. Nothing of it was then used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FillError {
    /// It is no workflow in API format.
    #[error("{0}")]
    Form(#[from] WorkflowError),
    /// A setting by name does not fit.
    #[error("{0}")]
    Set(#[from] SetError),
    /// Wishes that cannot be placed.
    #[error("{}", .0.iter().map(|doubt| format!("{}: {}", doubt.wish.field(), doubt.why)).collect::<Vec<_>>().join("; "))]
    Doubts(Vec<Doubt>),
    /// An input is wanted by name and by a wish.
    #[error("{0} is set by name, and {field} would fill it too: leave one of them out", field = .1.field())]
    Clash(Place, Wish),
    /// The workflow is a template, and a value is missing.
    #[error("{0} holds the placeholder {placeholder}: give {field}, or set {0} to a value",
        placeholder = .1.placeholder(), field = .1.field())]
    Placeholder(Place, Wish),
}

/// Fills a workflow's own inputs: first the settings by name, then the wishes.
///
/// # Errors
/// [`FillError`]; wishes that cannot be placed are reported together.
pub fn fill(graph: &Value, wishes: &Wishes, settings: &[Setting]) -> Result<Filled, FillError> {
    workflow::requirements(graph)?;
    let (mut graph, mut changes) = set::apply(graph, settings)?;
    let by_name: BTreeSet<Place> = changes.iter().map(|change| change.place.clone()).collect();
    let (mut doubts, mut placed) = (Vec::new(), Vec::new());
    let read = Graph::new(&graph);
    for (wish, value) in &wishes.0 {
        match find(&read, *wish, Some(value)) {
            Ok(places) => placed.extend(places.into_iter().map(|place| (*wish, place, value))),
            Err(doubt) => doubts.push(doubt),
        }
    }
    if !doubts.is_empty() {
        return Err(FillError::Doubts(doubts));
    }
    for (wish, place, _) in &placed {
        let is_placeholder = read.value(place).and_then(Value::as_str) == Some(wish.placeholder());
        if by_name.contains(place) && !is_placeholder {
            return Err(FillError::Clash(place.clone(), *wish));
        }
    }
    let placed: Vec<_> = placed.into_iter().map(|(_, place, value)| (place, value.clone())).collect();
    for (place, value) in placed {
        graph::put(&mut graph, &place, value.clone());
        changes.retain(|change| change.place != place);
        changes.push(Change { place, value });
    }
    let read = Graph::new(&graph);
    for wish in Wish::ALL {
        if let Some(place) = placeholders(&read, wish).into_iter().next() {
            // What a client wants shown may well be the word for it.
            if wishes.0.get(&wish).and_then(Value::as_str) != Some(wish.placeholder()) {
                return Err(FillError::Placeholder(place, wish));
            }
        }
    }
    Ok(Filled { graph, changes })
}

/// The seed that a workflow holds now, from which a series of different pictures counts on.
///
/// # Errors
/// The reason why no seed of this workflow can be varied.
pub fn seed_of(graph: &Value) -> Result<u64, Doubt> {
    let read = Graph::new(graph);
    let places = find(&read, Wish::Seed, None)?;
    let held = places.first().and_then(|place| read.value(place)).and_then(Value::as_u64);
    held.ok_or_else(|| Doubt {
        wish: Wish::Seed,
        why: "the workflow holds no seed to count on from".to_owned(),
        candidates: Vec::new(),
    })
}

/// The fields of a body that say something else than its workflow, and so have no effect beside it. A
/// prompt is none of them: beside a workflow it may describe.
#[must_use]
pub fn ignored(body: &Body) -> Vec<&'static str> {
    let Some(graph) = &body.workflow else { return Vec::new() };
    let mut wishes = Wishes::of(body).0;
    wishes.remove(&Wish::Prompt);
    if wishes.is_empty() {
        return Vec::new();
    }
    let read = Graph::new(graph);
    let holds = |wish: Wish, value: &Value| {
        find(&read, wish, Some(value))
            .is_ok_and(|places| places.iter().all(|place| read.value(place) == Some(value)))
    };
    wishes.iter().filter(|(wish, value)| !holds(**wish, value)).map(|(wish, _)| wish.field()).collect()
}

/// The names of inputs that no node of the workflow mentions, so that bringing them has no effect.
#[must_use]
pub fn unmentioned<'a>(graph: &Value, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let read = Graph::new(graph);
    names.into_iter().filter(|name| !read.mentions(name)).collect()
}

/// The catalog's model that a workflow's own files decide for, where the job names another one, which then
/// has no effect.
#[must_use]
pub fn overruling_model<'a>(body: &Body, catalog: &'a Catalog) -> Option<&'a Model> {
    let needs = workflow::requirements(body.workflow.as_ref()?).ok()?;
    let named = body.model.as_deref()?;
    let mut used =
        catalog.models.iter().filter(|model| model.files.iter().any(|file| needs.models.contains(file)));
    let first = used.next()?;
    (first.model != named && used.all(|model| model.model != named)).then_some(first)
}

/// Where a wish belongs. `value` is what is wanted, where something is.
fn find(graph: &Graph<'_>, wish: Wish, value: Option<&Value>) -> Result<Vec<Place>, Doubt> {
    let marked = placeholders(graph, wish);
    if !marked.is_empty() {
        return Ok(marked);
    }
    let found = match wish {
        Wish::Prompt => text::prompt(graph),
        Wish::NegativePrompt => text::negative(graph),
        Wish::Seed => number::seed(graph),
        Wish::Steps => number::steps(graph, value.and_then(Value::as_u64)),
        Wish::Width => size::width(graph),
        Wish::Height => size::height(graph),
        Wish::Duration => Found::doubt("frames and their rate depend on the model"),
    };
    let doubt = |why: String| Doubt { wish, why, candidates: candidates(graph, wish, &found) };
    if let Some(why) = found.doubts.first() {
        return Err(doubt(why.clone()));
    }
    let Some(first) = found.places.first() else {
        return Err(doubt("the workflow has no input for it".to_owned()));
    };
    let held = graph.value(first);
    if found.places.iter().any(|place| graph.value(place) != held) {
        return Err(doubt(format!(
            "the workflow has {} inputs for it, and they differ now",
            found.places.len()
        )));
    }
    Ok(found.places.into_iter().chain(found.along).collect())
}

/// The inputs that may be meant: those that were found, or those with a usual name.
fn candidates(graph: &Graph<'_>, wish: Wish, found: &Found) -> Vec<Candidate> {
    let mut places: BTreeSet<Place> = found.places.union(&found.shared).cloned().collect();
    if places.len() < 2 {
        let is_text = matches!(wish, Wish::Prompt | Wish::NegativePrompt);
        places.extend(graph.named(names(wish), if is_text { Value::is_string } else { Value::is_number }));
        let others = match wish {
            Wish::Prompt => text::negative(graph).places,
            Wish::NegativePrompt => text::prompt(graph).places,
            _ => BTreeSet::new(),
        };
        places.retain(|place| !others.contains(place));
    }
    places.iter().filter_map(|place| graph.candidate(place)).collect()
}

/// The names that an input for a wish usually has.
const fn names(wish: Wish) -> &'static [&'static str] {
    match wish {
        Wish::Prompt | Wish::NegativePrompt => &text::NAMES,
        Wish::Seed => &number::SEEDS,
        Wish::Steps => &number::STEPS,
        Wish::Width => &["width", "empty_latent_width"],
        Wish::Height => &["height", "empty_latent_height"],
        Wish::Duration => &["length", "frames", "num_frames", "video_frames"],
    }
}

/// The inputs that hold a wish's placeholder.
fn placeholders(graph: &Graph<'_>, wish: Wish) -> Vec<Place> {
    let marked = |value: &Value| value.as_str() == Some(wish.placeholder());
    graph.inputs().filter(|(_, value)| marked(value)).map(|(place, _)| place).collect()
}
