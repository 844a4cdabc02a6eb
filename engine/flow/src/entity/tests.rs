//! Tables of sentences and what they mean.

use super::*;

/// A Sunday.
fn today() -> Option<Date> {
    Date::new(2026, 11, 22)
}

fn check(kind: &SlotKind, tongue: Tongue, table: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in table {
        let found = kind.find(&tokens(text), tongue, today());
        let value = found.map_or_else(|| "-".to_owned(), |found| crate::expr::plain(&found.value));
        if value != *expected {
            wrong.push(format!("`{text}`: expected {expected}, found {value}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn choice() -> SlotKind {
    let value = |value: &str, names: &[&str]| ChoiceValue {
        value: value.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        tokens: names.iter().map(|name| tokens(name)).collect(),
    };
    SlotKind::Choice(vec![
        value("savings", &["savings", "savings account", "储蓄账户", "存款"]),
        value("card", &["card", "credit card", "信用卡"]),
    ])
}

#[test]
fn english_digits() {
    let kind = SlotKind::Digits { min: 4, max: 12 };
    let table = [
        ("one two three four five six", "123456"),
        ("it's double four oh seven nine one", "440791"),
        ("triple seven one", "7771"),
        ("my number is 123456 thanks", "123456"),
        ("123 456", "123456"),
        ("one two three, uh, four five six", "123456"),
        ("twenty one thirty five", "2135"),
        ("nineteen eighty four", "1984"),
        ("five hundred and twelve six", "500126"),
        ("oh eight hundred nine nine", "080099"),
        ("one two for five six", "12456"),
        ("555-1234", "5551234"),
        ("one two", "-"),
        ("oh no", "-"),
        ("zero zero zero zero", "0000"),
        ("niner eight seven six", "9876"),
    ];
    check(&kind, Tongue::English, &table);
}

#[test]
fn chinese_digits() {
    let kind = SlotKind::Digits { min: 4, max: 18 };
    let table = [
        ("幺三八零零幺三八零零零", "13800138000"),
        ("13800138000", "13800138000"),
        ("一三八零零一三八零零零", "13800138000"),
        ("我的账号是六二二八", "6228"),
        ("尾号 1 2 3 4", "1234"),
        ("一二三，嗯，四五六", "123456"),
        ("１２３４５６", "123456"),
        ("二零二六", "2026"),
        ("五六七", "-"),
        ("不知道", "-"),
    ];
    check(&kind, Tongue::Chinese, &table);
}

#[test]
fn english_numbers() {
    let kind = SlotKind::Number { min: f64::MIN, max: f64::MAX };
    let table = [
        ("twenty one", "21"),
        ("a hundred and five", "105"),
        ("two hundred and fifty", "250"),
        ("one thousand two hundred", "1200"),
        ("twelve hundred", "1200"),
        ("three point five", "3.5"),
        ("three point five percent", "0.035"),
        ("one point two million", "1200000"),
        ("two and a half thousand", "2500"),
        ("half a million", "500000"),
        ("minus ten", "-10"),
        ("5k", "5000"),
        ("1,250", "1250"),
        ("two million three hundred thousand and six", "2300006"),
        ("one two three", "123"),
        ("no number here", "-"),
        ("a lot", "-"),
        ("ninety nine", "99"),
    ];
    check(&kind, Tongue::English, &table);
}

#[test]
fn chinese_numbers() {
    let kind = SlotKind::Number { min: f64::MIN, max: f64::MAX };
    let table = [
        ("两万五", "25000"),
        ("三千五", "3500"),
        ("一百二", "120"),
        ("一百零二", "102"),
        ("一万零五百", "10500"),
        ("一万零五", "10005"),
        ("两万五千", "25000"),
        ("百分之三点五", "0.035"),
        ("百分之二十", "0.2"),
        ("三点一四", "3.14"),
        ("三点五万", "35000"),
        ("2.5万", "25000"),
        ("十五", "15"),
        ("二十", "20"),
        ("一亿两千万", "120000000"),
        ("一千零一", "1001"),
        ("1万500", "10500"),
        ("负五", "-5"),
        ("5%", "0.05"),
        ("等一下", "-"),
        ("统一处理", "-"),
        ("千万不要", "-"),
        ("十分感谢", "-"),
        ("一三八", "138"),
    ];
    check(&kind, Tongue::Chinese, &table);
}

#[test]
fn english_amounts() {
    let kind = SlotKind::Amount { currency: "USD".into(), min: 0.0, max: 1e9 };
    let table = [
        ("two hundred and fifty dollars", "250"),
        ("$1,250.50", "1250.5"),
        ("two fifty", "250"),
        ("twelve fifty", "1250"),
        ("two dollars and fifty cents", "2.5"),
        ("nineteen dollars ninety nine", "19.99"),
        ("fifty cents", "0.5"),
        ("a thousand bucks", "1000"),
        ("transfer two hundred dollars to savings", "200"),
        ("send 50 euros on the 5th", "50"),
        ("three hundred", "300"),
        ("five grand", "5000"),
        ("one and a half million dollars", "1500000"),
        ("the day after tomorrow", "-"),
        ("one thousand dollars on march fifth", "1000"),
    ];
    check(&kind, Tongue::English, &table);
}

#[test]
fn chinese_amounts() {
    let kind = SlotKind::Amount { currency: "CNY".into(), min: 0.0, max: 1e9 };
    let table = [
        ("两百五十块", "250"),
        ("三千五", "3500"),
        ("三块五", "3.5"),
        ("三块五毛二", "3.52"),
        ("五毛钱", "0.5"),
        ("转两万五到储蓄账户", "25000"),
        ("五百块钱", "500"),
        ("一千二百元", "1200"),
        ("一百美元", "100"),
        ("￥３００", "300"),
        ("200元人民币", "200"),
        ("一万块", "10000"),
        ("帮我转一下五百", "500"),
        ("不要", "-"),
        ("一千零五十元", "1050"),
    ];
    check(&kind, Tongue::Chinese, &table);
}

#[test]
fn english_dates() {
    let table = [
        ("today", "2026-11-22"),
        ("tomorrow please", "2026-11-23"),
        ("the day after tomorrow", "2026-11-24"),
        ("yesterday", "2026-11-21"),
        ("on Friday", "2026-11-27"),
        ("next Friday", "2026-11-27"),
        ("this Sunday", "2026-11-22"),
        ("Friday next week", "2026-11-27"),
        ("the fifth of March", "2027-03-05"),
        ("March fifth", "2027-03-05"),
        ("March the 5th", "2027-03-05"),
        ("5 March 2028", "2028-03-05"),
        ("december twenty fifth", "2026-12-25"),
        ("december twenty fifth twenty twenty eight", "2028-12-25"),
        ("the twenty fourth", "2026-11-24"),
        ("the first", "2026-12-01"),
        ("in three days", "2026-11-25"),
        ("in two weeks", "2026-12-06"),
        ("in a month", "2026-12-22"),
        ("end of the month", "2026-11-30"),
        ("2026-12-31", "2026-12-31"),
        ("the thirty first of february", "-"),
        ("the first one", "-"),
        ("the fifth of next month", "2026-12-05"),
        ("never", "-"),
        ("february 29th", "2028-02-29"),
    ];
    check(&SlotKind::Date, Tongue::English, &table);
}

#[test]
fn chinese_dates() {
    let table = [
        ("今天", "2026-11-22"),
        ("明天下午", "2026-11-23"),
        ("后天", "2026-11-24"),
        ("大后天", "2026-11-25"),
        ("昨天", "2026-11-21"),
        ("下周三", "2026-11-25"),
        ("下周三下午三点", "2026-11-25"),
        ("下下周一", "2026-11-30"),
        ("下个星期天", "2026-11-29"),
        ("周五", "2026-11-27"),
        ("这周日", "2026-11-22"),
        ("本周五", "2026-11-20"),
        ("三月五号", "2027-03-05"),
        ("三月五日", "2027-03-05"),
        ("12月25日", "2026-12-25"),
        ("二零二七年一月一号", "2027-01-01"),
        ("2027年2月3日", "2027-02-03"),
        ("五号", "2026-12-05"),
        ("下个月五号", "2026-12-05"),
        ("月底", "2026-11-30"),
        ("三天后", "2026-11-25"),
        ("两周后", "2026-12-06"),
        ("二月三十号", "-"),
        ("随便", "-"),
    ];
    check(&SlotKind::Date, Tongue::Chinese, &table);
}

#[test]
fn without_today_only_full_dates_are_dates() {
    let find =
        |text: &str| SlotKind::Date.find(&tokens(text), Tongue::English, None).map(|found| found.value);
    assert_eq!(find("tomorrow"), None);
    assert_eq!(find("2026-12-31"), Some("2026-12-31".into()));
    assert_eq!(find("5 march 2028"), Some("2028-03-05".into()));
}

#[test]
fn english_answers() {
    let table = [
        ("yes", "true"),
        ("yeah sure", "true"),
        ("that's right", "true"),
        ("no problem", "true"),
        ("why not", "true"),
        ("of course", "true"),
        ("please do", "true"),
        ("okay go ahead", "true"),
        ("yes, right now", "true"),
        ("no", "false"),
        ("no thank you", "false"),
        ("nope", "false"),
        ("that's not right", "false"),
        ("that isn't correct", "false"),
        ("don't do it", "false"),
        ("I don't", "false"),
        ("yes, I mean no", "false"),
        ("no wait, yes", "true"),
        ("absolutely not", "false"),
        ("of course not", "false"),
        ("I don't know", "-"),
        ("maybe", "-"),
        ("not sure", "-"),
        ("the weather", "-"),
        ("correct", "true"),
    ];
    check(&SlotKind::YesNo, Tongue::English, &table);
}

#[test]
fn chinese_answers() {
    let table = [
        ("是的", "true"),
        ("对", "true"),
        ("好的", "true"),
        ("可以", "true"),
        ("没错", "true"),
        ("没问题", "true"),
        ("嗯", "true"),
        ("要的", "true"),
        ("不是", "false"),
        ("不对", "false"),
        ("不要", "false"),
        ("不用了谢谢", "false"),
        ("不可以", "false"),
        ("没有", "false"),
        ("算了", "false"),
        ("错了", "false"),
        ("不需要", "false"),
        ("不知道", "-"),
        ("不确定", "-"),
        ("是不是", "-"),
        ("天气", "-"),
    ];
    check(&SlotKind::YesNo, Tongue::Chinese, &table);
}

#[test]
fn choices_and_patterns() {
    check(
        &choice(),
        Tongue::English,
        &[("to my savings account", "savings"), ("credit card", "card"), ("cash", "-")],
    );
    check(&choice(), Tongue::Chinese, &[("转到储蓄账户", "savings"), ("还信用卡", "card")]);
    let pattern = SlotKind::Pattern { pattern: Regex::new(r"order ([a-z]\d{3})").expect("valid"), group: 1 };
    check(&pattern, Tongue::English, &[("It's order B123.", "b123"), ("order x", "-")]);
}

#[test]
fn a_value_knows_its_words() {
    let amount = SlotKind::Amount { currency: "USD".into(), min: 0.0, max: 1e9 };
    let words = tokens("transfer two hundred dollars to savings");
    let found = amount.find(&words, Tongue::English, today()).expect("an amount");
    assert_eq!((found.start, found.end), (1, 4));
}
