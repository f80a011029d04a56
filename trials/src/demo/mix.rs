//! The demo's jobs: prompts and whole workflows, images and films, three tenants, all lanes, ceilings and
//! preferences. The same seed gives the same jobs but for their ids, which carry the time.

use crate::chance::Chance;
use anyhow::Context as _;
use schemas::{
    Backend, Body, Constraints, Input, Job, JobId, Kind, Lane, MicroUsd, Preferences, Profile, Tenant,
};
use serde_json::{Value, json};

/// The shipped workflows, by name.
pub const WORKFLOWS: [(&str, &str); 5] = [
    ("sd15_txt2img", include_str!("../../../ops/workflows/sd15_txt2img.json")),
    ("sdxl_txt2img", include_str!("../../../ops/workflows/sdxl_txt2img.json")),
    ("flux_txt2img", include_str!("../../../ops/workflows/flux_txt2img.json")),
    ("img2img", include_str!("../../../ops/workflows/img2img.json")),
    ("wan_t2v", include_str!("../../../ops/workflows/wan_t2v.json")),
];

/// The file that the image-to-image workflow reads.
pub const PHOTO: &str = "photo.png";

/// The tenants that use it, each from its own folder.
pub const PHOTO_TENANTS: [&str; 2] = ["studio-a", "studio-c"];

const SUBJECTS: [&str; 16] = [
    "a lighthouse on a cliff",
    "a red fox in fresh snow",
    "an old harbour in morning fog",
    "a tram in the rain at night",
    "a cat asleep on a stack of books",
    "an observatory under the northern lights",
    "a market of spices",
    "a sailing ship in a storm",
    "a greenhouse full of orchids",
    "a wooden bridge in autumn",
    "a robot repairing a clock",
    "mountains above the clouds",
    "a bowl of ripe cherries",
    "a train crossing a viaduct",
    "a library with a spiral staircase",
    "a hummingbird at a flower",
];
const STYLES: [&str; 6] =
    ["photograph", "oil painting", "watercolour", "woodcut", "isometric drawing", "pencil sketch"];

/// A job of the mix before it has an id and a time.
#[derive(Debug, Clone, PartialEq)]
struct Draft {
    tenant: &'static str,
    lane: Lane,
    body: Body,
    constraints: Constraints,
    preferences: Preferences,
    what: String,
}

/// All jobs of a demo. `photo` is the uploaded input of the image-to-image workflow, in the folder of the first of
/// [`PHOTO_TENANTS`].
///
/// # Errors
/// Never: the shipped workflows are JSON and the names are names, by test.
pub fn jobs(count: usize, seed: u64, photo: &Input, now_ms: i64) -> anyhow::Result<Vec<Job>> {
    let mut chance = Chance::of(seed);
    let mut all = Vec::with_capacity(count);
    for index in 0..count {
        let draft = draft(index, &mut chance, photo)?;
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&chance.draw().to_be_bytes());
        entropy[8..].copy_from_slice(&(index as u16).to_be_bytes());
        let id = JobId::from_parts(now_ms, entropy);
        all.push(Job {
            lane: draft.lane,
            // Killing a worker by hand may change nothing but time, nor may it where a picture is lost with it.
            constraints: Constraints { retry_unknown: Some(true), ..draft.constraints },
            preferences: draft.preferences,
            labels: [("demo".to_owned(), seed.to_string()), ("what".to_owned(), draft.what)].into(),
            ..Job::new(id, Tenant::new(draft.tenant)?, draft.body, now_ms)
        });
    }
    Ok(all)
}

/// Twenty kinds of wishes in turn, so that any number of jobs has its share of each.
fn draft(index: usize, chance: &mut Chance, photo: &Input) -> anyhow::Result<Draft> {
    let (turn, round) = (index % 20, index / 20);
    Ok(match turn {
        0..=4 => {
            let model = ["sdxl", "sd15", "flux", "sd15", "sdxl"][turn];
            let tenant = ["studio-a", "studio-b", "studio-c", "studio-a", "studio-c"][turn];
            prompt(chance, tenant, model, 512)
        }
        5 => Draft {
            lane: Lane::Interactive,
            ..with_ceiling(prompt(chance, "studio-a", "sdxl", 768), 200_000)
        },
        6 => workflow(chance, "studio-a", "sd15_txt2img")?,
        7 => with_ceiling(workflow(chance, "studio-c", "sdxl_txt2img")?, 100_000),
        8 => workflow(chance, "studio-a", "flux_txt2img")?,
        9 => with_input(workflow(chance, "studio-c", "img2img")?, photo),
        10 => film(workflow(chance, "studio-a", "wan_t2v")?),
        // What costs most is rare, as it would be.
        11 if round % 3 == 0 => only(film(prompt(chance, "studio-a", "wan", 512)), "gemini", 2_000_000)?,
        11 => film(prompt(chance, "studio-a", "wan", 512)),
        12 if round % 2 == 0 => {
            let wish = Preferences { backend: Some(Backend::new("gemini")?), ..Preferences::default() };
            Draft { preferences: wish, ..with_ceiling(prompt(chance, "studio-c", "sdxl", 512), 250_000) }
        }
        12 => with_ceiling(prompt(chance, "studio-c", "sdxl", 512), 250_000),
        13 => only(prompt(chance, "studio-c", "sdxl", 512), "cloud", 100_000)?,
        14 => {
            let wish = Preferences { profile: Profile::Fastest, ..Preferences::default() };
            Draft { lane: Lane::Interactive, preferences: wish, ..prompt(chance, "studio-a", "sd15", 512) }
        }
        15 => Draft { lane: Lane::Batch, ..with_ceiling(prompt(chance, "studio-b", "sd15", 512), 0) },
        16 => {
            let wish = Preferences { profile: Profile::Cheapest, ..Preferences::default() };
            let cheap = with_ceiling(prompt(chance, "studio-c", "flux", 512), 50_000);
            Draft { lane: Lane::Batch, preferences: wish, ..cheap }
        }
        17 => workflow(chance, "studio-b", "sd15_txt2img")?,
        18 => with_input(workflow(chance, "studio-a", "img2img")?, photo),
        _ => Draft { lane: Lane::Batch, ..workflow(chance, "studio-c", "sdxl_txt2img")? },
    })
}

fn words(chance: &mut Chance) -> String {
    format!("{}, {}", chance.pick(&SUBJECTS), chance.pick(&STYLES))
}

fn prompt(chance: &mut Chance, tenant: &'static str, model: &str, side_px: u32) -> Draft {
    let body = Body {
        prompt: Some(words(chance)),
        negative_prompt: Some("watermark, text".to_owned()),
        model: Some(model.to_owned()),
        width: Some(side_px),
        height: Some(side_px),
        seed: Some(chance.draw() >> 11),
        ..Body::default()
    };
    Draft {
        tenant,
        lane: Lane::Standard,
        body,
        constraints: Constraints::default(),
        preferences: Preferences::default(),
        what: format!("prompt {model}"),
    }
}

fn workflow(chance: &mut Chance, tenant: &'static str, name: &str) -> anyhow::Result<Draft> {
    let shipped = WORKFLOWS.iter().find(|(known, _)| *known == name).context("a shipped workflow")?;
    let mut graph: Value = serde_json::from_str(shipped.1).with_context(|| format!("workflow {name}"))?;
    let (text, seed) = (words(chance), chance.draw() >> 11);
    // As a person would: the same graph, another text and another seed.
    graph["6"]["inputs"]["text"] = json!(text);
    for inputs in graph.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
        for key in ["seed", "noise_seed"] {
            if let Some(value) = inputs["inputs"].get_mut(key) {
                *value = json!(seed);
            }
        }
    }
    Ok(Draft {
        tenant,
        lane: Lane::Standard,
        body: Body { workflow: Some(graph), ..Body::default() },
        constraints: Constraints::default(),
        preferences: Preferences::default(),
        what: format!("workflow {name}"),
    })
}

fn film(mut draft: Draft) -> Draft {
    draft.body.kind = Kind::Video;
    if draft.body.prompt.is_some() {
        (draft.body.width, draft.body.height) = (Some(640), Some(360));
        draft.body.duration_ms = Some(3_000);
    }
    draft
}

fn with_input(mut draft: Draft, photo: &Input) -> Draft {
    let mut photo = photo.clone();
    let (first, own) = (format!("in/{}/", PHOTO_TENANTS[0]), format!("in/{}/", draft.tenant));
    photo.artifact.key = photo.artifact.key.replacen(&first, &own, 1);
    draft.body.inputs = vec![photo];
    draft
}

fn with_ceiling(mut draft: Draft, max_cost_micro_usd: i64) -> Draft {
    draft.constraints.max_cost_micro_usd = Some(MicroUsd(max_cost_micro_usd));
    draft
}

fn only(draft: Draft, backend: &str, max_cost_micro_usd: i64) -> anyhow::Result<Draft> {
    let mut draft = with_ceiling(draft, max_cost_micro_usd);
    draft.constraints.backends = Some(vec![Backend::new(backend)?]);
    draft.constraints.allow_paid = Some(true);
    Ok(draft)
}
