"""Writes hf/embedding.safetensors: what BitNet-embedding, as its parts are published, makes of the checkpoint hf/embedding.

    pip install torch==2.15.0 transformers==5.24.0 safetensors
    TORCHDYNAMO_DISABLE=1 python hf_embedding.py        # after hf_models.py

transformers has no class for it: its Qwen3Model runs with the linear layers replaced by a norm of their own, absmax int8 of
each token and absmean codes of the bf16 masters, in f32. `states` [8, hidden] are the hidden states of the tokens 0, 5, ... 35
after the final norm, `embedding` [hidden] is that of the last one (last-token pooling) with length 1.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoConfig, Qwen3Model
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

HERE = Path(__file__).parent / "hf"
TOKENS = torch.arange(0, 40, 5)[None]


class BitLinear(torch.nn.Module):
    def __init__(self, weight, gamma, eps):
        super().__init__()
        self.norm = Qwen3RMSNorm(len(gamma), eps)
        self.norm.weight.data = gamma
        scale = 1 / weight.abs().mean().clamp(min=1e-5)
        self.weight = (weight * scale).round().clamp(-1, 1) / scale

    def forward(self, x):
        x = self.norm(x)
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        return F.linear((x * scale).round().clamp(-128, 127) / scale, self.weight)


state = {k: v.float() for k, v in load_file(HERE / "embedding" / "model.safetensors").items()}
config = AutoConfig.from_pretrained(HERE / "embedding")
model = Qwen3Model(config).float().eval()
missing, unexpected = model.load_state_dict(state, strict=False)
assert not missing and all(name.endswith("_proj.norm.weight") for name in unexpected), (missing, unexpected)
for name, module in list(model.named_modules()):
    if name.endswith("_proj"):
        parent = model.get_submodule(name.rpartition(".")[0])
        layer = BitLinear(state[name + ".weight"], state[name + ".norm.weight"], config.rms_norm_eps)
        setattr(parent, name.rpartition(".")[2], layer)
with torch.no_grad():
    states = model(TOKENS).last_hidden_state[0]
embedding = F.normalize(states[-1], dim=0)
save_file({"states": states.contiguous(), "embedding": embedding}, HERE / "embedding.safetensors")
