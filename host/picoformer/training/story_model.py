"""A small Llama decoder in plain torch, fast on CPUs; its tensors as Hugging Face names them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F


def llama_config(
    size: tuple[int, int, int, int, int], vocab: int, context: int, ends: tuple[int, int],
    **further: Any,
) -> dict[str, Any]:  # fmt: skip
    """config.json of a model of this kind, as Hugging Face's Llama reads it.

    size: dim, feed-forward, layers, heads, and heads of keys and values. ends: ids of BOS and EOS.
    further: what is otherwise, or added.
    """
    dim, hidden, layers, heads, kv_heads = size
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": dim,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": dim // heads,
        "vocab_size": vocab,
        "max_position_embeddings": context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": ends[0],
        "eos_token_id": ends[1],
    }
    return config | further | {"torch_dtype": "float16"}


class Layer(torch.nn.Module):
    """One Llama layer, its query, key and value and its gate and up matrices each in one."""

    def __init__(self, c: dict[str, Any]):
        super().__init__()
        d, hidden = c["hidden_size"], c["intermediate_size"]
        heads = c["num_attention_heads"] + 2 * c["num_key_value_heads"]

        def matrix(rows: int, columns: int, scale: float = 1.0) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.randn(rows, columns) * scale * columns**-0.5)

        depth = (2 * c["num_hidden_layers"]) ** -0.5  # keeps the residual's variance at one
        self.attention_norm = torch.nn.Parameter(torch.ones(d))
        self.qkv = matrix(heads * c["head_dim"], d)
        self.out = matrix(d, c["num_attention_heads"] * c["head_dim"], depth)
        self.ffn_norm = torch.nn.Parameter(torch.ones(d))
        self.gate_up = matrix(2 * hidden, d)
        self.down = matrix(d, hidden, depth)


class Model(torch.nn.Module):
    """A Llama decoder with tied embedding, rotary positions in Hugging Face's half-split order.

    mixed=True multiplies matrices in bfloat16 and keeps the residual, norms, softmax and loss in
    float32: 1.6 times as fast, compiled, on the CPUs that trained models/stories.
    """

    cos: torch.Tensor
    sin: torch.Tensor
    mask: torch.Tensor

    def __init__(self, config: dict[str, Any], mixed: bool = False):
        super().__init__()
        self.config, self.mixed = config, mixed
        self.embedding = torch.nn.Parameter(
            torch.randn(config["vocab_size"], config["hidden_size"]) * 0.05
        )
        self.layers = torch.nn.ModuleList(
            [Layer(config) for _ in range(config["num_hidden_layers"])]
        )
        self.final_norm = torch.nn.Parameter(torch.ones(config["hidden_size"]))
        hd, context = config["head_dim"], config["max_position_embeddings"]
        angle = torch.outer(
            torch.arange(context).float(), config["rope_theta"] ** -(torch.arange(0, hd, 2) / hd)
        )
        angle = torch.cat([angle, angle], 1)[:, None]
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        mask = torch.full((context, context), -1e9).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def stack(self) -> list[Layer]:
        """The layers, first to last."""
        return [cast(Layer, layer) for layer in self.layers]

    def _norm(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gain

    def _cast(self, x: torch.Tensor) -> torch.Tensor:
        return x.bfloat16() if self.mixed else x

    def _linear(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(self._cast(x), self._cast(weight)).float()

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[: x.shape[1]] + turned * self.sin[: x.shape[1]]

    def _attention(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """(batch, time, heads, hd) each. By blocks of queries: keys after a block never count.

        On CPUs four blocks of plain matrix products in bfloat16 beat the fused kernel.
        """
        batch, time, heads, hd = q.shape
        kv_heads = k.shape[2]
        group = heads // kv_heads
        q = self._cast(q.transpose(1, 2) * hd**-0.5)
        k = self._cast(k.transpose(1, 2)).reshape(batch * kv_heads, time, hd)
        v = self._cast(v.transpose(1, 2)).reshape(batch * kv_heads, time, hd)
        size = -(-time // 4)
        blocks = []
        for start in range(0, time, size):
            end = min(start + size, time)
            rows = end - start
            block = q[:, :, start:end].reshape(batch * kv_heads, group * rows, hd)
            scores = torch.bmm(block, k[:, :end].transpose(1, 2)).float()
            scores = scores.view(batch, kv_heads, group, rows, end) + self.mask[start:end, :end]
            weights = self._cast(scores.softmax(-1)).view(batch * kv_heads, group * rows, end)
            blocks.append(torch.bmm(weights, v[:, :end]).view(batch, heads, rows, hd))
        return torch.cat(blocks, 2).float().transpose(1, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, time) int64 ids -> (batch, time, vocab) float32 logits."""
        c = self.config
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        x = F.embedding(ids, self.embedding)
        for layer in self.stack():
            y = self._linear(self._norm(x, layer.attention_norm), layer.qkv)
            y = y.unflatten(-1, (heads + 2 * kv_heads, c["head_dim"]))
            q, k, v = y.split([heads, kv_heads, kv_heads], 2)
            mixed = self._attention(self._rotate(q), self._rotate(k), v)
            x = x + self._linear(mixed.flatten(2), layer.out)
            y = self._linear(self._norm(x, layer.ffn_norm), layer.gate_up)
            gate, up = y.chunk(2, -1)
            x = x + self._linear(F.silu(gate) * up, layer.down)
        return self._linear(self._norm(x, self.final_norm), self.embedding)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Mean nats a token over (batch, time + 1) ids; padding (id 0) does not count."""
        logits = self(rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=0)


def to_tensors(model: Model) -> dict[str, np.ndarray]:
    """Float16 arrays under Hugging Face's Llama names; the classifier is the embedding."""
    c = model.config
    q, kv = (c[k] * c["head_dim"] for k in ("num_attention_heads", "num_key_value_heads"))
    named: dict[str, torch.Tensor] = {
        "model.embed_tokens.weight": model.embedding,
        "model.norm.weight": model.final_norm,
    }
    for i, layer in enumerate(model.stack()):
        gate, up = layer.gate_up.chunk(2)
        parts: dict[str, torch.Tensor] = {
            "input_layernorm": layer.attention_norm,
            "self_attn.q_proj": layer.qkv[:q],
            "self_attn.k_proj": layer.qkv[q : q + kv],
            "self_attn.v_proj": layer.qkv[q + kv :],
            "self_attn.o_proj": layer.out,
            "post_attention_layernorm": layer.ffn_norm,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": layer.down,
        }
        named |= {f"model.layers.{i}.{name}.weight": part for name, part in parts.items()}
    return {name: part.detach().half().contiguous().numpy() for name, part in named.items()}


def from_tensors(tensors: dict[str, np.ndarray], config: dict[str, Any]) -> Model:
    """The inverse of to_tensors: a float32 model with the float16 weights."""
    model = Model(config)

    def get(*names: str) -> torch.Tensor:
        return torch.cat([torch.from_numpy(tensors[f"{n}.weight"]).float() for n in names])

    state = {"embedding": get("model.embed_tokens"), "final_norm": get("model.norm")}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}."
        attention, mlp = at + "self_attn.", at + "mlp."
        state |= {
            f"layers.{i}.attention_norm": get(at + "input_layernorm"),
            f"layers.{i}.qkv": get(*(f"{attention}{x}_proj" for x in "qkv")),
            f"layers.{i}.out": get(attention + "o_proj"),
            f"layers.{i}.ffn_norm": get(at + "post_attention_layernorm"),
            f"layers.{i}.gate_up": get(mlp + "gate_proj", mlp + "up_proj"),
            f"layers.{i}.down": get(mlp + "down_proj"),
        }
    model.load_state_dict(state)
    return model
