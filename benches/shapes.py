"""Writes models with random weights in the shapes of published ones, to measure loading, memory and speed.

    pip install numpy
    python shapes.py bonsai-1.7b OUT.gguf       Qwen3 with groups of 128 (Q2_0), one ternary table for embedding and head
    python shapes.py 2b-4t OUT                  BitNet b1.58 2B-4T, packed, for transformers
    python shapes.py 0.7b OUT.gguf FROM.gguf    a Llama of 0.7 B (TQ2_0, the embedding Q8_0) with another's tokenizer, to be
                                                served; needs `pip install gguf` too

There is no tokenizer in the first two: `bitnet bench OUT`, `bitnet inspect OUT`.
"""

import json
import pathlib
import struct
import sys

import numpy as np

random = np.random.default_rng(158)


def codes(rows, cols):
    """Four codes a byte, none of them 3: 0, 1 and 2 for -1, 0 and 1."""
    parts = random.integers(0, 3, (4, rows, cols // 4), dtype=np.uint8)
    return parts[0] | parts[1] << 2 | parts[2] << 4 | parts[3] << 6


def bonsai(path):
    layers, hidden, inner, heads, kv, head, vocab = 28, 2048, 6144, 16, 8, 128, 151669
    matrices = {
        "attn_q": (heads * head, hidden),
        "attn_k": (kv * head, hidden),
        "attn_v": (kv * head, hidden),
        "attn_output": (hidden, heads * head),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    norms = {"attn_norm": hidden, "ffn_norm": hidden, "attn_q_norm": head, "attn_k_norm": head}
    tensors = [("token_embd", (vocab, hidden)), ("output_norm", (hidden,))]
    for layer in range(layers):
        named = {**matrices, **{name: (size,) for name, size in norms.items()}}
        tensors += [(f"blk.{layer}.{name}", shape) for name, shape in named.items()]

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    def key(name, kind, value):
        packed = text(value) if kind == 8 else struct.pack({4: "<I", 6: "<f"}[kind], value)
        return text(name) + struct.pack("<I", kind) + packed

    sizes = {
        "block_count": layers,
        "context_length": 32768,
        "embedding_length": hidden,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.head_count_kv": kv,
        "attention.key_length": head,
        "attention.value_length": head,
    }
    keys = [key("general.architecture", 8, "qwen3")]
    keys += [key(f"qwen3.{name}", 4, size) for name, size in sizes.items()]
    keys += [key("qwen3.attention.layer_norm_rms_epsilon", 6, 1e-6), key("qwen3.rope.freq_base", 6, 1e6)]

    def size(shape):
        return shape[0] * 4 if len(shape) == 1 else shape[0] * shape[1] // 128 * 34

    out, offset = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys), 0
    for name, shape in tensors:
        kind = 0 if len(shape) == 1 else 42
        out += text(name + ".weight") + struct.pack("<I", len(shape))
        out += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, offset)
        offset += -(-size(shape) // 32) * 32
    with open(path, "wb") as file:
        file.write(out + bytes(-len(out) % 32))
        for _, shape in tensors:
            if len(shape) == 1:
                data = np.ones(shape, np.float32).tobytes()
            else:
                groups = shape[0] * shape[1] // 128
                blocks = np.empty((groups, 34), np.uint8)
                blocks[:, :2] = random.uniform(0.01, 0.03, groups).astype(np.float16).view(np.uint8).reshape(groups, 2)
                blocks[:, 2:] = codes(groups, 128)
                data = blocks.tobytes()
            file.write(data + bytes(-len(data) % 32))


def bitnet(folder):
    layers, hidden, inner, heads, kv, head, vocab = 30, 2560, 6912, 20, 5, 128, 128256
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    config = {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "max_position_embeddings": 4096,
        "hidden_act": "relu2",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    linear = {
        "self_attn.q_proj": (heads * head, hidden),
        "self_attn.k_proj": (kv * head, hidden),
        "self_attn.v_proj": (kv * head, hidden),
        "self_attn.o_proj": (hidden, heads * head),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    norms = {
        "input_layernorm": hidden,
        "post_attention_layernorm": hidden,
        "self_attn.attn_sub_norm": hidden,
        "mlp.ffn_sub_norm": inner,
    }
    tensors = [("model.embed_tokens.weight", "BF16", [vocab, hidden]), ("model.norm.weight", "BF16", [hidden])]
    for layer in range(layers):
        for name, (rows, cols) in linear.items():
            name = f"model.layers.{layer}.{name}.weight"
            tensors += [(name, "U8", [rows // 4, cols]), (name + "_scale", "BF16", [1])]
        tensors += [(f"model.layers.{layer}.{name}.weight", "BF16", [size]) for name, size in norms.items()]
    header, offset = {}, 0
    for name, dtype, shape in tensors:
        end = offset + int(np.prod(shape)) * (1 if dtype == "U8" else 2)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name, dtype, shape in tensors:
            if dtype == "U8":
                data = codes(shape[0], 4 * shape[1])
            else:
                # The upper half of a float: 1 for norms and scales.
                ones = len(shape) == 1
                floats = np.ones(shape, np.float32) if ones else random.normal(0, 0.02, shape).astype(np.float32)
                data = (floats.view(np.uint32) >> 16).astype(np.uint16)
            file.write(data.tobytes())


def llama(path, tokenizer):
    import gguf

    hidden, inner, layers, heads, vocab = 1536, 4096, 24, 16, 49152
    ternary, bytes8 = gguf.GGMLQuantizationType.TQ2_0, gguf.GGMLQuantizationType.Q8_0
    out = gguf.GGUFWriter(path, "llama")
    out.add_block_count(layers)
    out.add_context_length(8192)
    out.add_embedding_length(hidden)
    out.add_feed_forward_length(inner)
    out.add_head_count(heads)
    out.add_head_count_kv(heads)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(hidden // heads)
    out.add_rope_freq_base(10000.0)
    out.add_vocab_size(vocab)
    for name, field in gguf.GGUFReader(tokenizer).fields.items():
        if name.startswith("tokenizer."):
            if field.types[0] == gguf.GGUFValueType.ARRAY:
                out.add_array(name, field.contents())
            else:
                out.add_key_value(name, field.contents(), field.types[0])

    def add(name, values, kind):
        out.add_tensor(name + ".weight", gguf.quants.quantize(values, kind), raw_dtype=kind)

    matrices = {
        "attn_q": (hidden, hidden),
        "attn_k": (hidden, hidden),
        "attn_v": (hidden, hidden),
        "attn_output": (hidden, hidden),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    add("token_embd", random.normal(0, 0.05, (vocab, hidden)).astype(np.float32), bytes8)
    out.add_tensor("output_norm.weight", np.ones(hidden, np.float32))
    for layer in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            out.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(hidden, np.float32))
        for name, shape in matrices.items():
            values = random.integers(-1, 2, shape).astype(np.float32) * np.float32(1.2 / shape[1] ** 0.5)
            add(f"blk.{layer}.{name}", values, ternary)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


{"bonsai-1.7b": bonsai, "2b-4t": bitnet, "0.7b": llama}[sys.argv[1]](*sys.argv[2:])
