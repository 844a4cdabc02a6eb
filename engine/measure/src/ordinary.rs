//! Words that no conversation is about: written down by us, from what service calls are full of.

use std::collections::HashMap;
use std::sync::LazyLock;

/// English words between phrases.
const FUNCTION: &str = "a an the and or but if so because than then as of at by for with about into to from in on off out up down \
 over under again once here there all any both each few more most other some such no nor not only own same too very can could \
 will would shall should may might must do does did doing done is are was were be been being am have has had having i you he she \
 it we they me him her us them my your his its our their mine yours hers ours theirs this that these those who whom whose which \
 what when where why how i'm i've i'd i'll you're you've you'd you'll he's she's it's we're we've we'd we'll they're they've \
 they'd they'll that's there's here's what's who's let's don't doesn't didn't isn't aren't wasn't weren't won't wouldn't can't \
 cannot couldn't shouldn't haven't hasn't hadn't ain't gonna wanna gotta um uh oh ah er hmm mm mhm yeah yes yep okay ok well \
 like just really actually also even still ever never much many lot lots bit kind sort thing things stuff something anything \
 nothing everything someone anyone anybody everybody somebody one two three four five six seven eight nine ten zero hundred \
 thousand first second third o'clock am pm";

/// English words that are said in every call: they weigh little.
const COMMON: &str = "hello hi hey good morning afternoon evening bye goodbye thanks thank please sorry welcome sir madam ma'am mister \
 miss name names call calling called calls phone number numbers speak speaking spoke talk talking tell told say said says saying \
 ask asked asking know knew known think thought guess mean means meant want wanted wants need needed needs get gets got getting \
 go goes going gone went come comes coming came make makes making made take takes taking took give gives giving gave see sees \
 seen saw look looks looking looked find found let put keep use used using try trying tried help helping helped happy help wait \
 waiting moment minute minutes hour hours day days today tomorrow yesterday week weeks month months year years time times now \
 later soon before after back again right left sure fine great perfect alright correct yeah exactly course maybe probably \
 understand understood question questions people person man woman guy guys way ways place part end start new old big little long \
 last next able possible actually basically anyway else hear heard listen check checked checking give hold work works working \
 information customer service team line today's show feel feels better best nice monday tuesday wednesday thursday friday \
 saturday sunday january february march april june july august september october november december dollar dollars cents percent";

/// Characters that stand between Chinese words. Only those that hardly any word contains: 会, 地 and 上 are in 会员, 地址 and 上海.
const BETWEEN: &str = "的了吗呢啊吧哦嗯呀哈噢喔呃嘛啦哎诶我您你他她它们这那哪在是有和就也都不没很还又再才只最更太把被让么些什着啥谁咱俩个";

/// Chinese words that are said in every call.
const WORDS: &str = "您好 你好 请问 谢谢 再见 先生 女士 小姐 客服 工号 现在 今天 明天 昨天 知道 明白 清楚 好像 觉得 然后 所以 或者 这样 那样 \
 怎样 怎么 一下 稍等 麻烦 帮忙 方便 需要 应该 已经 没关系 不客气 打电话 电话 联系 告诉 看看 看到 听到 东西 事情 问题 意思 情况 \
 其实 直接 刚才 刚刚 马上 之前 之后 以后 以前 后面 里面 上面 下面 里边 那边 这边 自己 别人 确认 核实 提供 服务 贵姓 姓名 感谢 来电 \
 祝您 生活 愉快 抱歉 不好意思 非常 比较 一般 可能 进行 使用 收到 办法 还是 就是 不是 只是 那么 真的 肯定 当然 可以 因为 所以 但是 而且 如果 虽然 从来 时候 出来 起来 下来 过来 过去 回来 一点 一样 一直 一定 一般 多少 几天 \
 两个 一个 一次 两次 想问 问一下 查一下 看一下 说一下 等一下 给您 给我 帮您 帮我 为您 对吧 对于 关于 到时 上午 下午 晚上 早上 \
 星期 电话号码 先生您 女士您";

/// How much a word stands out of ordinary talk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keyness {
    /// No phrase reaches across it.
    Between,
    /// Said in every call.
    Common,
    /// Anything else.
    Telling,
}

impl Keyness {
    /// About the natural logarithm of how much rarer than a common word it is.
    pub(crate) fn weight(self) -> f32 {
        match self {
            Self::Between => 0.0,
            Self::Common => 0.5,
            Self::Telling => 3.0,
        }
    }
}

/// The lists, looked up often.
pub(crate) struct Ordinary {
    words: HashMap<&'static str, Keyness>,
}

impl Ordinary {
    pub(crate) fn lists() -> &'static Self {
        static LISTS: LazyLock<Ordinary> = LazyLock::new(Ordinary::new);
        &LISTS
    }

    fn new() -> Self {
        let common =
            COMMON.split_whitespace().chain(WORDS.split_whitespace()).map(|word| (word, Keyness::Common));
        let function = FUNCTION.split_whitespace().map(|word| (word, Keyness::Between));
        let characters = BETWEEN.char_indices().filter(|(_, c)| !c.is_whitespace());
        let characters = characters.map(|(at, c)| (&BETWEEN[at..at + c.len_utf8()], Keyness::Between));
        Self { words: common.chain(function).chain(characters).collect() }
    }

    /// Of one unit.
    pub(crate) fn of(&self, unit: &str) -> Keyness {
        if unit.chars().all(char::is_numeric) {
            return Keyness::Between;
        }
        self.words.get(unit).copied().unwrap_or(Keyness::Telling)
    }

    /// Whether a phrase of characters begins or ends with an ordinary word, or is one.
    pub(crate) fn edges(&self, phrase: &str) -> bool {
        let at: Vec<usize> = phrase.char_indices().map(|(at, _)| at).chain([phrase.len()]).collect();
        let common = |part: &str| self.words.get(part) == Some(&Keyness::Common);
        (2..=3.min(at.len() - 1)).any(|n| common(&phrase[..at[n]]) || common(&phrase[at[at.len() - 1 - n]..]))
    }
}
