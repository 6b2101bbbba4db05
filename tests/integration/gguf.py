# SPDX-License-Identifier: Apache-2.0
# gguf.py FILE: writes a small BERT for llama.cpp (GGUF version 3, https://github.com/ggml-org/ggml,
# docs/gguf.md). Its one layer adds nothing, so that an embedding is the mean of random vectors of the
# words: texts with words in common are near each other.
import random, struct, sys

WIDTH, HIDDEN, CONTEXT = 64, 64, 256
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# "\u2581" begins a word.
WORDS = ["\u2581" + w for w in "a the heron abacus stones bread early train counts lends in of and".split()]
LETTERS = [c for c in "abcdefghijklmnopqrstuvwxyz0123456789.,"]
TOKENS = SPECIAL + WORDS + ["\u2581" + c for c in LETTERS if c != "a"] + LETTERS

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9

def string(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()

def value(kind, v):
    if kind == STRING:
        return string(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)

def pair(key, kind, v):
    return string(key) + struct.pack("<I", kind) + value(kind, v)

def array(key, kind, values):
    head = string(key) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(value(kind, v) for v in values)

chance = random.Random(1)
noise = lambda n: [chance.gauss(0, 1) for _ in range(n)]
zeros = lambda n: [0.0] * n
ones = lambda n: [1.0] * n
tensors = [
    ("token_embd.weight", [WIDTH, len(TOKENS)], noise),
    ("token_types.weight", [WIDTH, 2], zeros),
    ("position_embd.weight", [WIDTH, CONTEXT], zeros),
    ("token_embd_norm.weight", [WIDTH], ones),
    ("token_embd_norm.bias", [WIDTH], zeros),
]
for name, shape in (("attn_q", [WIDTH, WIDTH]), ("attn_k", [WIDTH, WIDTH]), ("attn_v", [WIDTH, WIDTH]),
                    ("attn_output", [WIDTH, WIDTH]), ("ffn_up", [WIDTH, HIDDEN]), ("ffn_down", [HIDDEN, WIDTH])):
    tensors.append(("blk.0.%s.weight" % name, shape, zeros))
    tensors.append(("blk.0.%s.bias" % name, shape[1:], zeros))
for name in ("attn_output_norm", "layer_output_norm"):
    tensors.append(("blk.0.%s.weight" % name, [WIDTH], ones))
    tensors.append(("blk.0.%s.bias" % name, [WIDTH], zeros))

pairs = [
    pair("general.architecture", STRING, "bert"),
    pair("general.name", STRING, "words"),
    pair("bert.block_count", U32, 1),
    pair("bert.context_length", U32, CONTEXT),
    pair("bert.embedding_length", U32, WIDTH),
    pair("bert.feed_forward_length", U32, HIDDEN),
    pair("bert.attention.head_count", U32, 2),
    pair("bert.attention.layer_norm_epsilon", F32, 1e-12),
    pair("bert.attention.causal", BOOL, False),
    pair("bert.pooling_type", U32, 1),
    pair("tokenizer.ggml.model", STRING, "bert"),
    pair("tokenizer.ggml.token_type_count", U32, 2),
    pair("tokenizer.ggml.padding_token_id", U32, 0),
    pair("tokenizer.ggml.unknown_token_id", U32, 1),
    pair("tokenizer.ggml.cls_token_id", U32, 2),
    pair("tokenizer.ggml.bos_token_id", U32, 2),
    pair("tokenizer.ggml.seperator_token_id", U32, 3),
    pair("tokenizer.ggml.eos_token_id", U32, 3),
    array("tokenizer.ggml.tokens", STRING, TOKENS),
    array("tokenizer.ggml.token_type", I32, [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL))),
]

ALIGN = 32
head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
data = b""
for name, shape, fill in tensors:
    count = 1
    for n in shape:
        count *= n
    head += string(name) + struct.pack("<I", len(shape)) + struct.pack("<%dQ" % len(shape), *shape)
    head += struct.pack("<IQ", 0, len(data))
    data += struct.pack("<%df" % count, *fill(count))
    data += b"\0" * (-len(data) % ALIGN)
with open(sys.argv[1], "wb") as f:
    f.write(head + b"\0" * (-len(head) % ALIGN) + data)
