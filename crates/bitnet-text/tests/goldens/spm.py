"""Golden ids of SentencePiece's own library, for a `tokenizer.model` as Llama's: BPE with bytes for what has no piece.

    pip install sentencepiece==0.2.3
    python spm.py

Writes spm/tokenizer.model and spm.json beside this file.
"""

import io
import json
import pathlib

import sentencepiece

here = pathlib.Path(__file__).parent
folder = here / "spm"
folder.mkdir(exist_ok=True)
corpus = (here / "corpus.txt").read_text(encoding="utf-8")

model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(corpus.splitlines()),
    model_writer=model,
    model_type="bpe",
    vocab_size=420,
    byte_fallback=True,
    character_coverage=0.98,
    normalization_rule_name="identity",
    remove_extra_whitespaces=False,
    split_digits=True,
    user_defined_symbols=["<tool>"],
    num_threads=1,
    minloglevel=2,
)
(folder / "tokenizer.model").write_bytes(model.getvalue())

library = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
texts = [line for line in corpus.splitlines() if line.strip()][:200]
texts += ["", " ", "   ", "a", " a", "a  b", "\t\n", "<tool>", "a<tool> b", "<s>", "日本語 🙂", "é\u0301", "x" * 40]
golden = [{"text": text, "ids": library.encode(text), "decoded": library.decode(library.encode(text))} for text in texts]
with open(here / "spm.json", "w", encoding="utf-8") as out:
    json.dump(golden, out, ensure_ascii=False, indent=0)
    out.write("\n")
print(len(golden), "texts,", library.get_piece_size(), "pieces")
