"""Writes testdata/tokenizer: small tokenizers and what the reference makes of the corpus.

    pip install -r tools/tokenizer/requirements.txt
    python tools/tokenizer/vectors.py

Together the tokenizers exercise every component that internal/tokenizer
knows. Their vocabularies are trained on the corpus; they serve no other end.
"""

import base64
import copy
import gzip
import json
import os
import random
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from corpus import CODE, PROSE, SCRIPTS, corpus

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
OUT = os.path.join(ROOT, "testdata", "tokenizer")
TEXT = [PROSE, CODE, *SCRIPTS, PROSE.lower(), PROSE.upper()] * 2

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = {**BYTE_LEVEL, "use_regex": True}
DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
FOLD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LLAMA3 = FOLD + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
CASED = [r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+", r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*"]
TEKKEN = CASED[0] + "|" + CASED[1] + r"|\p{N}" + TAIL.replace(r"[\r\n]*", r"[\r\n/]*")
O200K = CASED[0] + FOLD + "?|" + CASED[1] + FOLD + r"?|\p{N}{1,3}" + TAIL.replace(r"[\r\n]*", r"[\r\n/]*")
MARKS = FOLD + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}" + TAIL.replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
DEEPSEEK = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def seq(kind, *parts):
    field = {"pre": "pretokenizers", "norm": "normalizers", "dec": "decoders", "post": "processors"}[kind]
    return {"type": "Sequence", field: list(parts)}


def added(start, *tokens):
    out = []
    for i, t in enumerate(tokens):
        t = {"content": t} if isinstance(t, str) else t
        flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        out.append({"id": start + i, **flags, **t})
    return out


def settle(data):
    """Gives added tokens that are in the vocabulary their ids there, and the others the next free ones."""
    vocab = data["model"]["vocab"]
    ids = vocab if isinstance(vocab, dict) else {t: i for i, (t, _) in reversed(list(enumerate(vocab)))}
    free = len(vocab)
    for t in data["added_tokens"]:
        t["id"] = ids.get(t["content"], free)
        free += t["id"] == free
    return data


def flagged(start):
    """Added tokens with every flag, and some that contain or follow one another."""
    return added(
        start, "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>",
        {"content": "<word>", "single_word": True}, {"content": "the", "single_word": True, "special": False},
        {"content": "<l>", "lstrip": True}, {"content": "<r>", "rstrip": True}, {"content": "<lr>", "lstrip": True, "rstrip": True},
        {"content": "<norm>", "normalized": True, "special": False}, {"content": "Wörd", "normalized": True, "special": False},
        {"content": "<mask>", "lstrip": True, "normalized": True}, {"content": "ll", "normalized": True, "special": False, "single_word": True},
        {"content": "<|im_", "special": False}, {"content": "\n\n\n", "special": False}, {"content": "  ", "special": False},
        {"content": "é", "special": False}, {"content": " <", "special": False, "rstrip": True},
    )


def template(bos, eos=None):
    ids = {t["content"]: t["id"] for t in (bos, eos) if t}
    special = lambda t: [{"SpecialToken": {"id": t["content"], "type_id": 0}}] if t else []
    return {
        "type": "TemplateProcessing",
        "single": special(bos) + [{"Sequence": {"id": "A", "type_id": 0}}] + special(eos),
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {k: {"id": k, "ids": [v], "tokens": [k]} for k, v in ids.items()},
    }


def tokenizer(model, normalizer=None, pre=None, post=None, decoder=None, tokens=()):
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": copy.deepcopy(list(tokens)), "normalizer": normalizer,
        "pre_tokenizer": pre, "post_processor": post, "decoder": decoder, "model": model,
    }


def train_byte_level(size=700):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return json.loads(tok.to_str())["model"]


def train_pieces(size=600, bytes_first=True):
    """A SentencePiece-like BPE over text with spaces as U+2581, words not cut at spaces only."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=bytes_first, fuse_unk=True))
    special = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if bytes_first else [])
    text = [" ".join([""] + t.split(" ")).replace(" ", "\u2581") for t in TEXT[:8]]
    tok.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    tok.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, limit_alphabet=120, show_progress=False))
    return json.loads(tok.to_str())["model"]


def train_affixes(prefix, suffix):
    extra = {k: v for k, v in dict(continuing_subword_prefix=prefix, end_of_word_suffix=suffix).items() if v}
    tok = Tokenizer(models.BPE(unk_token="<unk>", **extra))
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=90, show_progress=False, **extra))
    return json.loads(tok.to_str())["model"]


def train_unigram(byte_fallback):
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if byte_fallback else [])
    tok.train_from_iterator(TEXT[:7] + [PROSE.lower()], trainers.UnigramTrainer(
        vocab_size=900, special_tokens=special, unk_token="<unk>", show_progress=False))
    model = json.loads(tok.to_str())["model"]
    model["byte_fallback"] = byte_fallback
    if byte_fallback:
        drop = {p for p, _ in model["vocab"] if len(p) == 1 and ord(p) > 0x2FF and p != "\u2581"}
        model["vocab"] = [p for p in model["vocab"] if p[0] not in drop]
    return model


def charsmap():
    """A precompiled table with rules of every kind, compiled by SentencePiece."""
    rules = {
        "\uff21": "A", "\uff22": "B", "\ufb01": "fi", "\u2026": "...", "\u00e9": "e", "e\u0301": "\u00c9", "a\u0301": "\u00e1", "\u00a0": " ",
        "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u200b": "", "\u00bd": "1/2", "\u30ab\u3099": "\u30ac", "\u304b\u309a": "X", "\u2460": "(1)",
        "\u212a": "K", "\u017f": "s", "\u4e2d": "zh", "\U0001f44d": "+1", "\x07": "", "0\u20e3": "0", "u\u0308": "\u00fc", "\u0600": "n",
    }
    with tempfile.TemporaryDirectory() as tmp:
        tsv, text = os.path.join(tmp, "rules.tsv"), os.path.join(tmp, "text.txt")
        with open(tsv, "w") as f:
            for k, v in rules.items():
                f.write(" ".join("%X" % ord(c) for c in k) + "\t" + " ".join("%X" % ord(c) for c in v) + "\n")
        with open(text, "w") as f:
            f.write("\n".join(TEXT[:3]))
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=os.path.join(tmp, "m"), vocab_size=900, normalization_rule_tsv=tsv,
            hard_vocab_limit=False, minloglevel=2)
        proto = sentencepiece_model_pb2.ModelProto()
        with open(os.path.join(tmp, "m.model"), "rb") as f:
            proto.ParseFromString(f.read())
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def synthetic():
    bl = train_byte_level()
    n = len(bl["vocab"])
    sp = train_pieces()
    plain = train_pieces(bytes_first=False)
    uni, uni_bytes = train_unigram(False), train_unigram(True)
    hashes, ends = train_affixes("##", None), train_affixes(None, "</w>")
    both = train_affixes("@@", "</w>")
    n_sp = len(sp["vocab"])
    bos, eos = {"content": "<s>", "id": n}, {"content": "</s>", "id": n + 1}
    sp_bos, sp_eos = {"content": "<s>", "id": 1}, {"content": "</s>", "id": 2}
    sp_tokens = added(0, "<unk>", "<s>", "</s>")
    sp_decoder = seq("dec", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                     {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    to_bar = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    legacy = copy.deepcopy(sp)
    legacy["merges"] = [" ".join(m) for m in sp["merges"]]
    ignoring = {**bl, "ignore_merges": True}
    meta = lambda scheme, cut=True: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
    holes = copy.deepcopy(bl)
    for token in ("Ï", "q", "Z"):
        holes["merges"] = [m for m in holes["merges"] if token not in m[0] + m[1]]
    keep = {a + b for a, b in holes["merges"]} | {t for t in bl["vocab"] if len(t) == 1 and t not in "ÏqZ"}
    holes["vocab"] = {t: i for i, t in enumerate(t for t in bl["vocab"] if t in keep)}
    yield "gpt2", tokenizer(bl, pre=GPT2, post=DECODER, decoder=DECODER, tokens=added(n, "<|endoftext|>"))
    yield "roberta", tokenizer(
        bl, pre={**GPT2, "add_prefix_space": True}, decoder=DECODER, tokens=flagged(n),
        post={"type": "RobertaProcessing", "sep": ["</s>", n + 1], "cls": ["<s>", n], "trim_offsets": True, "add_prefix_space": True})
    for name, pattern in dict(llama3=LLAMA3, qwen=LLAMA3.replace("{1,3}", ""), tekken=TEKKEN, o200k=O200K, marks=MARKS, cl100k=CL100K).items():
        yield name, tokenizer(
            ignoring if name in ("llama3", "tekken") else bl, pre=seq("pre", split(pattern), BYTE_LEVEL), decoder=DECODER, tokens=flagged(n),
            normalizer={"type": "NFC"} if name == "qwen" else None, post=seq("post", DECODER, template(bos, eos if name == "o200k" else None)))
    yield "deepseek", tokenizer(
        bl, pre=seq("pre", split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), BYTE_LEVEL), decoder=DECODER, tokens=flagged(n), post=template(bos))
    yield "digits", tokenizer(bl, pre=seq("pre", {"type": "Digits", "individual_digits": True}, GPT2), decoder=DECODER, tokens=flagged(n))
    yield "holes", tokenizer(holes, pre=seq("pre", {"type": "Digits", "individual_digits": False}, {"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL), decoder=DECODER)
    yield "twice", tokenizer(bl, pre=seq("pre", {"type": "Punctuation"}, {**GPT2, "add_prefix_space": True}, BYTE_LEVEL), decoder=DECODER)
    yield "bytenorm", tokenizer(bl, normalizer={"type": "ByteLevel"}, pre=split("(?=Ġ)|Ċ+"), decoder=DECODER, tokens=flagged(n))
    yield "lower", tokenizer(
        bl, normalizer=seq("norm", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False}),
        pre=GPT2, decoder=DECODER, tokens=flagged(n))
    yield "nfkd", tokenizer(bl, normalizer=seq("norm", {"type": "NFKD"}, {"type": "Nmt"}), pre=GPT2, decoder=DECODER, tokens=flagged(n))
    yield "nfkc", tokenizer(bl, normalizer=seq("norm", {"type": "NFKC"}, {"type": "Strip", "strip_left": False, "strip_right": True}), pre=GPT2, decoder=DECODER, tokens=flagged(n))
    yield "llama2", tokenizer(sp, normalizer=seq("norm", {"type": "Prepend", "prepend": "▁"}, to_bar), decoder=sp_decoder, tokens=sp_tokens, post=template(sp_bos))
    yield "story", tokenizer(
        {**sp, "fuse_unk": True}, normalizer=seq("norm", {"type": "Prepend", "prepend": "▁"}, to_bar), decoder=sp_decoder, post=template(sp_bos),
        tokens=[{**t, "normalized": True} for t in sp_tokens] + added(n_sp, {"content": "<norm>", "normalized": True}))
    yield "first", tokenizer(legacy, pre=meta("first", False), decoder=sp_decoder, tokens=sp_tokens + flagged(n_sp - 2)[2:], post=template(sp_bos, sp_eos))
    yield "firstcut", tokenizer(
        sp, normalizer=seq("norm", {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        pre=seq("pre", {"type": "Punctuation", "behavior": "MergedWithPrevious"}, meta("first")), decoder=meta("first"), tokens=sp_tokens + flagged(n_sp - 2)[2:])
    yield "always", tokenizer(plain, pre=meta("always"), decoder=meta("always"), tokens=sp_tokens)
    yield "alwaysold", tokenizer({**plain, "fuse_unk": False}, pre={"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"},
                                 decoder={"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}, tokens=sp_tokens)
    yield "never", tokenizer(sp, pre=meta("never"), decoder=meta("never"), tokens=sp_tokens + flagged(n_sp - 2)[2:])
    yield "gemma", tokenizer(
        sp, normalizer=to_bar, pre=split(" ", "MergedWithPrevious", kind="String"), post=template(sp_bos), tokens=sp_tokens,
        decoder=seq("dec", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}))
    yield "nothing", tokenizer(plain)
    yield "stripped", tokenizer(sp, pre={"type": "WhitespaceSplit"}, tokens=sp_tokens,
                                decoder=seq("dec", {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "e", "start": 2, "stop": 3}))
    yield "perstrip", tokenizer(plain, pre={"type": "Whitespace"}, tokens=sp_tokens,
                                decoder=seq("dec", {"type": "Strip", "content": "▁", "start": 1, "stop": 0}, {"type": "Replace", "pattern": {"Regex": "[aeiou]+"}, "content": "-"}))
    yield "unigram", tokenizer(
        uni, normalizer=seq("norm", {"type": "Precompiled", "precompiled_charsmap": charsmap()}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        pre=meta("always"), decoder=meta("always"), tokens=sp_tokens, post=template(None, sp_eos))
    yield "charsmap", tokenizer(uni_bytes, normalizer={"type": "Precompiled", "precompiled_charsmap": charsmap()}, pre=meta("first"), decoder=sp_decoder, tokens=sp_tokens)
    yield "unibytes", tokenizer(uni_bytes, normalizer=seq("norm", {"type": "Nmt"}, {"type": "NFKC"}), pre=seq("pre", {"type": "WhitespaceSplit"}, meta("always")), decoder=sp_decoder, tokens=sp_tokens)
    yield "unibl", tokenizer(uni_bytes, pre=GPT2, decoder=DECODER)
    yield "bert", tokenizer(
        hashes, normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        pre={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}, tokens=sp_tokens,
        post={"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]})
    yield "bertcased", tokenizer(
        hashes, normalizer={"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": True, "strip_accents": True, "lowercase": False},
        pre=seq("pre", {"type": "Whitespace"}, {"type": "FixedLength", "length": 4}), decoder={"type": "WordPiece", "prefix": "##", "cleanup": False}, tokens=sp_tokens)
    yield "ends", tokenizer(ends, normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False, "strip_accents": False, "lowercase": True},
                            pre={"type": "Whitespace"}, decoder={"type": "BPEDecoder", "suffix": "</w>"}, tokens=sp_tokens)
    yield "both", tokenizer({**both, "fuse_unk": True, "byte_fallback": True}, pre={"type": "CharDelimiterSplit", "delimiter": " "}, decoder={"type": "BPEDecoder", "suffix": "</w>"})
    patterns = [r"\s+|\d", r"\b\w{2}", r"(?<=e)[^e]{0,2}?|$", r"(?i)the|[k-s]++|.?+\n", r"^.", r"\P{L}|[\P{Lu}\S]", r"é|(?>a|ab)c?|\x{4e2d}|\u00df"]
    i = 0
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            pre = seq("pre", split("-" if i % 3 else "", behavior, invert, "String"), split(patterns[i % len(patterns)], behavior, invert),
                      {"type": "Punctuation", "behavior": behavior}, meta("first" if i % 2 else "always", False))
            if i % 3 == 0:
                pre["pretokenizers"].reverse()
            yield "split-%s%s" % (behavior.lower(), "-invert" if invert else ""), tokenizer(plain, pre=pre, decoder=meta("never"), tokens=sp_tokens)
            i += 1


def ids_to_decode(tok, strings, rng):
    """Sequences of ids: of texts, at random, of byte tokens, with ids that no token has."""
    size = tok.get_vocab_size()
    out = [tok.encode(s).ids for s in strings[:60]]
    bytes_ids = [i for i in (tok.token_to_id("<0x%02X>" % b) for b in range(256)) if i is not None]
    text = "é中👍 a".encode() * 2
    for k in range(120):
        ids = [rng.randrange(size + 2) for _ in range(rng.randrange(0, 12))]
        if bytes_ids and k % 2:
            for _ in range(4):
                at, part = rng.randrange(len(ids) + 1), rng.randrange(len(text))
                run = text[part : part + rng.randrange(6)] if rng.random() < 0.7 else bytes(rng.randrange(256) for _ in range(3))
                ids[at:at] = [bytes_ids[b] for b in run]
        out.append(ids)
    return out


def vectors(tok, strings, rng):
    decode = ids_to_decode(tok, [strings[i] for i in range(len(strings))], rng)
    safe = []
    for ids in decode:
        try:
            safe.append([ids, tok.decode(ids, skip_special_tokens=False), tok.decode(ids, skip_special_tokens=True)])
        except BaseException:  # the reference panics on some decoders' odd input; there is nothing to compare
            continue
    return safe


def dump(path, value):
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    with open(path, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="", compresslevel=9) as f:
        f.write(data)


def main():
    os.makedirs(OUT, exist_ok=True)
    strings = corpus()
    dump(os.path.join(OUT, "corpus.json.gz"), strings)
    cases = [(name, settle(data)) for name, data in synthetic()]
    with open(os.path.join(OUT, "tiny-hybrid.json")) as f:
        cases.append(("tiny-hybrid", json.load(f)))
    tokenizers, results = {}, {}
    for k, (name, data) in enumerate(cases):
        tok = Tokenizer.from_str(json.dumps(data))
        rng = random.Random(k)
        if name == "tiny-hybrid":
            chosen = list(range(len(strings)))
        else:
            tokenizers[name] = data
            chosen = sorted({*range(0, 300), *range(len(strings) - 5, len(strings)), *rng.sample(range(len(strings)), 450)})
        encoded = []
        for i in chosen:
            plain = tok.encode(strings[i], add_special_tokens=False).ids
            special = tok.encode(strings[i], add_special_tokens=True).ids
            encoded.append([i, plain, special if special != plain else None])
        texts = [strings[i] for i in chosen]
        rng.shuffle(texts)
        results[name] = {"encode": encoded, "decode": vectors(tok, texts, rng)}
        print(name, tok.get_vocab_size(), len(chosen), len(results[name]["decode"]), file=sys.stderr)
    dump(os.path.join(OUT, "tokenizers.json.gz"), tokenizers)
    dump(os.path.join(OUT, "vectors.json.gz"), results)


main()
