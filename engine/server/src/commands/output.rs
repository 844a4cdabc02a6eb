//! Standard output that may go away under a command: `antiphon transcribe call.wav | head`.

use std::io::{self, Write};
use std::process::ExitCode;

/// Runs a command that writes to standard output. A reader that has seen enough ends it silently, as a success.
pub(crate) fn to_stdout(
    command: impl FnOnce(&mut dyn Write) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let result = command(&mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
