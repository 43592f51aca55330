"""The loss of a folder of transformers on a text, in windows as `bitnet eval --context 128` has them.

    pip install torch==2.15.0 transformers==5.24.0 accelerate
    python loss.py FOLDER TEXT
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, text = sys.argv[1:]
context = 128
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
ids = AutoTokenizer.from_pretrained(folder)(open(text, encoding="utf-8").read(), return_tensors="pt").input_ids[0]
total, count = 0.0, 0
with torch.no_grad():
    for start in range(0, len(ids) - 1, context):
        window = ids[start : start + context + 1][None]
        logits = model(input_ids=window[:, :-1]).logits[0].float()
        total += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()
        count += window.shape[1] - 1
print(f"{count:,} tokens, loss {total / count:.4f}")
