//! Logs.

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging to standard error. The SIP stack's own log holds whole messages, personal data included, below
/// `error`: it stays shut whatever the filter says.
pub(crate) fn init(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .with_context(|| format!("log.level: `{level}` is no level or filter; write error, warn, info, debug or trace"))?;
    let quiet = "rsipstack=error".parse().context("the filter of the SIP stack")?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).compact();
    tracing_subscriber::registry().with(filter.add_directive(quiet)).with(layer).try_init()?;
    Ok(())
}
