"""What no list of words can hold: times, promises, file names, traces; each a pattern of linear time."""

from __future__ import annotations

_UNIT = r"(?:s(?:ec(?:ond)?s?)?|min(?:ute)?s?|h(?:ou)?rs?|h|days?|d|nights?|weeks?|months?|years?)"
_DAY = (
    r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:days?)?|mornings?|evenings?|"
    r"afternoons?|noon|midnight|"
    r"weekdays?|weekends?)"
)
_SOME = (
    r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|few|"
    r"couple(?: of)?|several|"
    r"half(?: an)?|single|other)"
)
_ITEM = r"(?:time|(?:new )?(?:post|mention|message|email|order|release|episode|match|game|ticket|comment|update)s?)"
_ME = r"(?:me|us|him|her|my \w+)"
_TELL = r"(?:tell|alert|notify|ping|warn|page|call|text|message|email|dm|wake|buzz|shout|remind|inform)"
_SERVING = (
    r"(?:running|online|alive|up|available|going|awake|live|responding|connected|reachable|open|in sync|"
    r"synced|updated|fed|"
    r"warm)"
)

# Times, turns and promises in English; each is tried only where one of its `OPENINGS` was met.
RHYTHM = {
    "every": (
        rf"\b(?:(?:every|each) (?:{_SOME} ?){{0,2}}(?:{_UNIT}|{_DAY}|{_ITEM})\b|(?:hourly|nightly)\b|"
        rf"(?:daily|weekly) at\b|"
        rf"(?:\d+|once|twice|two|three|four) ?(?:x |times )?(?:an?|per) (?:hour|day|week)\b)"
    ),
    "span": (
        rf"\b(?:(?:next|coming|following) (?:{_SOME} )?{_UNIT}\b|"
        rf"for (?:the )?(?:(?:whole|entire|rest of|{_SOME}) ?){{1,3}}(?:the )?{_UNIT}\b|"
        r"all (?:day|week|month|night|year|weekend|season|summer|winter)\b|overnight\b|while (?:i|we) \w|"
        r"(?:through|during|at) (?:the )?(?:night|weekend)\b|from now on\b|(?:un)?till? \w)"
    ),
    "promise": (
        r"\b(?:whenever\b|as soon as (?!possible|you can)|the (?:moment|minute|second|instant) (?!of)|"
        r"(?:each|every) time\b|"
        rf"{_TELL} {_ME}(?: \w+)? (?:when|once|on any|immediately|right away|asap)\b|let (?:me|"
        rf"us) know (?:when|once)\b)"
    ),
    "tell_if": (
        r"\b(?:(?:tell|let|call|text|email|dm|message|wake|buzz|shout|alert|notify|page|warn|ping)(?: (?:me|"
        r"us))?(?: know)? if\b|"
        r"(?:alert|notify|page|warn|ping) (?:me|us)\b)"
    ),
    "stay": (
        rf"\b(?:keep(?:s|ing)?(?: [^\s,.]+){{0,5}}? {_SERVING}\b|"
        r"(?:stay(?:s|ing)?|remains?) (?:up|online|available|reachable|awake|alive|live|on|connected|open|"
        r"responsive)\b|"
        r"never (?:sleeps?|stops?|misses)\b)"
    ),
    "lives": r"\b(?:is|are|be) (?:always |still )?(?:up|online|reachable|running|alive|awake|responding)\b",
    "away": (
        r"\b(?:(?:laptop|mac|macbook|pc|computer|machine|desktop|imac)\b.{0,25}?"
        r"\b(?:off|sleeps?|sleeping|shuts?|closed?|asleep|away|offline|lid|restarts?|reboots?|powered)\b|"
        r"(?:while|when|after) i(?:'m| am)? (?:sleep|asleep|away|out|off|on vacation|on holiday|travelling|"
        r"offline|close)\b)"
    ),
    "bulk": (
        r"\b(?:\d[\d,]{2,}\b|\d+(?:\.\d+)?\s?(?:k|m|million|thousand|hundred|gb|tb|g|t)\b|(?:hundreds|"
        r"thousands|millions)\b|"
        r"\d+\s?(?:hours|hrs) of\b|\de\d\b)"
    ),
}
OPENINGS = {
    "?every": "every, each, hourly, nightly, daily, weekly, a day, an hour, a week, per day, per hour, per week",
    "?span": (
        "next, coming, following, for, all, overnight, while, through, during, at night, at the weekend, "
        "from now, until, till"
    ),
    "?promise": (
        "whenever, soon, moment, minute, second, instant, time, tell, alert, notify, ping, warn, page, "
        "call, text, message, email, dm, wake, buzz, shout, remind, inform, let"
    ),
    "?tell_if": ("tell, alert, notify, ping, warn, page, call, text, email, dm, message, let, wake, buzz, shout"),
    "?stay": "keep, keeping, stay, staying, remain, never",
    "?lives": "up, online, reachable, running, alive, awake, responding",
    "?away": (
        "laptop, mac, macbook, pc, computer, machine, desktop, imac, sleep, asleep, away, vacation, "
        "holiday, travelling, offline"
    ),
}
GATES = {name: f"?{name}" for name in RHYTHM} | {"bulk": "rig"}  # much of what, is the question

_COUNT = r"[\d一二两三四五六七八九十百半几整]{1,8}"
_TELL_HAN = r"(?:告诉|通知|提醒|叫|喊|发|打|推|报|ping|call|短信|@|汇报|吱|提示|警告|预警|私信|给我打)"
# The same in Chinese.
RHYTHM_HAN = {
    "every": (
        rf"每(?:隔|个|逢|到)?(?:{_COUNT})?\s*个?(?:场|次|条|封|秒|分|小时|钟头|半小时|天|日|周|星期|礼拜|月|"
        rf"晚|早|晨|夜|年|季度|工作日|刻钟|半)|"
        rf"定时|定期|天天|隔{_COUNT}"
    ),
    "span": (
        rf"(?:接下来|未来|今后|往后|这)的?{_COUNT}?\s*个?(?:天|周|星期|月|小时|年)|持续|连续|"
        rf"{_COUNT}\s*个?(?:月|天|周|星期|小时|年)(?:内|之内|里)|"
        r"半年|直到|之前|结束前|整个?(?:周|月|假期|赛季)|节前|睡觉|睡着|夜里|夜间|半夜|晚上也|周末也|放假"
    ),
    "promise": (
        rf"(?:就|马上|立刻|立即|第一时间|及时|随时|赶紧|自动|都){_TELL_HAN}|"
        r"(?:一有|有新|一旦|只要|每当|有人|一出|一开|一到|一变)[^，。,\n]{0,15}?(?:就|马上|立刻)|"
        r"有[^，。,\n]{1,10}(?:就(?:转|回|帮|自动|给)|叫醒?我|喊|告诉|通知|提醒|打电话)|"
        rf"(?:就|马上|立刻|立即|第一时间)(?:给|帮|跟|用|在)[^，。,.\n]{{0,8}}?{_TELL_HAN}"
    ),
    "tell_if": r"(?:通知|告诉|提醒|喊|叫|打电话给|发短信|发消息给|报警给)(?:一下)?我|打电话|发短信|发邮件",
    "stay": (
        r"(?:深夜|凌晨|半夜|夜里|晚上|周末|节假日|任何时候|随时|什么时候)(?:也|都)(?:要|能|得|有|可)|"
        r"(?:要|得|必须|一直|始终|永远|保持|晚上|半夜|也)(?:能|要|得)?(?:一直|保持|继续|始终)?(?:在线|运行|"
        r"开着|待命|能访问|可用|跑着)|"
        r"(?:不能|不要|别|不许|不得|不可以)(?:再|让它?)?(?:下线|掉线|离线|宕|中断|断线|断了|停机|关机|断掉)|"
        r"24\s*个?(?:小时|h)\s*(?:自动|不|在线|盯|守|有|都|待|回|接|运|监|值|客服)|一直(?:要|得|能|保持|在|"
        r"有|回|给|帮|挂|守|等)"
    ),
    "away": (
        r"(?:电脑|笔记本|mac|机器|主机|我人?).{0,8}?(?:关机|关了|合上|睡|休眠|不在|断电|关掉|盖|下班|出门|"
        r"出差|离线|关着)|"
        r"合上(?:笔记本|电脑|盖)|关(?:机|电脑)(?:了|后|也|之后)|(?:下班|睡)(?:后|了|之后)也"
    ),
    "bulk": (
        r"(?<!\d)\d{3,}|\d(?:\.\d+)?\s?(?:k|m|gb|tb|g|t)(?![a-z])|\d\s*万|"
        r"[一二三四五六七八九十两几上]{1,6}[百千万]|\d ?(?:小时|张|段|集|部|帧)|全部"
    ),
}

_CODE_FILES = (
    "py|js|mjs|ts|tsx|jsx|go|rs|rb|java|kt|swift|cc|cpp|cxx|hpp|cs|php|sh|bash|zsh|ps1|sql|html|css|"
    "scss|less|vue|svelte|toml|tf|"
    "gradle|ipynb|proto|graphql|lua|dart|ex|exs|scala|cu|vbs|plist|lock|ejs|erb|hbs|jinja|service|nix|"
    "zig|hs|clj|pl"
)
_FOLDERS = (
    *("src", "lib", "test", "tests", "scripts", "pkg", "internal", "cmd"),
    *("utils", "components", "api", "app", "services"),
)
_IN_FOLDER = "/(?:" + "|".join(rf"(?<=\b{name}/)" for name in _FOLDERS) + r")\w"

# Text that looks like code or names files: idea, a sign without which the pattern is not tried, pattern.
SHAPES = (
    ("trace", "Traceback (", r"Traceback \("),
    ("trace", "\n", r"\n\s{1,16}at [\w.$]{1,200}\("),
    ("trace", 'File "', r"File \"[^\"\n]{1,200}\", line"),
    ("trace", "```", r"```"),
    ("trace", "Error", r"Error(?<=[a-z]Error)\b"),
    ("trace", "Exception", r"Exception(?<=[a-z]Exception)\b"),
    ("trace", "BackOff", r"(?:Crash|ImagePull)\w{0,4}BackOff"),
    ("trace", "panic: ", r"panic: "),
    ("trace", "Segmentation fault", r"Segmentation fault"),
    ("trace", "TS", r"\bTS\d{4}\b"),
    ("shape", ".", rf"\.(?<=\w\.)(?:{_CODE_FILES})\b"),
    ("shape", "()", r"\(\)(?<=\w\(\))"),
    ("shape", "/", _IN_FOLDER),
    ("shape", "SELECT", r"\bSELECT\b"),
    ("shape", "INSERT INTO", r"\bINSERT INTO\b"),
    ("shape", " TABLE", r"\b(?:ALTER|CREATE|DROP) TABLE\b"),
    ("shape", "{{", r"\{\{"),
    ("shape", "=>", r"=>"),
    ("shape", "#include", r"#include"),
    ("shape", "def ", r"\bdef \w{1,80}\("),
    ("shape", "O(", r"O\((?<=\bO\()[\w^ ]{1,10}\)"),
    ("shape", "#", r"\b[Cc]#"),
    ("shape", "++", r"\b[Cc]\+\+"),
    ("sketch", ".", r"\.(?<=\w\.)(?:json|ya?ml|md|ini|conf|env|xml|cfg)\b"),
    ("sketch", " -", r"-(?<=\s-)-?[a-z][a-z-]{0,40}"),
    ("sketch", "`", r"`[^`\n]{1,80}`"),
    ("sketch", "_", r"_(?<=[a-z]_)[a-z]"),
    ("sketch", "", r"[A-Z](?<=[a-z][a-z][A-Z])[a-z]"),
    ("sketch", "::", r"::"),
    ("sketch", "/", r"/(?:[a-z]+/[a-z]+|(?<=\s/)[a-z]+\b)"),
)
