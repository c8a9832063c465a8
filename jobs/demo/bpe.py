"""A byte-level BPE vocabulary from text, written as Hugging Face's tokenizer.json.
Sennrich, Haddow and Birch 2016; bytes as printable characters as in GPT-2."""
import json
import os
import re
from collections import Counter

# GPT-2's split for the ASCII text of this world (\p{L} is A-Za-z, \p{N} is 0-9 there).
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
N_SPECIAL = 3


def byte_characters():
    """byte -> the character that stands for it in the vocabulary"""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in plain}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(plain))
    return table


def learn_merges(texts, n_merges):
    """The n_merges most frequent pairs, one after the other; ties go to the smaller pair."""
    table = byte_characters()
    counts = Counter(piece for text in texts for piece in SPLIT.findall(text))
    words = [([table[b] for b in piece.encode()], n) for piece, n in sorted(counts.items())]
    merges = []
    while len(merges) < n_merges:
        pairs = Counter()
        for symbols, n in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += n
        if not pairs:
            raise SystemExit(f"the text gives only {len(merges)} merges, {n_merges} are wanted")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols, _ in words:
            i = 0
            while i + 1 < len(symbols):
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i:i + 2] = [best[0] + best[1]]
                i += 1
    return merges


def write_tokenizer(folder, merges, roberta):
    """Ids: the 256 bytes, <s> </s> <pad>, then the merges in order. A language model gets <s> in
    front; a RoBERTa judge gets <s> text </s>."""
    vocab = {c: b for b, c in byte_characters().items()}
    vocab.update({s: 256 + i for i, s in enumerate((BOS, EOS, PAD))})
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    ids = {s: vocab[s] for s in (BOS, EOS, PAD)}
    if roberta:
        post = {"type": "RobertaProcessing", "sep": [EOS, ids[EOS]], "cls": [BOS, ids[BOS]],
                "trim_offsets": True, "add_prefix_space": False}
    else:
        bos = {"SpecialToken": {"id": BOS, "type_id": 0}}
        text = {"Sequence": {"id": "A", "type_id": 0}}
        post = {"type": "TemplateProcessing", "single": [bos, text],
                "pair": [bos, text, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {BOS: {"id": BOS, "ids": [ids[BOS]], "tokens": [BOS]}}}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": s, **added} for s, i in ids.items()],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "add_prefix_space": False},
        "post_processor": post,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                  "merges": [f"{left} {right}" for left, right in merges]}}
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD,
             "tokenizer_class": "PreTrainedTokenizerFast"}
    if roberta:
        names["cls_token"], names["sep_token"] = BOS, EOS
    os.makedirs(folder, exist_ok=True)
    for name, tree in (("tokenizer.json", tokenizer), ("tokenizer_config.json", names)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(tree, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")
    return len(vocab)
