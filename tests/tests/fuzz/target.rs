//! A decoder under fire, and the run against it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Instant;

use schemas::{Backend, PriceList, Usage, samples};
use tests::fuzz::random::Random;
use tests::fuzz::{corpus, mutate};

use crate::memory;

/// Inputs of one target when nothing else is asked for.
const INPUTS: u64 = 1_000;
/// The seed when no other is given.
const SEED: u64 = 20_261_123;
/// What any decoder may hold, whatever the input: the documents that some of them load first, and nothing for what a
/// list claims to have.
const HELD_BYTES: usize = 1024 * 1024;
/// What it may hold for each byte of input. The worst is a list of one-byte values, each of which becomes a
/// JSON value of 32 bytes in a vector that doubles.
const HELD_PER_BYTE: usize = 160;
/// The stack of a thread that serves requests.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// How many inputs that were understood are kept as starts for others.
const KEPT_MAX: usize = 64;
/// Targets in all, among which an asked number of inputs is shared.
const TARGETS: u64 = 77;

/// A decoder: what valid input looks like, and what is done with any; true when it was understood.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) starts: Vec<Vec<u8>>,
    pub(crate) check: fn(&[u8]) -> bool,
}

impl Target {
    pub(crate) fn new(
        name: impl Into<String>,
        starts: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        check: fn(&[u8]) -> bool,
    ) -> Self {
        Self { name: name.into(), starts: starts.into_iter().map(Into::into).collect(), check }
    }
}

/// Puts a price on what a provider counted, which it may count absurdly.
pub(crate) fn price(usage: &[Usage], backend: &str) {
    static PRICES: LazyLock<PriceList> = LazyLock::new(policy::defaults::prices);
    let backend: Backend = backend.parse().expect("a backend's name");
    for model in ["*", "veo-3.1-generate-preview"] {
        let _ = policy::cost::price_of(usage, &backend, model, &PRICES, samples::TIME_MS);
    }
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs targets one after the other, on a stack as small as in production.
pub(crate) fn run(targets: Vec<Target>) {
    let inputs = asked("FUZZ_INPUTS").map_or(INPUTS, |all| all.div_ceil(TARGETS));
    let seed = asked("FUZZ_SEED").unwrap_or(SEED);
    let all = move || targets.iter().for_each(|target| fire(target, inputs, seed));
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(all).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn fire(target: &Target, inputs: u64, seed: u64) {
    for start in &target.starts {
        assert!(once(target, start).understood, "{}: its own example is refused", target.name);
    }
    for failed in corpus::regressions(&target.name) {
        once(target, &failed);
    }
    let mut random = Random::named(seed, &target.name);
    let mut starts = target.starts.clone();
    let (mut understood, mut most, began) = (0, Held::default(), Instant::now());
    for _ in 0..inputs {
        let input = mutate::input(&mut random, &starts);
        let result = once(target, &input);
        most = most.max(result.held);
        if result.understood {
            understood += 1;
            if starts.len() < target.starts.len() + KEPT_MAX {
                starts.push(input);
            } else if random.below(8) == 0 {
                let kept = target.starts.len() + random.below(KEPT_MAX);
                starts[kept] = input;
            }
        }
    }
    println!(
        "{}: seed {seed}, {inputs} inputs, {understood} understood, {:.1} s, at most {} KiB held for {} bytes",
        target.name,
        began.elapsed().as_secs_f64(),
        most.bytes / 1024,
        most.input_bytes,
    );
}

/// What was held at once for an input of some length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    bytes: usize,
    input_bytes: usize,
}

struct Once {
    understood: bool,
    held: Held,
}

fn once(target: &Target, input: &[u8]) -> Once {
    let work = AssertUnwindSafe(|| memory::measured(|| (target.check)(input)));
    let Ok((understood, bytes)) = catch_unwind(work) else { fail(target, input, "it panicked") };
    let held = Held { bytes, input_bytes: input.len() };
    if bytes > HELD_BYTES + HELD_PER_BYTE * input.len() {
        fail(target, input, &format!("{held:?}"));
    }
    Once { understood, held }
}

/// Keeps the input, so that it can be put to the regressions.
fn fail(target: &Target, input: &[u8], why: &str) -> ! {
    let name = target.name.replace(' ', "_");
    let sum = input.iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{sum:08x}"));
    std::fs::write(&path, input).expect("written");
    panic!("{}: {why}; put {} below tests/fixtures/fuzz/{name}", target.name, path.display());
}
