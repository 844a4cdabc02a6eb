//! What judging costs: whole dialogues, and one event of a call in progress.

use std::path::Path;
use std::sync::Arc;

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::{Case, Inspector, Known, Scorecard};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// The corpus's scorecard of a sale and a dialogue of so many turns.
fn sale(turns: usize) -> (Scorecard, Conversation, Measures) {
    let rules = include_str!("../tests/corpus/fund.rules.yaml");
    let card = Scorecard::read(rules, Path::new("fund.rules.yaml")).expect("rules");
    let said = [
        "agent: 您好，请问您的身份证后四位是多少",
        "customer: 一二三四，我想了解一下你们的产品",
        "agent: 这款理财产品适合您，去年的表现很不错",
        "customer: 有什么要注意的地方吗，会不会亏本呢",
        "agent: 投资有风险，我们不能保证您的收益，请您仔细阅读合同",
        "customer: 好的我明白了，我再考虑考虑吧谢谢",
    ];
    let lines: String = (0..turns).map(|n| format!("  - {}，第{n}句\n", said[n % said.len()])).collect();
    let case =
        Case::read(&format!("language: zh\nturns:\n{lines}"), Path::new("d")).expect("a case").remove(0);
    let measures = case.measures();
    (card, case.conversation, measures)
}

#[divan::bench(args = [2, 20, 100])]
fn judge(bencher: Bencher<'_, '_>, turns: usize) {
    let (card, call, measures) = sale(turns);
    bencher.counter(ItemsCount::new(1usize)).bench(|| card.judge(&call, &measures));
}

#[divan::bench(args = [20, 100])]
fn judge_and_measure(bencher: Bencher<'_, '_>, turns: usize) {
    let (card, call, _) = sale(turns);
    bencher.counter(ItemsCount::new(1usize)).bench(|| card.judge(&call, &Measures::of(&call)));
}

/// An event of a call that has had so many turns: all of it is judged again, the texts of old turns are not read again.
#[divan::bench(args = [20, 100, 500])]
fn live_event(bencher: Bencher<'_, '_>, turns: usize) {
    let (card, mut call, measures) = sale(turns);
    call.finished = false;
    let known = Known::heard(&call);
    let mut inspector = Inspector::new(Arc::new(card));
    inspector.hear(&call, &measures, known);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| inspector.hear(&call, &measures, known));
}
