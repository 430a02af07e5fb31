"""From books to a tokenizer and to token arrays.

`corpus.txt.xz` holds the books, UTF-8, one after another, with SEPARATOR between them.
"""

import lzma
import random
from pathlib import Path

import numpy as np

SEPARATOR = "\n<|endoftext|>\n"
VOCABULARY = 4096

# Words with an optional leading mark, single digits, runs of other marks, line ends, spaces.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Ids 0 to 31, placed as in the Nemotron 3 tokenizer.
SPECIAL = (
    ["<unk>", "<s>", "</s>", "<pad>"]
    + [f"<SPECIAL_{i}>" for i in range(4, 10)]
    + ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    + ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
    + [f"<SPECIAL_{i}>" for i in range(18, 32)]
)
BOS, EOS, IM_START, IM_END, THINK, END_THINK = (
    SPECIAL.index(s) for s in ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
)


def prepare(folder):
    """Writes tokenizer.json, tokens.npy (the books) and chat.npy (dialogues made of them)."""
    folder = Path(folder)
    with lzma.open(folder / "corpus.txt.xz", "rt", encoding="utf-8") as file:
        books = file.read().split(SEPARATOR)
    tokenizer = train_tokenizer(books)
    tokens = np.concatenate([
        np.array([BOS, *book.ids, EOS], dtype=np.uint16) for book in tokenizer.encode_batch(books)
    ])
    np.save(folder / "tokens.npy", tokens)
    chats = dialogues(books, tokenizer)
    np.save(folder / "chat.npy", np.array([t for chat in chats for t in chat], dtype=np.uint16))
    begin_with_bos(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    print(f"{len(books)} books, {len(tokens)} tokens, {len(chats)} dialogues")


def train_tokenizer(books):
    """Byte-level BPE."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces = (book[i : i + 100_000] for book in books for i in range(0, len(book), 100_000))
    tokenizer.train_from_iterator(pieces, trainer)
    return tokenizer


def begin_with_bos(tokenizer):
    """Whoever reads the tokenizer puts <s> first. Training places it by hand instead."""
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", BOS)])


def dialogues(books, tokenizer):
    """Chats in which the user writes a paragraph of a book and the assistant goes on with the next."""
    openings, answers = paragraph_pairs(books, random.Random(0))
    newline, user, assistant = (tokenizer.encode(t).ids for t in ("\n", "user\n", "assistant\n"))
    return [
        [IM_START, *user, *opening.ids[:160], IM_END, *newline,
         IM_START, *assistant, THINK, END_THINK, *answer.ids[:300], IM_END, *newline]
        for opening, answer in zip(tokenizer.encode_batch(openings), tokenizer.encode_batch(answers))
    ]


def paragraph_pairs(books, rng):
    openings, answers = [], []
    for book in books:
        paragraphs = [p for p in book.split("\n\n") if len(p) > 80]
        for i in range(0, len(paragraphs) - 4, 4):
            if rng.random() < 0.5:
                openings.append(paragraphs[i])
                answers.append("\n\n".join(paragraphs[i + 1 : i + 1 + rng.randint(1, 3)]))
    return openings, answers
