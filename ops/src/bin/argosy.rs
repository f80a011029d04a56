//! The `argosy` command.

fn main() -> std::process::ExitCode {
    ops::command::main()
}
