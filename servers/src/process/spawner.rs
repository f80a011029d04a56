//! The one thread that starts children, so that they end with the process and not before.
//!
//! On Linux a child can ask for a signal when its parent dies (`PR_SET_PDEATHSIG`), which works even when
//! the parent is killed by SIGKILL. The "parent" is the *thread* that started the child: a child started
//! from a pool thread that retires dies in the middle of its work. Hence one thread that lives as long as
//! the process does all the starting.
//!
//! macOS and the BSDs have no such request: there a SIGKILL of ours leaves the children running (every other
//! end of ours stops them by drop). Rejected: a pipe each child would have to watch; the servers do not.

use super::{ProcessError, Spec};
use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Starts waiting for the thread: callers block meanwhile, so this many callers, no more.
const QUEUED_STARTS: usize = 16;

struct Start {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

static SPAWNER: LazyLock<io::Result<SyncSender<Start>>> = LazyLock::new(|| {
    let (sender, receiver) = sync_channel::<Start>(QUEUED_STARTS);
    std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        // Ends never: the sender is a static.
        for mut start in receiver {
            let _ = start.answer.send(start.command.spawn());
        }
    })?;
    Ok(sender)
});

/// Starts the command on the spawner thread, with the death signal of `spec`.
pub(super) fn spawn(spec: &Spec, mut command: Command) -> Result<Child, ProcessError> {
    die_with_us(&mut command, spec);
    let (answer, child) = sync_channel(1);
    let gone = || io::Error::other("the spawner thread is gone");
    let spawned = match SPAWNER.as_ref() {
        Ok(spawner) => spawner
            .send(Start { command, answer })
            .map_err(|_| gone())
            .and_then(|()| child.recv().unwrap_or_else(|_| Err(gone()))),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    spawned.map_err(|source| ProcessError::Spawn {
        name: spec.name.clone(),
        program: spec.program.clone(),
        source,
    })
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "code between fork and exec; the death signal can be set nowhere else")]
fn die_with_us(command: &mut Command, spec: &Spec) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt;
    let (signal, us) = (spec.death_signal.raw(), getpid());
    // Changing the user id clears the death signal; the standard library does that before this runs.
    let before_exec = move || {
        set_parent_process_death_signal(Some(signal))?;
        // We may have died before the request was made: then nobody would ever send the signal.
        if getppid() == Some(us) { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) }
    };
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are sound. It makes
    // two bare system calls (prctl, getppid), allocates nothing, takes no lock and touches no shared state.
    unsafe {
        command.pre_exec(before_exec);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_command: &mut Command, _spec: &Spec) {}
