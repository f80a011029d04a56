//! The `argosy` command.

runtime::allocator!();

fn main() -> std::process::ExitCode {
    ops::command::main()
}
