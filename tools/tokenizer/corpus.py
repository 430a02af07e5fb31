"""The adversarial strings that every tokenizer is compared on, made from a fixed seed."""

import random

PROSE = """The quick brown fox jumps over the lazy dog. It wasn't me, she'd said; they'll've known
we're late! "Don't," I'M sure HE'LL say, 'cause it's O'Brien's. Prices rose 12.5% to $1,234,567.89
in 2024-03-17T09:05:00Z; call +1 (555) 010-9999 or mail a.b+c@example.org, see https://example.org/x?y=1&z=%20#q.
Sphinx of black quartz, judge my vow. Pack my box with five dozen liquor jugs -- now; or never?"""

CODE = '''def f(x: int, *args, **kw) -> dict[str, int]:\n\t"""Doc."""\n    if x != 0x1F and not x % 2:\n        return {k: v**2 for k, v in kw.items()}  # comment\n\r\n
#include <stdio.h>\nint main(void) {\n\tprintf("%d\\n", 42); /* c */ return 0;\n}\n
SELECT a.id, COUNT(*) FROM t AS a WHERE a.name LIKE '%x_%' GROUP BY 1;\n
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { defer s.mu.Unlock() }\n
<div class="a-b" id='c'>&nbsp;&lt;tag/&gt;</div>\n{"key": [1, 2.5e-3, null, true], "k2": "\\u00e9\\n"}\n'''

SCRIPTS = [
    "Größe, naïve café, Ærøskøbing, Łódź, İstanbul'da ılık, ŒUVRE, ﬁn ﬀ ﬄ ﬆ ﬅ, ß ẞ ŉ ǅ ǆ",
    "Быстрая бурая лиса перепрыгивает. Ёлка, ЁЖ, й й",
    "Το γρήγορο ἀλώπηξ ΣΊΣΥΦΟΣ ς σ Ϊ́ ΐ",
    "השועל החום המהיר קופץ שָׁלוֹם עֲלֵיכֶם",
    "الثعلب البني السريع يقفز مُحَمَّد ١٢٣٤٥٦ ۱۲۳ ﷺ ﷽ ؀1 ؁2",
    "快速的棕色狐狸跳过懒狗。你好,世界!㐀㐁𠀀𠀁𪛖 〇一二三 ㊀ ㍿ Ⅳ ⅷ ½ ¾ ² ³ ₁ ①②",
    "素早い茶色の狐が、のろまな犬を飛び越える。ガギグ ガギグ カ゛ ー ヷ ヶ ㌀ ㌧ が か゚",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 각 각 ᄀᄀᄀ각ᆨᆨ 각 ㅋㅋㅋ ㄱ ᅡ ᆨ",
    "तेज़ भूरी लोमड़ी क्षत्रिय श्री कि की कॅ क़ ॐ १२३ ।",
    "สุนัขจิ้งจอกสีน้ำตาล กำ ที่ ๑๒๓ ແລະ",
    "வேகமான பழுப்பு நரி கோ கொ க் ௧௨௩", "ಕನ್ನಡ ಕೊ ತಮಿಳು తెలుగు മലയാളം ൊ ો",
    "አንድ ቡናማ ቀበሮ ፩፪፫ ᠮᠣᠩᠭᠣᠯ᠎ᠠ ကျွန်တော် ခေါ် བོད་སྐད་ ཱི ཹ",
    "👩‍👩‍👧‍👦 👨🏽‍💻 🏳️‍🌈 🇩🇪🇫🇷🇯 ❤️ ☺︎ 1️⃣ #️⃣ 🤷🏾‍♀️ 😀😃 🫠🪿 👍🏿👍",
    "𝐀𝐁𝐂 𝒜𝓑𝔠 𝟘𝟙𝟚 ＡＢＣ１２３ ｶﾞｷﾞ ㎏ ℃ Å Å Ω K ſ ℵ ™ … ‥ — – ‐ ‑ “q” ‘q’ «q» ‹q›",
    "ά ά ὰ ᾳ ᾼ ῼ ϓ ẛ̣ q̣̇ q̣̇ ậ ậ ậ ḍ̇ ḍ̇",
    "\u0370\u0378\u0530\u05ff\u0870\u0897\u1c89\u1c8a\u2fff\u31ef\ua7cb\ua7dc\uab70",
    "\U00010d50\U00010d70\U00010d69\U000105c9\U000105d2\U00011383\U00016d67\U00016d68\U0001e5ee\U0001e5d0 \U00016ea0\U00016ebb",
    "\U0002ebf0\U0002ee5d\U00031350\U000323af\U000e0001\U000e0041\U000f0000\U0010ffff\ue000\uf8ff",
]

SPACES = [
    " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", "\n\n\n", " \n", "\n ", "\t\t", "\v", "\f", "\x1c", "\x1f",
    "\x85", "\xa0", "\u1680", "\u180e", "\u2000", "\u2003", "\u200a", "\u200b", "\u200c", "\u200d", "\u2028",
    "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "\u2581", "\u2581\u2581", "\u0120", "\u010a",
]

ODD = [
    "'s", "'S", "'ſ", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'Ve", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D", "'", "''",
    "’s", "'K", "'k", "'K", "ſ", "K", "İ", "ı", "ŉ", "'ﬅ", "'ﬆ", "'x", "s'", "'sS", "'r", "'l", "'v", "'re's",
    "\0", "\x01", "\x07", "\x08", "\x1b[0m", "\x7f", "\x80", "\x8f", "\x9f", "\xad", "\u034f", "\u0345", "\u0301", "\u0300\u0323",
    "\u0327", "\u0334", "\u093c", "\u20dd", "\u20e3", "\ufe0f", "\ufe0e", "\ufffd", "\ufffc", "\ufffe", "\uffff", "\ufdd0",
    "a\u0301", "e\u0323\u0302", "e\u0302\u0323", "o\u0308\u0304", "\u1e0b\u0323", "\u0958", "\u2126", "\u212b", "\ufb01", "\ufb1d", "\uac00\u11a8",
    "0", "1", "12", "123", "1234", "1234567890", "1,000,000.00", "3.14159e-10", "0xDEADBEEF", "1️⃣", "٣", "Ⅷ", "½", "²", "१२", "𝟜", "①",
    "<s>", "</s>", "<unk>", "<pad>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<SPECIAL_10>", "<SPECIAL_999>",
    "[INST]", "[/INST]", "[MASK]", "[CLS]", "[SEP]", "<mask>", "<word>", "<l>", "<r>", "<lr>", "<norm>", "<Norm>", "<NORM>", "Wörd", "wörd", "WÖRD",
    "<|start_story|>", "<|end_story|>", "<", ">", "<|", "|>", "<|im_", "<|im_start|", "<<s>>", "<s", "s>", "<0x0A>", "<0xE2>", "<0x>", "<0xZZ>",
    "▁the", "▁▁", "Ġthe", "Ċ", "Ã©", "##ing", "</w>", "a</w>", "-", "--", "---", "_", "__init__", "/", "//", "///", "/*", "*/", "!", "!!!", "?!", "...", "…",
    "$", "€", "¥", "£", "+", "=", "==", "=>", "->", "<-", "≠", "∑", "∞", "©", "®", "™", "°", "†", "·", "・", "،", "。", "！", "¿", "¡", "`", "^", "¨", "~", "\\", "\\n",
    "{", "}", "[", "]", "(", ")", "@", "#", "%", "&", "*", "|", ";", ":", ",", ".", '"',
    "the", "The", "THE", "tHe", "hello", "Hello", "HELLO", "world", "camelCase", "PascalCase", "HTTPServer", "XMLHttpRequest", "snake_case", "iOS", "McDonald", "aB", "Ab", "ABc", "aBC",
    "ÀÉ", "àé", "Àé", "ÉcoleÉ", "中A", "A中", "a中B", "ΑΒγ", "ʰA", "Aʰb", "ǅa", "Aǅ", "ªº", "A\u0301b", "a\u0301B", "\u0301A", "\u0301a", "\u0903ab", "x\u20ddY",
]


def zalgo(rng, n):
    marks = [chr(c) for c in (0x300, 0x301, 0x302, 0x308, 0x316, 0x317, 0x323, 0x327, 0x334, 0x345, 0x35C, 0x1DCE, 0x5B0, 0x651, 0x93C)]
    return "".join(rng.choice("aeoZ") + "".join(rng.choice(marks) for _ in range(n)) for _ in range(3))


def any_char(rng):
    k = rng.random()
    if k < 0.3:
        return chr(rng.randrange(0x20, 0x7F))
    if k < 0.45:
        return chr(rng.randrange(0x80, 0x800))
    while True:
        c = rng.randrange(0x800, 0x3400) if k < 0.75 else rng.randrange(0x110000) if k < 0.85 else rng.randrange(0xA000, 0x20000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def corpus():
    rng = random.Random(20240501)
    out = [""]
    out += SPACES + ODD + SCRIPTS + [PROSE, CODE]
    out += PROSE.split("\n") + CODE.split("\n")
    out += [s * n for s in ("a", "1", " ", "\n", "é", "中", "👍", "'", "-", "\u0301", "\u2581", "ab", " a", "\r\n", "lo", "<s>") for n in (2, 3, 7, 31, 64, 200)]
    out += [" " * n + "x" for n in range(1, 9)] + ["x" + " " * n for n in range(1, 9)] + ["\n" * n + "x" for n in range(1, 5)]
    out += [a + b for a in SPACES[:20] for b in ("x", "1", "!", "\n", "<s>")]
    out += [a + s + b for s in SPACES for a, b in (("a", "b"), ("1", "2"), ("!", "?"), (" ", " "), ("", "x\n"))]
    out += [zalgo(rng, n) for n in (1, 2, 5, 8, 12, 29, 31, 40, 90)]
    atoms = SPACES + ODD + PROSE.split() + CODE.split() + [" "] * 40 + [" the", " of", "\n"]
    words = [w for s in SCRIPTS for w in s.split()] + SCRIPTS
    while len(out) < 2100:
        out.append("".join(rng.choice(atoms) for _ in range(rng.randrange(2, 14))))
    while len(out) < 2700:
        out.append("".join(rng.choice(atoms if rng.random() < 0.5 else words) for _ in range(rng.randrange(2, 10))))
    while len(out) < 3300:
        out.append("".join(any_char(rng) for _ in range(rng.randrange(1, 40))))
    while len(out) < 3500:
        s = rng.choice([PROSE, CODE, *SCRIPTS])
        i = rng.randrange(len(s))
        out.append(s[i : i + rng.randrange(1, 120)])
    # Every kind of character next to a letter, a digit and a space, in blocks.
    step = [c for c in range(0x80, 0x30000, 7) if not 0xD800 <= c < 0xE000]
    for i in range(0, len(step), 64):
        out.append("".join(rng.choice(("a", "B", " ", "1", "'", "")) + chr(c) for c in step[i : i + 64]))
    out.append("".join(rng.choice(ODD + SPACES + words) for _ in range(400)))
    out.append("supercalifragilistic" * 30 + "日本" * 150)
    # Cuts of "000" whose scores differ in the last place only.
    out += ["'%x_%'1,000,000.00", "1,000,000.00", "000 0000 00000"]
    return out
