"""Chinese words, by jieba. A word may be replaced if it is Han characters only, denies nothing, is no number and not a
stop word.
"""

import re
import unicodedata
from collections.abc import Iterator

from augment import protected_spans
from glue_tasks.jieba_words import jieba_tokenizer

# The unified ideographs with their extensions, the compatibility ideographs, and the closing mark 々.
_HAN = re.compile(r"[\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")
# A word with one of these in it says no, be it 不好 or 没有: neither taken out nor put in, for it would turn the label.
_DENIAL = re.compile("[不没沒无無未勿莫甭否]")
# Alone, or with the measure word that counts with it: 三, 第二, 两次
_NUMBER = re.compile(
    "第?[零〇一二三四五六七八九十百千万萬亿億两兩几幾半]+"
    "[个個次位名年月日号號点點件条條张張种種些岁歲元本家套页頁晚天楼台间間部只块塊份遍场場篇]?"
)
_WORD_CHARACTER = re.compile(r"\w")

# Particles, pronouns, prepositions, conjunctions, auxiliaries, measure words and adverbs of degree, after the lists of
# Baidu and HIT that are in general use, with their traditional forms where these differ.
_STOP_WORDS = """
    的 地 得 了 着 著 过 過 吗 嗎 呢 吧 啊 呀 哦 嘛 哈 呵 嗯 唉 哎 喔 啦 哇 之 所 者 也 乎 其

    我 你 您 他 她 它 们 們 我们 我們 你们 你們 他们 他們 她们 她們 它们 它們 咱 咱们 自己 本人 人家 大家 别人 別人
    彼此 这 這 那 哪 这个 這個 那个 那個 这些 這些 那些 这里 這裡 那里 那裡 这儿 那儿 这样 這樣 那样 那樣 这么 這麼
    那么 那麼 此 该 該 谁 誰 什么 什麼 怎么 怎麼 怎样 怎樣 如何 为什么 為什麼 哪里 哪裡 哪个 哪些 哪儿 多少 某 某些 每
    每个 各 各个 各种 另 另外 其他 其它 其中 有些 一些 有的 所有 一切 任何 全部 一个 一個 一种 一種 一样 一樣 一下
    一点 一點 一直 一定 一般 两个 兩個

    是 有 在 为 為 做 作 让 讓 使 令 叫 给 給 把 将 將 被 由 于 於 从 從 自 自从 到 至 往 向 朝 对 對 对于 對於 关于
    關於 跟 和 与 與 同 及 以及 或 或者 还是 還是 而 而且 并 並 并且 並且 且 但 但是 可是 然而 却 卻 只是 不过 因为
    因為 因 由于 由於 所以 因此 于是 於是 如果 如 若 要是 假如 虽然 雖然 虽 雖 尽管 即使 就算 除了 除 除非 只要 只有
    以 以便 按 按照 根据 根據 通过 通過 比 比如 例如 像 等 等等 而是 则 則 就是 就是说 也是 还有 還有 都是 可以 能
    能够 能夠 可能 会 會 要 想 应 應 应该 應該 必须 必須 需要 得以 肯 敢 愿

    就 都 还 還 再 又 才 只 仅 僅 也许 也許 已 已经 已經 曾 曾经 正 正在 刚 剛 刚刚 将要 马上 先 后 後 最后 最後 然后
    然後 之后 之後 之前 以前 以后 以後 现在 現在 时 時 时候 時候 的话 的話 上 下 里 裡 中 内 內 外 前 间 間 上面 下面
    里面 外面 很 太 更 最 极 極 挺 真 非常 十分 比较 比較 相当 相當 特别 特別 越 越来越 稍 稍微 几乎 幾乎 大概 大约
    当然 當然 其实 其實 真的 确实 確實 个 個 种 種 次 些 点 點 件 条 條 张 張 位 名 年 月 日 号 號

    有点 有點 很多 第 实在 實在 根本 基本 来说 來說 真是 倒 这种 這種 那种 那種 这家 這家 这是 這是 这次 這次 当 當

    非 别 別 休 难以 難以 拒绝 从来 從來 决 絕 绝 并非 並非 除外 免得 以免 毫 缺乏 很少 反而
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def split(sentence: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each word, and whether a mark behind it protects it: one that chooses a character's form, or an
    accent."""
    for text, start, end in jieba_tokenizer().tokenize(protected_spans.mask(sentence, has_spaces=False)):
        if _WORD_CHARACTER.search(text):
            yield start, end, unicodedata.category(sentence[end : end + 1] or " ").startswith("M")


def is_part(text: str) -> bool:
    """Han characters only, and no denial: what a filled word may consist of."""
    return _HAN.fullmatch(text) is not None and not _DENIAL.search(text)


def is_content(text: str) -> bool:
    """Han characters only, no denial and no number."""
    return is_part(text) and not _NUMBER.fullmatch(text)


def is_in_dictionary(text: str) -> bool:
    """Whether jieba's dictionary has the word, and not only words that begin with it."""
    return jieba_tokenizer().FREQ.get(text, 0) > 0
