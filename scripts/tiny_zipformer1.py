"""A streaming zipformer of k2's first generation (2023-02), of any size, with weights of chance."""

import torch
from torch import nn

from tiny_onnx import joined
from tiny_zipformer import Attend, AttentionWeights, Downsample, FeedForward, widen


def double_swish(x):
    return x * torch.sigmoid(x - 1.0)


class BasicNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.eps = nn.Parameter(torch.tensor(0.25).log())

    def forward(self, x):
        return x * (torch.mean(x**2, dim=-1, keepdim=True) + self.eps.exp()) ** -0.5


class Pooling(nn.Module):
    """The mean of all that was heard so far."""

    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x, length, mean):
        time = x.shape[0]
        x = x.cumsum(dim=0) + (mean * length.unsqueeze(1)).unsqueeze(0)
        counts = (torch.arange(1, time + 1).unsqueeze(1) + length.unsqueeze(0)).to(torch.float32)
        x = x * counts.reciprocal().unsqueeze(2)
        return self.out(x), length + time, x[-1]


class CausalConv(nn.Module):
    def __init__(self, dim, kernel):
        super().__init__()
        self.project, self.out = nn.Conv1d(dim, 2 * dim, 1), nn.Conv1d(dim, dim, 1)
        self.depthwise = nn.Conv1d(dim, dim, kernel, groups=dim)

    def forward(self, x, cache):
        x, gate = self.project(x.permute(1, 2, 0)).chunk(2, dim=1)
        x = torch.cat([cache, x * torch.sigmoid(gate)], dim=2)
        cache = x[:, :, -cache.shape[2] :]
        return self.out(double_swish(self.depthwise(x))).permute(2, 0, 1), cache


class Layer(nn.Module):
    def __init__(self, dim, attention, heads, hidden, kernel, pos_dim, pos_head):
        super().__init__()
        self.ff1, self.ff2, self.ff3 = (FeedForward(dim, hidden, double_swish) for _ in range(3))
        self.pooling, self.norm = Pooling(dim), BasicNorm()
        self.weights = AttentionWeights(dim, heads, attention // heads, pos_dim, pos_head)
        self.values1, self.values2 = (Attend(dim, heads, attention // 2 // heads) for _ in range(2))
        self.conv1, self.conv2 = (CausalConv(dim, kernel) for _ in range(2))
        self.bypass = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, positions, mask, states):
        length, mean, key, val1, val2, conv1, conv2 = states
        before = x
        x = x + self.ff1(x)
        y, length, mean = self.pooling(x, length, mean)
        x = x + y
        weights, key = self.weights(x, positions, key, mask)
        y, val1 = self.values1(x, weights, val1)
        x = x + y
        y, conv1 = self.conv1(x, conv1)
        x = x + y
        x = x + self.ff2(x)
        y, val2 = self.values2(x, weights, val2)
        x = x + y
        y, conv2 = self.conv2(x, conv2)
        x = x + y
        x = self.norm(x + self.ff3(x))
        return before + (x - before) * self.bypass, [length, mean, key, val1, val2, conv1, conv2]


KINDS = ["len", "avg", "key", "val", "val2", "conv1", "conv2"]
# The batch's axis of each kind's state; the layers of a stack lie on the first.
AXES = [1, 1, 2, 2, 2, 1, 1]


class Zipformer1(nn.Module):
    """Features and states in, frames and states out: the states of a stack's layers in one tensor, kind by kind."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        c1, c2, c3 = spec["embed"]
        dims = spec["dims"]
        self.conv1 = nn.Conv2d(1, c1, 3, padding=(0, 1))
        self.conv2 = nn.Conv2d(c1, c2, 3, stride=2)
        self.conv3 = nn.Conv2d(c2, c3, 3, stride=(1, 2))
        self.embed, self.norm = nn.Linear(19 * c3, dims[0]), BasicNorm()
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                Layer(
                    dims[i], spec["attention"][i], spec["heads"][i], spec["hidden"][i], spec["kernels"][i],
                    spec["pos_dim"], spec["pos_head"],
                )
                for _ in range(spec["layers"][i])
            )
            for i in range(len(dims))
        )
        self.downs = nn.ModuleList(Downsample(d) for d in spec["factors"])
        self.combine = nn.ParameterList(nn.Parameter(torch.tensor(0.5)) for _ in dims)
        self.final = Downsample(2)

    def positions(self, left, time):
        reach = torch.arange(left + time - 1, -time, -1, dtype=torch.float32).unsqueeze(1)
        width = self.spec["pos_dim"]
        turns = reach * torch.exp(torch.arange(0, width, 2) * -(9.2103 / width))
        return torch.stack([turns.sin(), turns.cos()], dim=-1).reshape(1, -1, width)

    def forward(self, x, states):
        spec, count = self.spec, len(self.spec["dims"])
        x = double_swish(self.conv1(x.unsqueeze(1)))
        x = double_swish(self.conv3(double_swish(self.conv2(x))))
        batch, channels, frames, bands = x.shape
        x = self.norm(self.embed(x.transpose(1, 2).reshape(batch, frames, channels * bands)))
        x = x.permute(1, 0, 2)
        new = [[None] * count for _ in KINDS]
        for i, stack in enumerate(self.stacks):
            factor = spec["factors"][i]
            x = widen(x, spec["dims"][i])
            before = x
            if factor > 1:
                x = self.downs[i](x)
            left, time = spec["left"] // factor, x.shape[0]
            positions = self.positions(left, time)
            mask = torch.zeros(batch, left + time, dtype=torch.bool)
            after = [[] for _ in KINDS]
            for n, layer in enumerate(stack):
                x, cached = layer(x, positions, mask, [states[k * count + i][n] for k in range(len(KINDS))])
                for kind, state in zip(after, cached):
                    kind.append(state)
            for kind, layers in zip(new, after):
                kind[i] = torch.stack(layers, dim=0)
            if factor > 1:
                x = x.unsqueeze(1).expand(x.shape[0], factor, x.shape[1], x.shape[2])
                x = x.reshape(-1, x.shape[2], x.shape[3])[: before.shape[0]]
                x = before * self.combine[i] + x * (1.0 - self.combine[i])
        return self.final(x).permute(1, 0, 2), [state for kind in new for state in kind]

    def states(self):
        spec, out = self.spec, []
        for kind in KINDS:
            for i, dim in enumerate(spec["dims"]):
                layers, left, attention = spec["layers"][i], spec["left"] // spec["factors"][i], spec["attention"][i]
                out.append(
                    {
                        "len": lambda: torch.zeros(layers, 1, dtype=torch.int64),
                        "avg": lambda: torch.zeros(layers, 1, dim),
                        "key": lambda: torch.zeros(layers, left, 1, attention),
                        "val": lambda: torch.zeros(layers, left, 1, attention // 2),
                        "val2": lambda: torch.zeros(layers, left, 1, attention // 2),
                        "conv1": lambda: torch.zeros(layers, 1, dim, spec["kernels"][i] - 1),
                        "conv2": lambda: torch.zeros(layers, 1, dim, spec["kernels"][i] - 1),
                    }[kind]()
                )
        return out

    def state_names(self):
        """Each state's name and batch axis."""
        count = len(self.spec["dims"])
        return [(f"cached_{kind}_{i}", axis) for kind, axis in zip(KINDS, AXES) for i in range(count)]

    def meta(self, comment):
        spec = self.spec
        return {
            "model_type": "zipformer", "version": "1", "model_author": "antiphon", "comment": comment,
            "decode_chunk_len": 2 * spec["chunk"], "T": 2 * spec["chunk"] + 7,
            "num_encoder_layers": joined(spec["layers"]), "encoder_dims": joined(spec["dims"]),
            "attention_dims": joined(spec["attention"]), "cnn_module_kernels": joined(spec["kernels"]),
            "left_context_len": joined(spec["left"] // f for f in spec["factors"]),
        }


TINY1 = dict(
    embed=(2, 4, 8), dims=(8, 12), layers=(2, 1), factors=(1, 2), heads=(2, 2), attention=(8, 8), hidden=(16, 16),
    kernels=(7, 5), pos_dim=8, pos_head=2, chunk=16, left=32,
)
