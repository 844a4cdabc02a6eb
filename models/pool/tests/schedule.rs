//! The scheduler on virtual time, on an engine of known step cost: what live streams lose by batch work, and what batch
//! work gets beside live streams.

mod sim;

use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_pool::{Admission, Ask, Class, Pick, Row, Scheduler, Shares, SlotId};
use antiphon_models_speech::Pace;
use sim::{Antiphon, CHUNK, Cost, Load, Random, WIDTH, run};

/// A processor core with an int8 encoder: nearly all of a step grows with its rows.
const CORE: Cost = Cost { fixed: Duration::from_millis(5), row: Duration::from_millis(8) };
/// A card: rows cost little.
const CARD: Cost = Cost { fixed: Duration::from_millis(20), row: Duration::from_micros(500) };

fn ours(device: Cost) -> Antiphon {
    Antiphon::new(Shares::default(), device)
}

#[test]
fn full_batch_load_costs_live_partials_at_most_a_tenth() {
    for (name, device, live) in
        [("core", CORE, 24), ("core", CORE, 40), ("card", CARD, 60), ("card", CARD, 120)]
    {
        for seed in 1..=5 {
            let load = Load { seed, ..Load::new(live, 0) };
            let alone = run(&mut ours(device), device, load);
            let beside = run(&mut ours(device), device, Load { batch: 64, ..load });
            let (before, after) = (alone.partial_ms(0.95), beside.partial_ms(0.95));
            assert!(after <= 1.1 * before, "{name}, {live} live, seed {seed}: {before:.0} -> {after:.0} ms");
            let (before, after) = (alone.live_ms(0.95), beside.live_ms(0.95));
            assert!(after <= 1.15 * before, "{name}, {live} live: computing {before:.0} -> {after:.0} ms");
            assert!(beside.busy > 0.95, "{name}, {live} live: what they leave is used, {:.2}", beside.busy);
            assert!(beside.batch > 100, "{name}, {live} live: batch work was done");
        }
    }
}

#[test]
fn at_twice_the_capacity_those_who_are_in_notice_nothing_and_the_rest_is_refused_at_once() {
    // What a second of speech costs, by the best width: (5 + 16 * 8) ms for 16 chunks.
    let cost = CORE.of(WIDTH).as_secs_f64() / (WIDTH as f64 * CHUNK.as_secs_f64());
    let capacity = {
        let mut admission = Admission::new(10_000, 100, 1, 0.8, &[]);
        admission.calibrate(cost);
        admission.capacity()
    };
    let crowd = |asking: usize| {
        let mut admission = Admission::new(10_000, 100, 1, 0.8, &[]);
        admission.calibrate(cost);
        let mut refused = 0;
        for _ in 0..asking {
            match admission.admit(Duration::ZERO, &Ask::live()) {
                Ok(_) => {}
                Err(refusal) => {
                    assert!(refusal.retry_after >= Span::from_secs(1));
                    refused += 1;
                }
            }
        }
        let admitted = admission.taken()[0];
        let outcome = run(&mut ours(CORE), CORE, Load::new(admitted, 16));
        (admitted, refused, outcome.live_ms(0.95))
    };
    let (full, none, at_capacity) = crowd(capacity);
    let (still, refused, at_twice) = crowd(2 * capacity);
    assert_eq!((full, none), (capacity, 0));
    assert_eq!((still, refused), (capacity, capacity));
    assert!(at_twice <= at_capacity * 1.001, "{at_capacity:.1} -> {at_twice:.1} ms");
    assert!(at_capacity < CHUNK.as_secs_f64() * 1e3, "who is in keeps up: {at_capacity:.1} ms");
    // Were they all let in, everybody would notice.
    let flooded = run(&mut ours(CORE), CORE, Load::new(2 * capacity, 16)).live_ms(0.95);
    assert!(flooded > at_capacity * 3.0, "{at_capacity:.1} -> {flooded:.1} ms");
}

#[test]
fn batch_work_gets_its_share_however_much_else_there_is() {
    for (name, device) in [("core", CORE), ("card", CARD)] {
        // Live streams that never pause and want more than the device has.
        let live = (1.3 * CHUNK.as_secs_f64() * WIDTH as f64 / device.of(WIDTH).as_secs_f64()) as usize;
        let load = Load { pause: 0.001, speech: 60.0, seconds: 60, ..Load::new(live, 4) };
        let mut policy = ours(device);
        let outcome = run(&mut policy, device, load);
        let rows = (outcome.batch + outcome.live.len()) as f64;
        assert!(outcome.batch as f64 / rows > 0.03, "{name}: {} of {rows}", outcome.batch);
        assert!(outcome.starved < Duration::from_secs(5), "{name}: {:?}", outcome.starved);
    }
}

#[test]
fn paused_batch_work_gets_its_share_and_no_more() {
    let shares = Shares { paused: true, ..Shares::default() };
    let load = Load { seconds: 120, ..Load::new(24, 16) };
    let outcome = run(&mut Antiphon::new(shares, CORE), CORE, load);
    let (least, most) = (CORE.row.as_secs_f64(), CORE.of(1).as_secs_f64());
    let part = |row: f64| outcome.batch as f64 * row / load.seconds as f64;
    assert!(part(most) > 0.045 && part(least) < 0.055, "{:.3} to {:.3}", part(least), part(most));
}

#[test]
fn tenants_with_batch_work_share_by_weight() {
    let mut scheduler = Scheduler::new(Shares::default());
    let group = scheduler.group(Pace { chunk: Span::from(CHUNK), rows: 4 }, CORE.of(1));
    scheduler.set_weight(1, 3.0);
    let mut had = [0usize; 3];
    for step in 0..4_000u64 {
        let now = Duration::from_millis(step * 40);
        // The third comes late and must not make up for his absence.
        let present = if step < 2_000 { 2 } else { 3 };
        let mut rows: Vec<Row> =
            (0..present * 8).map(|n| row(n as u32, Class::Batch, (n % present) as u32, group, now)).collect();
        let Pick::Step(count) = scheduler.pick(now, &mut rows, None) else { panic!("nothing to do") };
        rows.truncate(count);
        if step == 2_000 {
            let share = had[1] as f64 / had[0] as f64;
            assert!((2.7..3.3).contains(&share), "{had:?}");
            had = [0; 3];
        }
        rows.iter().for_each(|row| had[row.tenant as usize] += 1);
        scheduler.done(&rows, CORE.of(count));
    }
    let [first, second, third] = had.map(|rows| rows as f64);
    assert!((2.7..3.3).contains(&(second / first)) && (0.9..1.1).contains(&(third / first)), "{had:?}");
}

fn row(index: u32, class: Class, tenant: u32, group: u32, due: Duration) -> Row {
    Row { slot: SlotId { index, generation: 0 }, class, tenant, group, due }
}

/// Random rows of random classes, engines and deadlines: a step never mixes engines, is never wider than its engine, never
/// passes over a more urgent row of its engine, and everybody gets a turn.
#[test]
fn whatever_is_ready_steps_are_well_made_and_nobody_is_forgotten() {
    for seed in 1..=200 {
        let mut random = Random::new(seed);
        let shares = Shares { batch: [0.0, 0.05, 0.5][random.below(3)], ..Shares::default() };
        let mut scheduler = Scheduler::new(shares);
        let paces: Vec<Pace> = (0..1 + random.below(3))
            .map(|_| Pace { chunk: Span::from(CHUNK), rows: [1, 4, 16][random.below(3)] })
            .collect();
        let groups: Vec<u32> = paces.iter().map(|pace| scheduler.group(*pace, CORE.of(1))).collect();
        let mut waiting: Vec<Row> = (0..40)
            .map(|n| {
                let class = Class::ALL[random.below(3)];
                let due = Duration::from_millis(random.below(1_000) as u64);
                row(n, class, random.below(4) as u32, groups[random.below(groups.len())], due)
            })
            .collect();
        let mut now = Duration::ZERO;
        let mut rounds = 0;
        while !waiting.is_empty() {
            rounds += 1;
            assert!(rounds < 10_000, "seed {seed}: {} rows are never served", waiting.len());
            let expected =
                (random.below(4) == 0).then(|| now + Duration::from_millis(random.below(100) as u64));
            let mut rows = waiting.clone();
            match scheduler.pick(now, &mut rows, expected) {
                Pick::Step(count) => {
                    let (step, rest) = rows.split_at(count);
                    let group = step[0].group;
                    assert!(count > 0 && step.iter().all(|row| row.group == group), "seed {seed}");
                    assert!(count <= paces[group as usize].rows, "seed {seed}: {count} rows");
                    for class in [Class::Live, Class::Outbound] {
                        let latest = step.iter().filter(|row| row.class == class).map(|row| row.due).max();
                        let passed = rest.iter().filter(|row| row.class == class && row.group == group);
                        let earliest = passed.map(|row| row.due).min();
                        if let (Some(latest), Some(earliest)) = (latest, earliest) {
                            assert!(latest <= earliest, "seed {seed}: {class} out of order");
                        }
                    }
                    let took = CORE.of(count);
                    scheduler.learn(group, count, took);
                    scheduler.done(step, took);
                    now += took;
                    let served: Vec<SlotId> = step.iter().map(|row| row.slot).collect();
                    waiting.retain(|row| !served.contains(&row.slot));
                }
                Pick::Until(at) => {
                    assert!(at >= now && waiting.iter().all(|row| row.class == Class::Batch), "seed {seed}");
                    now = at.max(now + Duration::from_millis(1));
                }
                Pick::Nothing => panic!("seed {seed}: nothing picked of {}", waiting.len()),
            }
        }
    }
}
