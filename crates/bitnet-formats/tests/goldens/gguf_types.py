"""Writes types.gguf and q2_0_old.gguf (each with .safetensors) and metadata.gguf: every tensor type and what it holds.

    pip install gguf==0.19.0 numpy safetensors
    python gguf_types.py

F32, F16, BF16, Q8_0, Q4_0, Q4_1, TQ1_0 and TQ2_0 are encoded and decoded by the gguf package, Q6_K is decoded by it. I2_S,
Q2_0, PQ2_0 and PTQ1_0 are not in it: they are packed here in plain loops from their descriptions, one weight at a time.
types.safetensors, written by the safetensors package, holds for each tensor NAME of types.gguf:
NAME.source (the floats it was encoded from), NAME.values (the floats it decodes to) and for ternary types NAME.codes (i8)
and NAME.scales (f32, one a block).
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFReader, GGUFWriter, quants
from safetensors.numpy import save_file

HERE = Path(__file__).parent
ROWS, COLS = 3, 512
rng = np.random.default_rng(158)


def floats():
    """Normal values, with a block of zeros, a huge and a tiny block."""
    x = rng.standard_normal((ROWS, COLS)).astype(np.float32)
    x[0, :256] = 0
    x[1, :256] *= 1000
    x[1, 256:] *= 1e-4
    return x


def ternary(group):
    """Codes, one f16 scale for each group, and the product of both."""
    codes = rng.integers(-1, 2, (ROWS, COLS)).astype(np.int8)
    scales = rng.uniform(0.01, 2, (ROWS, COLS // group)).astype(np.float16)
    scales[0, 0], scales[1, 1] = 6.1e-5, 60000
    # Each group has a code that is not 0, so that max|w| is its scale.
    codes[:, ::group] = 1
    values = codes.astype(np.float32) * np.repeat(scales.astype(np.float32), group, axis=1)
    return codes, scales.astype(np.float32), values


def i2_s(codes, scale, block):
    """Blocks of `block` weights: byte p holds p, p + block/4, ... from the high bits down; then the scale."""
    flat = codes.ravel() + 1
    out = bytearray(flat.size // 4)
    for i, code in enumerate(flat):
        b, j = divmod(i, block)
        n, p = divmod(j, block // 4)
        out[b * block // 4 + p] |= int(code) << (6 - 2 * n)
    return bytes(out) + struct.pack("<f", scale) + bytes(28)


def q2_0(codes, scales, group):
    """f16 scale, then code j in bits 2(j % 4) of byte j / 4."""
    out = b""
    for block, scale in zip(codes.reshape(-1, group), scales.ravel()):
        qs = bytearray(group // 4)
        for j, code in enumerate(block):
            qs[j // 4] |= int(code + 1) << (2 * (j % 4))
        out += struct.pack("<e", scale) + bytes(qs)
    return out


def ptq1_0(codes, scales):
    """qs[24], qh[2] of base-3 fractions, then the f16 scale."""
    out = b""
    for block, scale in zip(codes.reshape(-1, 128), scales.ravel()):
        sums = [0] * 26
        for e, code in enumerate(block):
            if e < 80:
                n, byte = e // 16, e % 16
            elif e < 120:
                n, byte = (e - 80) // 8, 16 + (e - 80) % 8
            else:
                n, byte = (e - 120) // 2, 24 + (e - 120) % 2
            sums[byte] += int(code + 1) * 3 ** (4 - n)
        out += bytes(-(-256 * v // 243) for v in sums) + struct.pack("<e", scale)
    return out


def string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def write(path, tensors, alignment=32):
    """A GGUF file by hand, for types that the package does not know: {name: (type id, dims columns first, bytes)}."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    head += string("general.architecture") + struct.pack("<I", 8) + string("test")
    data = b""
    for name, (ty, dims, raw) in tensors.items():
        head += string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        head += struct.pack("<IQ", ty, len(data))
        data += raw + bytes(-len(raw) % alignment)
    path.write_bytes(head + bytes(-len(head) % alignment) + data)


def main():
    expected = {}
    tensors = {}
    dims = (COLS, ROWS)

    for ty in (T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1):
        x = floats()
        raw = quants.quantize(x, ty)
        tensors[ty.name] = (ty.value, dims, raw.tobytes())
        expected[f"{ty.name}.source"] = x
        expected[f"{ty.name}.values"] = quants.dequantize(raw, ty).astype(np.float32)

    raw = rng.integers(0, 256, (ROWS, COLS // 256, 210)).astype(np.uint8)
    raw[:, :, 208:] = rng.uniform(0.001, 1, (ROWS, COLS // 256, 1)).astype(np.float16).view(np.uint8)
    raw = raw.reshape(ROWS, -1)
    tensors["Q6_K"] = (T.Q6_K.value, dims, raw.tobytes())
    expected["Q6_K.values"] = quants.dequantize(raw, T.Q6_K)

    for ty in (T.TQ1_0, T.TQ2_0):
        codes, scales, x = ternary(256)
        raw = quants.quantize(x, ty)
        tensors[ty.name] = (ty.value, dims, raw.tobytes())
        values = quants.dequantize(raw, ty)
        assert (values == x).all()
        expected |= {f"{ty.name}.{k}": v for k, v in
                     dict(source=x, values=values, codes=codes, scales=scales).items()}

    for name, id, group in (("Q2_0", 42, 64), ("PQ2_0", 142, 128), ("PTQ1_0", 143, 128)):
        codes, scales, x = ternary(group)
        raw = ptq1_0(codes, scales) if name == "PTQ1_0" else q2_0(codes, scales, group)
        tensors[name] = (id, dims, raw)
        expected |= {f"{name}.{k}": v for k, v in
                     dict(source=x, values=x, codes=codes, scales=scales).items()}

    for name, block in (("I2_S", 128), ("I2_S_ARM", 64)):
        codes, _, _ = ternary(128)
        scale = np.float32(0.123456789)
        tensors[name] = (36, dims, i2_s(codes, scale, block))
        expected |= {f"{name}.codes": codes, f"{name}.values": codes * scale,
                     f"{name}.scales": np.array([scale])}

    write(HERE / "types.gguf", tensors)
    save_file({k: np.ascontiguousarray(v) for k, v in expected.items()}, HERE / "types.safetensors")

    # The old PQ2_0, which has the id of Q2_0.
    codes, scales, x = ternary(128)
    write(HERE / "q2_0_old.gguf", {"Q2_0": (42, dims, q2_0(codes, scales, 128))})
    save_file({"Q2_0.codes": codes, "Q2_0.scales": scales}, HERE / "q2_0_old.safetensors")

    # All types of metadata and two tensors, written by the package.
    writer = GGUFWriter(HERE / "metadata.gguf", "test")
    for name, value in dict(u8=255, i8=-128, u16=65535, i16=-32768, u32=2**32 - 1, i32=-(2**31)).items():
        {"u8": writer.add_uint8, "i8": writer.add_int8, "u16": writer.add_uint16, "i16": writer.add_int16,
         "u32": writer.add_uint32, "i32": writer.add_int32}[name](f"test.{name}", value)
    writer.add_uint64("test.u64", 2**64 - 1)
    writer.add_int64("test.i64", -(2**63))
    writer.add_float32("test.f32", 1.5)
    writer.add_float64("test.f64", -2.25)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "Grüße, 世界")
    writer.add_array("test.strings", ["a", "", "ü"])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -0.25])
    writer.add_array("test.bools", [True, False])
    writer.add_tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("b", np.arange(24, dtype=np.float16).reshape(2, 3, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    GGUFReader(HERE / "metadata.gguf")


if __name__ == "__main__":
    main()
