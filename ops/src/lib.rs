//! The `argosy` command and what an operator needs: doctor, tables, the verdicts of trials as text.

/// As the standard one, but what it writes is escaped ([`say::aside`]).
macro_rules! eprintln {
    ($($words:tt)*) => { $crate::say::aside(format!($($words)*)) };
}

/// What a command says goes through [`say::say`], which escapes it.
#[expect(unused_macros, reason = "it takes the standard one's place, so that nothing is printed past `say`")]
macro_rules! println {
    ($($words:tt)*) => {
        compile_error!("say it with `crate::say::say`")
    };
}

pub mod command;
pub mod doctor;
pub mod exit;
mod file_names;
mod moment;
pub mod money;
pub mod monitor;
pub mod say;
pub mod screen;
pub mod show;
mod storage;
pub mod table;
pub mod text;
pub mod tone;
pub mod words;
