//! What a Chinese character can be in a number, and the words in which numerals are no numbers.

/// The simplified form of the characters that numbers, dates and money use.
pub(super) const fn simplified(c: char) -> char {
    match c {
        '兩' => '两',
        '萬' => '万',
        '億' => '亿',
        '點' => '点',
        '塊' => '块',
        '號' => '号',
        '錢' => '钱',
        '鐘' => '钟',
        '負' => '负',
        '圓' | '圆' => '元',
        '幾' => '几',
        '個' => '个',
        '時' => '时',
        '歲' => '岁',
        '○' | '〇' => '零',
        c => c,
    }
}

/// The value of a character read as a digit. `幺` is the one of telephone numbers.
pub(super) const fn digit(c: char) -> Option<u8> {
    Some(match c {
        '零' => 0,
        '一' | '幺' => 1,
        '二' | '两' => 2,
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

/// The power of ten of a character of place.
pub(super) const fn place(c: char) -> Option<u64> {
    Some(match c {
        '十' => 10,
        '百' => 100,
        '千' => 1_000,
        '万' => 10_000,
        '亿' => 100_000_000,
        _ => return None,
    })
}

/// Whether `c` is a digit or a place.
pub(super) const fn numeral(c: char) -> bool {
    digit(c).is_some() || place(c).is_some()
}

/// Phrases whose numerals stay as they are, however many they look like.
const PLAIN: &[&str] = &[
    "一点一点",
    "一点一滴",
    "一点点",
    "一五一十",
    "一心一意",
    "一模一样",
    "一举一动",
    "一言一行",
    "一来二去",
    "一清二楚",
    "一干二净",
    "一石二鸟",
    "一刀两断",
    "一举两得",
    "一分一秒",
    "一时半会",
    "一天到晚",
    "一穷二白",
    "一朝一夕",
    "一草一木",
    "一百八十度",
    "一千零一夜",
    "一万个放心",
    "一问三不知",
    "一二三四五六七",
    "二百五",
    "三心二意",
    "三言两语",
    "三番五次",
    "三番两次",
    "三三两两",
    "三长两短",
    "三天两头",
    "三令五申",
    "三五成群",
    "三十六计",
    "三百六十行",
    "三头六臂",
    "三七二十一",
    "四面八方",
    "四通八达",
    "四平八稳",
    "四分五裂",
    "四舍五入",
    "五花八门",
    "五颜六色",
    "五湖四海",
    "五光十色",
    "五十步笑百步",
    "六神无主",
    "七上八下",
    "七嘴八舌",
    "七手八脚",
    "七零八落",
    "七七八八",
    "七十二变",
    "七老八十",
    "乱七八糟",
    "横七竖八",
    "八九不离十",
    "九牛一毛",
    "九死一生",
    "九九八十一",
    "九九归一",
    "十全十美",
    "十有八九",
    "十之八九",
    "十万火急",
    "十拿九稳",
    "十二生肖",
    "十字路口",
    "十万八千里",
    "百分百",
    "百里挑一",
    "千千万万",
    "千万别",
    "千万不",
    "千万要",
    "千山万水",
    "千方百计",
    "千辛万苦",
    "千言万语",
    "千变万化",
    "千家万户",
    "千真万确",
    "万无一失",
    "万众一心",
    "双十一",
    "双十二",
    "接二连三",
    "丢三落四",
    "颠三倒四",
    "低三下四",
    "不三不四",
    "朝三暮四",
    "说一不二",
    "独一无二",
    "数一数二",
    "略知一二",
    "星期一",
    "星期二",
    "星期三",
    "星期四",
    "星期五",
    "星期六",
    "礼拜一",
    "礼拜二",
    "礼拜三",
    "礼拜四",
    "礼拜五",
    "礼拜六",
    "周一",
    "周二",
    "周三",
    "周四",
    "周五",
    "周六",
    "初一",
    "初二",
    "初三",
    "初四",
    "初五",
    "初六",
    "初七",
    "初八",
    "初九",
    "初十",
    "统一",
    "唯一",
    "万一",
    "同一",
    "单一",
    "专一",
    "逐一",
    "十足",
    "十字",
    "百姓",
    "一百分",
    "一度",
    "一块儿",
    "一块去",
    "一角钱硬币",
    "二维码",
    "三明治",
    "三角形",
    "三角",
    "四角",
    "五角星",
    "八角",
    "五一劳动",
    "十一黄金周",
    "十一长假",
    "十一国庆",
    "十一放假",
    "四川",
    "三亚",
    "九寨沟",
    "九江",
    "二手",
    "二胎",
    "三包",
    "三方",
    "四季",
    "五金",
    "五官",
    "八卦",
    "七夕",
    "十三香",
    "七十二家",
    "五一假期",
    "五一放假",
    "十一假期",
    "一带一路",
    "两会",
    "两点一线",
    "三点一线",
    "一刻钟",
];

/// The length of the phrase at the start of `at` whose numerals stay, if there is one.
pub(super) fn plain(at: impl Fn(usize) -> char) -> Option<usize> {
    let first = at(0);
    let matches = |phrase: &&&str| phrase.chars().enumerate().all(|(k, c)| at(k) == c);
    let lead = matches!(
        first,
        '一' | '二'
            | '三'
            | '四'
            | '五'
            | '六'
            | '七'
            | '八'
            | '九'
            | '十'
            | '百'
            | '千'
            | '万'
            | '乱'
            | '横'
            | '双'
            | '接'
            | '丢'
            | '颠'
            | '低'
            | '不'
            | '朝'
            | '说'
            | '独'
            | '数'
            | '略'
            | '星'
            | '礼'
            | '周'
            | '初'
            | '统'
            | '唯'
            | '同'
            | '单'
            | '专'
            | '逐'
            | '两'
    );
    if !lead {
        return None;
    }
    let length = PLAIN.iter().filter(matches).map(|phrase| phrase.chars().count()).max()?;
    // "十字" in "五十字" and "一度" in "一度电" are numbers after all; what follows decides.
    let counted = numeral(at(length)) && numeral(first) && length <= 2 && numeral(at(1));
    (!counted).then_some(length)
}

/// Units behind which even a small number is written in digits, longest first.
pub(super) const UNITS: &[&str] = &[
    "平方公里",
    "平方千米",
    "个小时",
    "平方米",
    "立方米",
    "摄氏度",
    "千瓦时",
    "兆字节",
    "公里",
    "千米",
    "厘米",
    "毫米",
    "公斤",
    "千克",
    "毫克",
    "毫升",
    "小时",
    "分钟",
    "秒钟",
    "平米",
    "千瓦",
    "赫兹",
    "兆",
    "米",
    "克",
    "斤",
    "吨",
    "升",
    "秒",
    "度",
    "岁",
    "伏",
];

/// Currencies behind a number, longest first, besides `元` and `块`.
pub(super) const CURRENCIES: &[&str] =
    &["人民币", "美元", "美金", "欧元", "英镑", "日元", "港币", "港元", "韩元", "加元", "澳元", "卢布"];

/// Words before a time of day.
pub(super) const PERIODS: &[&str] = &[
    "上午", "下午", "早上", "晚上", "中午", "凌晨", "傍晚", "今晚", "明早", "今早", "明晚", "夜里", "半夜",
    "早晨", "昨晚", "清晨",
];

/// Words before a number that is read digit by digit.
pub(super) const CUES: &[&str] = &[
    "尾号",
    "号码",
    "验证码",
    "密码",
    "分机",
    "编号",
    "工号",
    "单号",
    "尾数",
    "房号",
    "车牌",
    "后四位",
    "代码",
    "尾号是",
    "号码是",
    "验证码是",
    "密码是",
    "工号是",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str) -> Option<usize> {
        let chars: Vec<char> = text.chars().collect();
        plain(|k| chars.get(k).copied().unwrap_or('\0'))
    }

    #[test]
    fn idioms_are_taken_whole() {
        assert_eq!(length("三心二意"), Some(4));
        assert_eq!(length("万一"), Some(2));
        assert_eq!(length("三个"), None);
    }

    #[test]
    fn every_phrase_is_reached() {
        for phrase in PLAIN {
            assert!(
                length(phrase).is_some_and(|found| found >= 2),
                "{phrase} begins with a character not looked at"
            );
        }
    }
}
