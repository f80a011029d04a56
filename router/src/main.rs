//! The router's process.

use std::process::ExitCode;

use router::start::{RouterProcess, start};
use runtime::process::{self, Context, Description, Threads};

runtime::allocator!();

fn main() -> ExitCode {
    let description = Description {
        name: "router",
        about: "Scores jobs onto backends, retries and fails over, explains every decision",
        sections: &["router"],
        threads: Threads::One,
    };
    process::run(description, async |context: Context<RouterProcess>| start(context).await)
}
