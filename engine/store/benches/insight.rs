//! What one question about many calls takes: read from SQLite, parsed, and summed.
//!
//! `cargo bench -p antiphon-engine-store`. As a test it runs over fewer calls.

use antiphon_engine_qa::insight::{Entry, GroupShare, Insight, Judged, Measured, RuleFacts};
use antiphon_engine_store::{InsightFilter, InsightOrder, Store};
use sqlx::{Connection, Executor, SqliteConnection};
use tokio::runtime::Runtime;

const CALLS: u64 = if cfg!(debug_assertions) { 1_000 } else { 100_000 };

fn main() {
    divan::main();
}

fn judged(n: u64) -> Judged {
    let rule = |rule: u64| RuleFacts {
        rule: format!("rule{rule}"),
        hits: u32::from((n + rule).is_multiple_of(7)),
        missed: u32::from((n + rule).is_multiple_of(11)),
        points: -5.0,
        ..RuleFacts::default()
    };
    let group = |group: u64| GroupShare { group: format!("group{group}"), share: 0.75 };
    Judged {
        score: (n % 100) as f64,
        pass: n % 100 >= 60,
        fatal: false,
        groups: (0..5).map(group).collect(),
        rules: (0..20).map(rule).collect(),
    }
}

fn measured(n: u64) -> Measured {
    Measured {
        length: 300.0,
        agent_talk: Some(0.6),
        topics: (0..10).map(|topic| format!("topic {}", (n * 31 + topic * 17) % 5_000)).collect(),
        reason: Some("I am calling about a charge that I do not know".to_owned()),
        about: Some("charge".to_owned()),
        risk: (n % 10) as f32 / 10.0,
        features: [("agitation", 0.2), ("holds", 0.1)].map(|(name, share)| (name.to_owned(), share)).into(),
        ..Measured::default()
    }
}

/// A store with so many calls of 50 agents in 30 days.
fn filled(runtime: &Runtime, dir: &std::path::Path) -> Store {
    let path = dir.join("antiphon.db");
    runtime.block_on(async {
        let store = Store::open(&path).await.expect("opened");
        let mut writer = SqliteConnection::connect(&path.display().to_string()).await.expect("opened");
        writer.execute("BEGIN").await.expect("begun");
        for n in 0..CALLS {
            let (judged, measured) = (judged(n), measured(n));
            sqlx::query(
                "INSERT INTO qa_calls (job, n, card, version, live, owner, tenant, call, name, agent, queue, at_ms, \
                 judged_ms, score, passed, risk, topics, judged, measured) \
                 VALUES ('job', $1, 'fund', '7', 0, 'lead', '', $2, $2, $3, 'sales', $4, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(n as i64)
            .bind(format!("call {n}"))
            .bind(format!("agent {}", n % 50))
            .bind((n * 30 * 86_400_000 / CALLS) as i64)
            .bind(judged.score)
            .bind(i64::from(judged.pass))
            .bind(f64::from(measured.risk))
            .bind(format!("\n{}\n", measured.topics.join("\n")))
            .bind(serde_json::to_string(&judged).expect("JSON"))
            .bind(serde_json::to_string(&measured).expect("JSON"))
            .execute(&mut writer)
            .await
            .expect("kept");
        }
        writer.execute("COMMIT").await.expect("kept");
        store
    })
}

fn always() -> InsightFilter {
    InsightFilter { until_ms: i64::MAX, ..InsightFilter::default() }
}

/// Everything by agent: figures, rules, topics and reasons.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn figures_of_all_calls(bencher: divan::Bencher<'_, '_>) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let store = filled(&runtime, dir.path());
    bencher.bench_local(|| {
        let mut insight = Insight::default();
        let all = runtime.block_on(store.each_call(&always(), usize::MAX, |call| {
            let judged: Judged = serde_json::from_str(&call.judged).expect("JSON");
            let measured: Measured = serde_json::from_str(&call.measured).expect("JSON");
            let (key, call) = ((call.agent.unwrap_or_default(), String::new()), call.n as u64);
            let entry = Entry { call, card: "fund", before: false, judged: &judged, measured: &measured };
            insight.add(&key, entry);
        }));
        assert!(all.expect("read"));
        assert_eq!(insight.total().now.calls, CALLS);
        (insight.rows(), insight.rules(), insight.topics(100))
    });
}

/// The riskiest hundred of all.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn the_riskiest_calls(bencher: divan::Bencher<'_, '_>) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let store = filled(&runtime, dir.path());
    bencher.bench_local(|| {
        let calls = runtime.block_on(store.insight_calls(&always(), InsightOrder::Risk, 0, 100));
        assert_eq!(calls.expect("read").len(), 100);
    });
}
