//! 50,000 entries, half Chinese, half English: how long until they are indexed, what they take of memory, how long a
//! question takes. `cargo bench -p antiphon-engine-knowledge`; as a test, 500 entries and ten questions.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench tells what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use antiphon_engine_knowledge::{Filter, Knowledge, Limits};

fn main() {
    let full = std::env::args().any(|arg| arg == "--bench");
    let (entries, questions) = if full { (50_000, 4_000) } else { (500, 10) };
    let folder = tempfile::tempdir().expect("a folder for the entries");
    let mut dice = Dice(7);
    let mut asked = Vec::new();
    let mut bytes = 0;
    for file in 0..10 {
        let mut text = String::new();
        for n in 0..entries / 10 {
            let (question, answer) = if n % 2 == 0 { english(&mut dice) } else { chinese(&mut dice) };
            writeln!(text, "{}", serde_json::json!({"question": question, "answer": answer}))
                .expect("memory");
            asked.push(question);
        }
        bytes += text.len();
        fs::write(folder.path().join(format!("{file}.jsonl")), text).expect("room for the entries");
    }
    let before = resident();
    let began = Instant::now();
    let knowledge = Knowledge::open(folder.path(), Limits::default()).expect("entries that can be read");
    println!(
        "{} entries of {} KiB: open {:?}, memory {} MiB",
        knowledge.len(),
        bytes >> 10,
        began.elapsed(),
        (resident() - before) >> 20
    );
    assert_eq!(knowledge.len(), entries);

    for (name, filter) in [
        ("all", Filter::default()),
        ("of one language", Filter { language: Some("zh".to_owned()), ..Filter::default() }),
    ] {
        let mut took: Vec<Duration> = Vec::new();
        let mut found = 0;
        for _ in 0..questions {
            let n = dice.below(asked.len());
            let question = spoken(&mut dice, &asked[n]);
            let began = Instant::now();
            let answers = knowledge.search(&question, 3, &filter).expect("an index in memory");
            took.push(began.elapsed());
            found += usize::from(answers.iter().any(|answer| answer.title == asked[n]));
        }
        took.sort();
        let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
        println!(
            "{questions} questions, {name}: p50 {:?}, p99 {:?}, most {:?}; found {found}",
            at(50),
            at(99),
            at(100)
        );
    }

    let changed = folder.path().join("0.jsonl");
    let text = fs::read_to_string(&changed).expect("what was written");
    fs::write(&changed, format!("{text}{{\"question\":\"one more\",\"answer\":\"yes\"}}\n")).expect("room");
    let began = Instant::now();
    let refreshed = knowledge.refresh().expect("entries that can be read");
    println!("refresh of one file in ten: {:?}", began.elapsed());
    assert_eq!((refreshed.read.len(), refreshed.entries), (1, entries + 1));
}

/// Words by how common they are: the nth comes up in proportion to 1/n.
fn word<'a>(dice: &mut Dice, words: &'a [String]) -> &'a str {
    let spread = (words.len() as f64).powf(dice.below(10_000) as f64 / 10_000.0);
    &words[(spread as usize).min(words.len() - 1)]
}

fn english(dice: &mut Dice) -> (String, String) {
    thread_local!(static WORDS: Vec<String> = {
        let mut dice = Dice(1);
        let syllables = ["ba", "cor", "den", "fi", "gal", "hum", "jo", "kel", "lim", "mor", "nat", "per", "qua", "ri", "sto", "tu", "ven", "wex", "yol", "zan"];
        let mut made = || {
            let mut word: String = (0..2 + dice.below(2)).map(|_| syllables[dice.below(syllables.len())]).collect();
            word.push_str(["", "t", "k", "n"][dice.below(4)]);
            word
        };
        (0..12_000).map(|_| made()).collect()
    });
    WORDS.with(|words| {
        let mut say = |n: usize| (0..n).map(|_| word(dice, words)).collect::<Vec<_>>().join(" ");
        let (title, text) = (say(4), say(40));
        (format!("how do I {title}?"), format!("{text}."))
    })
}

fn chinese(dice: &mut Dice) -> (String, String) {
    thread_local!(static WORDS: Vec<String> = {
        let common = "信用卡 银行卡 挂失 转账 余额 利息 贷款 还款 逾期 账单 分期 额度 密码 手机 验证码 短信 网点 柜台 身份证 开户 销户 理财 基金 风险 收益 赎回 存款 定期 活期 汇率 外币 保险 理赔 报案 事故 车险 医疗 住院 发票 病历 保单 保费 受益人 退保 犹豫期 等待期 免赔额 重疾 意外 养老 客服 热线 预约 审核 材料 证明 合同 签字 地址 变更 补办 激活 积分 兑换 优惠 年费 手续费 限额 到账 失败 退款 投诉 快递 物流 订单 发货 收货 换货 维修 质保 安装 配送 会员 充值 套餐 流量 宽带 话费 停机 复机 携号 漫游";
        let chars: Vec<char> = common.chars().filter(|c| !c.is_whitespace()).collect();
        let mut dice = Dice(2);
        let mut made = || [chars[dice.below(chars.len())], chars[dice.below(chars.len())]].iter().collect();
        common.split(' ').map(str::to_owned).chain((0..4_000).map(|_| made())).collect()
    });
    WORDS.with(|words| {
        let mut say = |n: usize| (0..n).map(|_| word(dice, words)).collect::<String>();
        (format!("怎么{}", say(4)), (0..5).map(|_| format!("{}。", say(9))).collect())
    })
}

/// A question as it is said: with fillers, and now and then with a wrong letter.
fn spoken(dice: &mut Dice, question: &str) -> String {
    if question.is_ascii() {
        let mut said = format!("uh hello yeah I was wondering {question}");
        if dice.below(3) == 0 {
            said.remove(said.len() - 4);
        }
        said
    } else {
        format!("那个你好我想问一下{question}啊")
    }
}

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}
