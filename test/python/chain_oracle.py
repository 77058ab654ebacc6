"""The unrolled loss by brute force: every row decodes its own chain, one (row, step) at a time, with no shared code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.settings.train_settings import TttSettings
from torch import Tensor


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt((x * x).mean() + eps) * weight


def turn(x: Tensor, position: int, theta: float) -> Tensor:
    """Rope of one head as complex numbers; the tables are fp32, as the rule says."""
    half = x.shape[-1] // 2
    frequencies = 1.0 / theta ** (torch.arange(half, dtype=torch.float32) * 2 / x.shape[-1])
    angles = torch.tensor(float(position)) * frequencies
    spin = torch.complex(angles.cos().to(x.dtype), angles.sin().to(x.dtype))
    turned = torch.complex(x[..., :half], x[..., half:]) * spin
    return torch.cat((turned.real, turned.imag), -1)


@dataclass
class Chain:
    """What the chains of all samples of a batch gave, summed per step."""

    entropy: list[Tensor]
    overlap: list[Tensor]
    log_overlap: list[Tensor]
    trained: list[int]
    hits: list[int]
    mask: list[int]
    outputs: list[list[Tensor]]


class ChainOracle:
    """Plain loops over samples, rows, steps and heads."""

    def __init__(self, draft: Draft, embedding: Tensor, head: Tensor, draft_ids: Tensor, ttt: TttSettings) -> None:
        self.w = dict(draft.named_parameters())
        self.config, self.ttt = draft.config, ttt
        self.embedding, self.head, self.ids = embedding, head, draft_ids.tolist()

    def qkv(self, token: int, hidden: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        c, w = self.config, self.w
        e = rms(self.embedding[token], w["midlayer.input_layernorm.weight"], c.rms_norm_eps)
        u = torch.cat((e, rms(hidden, w["midlayer.hidden_norm.weight"], c.rms_norm_eps)))
        q, k, v = ((w[f"midlayer.self_attn.{name}_proj.weight"] @ u).view(-1, c.head_dim) for name in ("q", "k", "v"))
        return turn(q, position, c.rope_theta), turn(k, position, c.rope_theta), v

    def layer(self, hidden: Tensor, query: Tensor, cache: list[tuple[Tensor, Tensor]]) -> Tensor:
        c, w = self.config, self.w
        group = c.num_attention_heads // c.num_key_value_heads
        heads = []
        for head in range(c.num_attention_heads):
            keys = torch.stack([k[head // group] for k, _ in cache])
            values = torch.stack([v[head // group] for _, v in cache])
            heads.append(torch.softmax(keys @ query[head] / c.head_dim**0.5, 0) @ values)
        z = hidden + w["midlayer.self_attn.o_proj.weight"] @ torch.cat(heads)
        n = rms(z, w["midlayer.post_attention_layernorm.weight"], c.rms_norm_eps)
        gate = w["midlayer.mlp.gate_proj.weight"] @ n
        up = w["midlayer.mlp.up_proj.weight"] @ n
        return z + w["midlayer.mlp.down_proj.weight"] @ (gate * torch.sigmoid(gate) * up)

    def fused(self, aux: Tensor) -> Tensor:
        c, w = self.config, self.w
        if not c.fc_norm:
            return w["fc.weight"] @ aux
        parts = aux.view(3, c.hidden_size)
        return w["fc.weight"] @ torch.cat([rms(parts[i], w[f"fc_norm.{i}.weight"], c.rms_norm_eps) for i in range(3)])

    def recurrent(self, raw: Tensor) -> Tensor:
        """What the next step starts from."""
        return rms(raw, self.w["norm.weight"], self.config.rms_norm_eps) if self.config.norm_output else raw

    def chain(self, sample: TensorDict, row: int) -> list[Tensor]:
        """Raw outputs a^k of the layer for one row, as long as there are tokens to feed."""
        x, aux = sample["input_ids"].tolist(), sample["aux_hidden_state"]
        cache = []
        for j in range(row + 1):
            start = self.fused(aux[j])
            query, key, value = self.qkv(x[j + 1], start, j)
            cache.append((key, value))
        outputs = [self.layer(start, query, cache)]
        for k in range(1, self.ttt.steps):
            if row + k + 1 >= len(x):
                break
            hidden = self.recurrent(outputs[-1])
            query, key, value = self.qkv(x[row + k + 1], hidden, row + k)
            cache.append((key, value))
            outputs.append(self.layer(hidden, query, cache))
        return outputs

    def run(self, samples: list[TensorDict]) -> Chain:
        steps = range(self.ttt.steps)
        zero = self.head.new_zeros(())
        out = Chain(
            *([zero] * len(steps) for _ in range(3)), *([0] * len(steps) for _ in range(3)), [[] for _ in steps]
        )
        for sample in samples:
            mask = sample["loss_mask"].tolist()
            mask[-1] = 0
            for row in range(len(mask) - 1):
                outputs = self.chain(sample, row)
                for k in steps:
                    at = row + k + self.ttt.mask_offset
                    if at < len(mask) and mask[at] and row + k + 1 < len(mask):
                        out.mask[k] += 1
                        self.add(out, k, outputs[k], sample["hidden_state"][row + k + 1])
        return out

    def add(self, out: Chain, k: int, hidden: Tensor, target: Tensor) -> None:
        out.outputs[k].append(hidden)
        logits = self.head @ target
        best = int(logits.argmax())
        if best not in self.ids:
            return
        p = torch.softmax(logits[self.ids], 0)
        full = torch.softmax(logits, 0)[self.ids]
        z = self.w["lm_head.weight"] @ rms(hidden, self.w["norm.weight"], self.config.rms_norm_eps)
        log_q = torch.log_softmax(z, 0)
        overlap = torch.minimum(full, log_q.exp()).sum()
        out.entropy[k] = out.entropy[k] - (p * log_q).sum()
        out.overlap[k] = out.overlap[k] + overlap
        out.log_overlap[k] = out.log_overlap[k] + torch.log(overlap)
        out.trained[k] += 1
        out.hits[k] += int(self.ids[int(z.argmax())] == best)

    def loss(self, out: Chain, positions: int) -> Tensor:
        """The loss of the batch, from the definitions."""
        total = self.head.new_zeros(())
        for k in range(self.ttt.steps):
            rows = max(1, out.trained[k])
            entropy = out.entropy[k] / (positions if self.ttt.reduction == "all" else rows)
            if self.ttt.loss == "lk-alpha":
                entropy = -out.log_overlap[k] / rows
            elif self.ttt.loss == "lk-lambda" and out.trained[k]:
                mean = out.overlap[k] / rows
                weight = self.ttt.kl_scale * torch.exp(-self.ttt.kl_decay * mean.detach())
                entropy = weight * entropy + (1 - weight) * (1 - mean)
            total = total + self.ttt.decay**k * entropy
        return total
