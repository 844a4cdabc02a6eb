// What the page says, in both languages.
export const WORDS = {
  en: {
    title: "Agent desk", calls: "Calls", token: "Token", talk: "Conversation", script: "Say next", suggestions: "Knowledge",
    known: "Known of the customer", after: "After the call", ask: "Look up", askHint: "Ask the knowledge yourself",
    used: "Used", notHelpful: "Not helpful", none: "Nothing yet", nobody: "No call", waiting: "Waiting for a call",
    following: "On a call", over: "The call is over", lost: "Connecting again", refused: "The token is missing or may not do this",
    scriptDone: "The script is done.", noScript: "No script", customer: "Customer", agent: "Agent", other: "Somebody else",
    machine: "Line", about: "About", file: "File as", filed: "Filed as", fatal: "fails the call", nothing: "Nothing found",
  },
  zh: {
    title: "坐席助手", calls: "通话", token: "令牌", talk: "对话", script: "下一句", suggestions: "知识", known: "客户信息",
    after: "通话小结", ask: "查询", askHint: "自己查知识库", used: "已采用", notHelpful: "没有帮助", none: "暂无", nobody: "没有通话",
    waiting: "等待来电", following: "通话中", over: "通话已结束", lost: "正在重新连接", refused: "缺少令牌，或令牌没有权限",
    scriptDone: "话术已完成。", noScript: "没有话术", customer: "客户", agent: "坐席", other: "其他人", machine: "语音系统",
    about: "话题", file: "归类为", filed: "已归类为", fatal: "一票否决", nothing: "没有找到",
  },
};
