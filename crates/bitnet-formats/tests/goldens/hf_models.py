"""Writes hf/FAMILY/ (tiny random checkpoints of each family) and hf/FAMILY.safetensors (what they hold).

    pip install torch==2.15.0 transformers==5.24.0 safetensors
    TORCHDYNAMO_DISABLE=1 python hf_models.py

Each checkpoint is loaded by transformers, except where its class is not there (onebit, embedding). FAMILY.safetensors has
logits [8, vocab] of the tokens 0, 5, 10, ... 35 (`logits`) where transformers computed them, and for ternary projections
NAME.codes (i8) and NAME.scales (f32, as stored).
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BitNetConfig,
    BitNetForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.integrations.bitnet import BitLinear, pack_weights

HERE = Path(__file__).parent / "hf"
shutil.rmtree(HERE, ignore_errors=True)
TOKENS = torch.arange(0, 40, 5)[None]
SHAPE = dict(
    vocab_size=48,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=None,
)
torch.manual_seed(158)


def is_projection(name):
    return name.endswith("_proj.weight")


def random_state(model, dtype=torch.float32):
    """Weights of all tensors: norms around 1, the rest normal."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        x = torch.randn(tensor.shape)
        state[name] = (1 + 0.1 * x if tensor.ndim == 1 else 0.3 * x).to(dtype)
    return state


def absmean(w):
    """Codes and the multiplier 1 / mean|w|, as `WeightQuant` does, in f32."""
    scale = 1.0 / w.float().abs().mean().clamp_(min=1e-5)
    return (w.float() * scale).round().clamp(-1, 1), scale


def ternary(state, group):
    """Replaces matrices by -s, 0, s in f16, one s for `group` columns (None: a row). Returns codes and scales."""
    expected = {}
    for name, w in state.items():
        if w.ndim == 2 and (group or is_projection(name)):
            groups = w.reshape(-1, group or w.shape[1])
            codes = torch.stack([absmean(g)[0] for g in groups])
            scales = groups.float().abs().mean(1, keepdim=True).half()
            state[name] = (codes * scales).half().reshape(w.shape)
            expected[name + ".codes"] = codes.to(torch.int8).reshape(w.shape)
            expected[name + ".scales"] = scales.float().flatten()
    return expected


def write(name, config, state, expected, quantization=None, load=True, **changes):
    folder = HERE / name
    folder.mkdir(parents=True)
    config = config.to_diff_dict() if not isinstance(config, dict) else config
    config |= SHAPE | changes
    if quantization:
        config["quantization_config"] = dict(quant_method="bitnet", **quantization)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    if load:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        # A quantised model stays in bf16 whatever is asked for: its parts are widened one by one.
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for key, tensor in tensors.items():
                    if tensor is not None and tensor.is_floating_point():
                        tensor.data = tensor.data.float()
            if isinstance(module, BitLinear):
                module.dtype = torch.float32
        with torch.no_grad():
            expected["logits"] = model(TOKENS).logits[0].float()
    if expected:
        save_file({k: v.contiguous().clone() for k, v in expected.items()}, HERE / f"{name}.safetensors")


def packed(state, invert):
    """The state with packed projections, their codes and scales."""
    stored, expected = {}, {}
    for name, w in state.items():
        if is_projection(name):
            codes, scale = absmean(w)
            scale = (scale if invert else 1 / scale).bfloat16().reshape(1)
            stored[name] = pack_weights(codes.clone())
            stored[name + "_scale"] = scale
            expected |= {name + ".codes": codes.to(torch.int8), name + ".scales": scale.float()}
        else:
            stored[name] = w
    return stored, expected


# BitNet 2B-4T: packed, scales multiply; the same in codes as floats; masters.
bitnet = BitNetForCausalLM(BitNetConfig(**SHAPE, tie_word_embeddings=True, hidden_act="relu2"))
masters = random_state(bitnet, torch.bfloat16)
stored, expected = packed(masters, invert=False)
auto = dict(linear_class="autobitlinear", quantization_mode="offline")
write("bitnet", bitnet.config, stored, expected, auto)
codes = {k: expected[k + ".codes"].bfloat16() if is_projection(k) else v for k, v in stored.items()}
write("bitnet-unpacked", bitnet.config, codes, dict(expected), auto)
online = dict(linear_class="autobitlinear", quantization_mode="online")
write("bitnet-online", bitnet.config, masters, {}, online)

# 1bitLLM: other names of the sub-norms, SiLU, f32 masters, no quantization_config, a class that is not in transformers.
def renamed(name):
    return name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm")

onebit = {renamed(k): v for k, v in random_state(bitnet).items()}
config = dict(
    architectures=["BitnetForCausalLM"], model_type="llama", hidden_act="silu", rms_norm_eps=1e-5,
    rope_theta=10000.0, rope_scaling=None, tie_word_embeddings=True, weight_bits=1, input_bits=8,
)
write("onebit", config, onebit, {}, load=False)

# Llama with scales that divide, an explicit head_dim and its own head.
llama = LlamaForCausalLM(LlamaConfig(**SHAPE, head_dim=24, tie_word_embeddings=False))
state = random_state(llama, torch.bfloat16)
stored, expected = packed(state, invert=True)
write("llama-bitlinear", llama.config, stored, expected, dict(modules_to_not_convert=["lm_head"]))

# Plain Llama in two files, with Llama 3.1's RoPE.
scaling = dict(rope_type="llama3", rope_theta=1e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=32)
llama = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False, rope_parameters=scaling))
state = random_state(llama)
llama.load_state_dict(state)
llama.save_pretrained(HERE / "llama-float", max_shard_size="50KB")
with torch.no_grad():
    logits = llama(TOKENS).logits[0]
save_file({"logits": logits}, HERE / "llama-float.safetensors")

# Llama with one scale a row in its floats (ParetoQ).
llama = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True))
state = random_state(llama, torch.float16)
expected = ternary(state, None)
write("llama-rows", llama.config, state, expected)

# Qwen3 with groups of 32 in all matrices, the embedding too (Bonsai), and YaRN.
yarn = dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=16)
WIDE = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1)
qwen3 = Qwen3Config(**SHAPE | WIDE, head_dim=32, tie_word_embeddings=True, rope_parameters=yarn)
qwen3 = Qwen3ForCausalLM(qwen3)
state = random_state(qwen3, torch.float16)
expected = ternary(state, 32)
write("qwen3-groups", qwen3.config, state, expected, **WIDE)

# BitNet-embedding: a norm in every projection, names without `model.`, no class in transformers.
qwen3 = Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=32, tie_word_embeddings=True))
state = {k.removeprefix("model."): w for k, w in random_state(qwen3, torch.bfloat16).items()}
for name in [k for k in state if is_projection(k)]:
    norm = (1 + 0.1 * torch.randn(state[name].shape[1])).bfloat16()
    state[name.replace(".weight", ".norm.weight")] = norm
config = qwen3.config.to_diff_dict() | dict(architectures=["Qwen3Model"])
write("embedding", config, state, {}, load=False)

# A tokenizer and what a folder says besides.
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[:45]
vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {c: i + 3 for i, c in enumerate(alphabet)}
tokenizer = Tokenizer(models.BPE(vocab, []))
tokenizer.add_special_tokens(["<s>", "</s>"])
tokenizer.save(str(HERE / "bitnet" / "tokenizer.json"))
template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|eot|>{% endfor %}"
config = dict(add_bos_token=True, chat_template=[dict(name="tool", template="-"), dict(name="default", template=template)])
(HERE / "bitnet" / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
config = dict(bos_token_id=1, eos_token_id=[2, 7], do_sample=True, temperature=0.6, top_p=0.9)
(HERE / "bitnet" / "generation_config.json").write_text(json.dumps(config, indent=1) + "\n")
