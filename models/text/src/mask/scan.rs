//! The text of an utterance as the finders see it: one string, each character knowing its token.

use super::Category;
use crate::token::{Kind, Piece, is_wide};

/// Something to hide: bytes of the scanned text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) category: Category,
}

/// One thing in the text as number finding sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A digit, written or said.
    Digit(u8),
    /// The check sign of an identity number.
    X,
    /// A plus before a number.
    Plus,
    /// What may stand between digits.
    Between,
    /// Anything else.
    Other,
}

/// A sign and the bytes it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) sign: Sign,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The joined text of some tokens.
#[derive(Debug)]
pub(super) struct Scan {
    /// As written, tokens apart by a space where the script has one.
    pub(super) text: String,
    /// In lower case; same length as `text`.
    pub(super) lower: String,
    /// Where each token begins in `text`, and at the end its length.
    pub(super) starts: Vec<usize>,
    /// Where each token ends in `text`.
    pub(super) ends: Vec<usize>,
    pub(super) marks: Vec<Mark>,
}

fn digit_word(word: &str) -> Option<u8> {
    Some(match word {
        "zero" | "oh" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        _ => return None,
    })
}

fn digit_char(c: char) -> Option<u8> {
    Some(match c {
        '0'..='9' => u8::try_from(u32::from(c) - u32::from('0')).ok()?,
        '０'..='９' => u8::try_from(u32::from(c) - u32::from('０')).ok()?,
        '零' | '〇' => 0,
        '一' | '幺' => 1,
        '二' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    })
}

/// The length of the written number at the start of `text` where a Chinese unit behind it shows that it counts
/// something; 0 otherwise.
fn counting(text: &str) -> usize {
    let length = text.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b':')).count();
    let digits = text[..length].bytes().filter(u8::is_ascii_digit).count();
    match text[length..].chars().next() {
        Some('元' | '块' | '万' | '亿' | '毛' | '美' | '欧' | '英') => length,
        Some('年' | '月' | '日' | '号' | '点') if digits <= 4 => length,
        _ => 0,
    }
}

impl Scan {
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let size = pieces.iter().map(|piece| piece.text.len() + 1).sum();
        let mut scan = Self {
            text: String::with_capacity(size),
            lower: String::with_capacity(size),
            starts: Vec::with_capacity(pieces.len()),
            ends: Vec::with_capacity(pieces.len()),
            marks: Vec::with_capacity(size),
        };
        for piece in pieces {
            let last = scan.text.chars().next_back();
            if let (Some(first), Some(last)) = (piece.text.chars().next(), last)
                && !is_wide(first)
                && !is_wide(last)
            {
                scan.marks.push(Mark {
                    sign: Sign::Between,
                    start: scan.text.len(),
                    end: scan.text.len() + 1,
                });
                scan.text.push(' ');
                scan.lower.push(' ');
            }
            scan.piece(piece);
            if piece.mark.is_some_and(crate::token::Mark::ends) {
                // A number goes on over a comma, not over the end of a sentence.
                scan.marks.push(Mark { sign: Sign::Other, start: scan.text.len(), end: scan.text.len() });
            }
        }
        scan
    }

    fn piece(&mut self, piece: &Piece) {
        let start = self.text.len();
        self.starts.push(start);
        self.text.push_str(&piece.text);
        self.ends.push(self.text.len());
        // Byte offsets are shared, so only what keeps its length is lowered.
        self.lower.extend(piece.text.chars().map(|c| {
            let mut lower = c.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(low), None) if low.len_utf8() == c.len_utf8() => low,
                _ => c,
            }
        }));
        let counts = matches!(
            piece.kind,
            Kind::Money | Kind::Percent | Kind::Date | Kind::Time | Kind::Measure | Kind::Ordinal
        );
        let end = self.text.len();
        if counts && !piece.text.chars().any(is_wide) {
            self.marks.push(Mark { sign: Sign::Other, start, end });
            return;
        }
        if piece.kind == Kind::Word
            && let Some(digit) = digit_word(&self.lower[start..])
        {
            self.marks.push(Mark { sign: Sign::Digit(digit), start, end });
            return;
        }
        let mut counted = 0;
        for (at, c) in piece.text.char_indices() {
            if c.is_ascii_digit() && at >= counted {
                counted = at + counting(&piece.text[at..]);
            }
            if at < counted {
                self.marks.push(Mark {
                    sign: Sign::Other,
                    start: start + at,
                    end: start + at + c.len_utf8(),
                });
                continue;
            }
            let sign = match c {
                _ if let Some(digit) = digit_char(c) => Sign::Digit(digit),
                'x' | 'X' => Sign::X,
                '+' => Sign::Plus,
                '-' | '.' | '(' | ')' | ' ' | '/' => Sign::Between,
                ',' | '，' if at + c.len_utf8() == piece.text.len() => Sign::Between,
                _ => Sign::Other,
            };
            self.marks.push(Mark { sign, start: start + at, end: start + at + c.len_utf8() });
        }
    }

    /// Whether the utterance says hardly anything.
    pub(super) fn is_short(&self) -> bool {
        self.text.chars().count() <= 12
    }

    /// The tokens that bytes `start..end` touch.
    pub(super) fn pieces(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        let first = self.ends.partition_point(|&piece| piece <= start);
        let last = self.starts.partition_point(|&piece| piece < end);
        first..last.max(first)
    }

    /// E-mail addresses, by their `@`.
    pub(super) fn emails(&self, hits: &mut Vec<Hit>) {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '%');
        for (at, _) in self.text.match_indices('@') {
            let start = self.text[..at].char_indices().rev().take(64).take_while(|(_, c)| part(*c)).last();
            let host = self.text[at + 1..].char_indices().take(255).take_while(|(_, c)| part(*c)).last();
            if let (Some((start, _)), Some((last, _))) = (start, host)
                && self.text[at + 1..at + 2 + last].contains('.')
            {
                hits.push(Hit { start, end: at + 2 + last, category: Category::Email });
            }
        }
    }

    /// Names behind their announcement.
    pub(super) fn names(&self, chinese: bool, hits: &mut Vec<Hit>) {
        if chinese {
            self.chinese_names(hits);
        } else {
            self.english_names(hits);
        }
    }

    fn english_names(&self, hits: &mut Vec<Hit>) {
        for cue in [
            "my name is ",
            "my name's ",
            "my full name is ",
            "my first name is ",
            "my last name is ",
            "my surname is ",
        ] {
            for (at, _) in self.lower.match_indices(cue) {
                let start = at + cue.len();
                let mut end = start;
                let mut words = 0;
                for word in self.lower[start..].split(' ').take(3) {
                    let bare = word.trim_end_matches(['.', ',', '?', '!']);
                    if bare.is_empty() || no_name(bare) {
                        break;
                    }
                    let from = if words == 0 { start } else { end + 1 };
                    end = from + bare.len();
                    words += 1;
                    if bare.len() < word.len() || self.stops_behind(end) {
                        break;
                    }
                }
                if words > 0 {
                    hits.push(Hit { start, end, category: Category::Name });
                }
            }
        }
    }

    /// Whether a sentence mark stands behind byte `at`.
    fn stops_behind(&self, at: usize) -> bool {
        self.marks.iter().any(|mark| mark.start == at && mark.end == at)
    }

    fn chinese_names(&self, hits: &mut Vec<Hit>) {
        for (cue, given) in [
            ("我叫", true),
            ("我的名字是", true),
            ("我名叫", true),
            ("名字叫", true),
            ("我姓", false),
            ("我是姓", false),
        ] {
            for (at, _) in self.text.match_indices(cue) {
                let start = at + cue.len();
                let mut chars = self.text[start..]
                    .char_indices()
                    .take_while(|(_, c)| is_wide(*c) && !matches!(c, '，' | '。'));
                let Some((_, first)) = chars.next() else { continue };
                let double = self.text[start..].chars().take(2).collect::<String>();
                let surname = if DOUBLE_SURNAMES.contains(&double.as_str()) { 2 } else { 1 };
                if surname == 1 && !SURNAMES.contains(first) {
                    continue;
                }
                let most = surname + if given { 2 } else { 0 };
                let end = self.text[start..]
                    .char_indices()
                    .take(most)
                    .enumerate()
                    .take_while(|(k, (_, c))| *k < surname || is_wide(*c) && !NO_NAME.contains(*c))
                    .last()
                    .map_or(start, |(_, (at, c))| start + at + c.len_utf8());
                hits.push(Hit { start, end, category: Category::Name });
            }
        }
    }

    /// What the utterance announces at its end without saying it.
    pub(super) fn announced(&self, chinese: bool) -> Option<Category> {
        let from = self.lower.char_indices().rev().nth(40).map_or(0, |(at, _)| at);
        let tail = &self.lower[from..];
        let (at, category) = announcement(tail, chinese)?;
        // Digits behind the cue are what it announced.
        let digits =
            self.marks.iter().filter(|mark| mark.start >= from + at && matches!(mark.sign, Sign::Digit(_)));
        (digits.count() < 4).then_some(category)
    }
}

/// The last announcement of a number in lower-case `text`: the byte behind it, and what it announces.
pub(super) fn announcement(text: &str, chinese: bool) -> Option<(usize, Category)> {
    let cues: &[(&str, Category)] = if chinese { CHINESE_CUES } else { ENGLISH_CUES };
    cues.iter()
        .filter_map(|(cue, category)| text.rfind(cue).map(|at| (at + cue.len(), *category)))
        .max_by_key(|(end, _)| *end)
}

const ENGLISH_CUES: &[(&str, Category)] = &[
    ("card number", Category::Card),
    ("card is", Category::Card),
    ("credit card", Category::Card),
    ("debit card", Category::Card),
    ("account number", Category::Account),
    ("account is", Category::Account),
    ("routing number", Category::Account),
    ("policy number", Category::Account),
    ("member id", Category::Account),
    ("security code", Category::Card),
    ("pin is", Category::Account),
    ("pin code", Category::Account),
    ("password is", Category::Account),
    ("social security", Category::Identity),
    ("passport number", Category::Identity),
    ("licence number", Category::Identity),
    ("license number", Category::Identity),
    ("phone number", Category::Telephone),
    ("telephone number", Category::Telephone),
    ("mobile number", Category::Telephone),
    ("cell number", Category::Telephone),
    ("call me at", Category::Telephone),
    ("call me on", Category::Telephone),
    ("reach me at", Category::Telephone),
    ("my number is", Category::Telephone),
];

const CHINESE_CUES: &[(&str, Category)] = &[
    ("身份证", Category::Identity),
    ("身份证号", Category::Identity),
    ("身份证号码", Category::Identity),
    ("护照号", Category::Identity),
    ("银行卡", Category::Card),
    ("信用卡", Category::Card),
    ("卡号", Category::Card),
    ("账号", Category::Account),
    ("帐号", Category::Account),
    ("账户", Category::Account),
    ("户号", Category::Account),
    ("密码", Category::Account),
    ("验证码", Category::Account),
    ("手机号", Category::Telephone),
    ("电话", Category::Telephone),
    ("手机", Category::Telephone),
    ("联系方式", Category::Telephone),
];

/// Words that end a name, or show that none follows.
fn no_name(word: &str) -> bool {
    matches!(
        word,
        "and"
            | "i"
            | "i'm"
            | "from"
            | "calling"
            | "my"
            | "the"
            | "a"
            | "on"
            | "in"
            | "not"
            | "is"
            | "it"
            | "with"
            | "at"
            | "to"
            | "for"
            | "so"
            | "but"
            | "spelled"
            | "that's"
            | "this"
            | "here"
            | "speaking"
            | "please"
            | "because"
            | "you"
            | "we"
            | "wrong"
            | "missing"
            | "what"
            | "as"
            | "of"
            | "or"
            | "born"
            | "can"
            | "could"
            | "by"
            | "just"
            | "already"
            | "still"
            | "there"
            | "first"
            | "last"
            | "also"
            | "calls"
            | "about"
            | "who"
            | "which"
            | "was"
    )
}

/// The commonest surnames, which cover nearly everybody.
const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖萧田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈\
姚卢姜崔钟谭陆汪范金石廖贾夏韦付傅方白邹孟熊秦邱江尹薛闫阎段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤常温康施文牛樊葛邢安\
齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华\
喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商\
刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝";

const DOUBLE_SURNAMES: &[&str] =
    &["欧阳", "上官", "司马", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒", "夏侯", "端木"];

/// Characters that a given name hardly has, and that often follow one.
const NO_NAME: &str = "你我他她您的是了想要在来从打有吗呢啊吧先女，。就那这住今现就和也给办查问买说把请帮";

/// Hits in order, none over another: the earlier one, and of two at one place the longer one, stands.
pub(super) fn disjoint(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
    let mut kept: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match kept.last_mut() {
            // What lies half under another is hidden with it.
            Some(last) if hit.start < last.end => last.end = last.end.max(hit.end),
            _ => kept.push(hit),
        }
    }
    kept
}
