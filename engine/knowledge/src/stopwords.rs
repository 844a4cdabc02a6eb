//! Words that say nothing about what is asked: grammar, greetings, fillers of speech.

use std::collections::HashSet;
use std::sync::LazyLock;

static STOP: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| ENGLISH.split_whitespace().chain(CHINESE.split_whitespace()).collect());

/// Whether a word (lower case, not stemmed) says nothing.
pub(crate) fn is_stop(word: &str) -> bool {
    STOP.contains(word)
}

const ENGLISH: &str = "
a an the this that these those there here it its itself he him his she her hers they them their theirs we us our ours
i me my mine myself you your yours yourself im ive ill id youre youve youll youd hes shes theyre theyve theyll were
weve well wed thats theres heres whats wheres hows whos lets isnt arent wasnt werent dont doesnt didnt cant couldnt
wont wouldnt shouldnt havent hasnt hadnt aint
am is are was be been being do does did doing done have has had having will would shall should can could may might must
and or but nor so if then than as of at by for with about into onto to from up down in out on off over under again
what which who whom whose when where why how all any both each few more most other some such no not only own same too
very just also ever even still yet now really quite rather much many lot lots bit little
uh um er erm ah oh eh hm hmm mm mhm uhm huh well like yeah yep yes nope okay ok alright right sure fine actually
basically literally obviously honestly anyway kind sort stuff thing things something anything everything nothing
someone anyone everyone somebody anybody everybody
hello hi hey good morning afternoon evening night bye goodbye thanks thank cheers please sorry pardon excuse welcome
sir madam miss mister mr mrs today guys folks
want wanna wanted wants need needs needed know knows knew wonder wondering wondered think thinking thought guess mean
means say says said saying tell tells told telling ask asks asked asking talk talking speak speaking call calls called
calling hear heard see saw look looking looks try tried trying go goes going gonna went come comes coming came get gets
getting got gotten gotta make makes making made let help helps helped helping helpful give gives giving gave take
takes taking took put keep keeps kept use used using happen happens happened happening possible able way
great nice perfect lovely wonderful awesome brilliant
one because since though although while until before after
";

const CHINESE: &str = "
嗯 啊 呃 额 哦 噢 唉 哎 诶 欸 喂 哈 呀 吧 呢 嘛 吗 么 啦 咯 呗 哟 嗨 哎呀 嗯嗯 哈哈
的 地 得 了 着 过 是 在 有 和 与 及 或 而 也 都 就 才 又 再 还 很 太 更 最 挺 把 被 让 给 对 向 从 到 于 以 为 因为 所以
但 但是 可是 不过 然后 而且 如果 要是 的话 就是 就是说 是不是 有没有 能不能 可不可以 可以 可不 能 会 要 想 想要 应该 得要 需要 必须
我 你 您 他 她 它 我们 你们 您们 他们 咱 咱们 自己 大家 人家 别人 这 那 这个 那个 这些 那些 这样 那样 这么 那么 这里 那里 这儿 那儿
哪 哪个 哪些 哪里 哪儿 什么 什么样 怎么 怎么样 怎么办 怎样 如何 为什么 为何 多少 几 谁 什么时候 啥 咋 咋办 干嘛 干什么
一 一个 一下 一下子 一些 一点 一种 一样 个 些 点 下 次 种 里 上 中 后 前 时 时候 之后 之前 以后 以前 现在 今天 刚才 刚刚 已经
请 请问 你好 您好 喂喂 谢谢 谢谢您 感谢 麻烦 麻烦你 麻烦您 劳驾 不好意思 对不起 抱歉 再见 拜拜 早上好 上午好 下午好 晚上好 早上 晚上
好 好的 好吧 行 可以的 对的 是的 没错 没事 没关系 明白 知道 知道了 了解 清楚 问 问问 问一下 问下 咨询 说 说一下 讲 告诉 看 看看 看一下
帮 帮忙 帮我 觉得 感觉 其实 反正 比如 比如说 那么 那 嘞 哩 来 去 做 弄 搞 用 找 事 事情 东西 问题 情况 先生 女士 小姐 不 没 没有 别
进行 关于 还是 或者 以及 并且 只 只是 只有 不是 不能 不会 不要 啊啊 这边 那边 的时候 到底 究竟 真的 非常
";
