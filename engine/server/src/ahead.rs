//! Recordings that are decoded ahead of whoever hears them, on a thread that may wait for a disk.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Blocks that are decoded ahead.
const AHEAD: usize = 8;

/// Samples of each channel, all equally many.
pub(crate) type Block = Vec<Vec<i16>>;

/// Takes blocks from `next` until it has none, fails, or nobody hears them any more. The task ends with `source`.
pub(crate) fn read_ahead<S, E>(
    mut source: S,
    next: impl Fn(&mut S) -> Result<Option<Block>, E> + Send + 'static,
) -> (mpsc::Receiver<Result<Block, E>>, JoinHandle<S>)
where
    S: Send + 'static,
    E: Send + 'static,
{
    let (send, blocks) = mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        while let Some(block) = next(&mut source).transpose() {
            let failed = block.is_err();
            if send.blocking_send(block).is_err() || failed {
                break;
            }
        }
        source
    });
    (blocks, reading)
}
