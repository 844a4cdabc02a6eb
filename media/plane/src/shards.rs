//! Several shards: a thread for each core that media may use.

use std::time::Instant;

use crate::{Leg, LegHandle, OnLegEvent, Shard, ShardConfig, ShardError, ShardFigures, SocketPair};

/// Spreads legs over shards. Legs hear each other across them.
pub struct Shards(Vec<Shard>);

impl Shards {
    /// Starts `threads` shards, at least one; `config.legs` is the limit over all of them.
    ///
    /// # Errors
    /// [`ShardError::Start`].
    pub fn start(config: &ShardConfig, threads: usize) -> Result<Self, ShardError> {
        let threads = threads.max(1);
        let shard = |n: usize| {
            // What does not divide evenly goes to the first ones.
            let legs = config.legs / threads + usize::from(n < config.legs % threads);
            Shard::start(ShardConfig { name: format!("{}-{n}", config.name), legs })
        };
        (0..threads).map(shard).collect::<Result<_, _>>().map(Self)
    }

    /// Takes a leg in, on the shard that has the fewest; see [`Shard::add`].
    ///
    /// # Errors
    /// [`ShardError::Full`] where all are, [`ShardError::Behind`], [`ShardError::Stopped`].
    pub fn add(
        &self,
        pair: SocketPair,
        leg: Leg,
        epoch: Instant,
        tell: OnLegEvent,
    ) -> Result<LegHandle, ShardError> {
        let fewest = self.0.iter().min_by_key(|shard| shard.figures().legs).ok_or(ShardError::Stopped)?;
        fewest.add(pair, leg, epoch, tell)
    }

    /// How each of them is doing.
    pub fn figures(&self) -> impl Iterator<Item = ShardFigures> {
        self.0.iter().map(Shard::figures)
    }

    /// All of them together; the delay is that of the worst.
    #[must_use]
    pub fn total(&self) -> ShardFigures {
        self.figures().fold(ShardFigures::default(), |sum, one| ShardFigures {
            legs: sum.legs + one.legs,
            ticks: sum.ticks + one.ticks,
            busy: sum.busy + one.busy,
            worst_delay: sum.worst_delay.max(one.worst_delay),
            skipped: sum.skipped + one.skipped,
        })
    }
}
