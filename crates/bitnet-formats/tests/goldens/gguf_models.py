"""Writes gguf/MODEL.gguf (tiny random models of each architecture) and gguf/MODEL.safetensors (what they hold).

    pip install gguf==0.19.0 numpy safetensors
    python gguf_models.py

Metadata and the container are written by the gguf package, with the names of its own table; TQ1_0 and TQ2_0 are packed by
it, I2_S and Q2_0 by gguf_types.py. MODEL.safetensors has the matrices in Hugging Face's order: NAME.codes (i8) of ternary
ones, NAME.values (f32) of others, for the embedding, k of layer 0, and q where its rows are turned, by their GGUF names.
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter, quants
from safetensors.numpy import save_file

from gguf_types import i2_s, q2_0

HERE = Path(__file__).parent / "gguf"
HERE.mkdir(exist_ok=True)
rng = np.random.default_rng(25)
I2_S, Q2_0 = 36, 42
GGML_QUANT_SIZES[I2_S], GGML_QUANT_SIZES[Q2_0] = (128, 32), (64, 18)


def permute(w, heads):
    """Rows of each head from halves to pairs: what llama.cpp's converter does to q and k of Llama."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def encode(w, codes, scale, ty):
    if ty == I2_S:
        return np.frombuffer(i2_s(codes, scale, 128), np.uint8)
    if ty == Q2_0:
        return np.frombuffer(q2_0(codes, np.full(codes.size // 64, scale), 64), np.uint8)
    return quants.quantize(w, ty)


def model(name, arch, ty, hidden, layers=1, heads=4, kv_heads=2, head_dim=None, norms=(), head=False,
          embedding=GGMLQuantizationType.F16, rope_freqs=False, pre="llama-bpe", interleaved=False, keys=()):
    vocab, inner = 32, hidden
    dim = head_dim or hidden // heads
    writer = GGUFWriter(HERE / f"{name}.gguf", arch)
    writer.add_name(name)
    writer.add_vocab_size(vocab)
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5e5)
    writer.add_rope_dimension_count(dim)
    if head_dim:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_tokenizer_model("gpt2")
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([f"t{i}" for i in range(vocab)])
    writer.add_token_merges(["t 1", "t 2"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(5)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{{ messages }}")
    for key, value in keys:
        writer.add_float32(key, value) if isinstance(value, float) else writer.add_string(key, value)

    data, expected = [], {}

    def tensor(tensor_name, shape, ty, keep=False, turn=0):
        full = f"{tensor_name}.weight"
        scale = np.float32(np.float16(rng.uniform(0.01, 0.05)))
        if len(shape) == 1:
            w, codes = (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32), None
        elif ty in (I2_S, Q2_0, GGMLQuantizationType.TQ1_0, GGMLQuantizationType.TQ2_0):
            codes = rng.integers(-1, 2, shape).astype(np.int8)
            codes[:, ::64] = 1
            w = codes * scale
        else:
            w, codes = (0.05 * rng.standard_normal(shape)).astype(np.float32), None
        if keep and codes is not None:
            expected[f"{full}.codes"] = codes
            expected[f"{full}.scale"] = np.array([scale])
        elif keep:
            expected[f"{full}.values"] = quants.dequantize(quants.quantize(w, ty), ty).astype(np.float32)
        if turn:
            w = permute(w, turn)
            codes = permute(codes, turn) if codes is not None else None
        raw = np.ascontiguousarray(encode(w, codes, scale, ty))
        byte_shape = w.shape
        if raw.dtype == np.uint8:
            weights, size = GGML_QUANT_SIZES[ty]
            byte_shape = (*w.shape[:-1], w.shape[-1] // weights * size)
        writer.add_tensor_info(full, byte_shape, raw.dtype, raw.nbytes, ty)
        data.append(raw)

    F32 = GGMLQuantizationType.F32
    tensor("token_embd", (vocab, hidden), embedding, keep=True)
    for n in range(layers):
        turn = (lambda heads: heads) if interleaved else (lambda heads: 0)
        tensor(f"blk.{n}.attn_norm", (hidden,), F32)
        tensor(f"blk.{n}.attn_q", (heads * dim, hidden), ty, n == 0 and interleaved, turn(heads))
        tensor(f"blk.{n}.attn_k", (kv_heads * dim, hidden), ty, n == 0, turn(kv_heads))
        tensor(f"blk.{n}.attn_v", (kv_heads * dim, hidden), ty)
        tensor(f"blk.{n}.attn_output", (hidden, heads * dim), ty)
        tensor(f"blk.{n}.ffn_norm", (hidden,), F32)
        tensor(f"blk.{n}.ffn_gate", (inner, hidden), ty)
        tensor(f"blk.{n}.ffn_up", (inner, hidden), ty)
        tensor(f"blk.{n}.ffn_down", (hidden, inner), ty)
        for norm in norms:
            size = {"attn_sub_norm": heads * dim, "ffn_sub_norm": inner}.get(norm, dim)
            tensor(f"blk.{n}.{norm}", (size,), F32)
    tensor("output_norm", (hidden,), F32)
    if head:
        tensor("output", (vocab, hidden), embedding)
    if rope_freqs:
        tensor("rope_freqs", (dim // 2,), F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for raw in data:
        writer.write_tensor_data(raw)
    writer.close()
    if ty not in (I2_S, Q2_0):
        GGUFReader(HERE / f"{name}.gguf")
    save_file({k: np.ascontiguousarray(v) for k, v in expected.items()}, HERE / f"{name}.safetensors")


T = GGMLQuantizationType
SUB = ("attn_sub_norm", "ffn_sub_norm")
model("bitnet-b1.58", "bitnet-b1.58", I2_S, 128, norms=SUB, pre=None)
model("bitnet", "bitnet", T.TQ1_0, 256, norms=SUB, embedding=T.F32, pre="default")
model("llama", "llama", T.TQ2_0, 256, head=True, interleaved=True)
model("llama-float", "llama", T.Q8_0, 64, layers=2, embedding=T.Q4_1, rope_freqs=True, interleaved=True, pre="smollm")
YARN = (("qwen3.rope.scaling.type", "yarn"), ("qwen3.rope.scaling.factor", 4.0))
model("qwen3", "qwen3", Q2_0, 64, layers=2, head_dim=32, norms=("attn_q_norm", "attn_k_norm"), embedding=Q2_0,
      pre="qwen2", keys=YARN)
