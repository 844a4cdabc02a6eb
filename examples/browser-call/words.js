// What the page says, in each language.

export const WORDS = {
  en: {
    to: "Number, or user:NAME. Empty: the line itself", toHint: "1001",
    call: "Call", more: "Access", token: "Token, where the server wants one",
    you: "You", they: "The other side", mute: "Mute", keypad: "Keypad", hangUp: "Hang up", words: "What is said",
    idle: "Ready", connecting: "Connecting …", ringing: "Ringing …", connected: "Connected", ended: "Call ended",
    causes: {
      "call.hangup.caller": "You hung up.", "call.hangup.flow": "The line has ended the call.",
      "call.hangup.operator": "The call was ended by an operator.", "call.hangup.partner": "The other side hung up.",
      "call.hangup.shutdown": "The server is being stopped.", "call.media.no_way": "No connection for sound came about. A firewall may be in the way.",
      "call.media.consent": "The connection was lost.", "call.media.silent": "No sound reached the server.",
      "sip.no_answer": "Nobody answered.", "sip.refused": "The call was declined.", "sip.unreachable": "They cannot be reached.",
      "sip.no_route": "There is nobody under this number.", "limit.calls": "All lines are busy. Try again soon.",
    },
    errors: {
      microphone: "There is no microphone, or this page may not use it. Allow it in the address bar.",
      insecure: "Browsers give the microphone only to pages that came by https or from localhost.",
      network: "The server does not answer.", "token.missing": "The server wants a token: see Access.",
      "token.wrong": "The server does not know this token.", "token.scope": "This token may not call there.",
      "token.over": "The time of this token is over.", "token.spent": "This token has placed all its calls.",
      "target.refused": "There is nobody under this number.", "query.invalid": "This is no number.",
      "limit.calls": "All lines are busy. Try again soon.", "server.stopping": "The server is being stopped.",
    },
    otherwise: "The call could not be placed.",
  },
  zh: {
    to: "号码，或 user:用户名；留空则接通本线路", toHint: "1001",
    call: "呼叫", more: "访问权限", token: "令牌（服务器要求时填写）",
    you: "您", they: "对方", mute: "静音", keypad: "拨号键盘", hangUp: "挂断", words: "通话文字",
    idle: "就绪", connecting: "正在接通……", ringing: "正在振铃……", connected: "通话中", ended: "通话已结束",
    causes: {
      "call.hangup.caller": "您已挂断。", "call.hangup.flow": "线路已结束通话。",
      "call.hangup.operator": "通话被管理员结束。", "call.hangup.partner": "对方已挂断。",
      "call.hangup.shutdown": "服务器正在停止。", "call.media.no_way": "无法建立语音连接，可能被防火墙阻挡。",
      "call.media.consent": "连接已中断。", "call.media.silent": "服务器没有收到声音。",
      "sip.no_answer": "无人接听。", "sip.refused": "对方拒接。", "sip.unreachable": "无法接通对方。",
      "sip.no_route": "该号码不存在。", "limit.calls": "线路全忙，请稍后再试。",
    },
    errors: {
      microphone: "没有麦克风，或本页无权使用。请在地址栏中允许。",
      insecure: "浏览器只允许 https 或 localhost 页面使用麦克风。",
      network: "服务器没有应答。", "token.missing": "服务器需要令牌，请见“访问权限”。",
      "token.wrong": "令牌不正确。", "token.scope": "该令牌无权呼叫此号码。",
      "token.over": "该令牌已过期。", "token.spent": "该令牌的呼叫次数已用完。",
      "target.refused": "该号码不存在。", "query.invalid": "这不是有效号码。",
      "limit.calls": "线路全忙，请稍后再试。", "server.stopping": "服务器正在停止。",
    },
    otherwise: "无法呼叫。",
  },
};
