"""Where a value may begin and end in scripts that put no spaces between words.

Between two letters of such a script a word ends only where a function word stands: `北京` is told by `住在北京。`, and
`京都` is not by `東京都`. Between letters of two scripts a word ends everywhere: `订单是ORD-12。`. A value beside
other letters is not told: segmentation would take a dictionary. Korean words have spaces, and particles behind them.
"""

import re

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = "\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff"
_HIRAGANA, _KATAKANA = "\u3041-\u309f", "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_HANGUL = "\uac00-\ud7a3"
_SCRIPTS = {
    "han": _HAN,
    "hiragana": _HIRAGANA,
    "katakana": _KATAKANA,
    "hangul": _HANGUL,
    "thai": "\u0e00-\u0e4f",
    "lao": "\u0e80-\u0ecf\u0edc-\u0edf",
    "khmer": "\u1780-\u17d3",
    "burmese": "\u1000-\u103f\u104c-\u109f",
    "tibetan": "\u0f40-\u0fbc",
}
_LETTER = re.compile("|".join(f"(?P<{name}>[{letters}])" for name, letters in _SCRIPTS.items()))
UNSPACED = "".join(_SCRIPTS.values())
"""The letters of these scripts, for a class of a regular expression."""


def _words(*words: str) -> str:
    return "|".join(word for line in words for word in line.split())


_BEFORE = {
    "han": _words(
        "是 為 为 在 叫 到 至 从 從 自 于 於 和 与 與 跟 及 或 有 的 之 了 给 給",
        "由 向 对 對 把 被 让 讓 去 来 來 住",
        "即 將 将 已 请 請 我 你 您 他 她 它 们 們 这 這 那 着 著 过 過 就 也 都 只 还 還 又 非 不 没 沒",
        "成 作 做 選 选 買 买 借",
        "订 訂 写 寫 找 查 看 读 讀 喜欢 喜歡 名称 名稱 书名 書名 名字 标题 標題 状态 狀態 城市 作者 推荐 推薦",
        "预订 預訂 一共 共 约 約 称 稱 编号 編號 订单 訂單 本店 读者 讀者 客户 客戶 用户 用戶 会员 會員 员工 員工",
        "经理 經理 老师 老師 负责人 負責人 收件人 联系人 商品 产品 產品 图书 地点 地點 类型 颜色 顏色",
    ),
    "hiragana": _words("は が を に と も で へ の や か から より まで です ます した という"),
    "thai": _words(
        "คือ ที่ อยู่ ชื่อ เป็น ใน จาก ของ และ หรือ กับ ถึง ว่า มี ได้ ให้ ไป มา ไม่ใช่ ซื้อ สั่ง",
        "ยืม เช่า จอง เรื่อง เมือง จังหวัด สถานะ คุณ เลือก รหัส",
    ),
    "lao": _words("ຢູ່ ແມ່ນ ຊື່ ທີ່ ໃນ ຈາກ ແລະ ຂອງ ເປັນ ມີ ຄື ເມືອງ ຫຼື"),
    "khmer": _words("នៅ គឺ ជា ឈ្មោះ ក្នុង ពី និង របស់ មាន ដែល គឺជា ទីក្រុង ឬ"),
    "burmese": _words("သည် မှာ က နှင့် ကို တွင် အမည် ၏ မှ"),
}
_AFTER = {
    "han": _words(
        "是 在 的 和 与 與 跟 及 或 有 了 吗 嗎 呢 吧 啊 也 就 还 還 很 不 没 沒 被 为 為 给 給 把 从",
        "從 到 至 对 對",
        "等 将 將 已 于 於 由 共 要 能 会 會 可 这 這 那 之 而 但 号 號 先生 女士 小姐 老师 老師 様 氏 君",
        "出发 出發 出版 一书 一書 借 买 買 写 寫 住 工作 购买 購買 订购 訂購 预订 預訂 负责 負責 喜欢 喜歡",
    ),
    "hiragana": _words(
        "は が を に と も で へ の や か から より まで だ です でした でし である さん さま ちゃん くん という",
        "など なら ね よ じゃ って",
    ),
    "thai": _words(
        "ครับ ค่ะ คะ นะ และ หรือ ที่ ใน เป็น อยู่ มี แล้ว จาก กับ ของ คือ ได้ ถูก ซึ่ง ไม่ จะ ให้ ไป มา",
        "เท่านั้น เขียน ด้วย",
    ),
    "lao": _words("ແລະ ຢູ່ ທີ່ ໃນ ເປັນ ມີ ແລ້ວ ຈາກ ຂອງ ຫຼື ບໍ່ ໄດ້"),
    "khmer": _words("និង នៅ ក្នុង ជា មាន ដែល ហើយ ពី របស់ ទេ ឬ បាន គឺ"),
    "burmese": _words("မှာ တွင် သည် က ကို ၏ နှင့် မှ ပါ ဖြစ် ရှိ သို့ မြို့ ဟု"),
}
_PARTICLE = _words(
    "은 는 이 가 을 를 에 에서 에게 의 와 과 도 로 으로 만 까지 부터 입니다 이에요 예요 이다 이고 이며 인",
    "라고 이라고 께서 한테 처럼 보다 하고 나 이나 랑 이랑 요 님 씨",
)
_KOREAN_ENDING = re.compile(rf"(?:{_PARTICLE}){{1,3}}(?![{_HANGUL}])")
_LONGEST = 8
"""Letters of the longest function word."""
_PRECEDES = {name: re.compile(rf"(?:{words})\Z") for name, words in _BEFORE.items()}
_FOLLOWS = {name: re.compile(words) for name, words in _AFTER.items()}
_DEPENDENT = re.compile(
    "[\u0e30-\u0e3a\u0e45-\u0e4e\u0eb0-\u0ebc\u0ec6-\u0ecd\u17b6-\u17d3\u102b-\u103e\u0f71-\u0fbc\u3099\u309a]"
)
"""Signs that belong to the letter before them."""
_LEADING = re.compile("[\u0e40-\u0e44\u0ec0-\u0ec4\u17d2\u1039]")
"""Signs that belong to the letter after them."""


def opens_after(text: str, start: int) -> bool | None:
    """Whether a value may begin at `start`, beside an unspaced letter; None where there is none."""
    before = _LETTER.fullmatch(text, start - 1, start) if start else None
    own = _LETTER.match(text, start)
    if before is None:
        return True if own is not None and start and text[start - 1].isalpha() else None
    script = str(before.lastgroup)
    if own is not None and own.lastgroup == script == "hangul":
        return False
    if own is None or (own.lastgroup != script and "han" not in (own.lastgroup, script)):
        return True
    if script == "hiragana" and own.lastgroup == "han":
        return text[start - 1] not in "おごご"
    if own.lastgroup != script and script != "han":
        return script == "hangul" or _precedes(text, start, script)
    return _LEADING.match(text, start - 1) is None and _precedes(text, start, script)


def closes_before(text: str, end: int) -> bool | None:
    """Whether a value may end at `end`, beside an unspaced letter; None where there is none."""
    after = _LETTER.match(text, end)
    own = _LETTER.fullmatch(text, end - 1, end)
    if after is None:
        return True if own is not None and text[end : end + 1].isalpha() else None
    script = str(after.lastgroup)
    if script == "hangul":
        return own is None or _KOREAN_ENDING.match(text, end) is not None
    if own is None or _DEPENDENT.match(text, end):
        return own is None
    following = _FOLLOWS.get(script)
    return following is not None and following.match(text, end) is not None


def _precedes(text: str, start: int, script: str) -> bool:
    preceding = _PRECEDES.get(script)
    return preceding is not None and preceding.search(text[max(0, start - _LONGEST) : start]) is not None
