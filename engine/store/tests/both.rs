//! What the store promises, held on SQLite and on PostgreSQL.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_engine_store::{
    CallFilter, CallPage, Claim, Counts, DEAD, Delivery, DeliveryState, Done, FileFilter, FileState,
    InsightCall, InsightFilter, InsightOrder, JobState, JudgedCall, LiveCall, NewCall, NewDelivery, NewFile,
    NewJob, NewLeg, Noted, Offered, Outcome, Review, Revised, Sight, Store, StoreError, StoredHit, Taken,
    Verdict, WAITING,
};
use serde_json::Value;

/// Runs a behaviour on a new store of a file.
macro_rules! behaviours {
    ($($name:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let dir = tempfile::tempdir().expect("a folder");
            let store = Store::open(&dir.path().join("deep er/antiphon ä.db")).await.expect("opened");
            hold::$name(&store).await;
            store.close().await;
        })*

        /// All of them, each on a database of its own.
        #[tokio::test(flavor = "multi_thread")]
        async fn all_of_it_holds_on_postgresql() {
            let Some(server) = support::Postgres::start() else {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "PostgreSQL is not installed; scripts/setup.sh test installs it"
                );
                eprintln!("skipped: PostgreSQL is not installed; scripts/setup.sh test installs it");
                return;
            };
            $({
                let store = Store::open_url(&server.database(stringify!($name))).await.expect("opened");
                hold::$name(&store).await;
                store.close().await;
            })*
            let again = server.database("again");
            for _ in 0..2 {
                Store::open_url(&again).await.expect("opened again").close().await;
            }
        }
    };
}

behaviours! {
    pages_show_every_record_once_the_last_first,
    filters_keep_what_fits,
    a_record_taken_in_twice_is_there_once,
    old_records_are_forgotten_a_few_at_a_time,
    deliveries_are_told_once,
    a_delivery_given_up_is_listed_and_can_be_tried_again,
    a_webhook_that_never_answers_does_not_fill_the_store,
    a_job_is_taken_in_once_whatever_its_owner_repeats,
    files_are_claimed_once_by_many_workers,
    a_small_job_need_not_wait_for_a_great_one,
    what_comes_of_a_file_is_kept_from_its_holder_alone,
    files_whose_holder_is_gone_wait_again,
    a_cancelled_job_takes_no_results_and_can_be_taken_up_again,
    an_owner_has_a_bounded_number_of_files_waiting,
    reviews_replace_earlier_ones_of_the_same_person,
    a_job_that_is_over_is_forgotten_whole,
    each_call_counts_once_by_its_newest_judgement,
    whoever_asks_sees_their_own_calls_alone,
    calls_are_filtered_and_ordered,
    a_finding_that_is_overturned_counts_no_more,
    reviewers_opinions_are_told_finding_by_finding,
}

#[tokio::test]
async fn an_address_is_told_without_its_password() {
    let error =
        Store::open_url("mysql://user:hunter2@db.example/calls?x=hunter2").await.err().expect("refused");
    assert!(matches!(error, StoreError::Address(_)));
    let nobody = Store::open_url("postgres://user:hunter2@127.0.0.1:1/calls").await.err().expect("refused");
    for error in [error, nobody] {
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains("/calls"), "{told}");
    }
}

mod hold {
    use super::*;

    fn call(n: usize) -> NewCall {
        let ended_ms = (n / 2) as i64 * 1_000;
        NewCall {
            id: format!("{n:032x}"),
            offered_ms: ended_ms - 500,
            ended_ms,
            direction: "inbound",
            from: "+14155550123".into(),
            to: "5550100".into(),
            cause: "call.hangup.caller".into(),
            answered: true,
            duration_ms: 400,
            record: format!("{{\"id\":\"{n:032x}\",\"ended_ms\":{ended_ms}}}"),
            legs: vec![
                NewLeg { id: "1".into(), trunk: Some("carrier".into()), user: None, record: "{}".into() },
                NewLeg { id: "2".into(), trunk: None, user: Some("1001".into()), record: "{}".into() },
            ],
        }
    }

    async fn fill(store: &Store, count: usize) {
        let calls: Vec<NewCall> = (0..count).map(call).collect();
        store.take("2026-11-22.jsonl", 77, &calls, &[]).await.expect("taken");
    }

    fn ids(page: &CallPage) -> Vec<usize> {
        let id = |record: &Value| record["id"].as_str().map(|id| usize::from_str_radix(id, 16).ok());
        page.records.iter().map(|record| id(record).flatten().expect("an id")).collect()
    }

    pub(super) async fn pages_show_every_record_once_the_last_first(store: &Store) {
        fill(store, 25).await;
        let mut filter = CallFilter::default();
        let mut seen = Vec::new();
        loop {
            let page = store.calls(&filter, 7).await.expect("a page");
            seen.extend(ids(&page));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    }

    pub(super) async fn filters_keep_what_fits(store: &Store) {
        fill(store, 10).await;
        let count = async |filter: CallFilter| store.calls(&filter, 100).await.expect("a page").records.len();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(count(CallFilter { trunk: text("carrier"), ..CallFilter::default() }).await, 10);
        assert_eq!(count(CallFilter { trunk: text("other"), ..CallFilter::default() }).await, 0);
        assert_eq!(count(CallFilter { user: text("1001"), ..CallFilter::default() }).await, 10, "of a leg");
        assert_eq!(count(CallFilter { to: text("5550100"), ..CallFilter::default() }).await, 10);
        assert_eq!(count(CallFilter { from: text("5550100"), ..CallFilter::default() }).await, 0);
        assert_eq!(count(CallFilter { answered: Some(true), ..CallFilter::default() }).await, 10);
        assert_eq!(count(CallFilter { answered: Some(false), ..CallFilter::default() }).await, 0);
        assert_eq!(count(CallFilter { direction: Some("outbound"), ..CallFilter::default() }).await, 0);
        let (since_ms, until_ms) = (Some(2_000), Some(4_000));
        assert_eq!(count(CallFilter { since_ms, until_ms, ..CallFilter::default() }).await, 4);
    }

    pub(super) async fn a_record_taken_in_twice_is_there_once(store: &Store) {
        fill(store, 3).await;
        let again = NewCall { record: "{\"id\":\"1\",\"again\":true}".into(), ..call(1) };
        store.take("2026-11-22.jsonl", 99, &[again], &[]).await.expect("taken");
        assert_eq!(ids(&store.calls(&CallFilter::default(), 10).await.expect("a page")), [2, 1, 0]);
        assert_eq!(store.taken("2026-11-22.jsonl").await.expect("asked"), 99);
        assert_eq!(store.taken("another.jsonl").await.expect("asked"), 0);
        let one = store.call(&format!("{:032x}", 1)).await.expect("asked").expect("there");
        assert!(one["again"].is_null(), "the first stays");
        assert!(store.call("none").await.expect("asked").is_none());
    }

    pub(super) async fn old_records_are_forgotten_a_few_at_a_time(store: &Store) {
        fill(store, 10).await;
        assert_eq!(store.forget(3_000, 4).await.expect("done"), 4);
        assert_eq!(store.forget(3_000, 4).await.expect("done"), 2);
        assert_eq!(store.forget(3_000, 4).await.expect("done"), 0);
        assert_eq!(ids(&store.calls(&CallFilter::default(), 10).await.expect("a page")), [9, 8, 7, 6]);
    }

    fn news(id: &str, created_ms: i64) -> NewDelivery {
        NewDelivery {
            id: id.into(),
            hook: "crm".into(),
            event: "cdr".into(),
            body: "{}".into(),
            url: (id == "b").then(|| "https://lead.example/done".into()),
            created_ms,
        }
    }

    fn failed(next_ms: Option<i64>) -> Outcome {
        Outcome::Failed { status: Some(500), error: "the answer was 500".into(), next_ms }
    }

    pub(super) async fn deliveries_are_told_once(store: &Store) {
        assert_eq!(store.enqueue(&[news("a", 10), news("b", 20), news("a", 30)]).await.expect("kept"), 0);
        let due = store.due("crm", 15, 10).await.expect("asked");
        assert_eq!(due.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(due[0].url, None);
        assert_eq!(store.due("other", 99, 10).await.expect("asked").len(), 0);
        store.settle(&[("a".into(), Outcome::Done)]).await.expect("settled");
        assert_eq!(store.next_due("crm").await.expect("asked"), Some(20));
        assert_eq!(store.next_due("other").await.expect("asked"), None);
        store.settle(&[("b".into(), failed(Some(500)))]).await.expect("settled");
        assert_eq!(store.due("crm", 499, 10).await.expect("asked").len(), 0);
        let due = store.due("crm", 500, 10).await.expect("asked");
        assert_eq!((due[0].attempts, due[0].last_status), (1, Some(500)));
        assert_eq!(due[0].url.as_deref(), Some("https://lead.example/done"));
    }

    pub(super) async fn a_delivery_given_up_is_listed_and_can_be_tried_again(store: &Store) {
        store.enqueue(&[news("a", 10), news("b", 20)]).await.expect("kept");
        store.settle(&[("a".into(), failed(None))]).await.expect("settled");
        let list = async |state| store.deliveries(state, None, None, 10).await.expect("listed");
        let ids = |list: Vec<Delivery>| list.into_iter().map(|d| d.id).collect::<Vec<_>>();
        assert_eq!(ids(list(Some(DeliveryState::Dead)).await), ["a"]);
        assert_eq!(ids(list(None).await), ["b", "a"]);
        let page = store.deliveries(None, Some("crm"), Some((20, "b".into())), 10).await.expect("listed");
        assert_eq!(ids(page), ["a"]);
        let again = store.retry("a", 77).await.expect("asked").expect("there");
        assert_eq!((again.state, again.next_ms, again.attempts), (DeliveryState::Pending, 77, 0));
        assert!(store.retry("none", 77).await.expect("asked").is_none());
        assert_eq!(list(Some(DeliveryState::Dead)).await.len(), 0);
    }

    pub(super) async fn a_webhook_that_never_answers_does_not_fill_the_store(store: &Store) {
        let flood: Vec<NewDelivery> = (0..WAITING + 5).map(|n| news(&format!("{n}!"), n)).collect();
        assert_eq!(store.enqueue(&flood).await.expect("kept"), 5);
        assert_eq!(store.enqueue(&[news("late", 0)]).await.expect("kept"), 1);
        let dead: Vec<_> = (0..DEAD + 3).map(|n| (format!("{n}!"), failed(None))).collect();
        store.settle(&dead).await.expect("settled");
        assert_eq!(store.bury("crm").await.expect("done"), 3);
        assert!(store.retry("2!", 0).await.expect("asked").is_none(), "the oldest are gone");
        assert!(store.retry("3!", 0).await.expect("asked").is_some());
    }

    fn job(id: &str, files: usize) -> NewJob {
        let file = |n| NewFile {
            name: format!("{n}.wav"),
            source: format!("{{\"path\":\"{n}.wav\"}}"),
            facts: "{}".into(),
        };
        NewJob {
            id: id.into(),
            owner: "lead".into(),
            key: None,
            fingerprint: "f".into(),
            priority: 0,
            created_ms: 1_000,
            spec: "{\"scorecards\":[]}".into(),
            files: (0..files).map(file).collect(),
        }
    }

    fn result(score: f64) -> Done {
        Done::Result {
            audio_ms: 60_000,
            sound: Some("calls/one.wav".into()),
            score: Some(score),
            passed: Some(score >= 80.0),
            conversation: "{\"turns\":[]}".into(),
            result: "{\"score\":1}".into(),
            hits: vec![StoredHit {
                id: "R1-1".into(),
                card: "fund".into(),
                version: "7".into(),
                rule: "R1".into(),
                missed: false,
                points: -20.5,
                start_ms: 100,
                end_ms: 200,
                stands: true,
            }],
            calls: vec![judged("fund", score)],
        }
    }

    fn judged(card: &str, score: f64) -> JudgedCall {
        JudgedCall {
            card: card.into(),
            version: "7".into(),
            call: JudgedCall::OWN.into(),
            tenant: "north".into(),
            name: "one.wav".into(),
            agent: Some("ann".into()),
            queue: Some("sales".into()),
            product: None,
            at_ms: None,
            verdict: Verdict {
                score,
                passed: score >= 80.0,
                judged: "{}".into(),
                standing: vec!["R1-1".into()],
            },
            risk: 0.5,
            topics: "\nthe 50%_fund\nloss\n".into(),
            measured: "{}".into(),
        }
    }

    fn always() -> InsightFilter {
        InsightFilter { until_ms: i64::MAX, ..InsightFilter::default() }
    }

    async fn seen(store: &Store, filter: &InsightFilter) -> Vec<InsightCall> {
        let calls = store.insight_calls(filter, InsightOrder::Time, 0, 100).await.expect("listed");
        let mut count = 0;
        assert!(store.each_call(filter, 100, |_| count += 1).await.expect("asked"), "all of them");
        assert_eq!(count, calls.len(), "one by one and as a list");
        calls
    }

    /// A job of one file with these judgements.
    async fn judge(store: &Store, job: NewJob, now_ms: i64, judgements: Vec<JudgedCall>) {
        store.offer(&NewJob { files: job.files[..1].to_vec(), ..job }, 100).await.expect("asked");
        let claim = claim(store, "a").await;
        let Done::Result { audio_ms, sound, score, passed, conversation, result, hits, .. } = result(70.0)
        else {
            unreachable!("it is a result")
        };
        let done =
            Done::Result { audio_ms, sound, score, passed, conversation, result, hits, calls: judgements };
        store.finish(&claim, &done, now_ms, |_| vec![]).await.expect("kept");
    }

    fn live(id: &str, tenant: &str, judged_ms: i64, score: f64) -> LiveCall {
        let call = JudgedCall { call: id.into(), tenant: tenant.into(), ..judged("fund", score) };
        LiveCall { id: id.into(), judged_ms, calls: vec![call], hits: Vec::new() }
    }

    pub(super) async fn each_call_counts_once_by_its_newest_judgement(store: &Store) {
        let known = |score| JudgedCall { call: "c0ffee".into(), at_ms: Some(500), ..judged("fund", score) };
        judge(
            store,
            job("one", 1),
            2_000,
            vec![known(10.0), JudgedCall { card: "mild".into(), ..known(99.0) }],
        )
        .await;
        store.keep_live(&live("c0ffee", "north", 1_000, 5.0)).await.expect("kept");
        store.keep_live(&live("c0ffee", "north", 1_000, 6.0)).await.expect("kept again");
        judge(store, NewJob { id: "two".into(), ..job("two", 1) }, 3_000, vec![known(20.0)]).await;
        judge(store, NewJob { id: "alone".into(), ..job("alone", 1) }, 3_000, vec![judged("fund", 30.0)])
            .await;
        let scores = async |filter: InsightFilter| {
            let mut told: Vec<_> =
                seen(store, &filter).await.into_iter().map(|call| (call.call, call.score)).collect();
            told.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
            told
        };
        let told = |pairs: &[(&str, f64)]| {
            pairs.iter().map(|(call, score)| ((*call).to_owned(), *score)).collect::<Vec<_>>()
        };
        assert_eq!(scores(always()).await, told(&[("alone/0", 30.0), ("c0ffee", 20.0), ("c0ffee", 99.0)]));
        let of = |job: &str| InsightFilter { job: Some(job.into()), ..always() };
        assert_eq!(scores(of("one")).await, told(&[("c0ffee", 10.0), ("c0ffee", 99.0)]));
        assert_eq!(scores(of("c0ffee")).await, told(&[("c0ffee", 5.0)]));
        assert_eq!(store.call_of_file("one", 0).await.expect("asked"), Some(("c0ffee".into(), 500)));
        // What is forgotten lets the one before count again.
        assert!(store.forget_job("two").await.expect("asked"));
        assert_eq!(
            scores(InsightFilter { card: Some("fund".into()), ..always() }).await,
            told(&[("alone/0", 30.0), ("c0ffee", 10.0)])
        );
        assert_eq!(store.forget_live(2_000).await.expect("asked"), 1);
        assert_eq!(scores(of("c0ffee")).await, told(&[]));
        let mut first = 0;
        assert!(!store.each_call(&always(), 2, |_| first += 1).await.expect("asked"), "there are more");
        assert_eq!(first, 2);
    }

    pub(super) async fn whoever_asks_sees_their_own_calls_alone(store: &Store) {
        judge(store, job("one", 1), 2_000, vec![judged("fund", 10.0)]).await;
        judge(store, NewJob { owner: "other".into(), ..job("two", 1) }, 2_000, vec![judged("fund", 20.0)])
            .await;
        store.keep_live(&live("c0", "north", 1_000, 30.0)).await.expect("kept");
        store.keep_live(&live("c1", "south", 1_000, 40.0)).await.expect("kept");
        let scores = async |sight: &Sight| {
            let filter = InsightFilter { sight: sight.clone(), ..always() };
            let mut scores: Vec<_> =
                seen(store, &filter).await.iter().map(|call| call.score as i64).collect();
            scores.sort_unstable();
            scores
        };
        let of = |owner: &str, tenant: Option<&str>| Sight::Of {
            owner: owner.into(),
            tenant: tenant.map(str::to_owned),
        };
        assert_eq!(scores(&Sight::All).await, [10, 20, 30, 40]);
        assert_eq!(scores(&of("lead", Some("north"))).await, [10, 30]);
        assert_eq!(scores(&of("lead", None)).await, [10]);
        assert_eq!(scores(&of("eve", Some("south"))).await, [40]);
        for (sight, sees) in [
            (Sight::All, true),
            (of("lead", Some("north")), true),
            (of("lead", Some("south")), false),
            (of("lead", None), false),
        ] {
            assert_eq!(store.sees_live_call("c0", &sight).await.expect("asked"), sees, "{sight:?}");
        }
        assert!(!store.sees_live_call("one", &Sight::All).await.expect("asked"), "a job is no call");
    }

    pub(super) async fn calls_are_filtered_and_ordered(store: &Store) {
        for n in 0..6u8 {
            let call = JudgedCall {
                agent: Some(if n % 2 == 0 { "ann" } else { "bob" }.into()),
                at_ms: Some(i64::from(n) * 1_000),
                risk: f64::from(n) / 10.0,
                topics: if n == 3 { "\n100%_sure\n" } else { "\n100 is sure\n" }.into(),
                ..judged("fund", f64::from(100 - n * 10))
            };
            judge(store, job(&format!("job{n}"), 1), 9_000, vec![call]).await;
        }
        let count = async |filter: InsightFilter| seen(store, &filter).await.len();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(count(InsightFilter { since_ms: 1_000, until_ms: 4_000, ..always() }).await, 3);
        assert_eq!(count(InsightFilter { agent: text("ann"), ..always() }).await, 3);
        assert_eq!(count(InsightFilter { queue: text("sales"), ..always() }).await, 6);
        assert_eq!(count(InsightFilter { product: text("loan"), ..always() }).await, 0);
        assert_eq!(count(InsightFilter { tenant: text("south"), ..always() }).await, 0);
        assert_eq!(count(InsightFilter { passed: Some(true), ..always() }).await, 3);
        assert_eq!(count(InsightFilter { risk: Some(0.4), ..always() }).await, 2);
        assert_eq!(count(InsightFilter { rule: text("R1"), ..always() }).await, 6);
        assert_eq!(count(InsightFilter { rule: text("R2"), ..always() }).await, 0);
        assert_eq!(
            count(InsightFilter { topic: text("100%_sure"), ..always() }).await,
            1,
            "signs are themselves"
        );
        assert_eq!(count(InsightFilter { topic: text("sure"), ..always() }).await, 0, "the whole of it");
        let list = async |order, skip| {
            let calls = store.insight_calls(&always(), order, skip, 2).await.expect("listed");
            calls.iter().map(|call| call.at_ms / 1_000).collect::<Vec<_>>()
        };
        assert_eq!(list(InsightOrder::Time, 0).await, [5, 4]);
        assert_eq!(list(InsightOrder::Time, 4).await, [1, 0]);
        assert_eq!(list(InsightOrder::Score, 1).await, [4, 3]);
        assert_eq!(list(InsightOrder::Risk, 0).await, [5, 4]);
    }

    pub(super) async fn a_finding_that_is_overturned_counts_no_more(store: &Store) {
        judge(store, job("one", 1), 2_000, vec![judged("fund", 70.0)]).await;
        let rule = || InsightFilter { rule: Some("R1".into()), ..always() };
        assert_eq!(seen(store, &rule()).await[0].score, 70.0);
        assert_eq!(store.standing_hits("one", 0, "fund").await.expect("asked").len(), 1);
        let review = |verdict: &str, at_ms| Review {
            card: "fund".into(),
            hit: "R1-1".into(),
            reviewer: "ann".into(),
            verdict: verdict.into(),
            comment: None,
            at_ms,
        };
        let revised = |score: f64, standing: &[&str]| Revised {
            result: "{}".into(),
            score: Some(score),
            passed: Some(true),
            verdict: Verdict {
                score,
                passed: true,
                judged: "{\"s\":1}".into(),
                standing: standing.iter().map(|hit| (*hit).to_owned()).collect(),
            },
        };
        let over = store.review("one", 0, &review("overturn", 1), |_| Ok::<_, ()>(revised(100.0, &[]))).await;
        assert_eq!(over.expect("asked"), Noted::Kept);
        assert_eq!(seen(store, &rule()).await.len(), 0);
        let all = seen(store, &always()).await;
        assert_eq!((all[0].score, all[0].passed, all[0].judged.as_str()), (100.0, true, "{\"s\":1}"));
        let again =
            store.review("one", 0, &review("confirm", 2), |_| Ok::<_, ()>(revised(70.0, &["R1-1"]))).await;
        assert_eq!(again.expect("asked"), Noted::Kept);
        assert_eq!(seen(store, &rule()).await[0].score, 70.0);
    }

    pub(super) async fn reviewers_opinions_are_told_finding_by_finding(store: &Store) {
        judge(store, job("one", 1), 2_000, vec![judged("fund", 70.0)]).await;
        judge(store, NewJob { owner: "other".into(), ..job("two", 1) }, 2_000, vec![judged("fund", 70.0)])
            .await;
        for (at_ms, reviewer, verdict) in
            [(1, "ann", "confirm"), (2, "bob", "overturn"), (3, "ann", "comment")]
        {
            let review = Review {
                card: "fund".into(),
                hit: "R1-1".into(),
                reviewer: reviewer.into(),
                verdict: verdict.into(),
                comment: None,
                at_ms,
            };
            let same =
                Revised { result: "{}".into(), score: None, passed: None, verdict: Verdict::default() };
            store.review("one", 0, &review, |_| Ok::<_, ()>(same)).await.expect("asked");
        }
        let lead = Sight::Of { owner: "lead".into(), tenant: None };
        let told = store.opinions(&lead, None, 0, 3_000, 10).await.expect("asked");
        let told: Vec<_> = told.iter().map(|one| (one.reviewer.as_str(), one.confirms)).collect();
        assert_eq!(told, [("bob", false), ("ann", true)], "a remark changes no verdict");
        let count = async |sight: &Sight| {
            let counts = store.found_counts(sight, Some("fund"), 0, 3_000).await.expect("asked");
            counts.iter().map(|count| count.hits).sum::<i64>()
        };
        assert_eq!((count(&lead).await, count(&Sight::All).await), (1, 2));
        let eve = Sight::Of { owner: "eve".into(), tenant: None };
        assert_eq!(store.opinions(&eve, None, 0, 3_000, 10).await.expect("asked"), []);
    }

    async fn claim(store: &Store, holder: &str) -> Claim {
        store.claim(holder, 5_000, 65_000).await.expect("asked").expect("one waits")
    }

    pub(super) async fn a_job_is_taken_in_once_whatever_its_owner_repeats(store: &Store) {
        let first = NewJob { key: Some("night-1".into()), ..job("one", 3) };
        assert_eq!(store.offer(&first, 100).await.expect("asked"), Offered::Created);
        let again = NewJob { id: "two".into(), ..first.clone() };
        assert_eq!(store.offer(&again, 100).await.expect("asked"), Offered::Repeated("one".into()));
        let other = NewJob { id: "two".into(), fingerprint: "g".into(), ..first.clone() };
        assert_eq!(store.offer(&other, 100).await.expect("asked"), Offered::Taken("one".into()));
        let stranger = NewJob { id: "two".into(), owner: "other".into(), ..first };
        assert_eq!(store.offer(&stranger, 100).await.expect("asked"), Offered::Created);
        for id in ["three", "four"] {
            assert_eq!(store.offer(&job(id, 1), 100).await.expect("asked"), Offered::Created, "without keys");
        }
        let jobs = store.jobs(Some("lead"), None, 10).await.expect("listed");
        assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["three", "one", "four"]);
        let rest = store.jobs(None, Some((1_000, "three".into())), 10).await.expect("listed");
        assert_eq!(rest.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["one", "four"]);
        let one = store.job("one").await.expect("asked").expect("there");
        assert_eq!(
            (one.state, one.counts),
            (JobState::Queued, Counts { total: 3, queued: 3, ..Counts::default() })
        );
        assert!(store.job("none").await.expect("asked").is_none());
    }

    pub(super) async fn files_are_claimed_once_by_many_workers(store: &Store) {
        store.offer(&job("one", 40), 100).await.expect("asked");
        let (mut seen, lasts) = (Vec::new(), AtomicUsize::new(0));
        let work = async |holder: &str| {
            let mut mine = Vec::new();
            while let Some(claim) = store.claim(holder, 5_000, 65_000).await.expect("asked") {
                let done = result(if claim.n == 7 { 70.0 } else { 90.0 });
                if let Taken::Last(counts) =
                    store.finish(&claim, &done, 6_000, |_| Vec::new()).await.expect("kept")
                {
                    assert_eq!((counts.done, counts.passed), (40, 39));
                    lasts.fetch_add(1, Ordering::Relaxed);
                }
                mine.push(claim.n);
            }
            mine
        };
        let (a, b, c) = tokio::join!(work("a"), work("b"), work("c"));
        [a, b, c].into_iter().for_each(|mine| seen.extend(mine));
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        assert_eq!(lasts.into_inner(), 1, "one of them was the last");
        let job = store.job("one").await.expect("asked").expect("there");
        assert_eq!((job.state, job.finished_ms), (JobState::Finished, Some(6_000)));
        let page = store.files("one", FileFilter { after: Some(6), state: None }, 2).await.expect("listed");
        assert_eq!(
            page.iter().map(|file| (file.n, file.score)).collect::<Vec<_>>(),
            [(7, Some(70.0)), (8, Some(90.0))]
        );
        assert_eq!((page[0].passed, page[1].passed), (Some(false), Some(true)));
        assert_eq!(store.result("one", 7).await.expect("asked").expect("there").1, "{\"score\":1}");
    }

    pub(super) async fn a_small_job_need_not_wait_for_a_great_one(store: &Store) {
        store.offer(&job("great", 50), 100).await.expect("asked");
        claim(store, "a").await;
        store.offer(&NewJob { created_ms: 2_000, ..job("small", 2) }, 100).await.expect("asked");
        store
            .offer(&NewJob { priority: 5, created_ms: 3_000, ..job("urgent", 2) }, 100)
            .await
            .expect("asked");
        let mut order = Vec::new();
        for _ in 0..6 {
            let claim = claim(store, "a").await;
            order.push(format!("{} {}", claim.job, claim.n));
        }
        assert_eq!(order, ["urgent 0", "urgent 1", "small 0", "great 1", "small 1", "great 2"]);
    }

    pub(super) async fn what_comes_of_a_file_is_kept_from_its_holder_alone(store: &Store) {
        store.offer(&job("one", 2), 100).await.expect("asked");
        let first = claim(store, "a").await;
        let stranger = Claim { holder: "b".into(), ..first.clone() };
        assert_eq!(
            store.finish(&stranger, &result(1.0), 6_000, |_| vec![]).await.expect("asked"),
            Taken::Lost
        );
        let reason = Done::Failed { code: "audio.damaged".into(), detail: "cut off".into() };
        let told = store.finish(&first, &reason, 6_000, |_| vec![news("file", 6_000)]).await.expect("kept");
        assert_eq!(told, Taken::Kept);
        assert_eq!(
            store.finish(&first, &result(1.0), 6_000, |_| vec![]).await.expect("asked"),
            Taken::Lost,
            "once"
        );
        assert_eq!(store.due("crm", 6_000, 10).await.expect("asked").len(), 1);
        let file = store.file("one", 0).await.expect("asked").expect("there");
        assert_eq!((file.state, file.code.as_deref()), (FileState::Failed, Some("audio.damaged")));
        let second = claim(store, "a").await;
        store.release(&second).await.expect("asked");
        let second = claim(store, "a").await;
        assert_eq!((second.n, second.attempts), (1, 1), "what was given back does not count");
        let tell = |counts: Option<&Counts>| {
            assert_eq!(counts.map(|counts| counts.failed), Some(1));
            vec![news("job", 7_000)]
        };
        let last = store.finish(&second, &result(90.0), 7_000, tell).await.expect("kept");
        assert!(matches!(last, Taken::Last(_)));
        assert_eq!(store.due("crm", 7_000, 10).await.expect("asked").len(), 2);
        assert_eq!(store.retry_files("one").await.expect("asked"), 1, "the one that failed");
        assert_eq!(store.job("one").await.expect("asked").expect("there").state, JobState::Running);
        assert_eq!(claim(store, "a").await.n, 0);
    }

    pub(super) async fn files_whose_holder_is_gone_wait_again(store: &Store) {
        store.offer(&job("one", 2), 100).await.expect("asked");
        let lost = claim(store, "a").await;
        claim(store, "b").await;
        store.renew("b", 100_000).await.expect("asked");
        assert_eq!(store.reclaim(65_001).await.expect("asked"), 1);
        let again = claim(store, "c").await;
        assert_eq!((again.n, again.attempts), (lost.n, 2));
        assert_eq!(store.finish(&lost, &result(1.0), 70_000, |_| vec![]).await.expect("asked"), Taken::Lost);
        assert_eq!(store.finish(&again, &result(1.0), 70_000, |_| vec![]).await.expect("asked"), Taken::Kept);
    }

    pub(super) async fn a_cancelled_job_takes_no_results_and_can_be_taken_up_again(store: &Store) {
        store.offer(&job("one", 3), 100).await.expect("asked");
        let (done, under_way) = (claim(store, "a").await, claim(store, "a").await);
        store.finish(&done, &result(90.0), 6_000, |_| vec![]).await.expect("kept");
        assert!(store.cancel("one", 7_000).await.expect("asked"));
        assert!(!store.cancel("one", 7_000).await.expect("asked"), "once");
        assert!(!store.cancel("none", 7_000).await.expect("asked"));
        assert_eq!(
            store.finish(&under_way, &result(1.0), 8_000, |_| vec![]).await.expect("asked"),
            Taken::Lost
        );
        assert!(store.claim("a", 8_000, 68_000).await.expect("asked").is_none());
        let job = store.job("one").await.expect("asked").expect("there");
        assert_eq!((job.state, job.counts.done, job.counts.cancelled), (JobState::Cancelled, 1, 2));
        assert_eq!(store.retry_files("one").await.expect("asked"), 2);
        assert_eq!(claim(store, "a").await.n, 1);
    }

    pub(super) async fn an_owner_has_a_bounded_number_of_files_waiting(store: &Store) {
        assert_eq!(store.offer(&job("one", 6), 10).await.expect("asked"), Offered::Created);
        assert_eq!(store.offer(&job("two", 5), 10).await.expect("asked"), Offered::Full { waiting: 6 });
        let other = NewJob { owner: "other".into(), ..job("two", 5) };
        assert_eq!(store.offer(&other, 10).await.expect("asked"), Offered::Created);
        assert!(store.cancel("one", 7_000).await.expect("asked"));
        assert_eq!(store.offer(&job("three", 10), 10).await.expect("asked"), Offered::Created);
    }

    pub(super) async fn reviews_replace_earlier_ones_of_the_same_person(store: &Store) {
        store.offer(&job("one", 1), 10).await.expect("asked");
        let claim = claim(store, "a").await;
        store.finish(&claim, &result(70.0), 6_000, |_| vec![]).await.expect("kept");
        let review = |reviewer: &str, verdict: &str, at_ms| Review {
            card: "fund".into(),
            hit: "R1-1".into(),
            reviewer: reviewer.into(),
            verdict: verdict.into(),
            comment: Some("said later".into()),
            at_ms,
        };
        let revise = |result: &str| {
            assert!(result.starts_with("{\"score\":"), "{result}");
            let result = "{\"score\":2}".to_owned();
            let verdict = Verdict { score: 91.0, passed: true, judged: "{}".into(), standing: Vec::new() };
            Ok::<_, ()>(Revised { result, score: Some(91.0), passed: Some(true), verdict })
        };
        for (who, verdict, at) in [("ann", "confirm", 1), ("bob", "confirm", 2), ("ann", "overturn", 3)] {
            let noted = store.review("one", 0, &review(who, verdict, at), revise).await.expect("asked");
            assert_eq!(noted, Noted::Kept);
        }
        let strange = review("eve", "confirm", 4);
        assert_eq!(store.review("one", 0, &strange, |_| Err(7)).await.expect("asked"), Noted::Refused(7));
        assert_eq!(store.review("one", 1, &strange, revise).await.expect("asked"), Noted::Unknown);
        let reviews = store.reviews("one", 0).await.expect("listed");
        assert_eq!(reviews, [review("bob", "confirm", 2), review("ann", "overturn", 3)]);
        let file = store.file("one", 0).await.expect("asked").expect("there");
        assert_eq!((file.score, file.passed), (Some(91.0), Some(true)));
        assert_eq!(store.result("one", 0).await.expect("asked").expect("there").1, "{\"score\":2}");
    }

    pub(super) async fn a_job_that_is_over_is_forgotten_whole(store: &Store) {
        store.offer(&job("one", 1), 10).await.expect("asked");
        assert!(!store.forget_job("one").await.expect("asked"), "it is not over");
        let claim = claim(store, "a").await;
        store.finish(&claim, &result(70.0), 6_000, |_| vec![]).await.expect("kept");
        assert_eq!(store.jobs_over(6_000, 10).await.expect("asked"), Vec::<String>::new());
        assert_eq!(store.jobs_over(6_001, 10).await.expect("asked"), ["one"]);
        assert!(store.forget_job("one").await.expect("asked"));
        assert!(store.job("one").await.expect("asked").is_none());
        assert!(store.result("one", 0).await.expect("asked").is_none());
        assert_eq!(store.files("one", FileFilter::default(), 10).await.expect("listed"), []);
    }
}
