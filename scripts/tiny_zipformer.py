"""A streaming zipformer 2 of k2, of any size, with weights of chance."""

import torch
from torch import nn

from tiny_onnx import joined

BINS = 80


def swoosh(x, shift, offset):
    """log(1 + exp(x - shift)) - 0.08 x - offset, in operators that ONNX has."""
    y = x - shift
    return torch.clamp(y, min=0) + torch.log1p(torch.exp(-torch.abs(y))) - 0.08 * x - offset


def swoosh_l(x):
    return swoosh(x, 4.0, 0.035)


def swoosh_r(x):
    return swoosh(x, 1.0, 0.313261687)


class BiasNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.bias = nn.Parameter(0.1 * torch.randn(dim))
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        return x * (torch.mean((x - self.bias) ** 2, dim=-1, keepdim=True) ** -0.5) * self.log_scale.exp()


class FeedForward(nn.Module):
    def __init__(self, dim, hidden, activation=swoosh_l):
        super().__init__()
        self.up, self.down, self.activation = nn.Linear(dim, hidden), nn.Linear(hidden, dim), activation

    def forward(self, x):
        return self.down(self.activation(self.up(x)))


class AttentionWeights(nn.Module):
    """Scores of a chunk against itself and what is cached, with relative positions."""

    def __init__(self, dim, heads, head_dim, pos_dim, pos_head_dim):
        super().__init__()
        self.heads, self.head_dim, self.pos_head_dim = heads, head_dim, pos_head_dim
        self.project = nn.Linear(dim, heads * (2 * head_dim + pos_head_dim))
        self.position = nn.Linear(pos_dim, heads * pos_head_dim, bias=False)

    def forward(self, x, positions, cache, mask):
        time, batch, _ = x.shape
        x = self.project(x)
        width = self.heads * self.head_dim
        q, k, p = x[..., :width], x[..., width : 2 * width], x[..., 2 * width :]
        k = torch.cat([cache, k], dim=0)
        keys = k.shape[0]
        cache = k[-cache.shape[0] :]
        q = q.reshape(time, batch, self.heads, self.head_dim).permute(2, 1, 0, 3)
        p = p.reshape(time, batch, self.heads, self.pos_head_dim).permute(2, 1, 0, 3)
        k = k.reshape(keys, batch, self.heads, self.head_dim).permute(2, 1, 3, 0)
        scores = torch.matmul(q, k)
        span = keys + time - 1
        where = self.position(positions).reshape(1, span, self.heads, self.pos_head_dim).permute(2, 0, 3, 1)
        placed = torch.matmul(p, where)
        heads, batch, time, n = placed.shape
        rows = torch.arange(start=time - 1, end=-1, step=-1).repeat(batch * heads).unsqueeze(-1)
        placed = torch.gather(placed.reshape(-1, n), dim=1, index=rows + torch.arange(keys))
        scores = scores + placed.reshape(heads, batch, time, keys)
        scores = scores.masked_fill(mask.unsqueeze(1), -1000)
        return scores.softmax(dim=-1), cache


class Attend(nn.Module):
    def __init__(self, dim, heads, value_dim):
        super().__init__()
        self.heads, self.value_dim = heads, value_dim
        self.project, self.out = nn.Linear(dim, heads * value_dim), nn.Linear(heads * value_dim, dim)

    def forward(self, x, weights, cache):
        time, batch, _ = x.shape
        v = torch.cat([cache, self.project(x)], dim=0)
        cache = v[-cache.shape[0] :]
        v = v.reshape(v.shape[0], batch, self.heads, self.value_dim).permute(2, 1, 0, 3)
        v = torch.matmul(weights, v).permute(2, 1, 0, 3).reshape(time, batch, self.heads * self.value_dim)
        return self.out(v), cache


class NonlinAttend(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.hidden = 3 * dim // 4
        self.project, self.out = nn.Linear(dim, 3 * self.hidden), nn.Linear(self.hidden, dim)

    def forward(self, x, weights, cache):
        s, x, y = self.project(x).chunk(3, dim=2)
        x = x * torch.tanh(s)
        time, batch, _ = x.shape
        x = x.reshape(time, batch, 1, self.hidden).permute(2, 1, 0, 3)
        x = torch.cat([cache, x], dim=2)
        cache = x[:, :, -cache.shape[2] :, :]
        x = torch.matmul(weights, x).permute(2, 1, 0, 3).reshape(time, batch, self.hidden)
        return self.out(x * y), cache


class ChunkConv(nn.Module):
    """A causal depthwise convolution plus one that sees the chunk both ways."""

    def __init__(self, dim, kernel):
        super().__init__()
        self.left = kernel // 2
        self.project, self.out = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.causal = nn.Conv1d(dim, dim, (kernel + 1) // 2, groups=dim)
        self.inside = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.edge = nn.Parameter(0.1 * torch.randn(dim, 1))

    def forward(self, x, cache):
        x, s = self.project(x).chunk(2, dim=2)
        x = (x * torch.sigmoid(s)).permute(1, 2, 0)
        seen = torch.cat([cache, x], dim=2)
        cache = seen[..., -self.left :]
        x = self.inside(x) * (1.0 + self.edge) + self.causal(seen)
        return self.out(swoosh_r(x.permute(2, 0, 1))), cache


class Bypass(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, before, after):
        return before + (after - before) * self.scale


class Zipformer2Layer(nn.Module):
    def __init__(self, dim, heads, query, value, hidden, kernel, pos_dim, pos_head):
        super().__init__()
        self.weights = AttentionWeights(dim, heads, query, pos_dim, pos_head)
        self.attend1, self.attend2 = Attend(dim, heads, value), Attend(dim, heads, value)
        self.nonlin = NonlinAttend(dim)
        self.conv1, self.conv2 = ChunkConv(dim, kernel), ChunkConv(dim, kernel)
        self.ff1, self.ff2 = FeedForward(dim, hidden * 3 // 4), FeedForward(dim, hidden)
        self.ff3 = FeedForward(dim, hidden * 5 // 4)
        self.middle, self.bypass, self.norm = Bypass(dim), Bypass(dim), BiasNorm(dim)

    def forward(self, x, positions, states, mask):
        key, nonlin, val1, val2, conv1, conv2 = states
        before = x
        weights, key = self.weights(x, positions, key, mask)
        x = x + self.ff1(x)
        y, nonlin = self.nonlin(x, weights[0:1], nonlin)
        x = x + y
        y, val1 = self.attend1(x, weights, val1)
        x = x + y
        y, conv1 = self.conv1(x, conv1)
        x = x + y
        x = x + self.ff2(x)
        x = self.middle(before, x)
        y, val2 = self.attend2(x, weights, val2)
        x = x + y
        y, conv2 = self.conv2(x, conv2)
        x = x + y
        x = x + self.ff3(x)
        return self.bypass(before, self.norm(x)), [key, nonlin, val1, val2, conv1, conv2]


class Downsample(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.bias = nn.Parameter(0.1 * torch.randn(factor))

    def forward(self, x):
        time, batch, dim = x.shape
        out = (time + self.factor - 1) // self.factor
        pad = out * self.factor - time
        if pad:
            x = torch.cat([x, x[-1:].expand(pad, batch, dim)], dim=0)
        x = x.reshape(out, self.factor, batch, dim)
        return (x * self.bias.softmax(dim=0).unsqueeze(-1).unsqueeze(-1)).sum(dim=1)


def widen(x, dim):
    if x.shape[-1] >= dim:
        return x[..., :dim]
    return torch.cat([x, torch.zeros(x.shape[0], x.shape[1], dim - x.shape[2])], dim=2)


class Zipformer2(nn.Module):
    """The streaming zipformer 2 with its convolutional front end: features and states in, frames and states out."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        c1, c2, hidden = spec["embed"]
        dims = spec["dims"]
        self.conv1 = nn.Conv2d(1, c1, 3, padding=(0, 1))
        self.conv2 = nn.Conv2d(c1, c2, 3, stride=2)
        self.conv3 = nn.Conv2d(c2, 128, 3, stride=(1, 2))
        self.depthwise = nn.Conv2d(128, 128, 7, padding=(0, 3), groups=128)
        self.wide, self.narrow = nn.Conv2d(128, hidden, 1), nn.Conv2d(hidden, 128, 1)
        self.embed, self.embed_norm = nn.Linear(19 * 128, dims[0]), BiasNorm(dims[0])
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                Zipformer2Layer(
                    dims[i], spec["heads"][i], spec["query"][i], spec["value"][i], spec["hidden"][i],
                    spec["kernels"][i], spec["pos_dim"], spec["pos_head"],
                )
                for _ in range(spec["layers"][i])
            )
            for i in range(len(dims))
        )
        self.downs = nn.ModuleList(Downsample(d) for d in spec["factors"])
        self.combine = nn.ModuleList(Bypass(d) for d in dims)
        self.final = Downsample(2)

    def positions(self, left, time):
        reach = torch.arange(-(left + time - 1), time, dtype=torch.float32).unsqueeze(1)
        width = self.spec["pos_dim"]
        squeezed = torch.sign(reach) * torch.log1p(reach.abs())
        turns = squeezed.atan() * torch.arange(1, width // 2 + 1)
        return torch.stack([turns.cos(), turns.sin()], dim=-1).reshape(1, -1, width)

    def forward(self, x, states):
        spec = self.spec
        embed_state, processed = states[-2], states[-1]
        x = swoosh_r(self.conv1(x.unsqueeze(1)))
        x = swoosh_r(self.conv3(swoosh_r(self.conv2(x))))
        through = x[:, :, : x.shape[2] - 3, :]
        time = spec["chunk"]
        x = torch.cat([embed_state, x], dim=2)
        embed_state = x[:, :, time : time + 3, :]
        x = through + self.narrow(swoosh_l(self.wide(self.depthwise(x))))
        batch, channels, frames, bands = x.shape
        x = self.embed_norm(self.embed(x.transpose(1, 2).reshape(batch, frames, channels * bands)))
        left = spec["left"]
        unseen = processed.unsqueeze(1) <= torch.arange(left).expand(batch, left)
        mask = torch.cat([unseen.flip(1), torch.zeros(batch, frames, dtype=torch.bool)], dim=1)
        x = x.permute(1, 0, 2)
        new, used, outputs = [], 0, []
        for i, stack in enumerate(self.stacks):
            factor = spec["factors"][i]
            x = widen(x, spec["dims"][i])
            before = x
            if factor > 1:
                x = self.downs[i](x)
            positions = self.positions(left // factor, x.shape[0])
            for layer in stack:
                x, cached = layer(x, positions, states[used : used + 6], mask[..., ::factor])
                new += cached
                used += 6
            if factor > 1:
                x = x.unsqueeze(1).expand(x.shape[0], factor, x.shape[1], x.shape[2])
                x = x.reshape(-1, x.shape[2], x.shape[3])[: before.shape[0]]
                x = self.combine[i](before, x)
            outputs.append(x)
        # The widest stack's channels, each from the last stack that has them.
        parts, have = [outputs[-1]], outputs[-1].shape[-1]
        for output in reversed(outputs[:-1]):
            if output.shape[-1] > have:
                parts.append(output[..., have:])
                have = output.shape[-1]
        x = self.final(torch.cat(parts, dim=-1)).permute(1, 0, 2)
        return x, new + [embed_state, processed + time]

    def states(self):
        spec, out = self.spec, []
        for i, dim in enumerate(spec["dims"]):
            left = spec["left"] // spec["factors"][i]
            for _ in range(spec["layers"][i]):
                value = spec["heads"][i] * spec["value"][i]
                out += [
                    torch.zeros(left, 1, spec["heads"][i] * spec["query"][i]),
                    torch.zeros(1, 1, left, 3 * dim // 4),
                    torch.zeros(left, 1, value),
                    torch.zeros(left, 1, value),
                    torch.zeros(1, dim, spec["kernels"][i] // 2),
                    torch.zeros(1, dim, spec["kernels"][i] // 2),
                ]
        return out + [torch.zeros(1, 128, 3, 19), torch.zeros(1, dtype=torch.int64)]

    def state_names(self):
        """Each state's name and batch axis."""
        names = []
        for i in range(sum(self.spec["layers"])):
            names += [
                (f"cached_key_{i}", 1), (f"cached_nonlin_attn_{i}", 1), (f"cached_val1_{i}", 1),
                (f"cached_val2_{i}", 1), (f"cached_conv1_{i}", 0), (f"cached_conv2_{i}", 0),
            ]
        return names + [("embed_states", 0), ("processed_lens", 0)]

    def meta(self, comment):
        spec = self.spec
        return {
            "model_type": "zipformer2", "version": "1", "model_author": "antiphon", "comment": comment,
            "decode_chunk_len": 2 * spec["chunk"], "T": 2 * spec["chunk"] + 13,
            "num_encoder_layers": joined(spec["layers"]), "encoder_dims": joined(spec["dims"]),
            "cnn_module_kernels": joined(spec["kernels"]),
            "left_context_len": joined(spec["left"] // f for f in spec["factors"]),
            "query_head_dims": joined(spec["query"]), "value_head_dims": joined(spec["value"]),
            "num_heads": joined(spec["heads"]),
        }


TINY = dict(
    embed=(2, 4, 16), dims=(8, 16), layers=(1, 1), factors=(1, 2), heads=(2, 2), query=(4, 4), value=(3, 3),
    hidden=(16, 16), kernels=(7, 5), pos_dim=8, pos_head=2, chunk=16, left=32,
)
LARGE = dict(
    embed=(8, 32, 384), dims=(192, 256, 256, 256, 256, 256), layers=(2,) * 6, factors=(1, 2, 4, 8, 4, 2),
    heads=(4, 4, 4, 8, 4, 4), query=(32,) * 6, value=(12,) * 6, hidden=(512, 768, 768, 768, 768, 768),
    kernels=(31, 31, 15, 15, 15, 31), pos_dim=48, pos_head=4, chunk=16, left=128,
)
