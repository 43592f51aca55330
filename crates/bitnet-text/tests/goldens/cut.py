"""Writes cut/NAME.json (tiny tokenizers), cut/NAME.gguf (models with one) and cut.json (their ids).

    pip install tokenizers==0.23.3 transformers==5.24.0 sentencepiece==0.2.3 gguf==0.19.0
    python cut.py

Byte-level BPE is trained and run by `tokenizers`; the GGUF files hold the same vocabulary with the name of its cut, and
llama.cpp gives the same ids where it is installed (llama-cpp-python; the script says so). SentencePiece is trained and run
by `sentencepiece` with Llama's settings. "plain": special tokens are text; "special": they are tokens; "whole": with what
the model puts around a text.
"""

import io
import json
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
OUT = HERE / "cut"
OUT.mkdir(exist_ok=True)
CORPUS = (HERE / "corpus.txt").read_text().splitlines(keepends=True)
TEXTS = [
    "",
    "Hello world",
    "  leading and   inner    spaces  ",
    "tabs\tand\n\nlines\r\n  \n end",
    "It's what they'LL do; don't we've 12345678 3.14 x²",
    "Käse für 5 €, naïve café, Ελληνικά, русский, 中文字符, 日本語テスト, 한국어, עברית, हिन्दी",
    "emoji 😀👩‍👩‍👧 🏳️‍🌈 é e\u0301 ﬁ Å \u00a0\u3000 \u200b zero",
    "fn main() { let x = vec![1_u8; 10]; println!(\"{x:?}\"); } // done",
    "<|im_start|>user\nhi<|im_end|>\n<tool>x</tool> <|im_end",
    "<s>[INST] a </s> b<unk>",
    "aaaaaaaaaaaaaaa bbbb          cccc",
    "\U0001f1e9\U0001f1ea\ufeff\u0000\u0001 control",
]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
SPECIAL = ["<|im_start|>", "<|im_end|>"]


def split(expression):
    cut = pre_tokenizers.Split(Regex(expression), "isolated")
    return [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


CUTS = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": split(LLAMA3),
    "qwen2": split(QWEN2),
}


def byte_level(name):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(CUTS[name])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    if name == "llama-bpe":
        bos = tokenizer.token_to_id(SPECIAL[0])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=SPECIAL[0] + " $A", special_tokens=[(SPECIAL[0], bos)]
        )
    return tokenizer


def spaced():
    """Llama 2's: spaces as U+2581, bytes for what is unknown."""
    vocab, merges = {}, []
    pieces = sentence_piece()
    for index in range(pieces.get_piece_size()):
        vocab[pieces.id_to_piece(index)] = index
    by_score = sorted(vocab, key=lambda piece: -pieces.get_score(vocab[piece]))
    for piece in by_score:
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        merges += [cut for cut in cuts if cut[0] in vocab and cut[1] in vocab and not piece.startswith("<")]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ["<unk>", "<s>", "</s>"]])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def sentence_piece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line.rstrip("\n") for line in CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=480,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        user_defined_symbols=["<tool>"],
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_gguf(name, kind, tokens, types, pre=None, merges=None, scores=None, bos=None, eos=None):
    """A Llama of one layer of zeros."""
    path = OUT / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in [
        (writer.add_block_count, 1),
        (writer.add_context_length, 64),
        (writer.add_embedding_length, 4),
        (writer.add_feed_forward_length, 4),
        (writer.add_head_count, 2),
        (writer.add_layer_norm_rms_eps, 1e-5),
        (writer.add_rope_dimension_count, 2),
        (writer.add_vocab_size, len(tokens)),
        (writer.add_tokenizer_model, kind),
        (writer.add_token_list, tokens),
        (writer.add_token_types, types),
    ]:
        add(value)
    if pre:
        writer.add_tokenizer_pre(pre)
        writer.add_token_merges(merges)
    if scores:
        writer.add_token_scores(scores)
    if bos is not None:
        writer.add_bos_token_id(bos)
        writer.add_eos_token_id(eos)
    block = {"attn_norm": 4, "ffn_norm": 4}
    block |= {name: (4, 4) for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]}
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 4), np.float16))
    writer.add_tensor("output_norm.weight", np.ones(4, np.float32))
    for tensor, shape in block.items():
        dtype = np.float32 if isinstance(shape, int) else np.float16
        writer.add_tensor(f"blk.0.{tensor}.weight", np.ones(shape, dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_llama_cpp(name, expected):
    try:
        from llama_cpp import Llama
    except ImportError:
        return print(name, "not compared with llama.cpp")
    model = Llama(str(OUT / f"{name}.gguf"), vocab_only=True, verbose=False)
    for text, ids in zip(TEXTS, expected):
        for key, special, bos in [("plain", False, False), ("special", True, False), ("whole", False, True)]:
            found = model.tokenize(text.encode(), add_bos=bos, special=special)
            if found != ids[key]:
                print(name, key, repr(text), found, ids[key])


expected = {}


def run(name, tokenizer):
    rows = []
    for text in TEXTS:
        row = {"text": text}
        for key, encode_special, add in [("plain", True, False), ("special", False, False), ("whole", True, True)]:
            tokenizer.encode_special_tokens = encode_special
            row[key] = tokenizer.encode(text, add_special_tokens=add).ids
        tokenizer.encode_special_tokens = False
        rows.append(row)
    expected[name] = rows
    tokenizer.save(str(OUT / f"{name}.json"), pretty=False)


for name in CUTS:
    tokenizer = byte_level(name)
    run(name, tokenizer)
    model = json.loads(tokenizer.to_str())["model"]
    added = tokenizer.get_added_tokens_decoder()
    size = tokenizer.get_vocab_size()
    # Two rows more than tokens, as in many models.
    tokens = [tokenizer.id_to_token(index) for index in range(size)] + ["[PAD0]", "[PAD1]"]
    types = [3 if index in added and added[index].special else 4 if index in added else 1 for index in range(size)] + [5, 5]
    bos, eos = (tokenizer.token_to_id(text) for text in SPECIAL)
    write_gguf(name, "gpt2", tokens, types, pre=name, merges=[" ".join(pair) for pair in model["merges"]], bos=bos, eos=eos)
    if name != "qwen2":
        check_llama_cpp(name, expected[name])

run("spaced", spaced())

pieces = sentence_piece()
count = range(pieces.get_piece_size())
kinds = [
    6 if pieces.is_byte(i) else 2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 4 if pieces.id_to_piece(i) == "<tool>" else 1
    for i in count
]
tokens = [pieces.id_to_piece(i) for i in count]
scores = [pieces.get_score(i) for i in count]
write_gguf("sentencepiece", "llama", tokens, kinds, scores=scores, bos=1, eos=2)
# The library puts no space after a user-defined piece, llama.cpp does after a special token: only texts without either.
rows = []
for text in TEXTS:
    if "<" not in text and "\0" not in text:
        ids = pieces.encode(text)
        rows.append({"text": text, "plain": ids, "special": ids, "whole": [1] + ids})
expected["sentencepiece"] = rows
check_llama_cpp("sentencepiece", rows)

text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
(HERE / "cut.json").write_text(text + "\n")
print({path.name: path.stat().st_size for path in sorted(OUT.iterdir())}, len(text))
