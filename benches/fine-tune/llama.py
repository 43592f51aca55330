"""Trains a float Llama of 10 million parameters on a text and saves it as a folder of transformers.

    pip install torch==2.15.0 transformers==5.24.0 tokenizers
    python llama.py tinyshakespeare.txt llama-10m --steps 600

The tokenizer is a byte-level BPE of 1,024 tokens, cut as GPT-2 cuts. The last tenth of the text is not trained on.
"""

import argparse
import time

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

parser = argparse.ArgumentParser()
parser.add_argument("text")
parser.add_argument("folder")
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--context", type=int, default=128)
args = parser.parse_args()

torch.manual_seed(158)
text = open(args.text, encoding="utf-8").read()
split = int(len(text) * 0.9)

bpe = ByteLevelBPETokenizer()
bpe.train_from_iterator([text[:split]], vocab_size=1024, special_tokens=["<|endoftext|>"], show_progress=False)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=bpe._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
)
train, held_out = (torch.tensor(bpe.encode(part).ids) for part in (text[:split], text[split:]))

# Widths that are whole blocks of 256: every ternary type of GGUF takes them.
config = LlamaConfig(
    vocab_size=1024,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=12,
    num_attention_heads=8,
    num_key_value_heads=4,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=0,
)
model = LlamaForCausalLM(config)
print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(train):,} tokens to train on")


def batch(at):
    rows = torch.stack([train[i : i + args.context + 1] for i in at])
    return rows[:, :-1], rows[:, 1:]


def loss_of(inputs, targets):
    logits = model(input_ids=inputs).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def evaluate():
    model.eval()
    windows = held_out[: (len(held_out) - 1) // args.context * args.context + 1]
    losses = []
    with torch.no_grad():
        for start in range(0, len(windows) - 1, args.context):
            part = windows[start : start + args.context + 1][None]
            losses.append(loss_of(part[:, :-1], part[:, 1:]).item())
    model.train()
    return sum(losses) / len(losses)


optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
warm_up = max(1, args.steps // 20)
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=2e-3, total_steps=args.steps, pct_start=warm_up / args.steps
)
start = time.time()
for step in range(args.steps):
    at = torch.randint(0, len(train) - args.context - 1, (args.batch,)).tolist()
    loss = loss_of(*batch(at))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    if step % 25 == 24:
        print(f"step {step + 1}: loss {loss.item():.4f}, {time.time() - start:.0f} s", flush=True)

print(f"held-out loss {evaluate():.4f}")
model.save_pretrained(args.folder)
tokenizer.save_pretrained(args.folder)
