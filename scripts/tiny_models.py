#!/usr/bin/env python3
"""Makes tiny random-weight speech models in the ONNX layouts that k2/sherpa and FunASR publish, and the words that the
original libraries find with them: what the tests of models/onnx are held against.

    python3 -m venv /tmp/tiny && /tmp/tiny/bin/pip install torch onnx numpy onnxruntime sherpa-onnx kaldi-native-fbank
    /tmp/tiny/bin/python scripts/tiny_models.py models/onnx/fixtures

`--large DIR` makes models of published sizes there instead, for benches: a streaming zipformer transducer and CTC of 23 million
weights with 500 tokens, a Paraformer of 220 million with 8,404. Nothing here is trained: the
words are nonsense, and the same nonsense in every correct implementation.
"""

import argparse
import json
import math
import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tiny_onnx import export, joined, quantize, tokens_file
from tiny_zipformer import BINS, LARGE, TINY, FeedForward, Zipformer2
from tiny_zipformer1 import TINY1, Zipformer1

RATE = 16_000
PIECES = "▁THE ▁A S T ED ▁CALL ▁TO ING E ▁BO OK ▁FLIGHT ▁PA R IS N O I L D ▁M AN ▁CHE 支 付 你 好 查 询 ▁X".split()
AUDIO = "audio.wav"


# ---------------------------------------------------------------- a streaming conformer


class Conformer(nn.Module):
    """A streaming conformer with two caches, and the frames that were processed before as an input without an output."""

    def __init__(self, layers=2, dim=16, heads=2, hidden=32, kernel=7, left=16, chunk=8):
        super().__init__()
        self.layers, self.dim, self.heads, self.kernel = layers, dim, heads, kernel
        self.left, self.chunk = left, chunk
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 8, 3, stride=2)
        self.embed = nn.Linear(8 * 19, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3 * layers))
        self.ffs = nn.ModuleList(FeedForward(dim, hidden) for _ in range(2 * layers))
        self.qkv = nn.ModuleList(nn.Linear(dim, 3 * dim) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.gate = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(layers))
        self.depth = nn.ModuleList(nn.Conv1d(dim, dim, kernel, groups=dim) for _ in range(layers))

    def forward(self, x, attn, conv, processed):
        x = F.relu(self.conv2(F.relu(self.conv1(x.unsqueeze(1)))))
        batch, channels, frames, bands = x.shape
        x = self.embed(x.transpose(1, 2).reshape(batch, frames, channels * bands))
        # One frame at each end has seen only the padding.
        x = x[:, 1 : 1 + self.chunk]
        unseen = (processed.unsqueeze(1) // 4 <= torch.arange(self.left).expand(batch, self.left)).flip(1)
        mask = torch.cat([unseen, torch.zeros(batch, self.chunk, dtype=torch.bool)], dim=1)
        new_attn, new_conv = [], []
        for i in range(self.layers):
            y = self.norms[3 * i](x + 0.5 * self.ffs[2 * i](x))
            seen = torch.cat([attn[i].permute(1, 0, 2), y], dim=1)
            new_attn.append(seen[:, -self.left :].permute(1, 0, 2))
            q, _, _ = self.qkv[i](y).chunk(3, dim=2)
            _, k, v = self.qkv[i](seen).chunk(3, dim=2)
            split = lambda t: t.reshape(batch, -1, self.heads, self.dim // self.heads).transpose(1, 2)
            scores = torch.matmul(split(q), split(k).transpose(2, 3)) / math.sqrt(self.dim // self.heads)
            scores = scores.masked_fill(mask.unsqueeze(1).unsqueeze(2), -1000)
            y = x + self.out[i](torch.matmul(scores.softmax(-1), split(v)).transpose(1, 2).reshape(batch, -1, self.dim))
            g = F.glu(self.gate[i](self.norms[3 * i + 1](y)), dim=2)
            seen = torch.cat([conv[i].permute(1, 0, 2), g], dim=1)
            new_conv.append(seen[:, -(self.kernel - 1) :].permute(1, 0, 2))
            y = y + self.depth[i](seen.transpose(1, 2)).transpose(1, 2)
            x = self.norms[3 * i + 2](y + 0.5 * self.ffs[2 * i + 1](y))
        return x, torch.stack(new_attn), torch.stack(new_conv)

    def states(self):
        return [
            torch.zeros(self.layers, self.left, 1, self.dim),
            torch.zeros(self.layers, self.kernel - 1, 1, self.dim),
            torch.zeros(1, dtype=torch.int64),
        ]

    def meta(self):
        pad = 3 + 8
        return {
            "model_type": "conformer", "version": "1", "model_author": "antiphon", "pad_length": pad,
            "decode_chunk_len": 4 * self.chunk, "T": 4 * self.chunk + pad, "num_encoder_layers": self.layers,
            "left_context": self.left, "encoder_dim": self.dim, "cnn_module_kernel": self.kernel,
        }


# ---------------------------------------------------------------- transducers around an encoder


class Projected(nn.Module):
    """An encoder and a linear layer on its frames. CTC heads end in log-probabilities."""

    def __init__(self, encoder, dim, out, ctc=False):
        super().__init__()
        self.encoder, self.out, self.ctc = encoder, nn.Linear(dim, out), ctc

    def forward(self, x, *states):
        if isinstance(self.encoder, (Zipformer1, Zipformer2)):
            x, new = self.encoder(x, list(states))
        else:
            x, *new = self.encoder(x, *states)
        x = self.out(x)
        return (F.log_softmax(x, dim=-1) if self.ctc else x, *new)


class Decoder(nn.Module):
    """The stateless predictor: an embedding of the last two tokens and a grouped convolution over them."""

    def __init__(self, vocabulary, dim, out, context=2):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        self.conv = nn.Conv1d(dim, dim, context, groups=max(1, dim // 4), bias=False)
        self.out = nn.Linear(dim, out)

    def forward(self, y):
        known = self.embedding(y.clamp(min=0)) * (y >= 0).unsqueeze(-1)
        return self.out(F.relu(self.conv(known.permute(0, 2, 1)).permute(0, 2, 1)).squeeze(1))


class Joiner(nn.Module):
    def __init__(self, dim, vocabulary):
        super().__init__()
        self.out = nn.Linear(dim, vocabulary)

    def forward(self, encoder_out, decoder_out):
        return self.out(torch.tanh(encoder_out + decoder_out))


def calibrate(linear, spread, run):
    """Rescales a layer so that over what `run` puts through it each output has mean 0 and deviation `spread`: random
    weights alone say one token all day long, by margins that rounding could turn."""
    seen = []
    hook = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().flatten(0, -2)))
    with torch.no_grad():
        run()
        hook.remove()
        out = F.linear(torch.cat(seen), linear.weight)
        scale = spread / out.std(dim=0).clamp(min=1e-4)
        linear.weight.mul_(scale.unsqueeze(1))
        linear.bias.copy_(-out.mean(dim=0) * scale)


def streamed(head, features, chunk, total):
    """The frames of a streaming encoder over whole features, chunk by chunk."""
    states, frames = list(head.encoder.states()), []
    with torch.no_grad():
        for at in range(0, len(features) - total, chunk):
            x, *new = head(torch.from_numpy(features[None, at : at + total]), *states)
            states = new if len(new) == len(states) else [*new, states[-1] + chunk]
            frames.append(x)
    return torch.cat(frames, dim=1)


def streaming(directory, encoder, width, joint, features, spec, meta, blank):
    """Writes encoder.onnx, decoder.onnx, joiner.onnx. `spec` lists (state name, batch axis, whether it comes back)."""
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = len(symbols())
    states = encoder.states()
    chunk, frames = meta["decode_chunk_len"], meta["T"]
    head = Projected(encoder, width, joint).eval()
    calibrate(head.out, 1.0, lambda: streamed(head, features, chunk, frames))
    names = ["x"] + [n for n, _, _ in spec]
    outputs = ["encoder_out"] + [f"new_{n}" for n, _, back in spec if back]
    axes = {"x": {0: "N"}, "encoder_out": {0: "N"}}
    for name, axis, back in spec:
        axes[name] = {axis: "N"}
        if back:
            axes[f"new_{name}"] = {axis: "N"}
    export(head, (torch.rand(1, frames, BINS), *states), directory / "encoder.onnx", names, outputs, axes, meta)
    decoder = Decoder(vocabulary, joint, joint)
    export(
        decoder, (torch.zeros(3, 2, dtype=torch.int64),), directory / "decoder.onnx",
        ["y"], ["decoder_out"], {"y": {0: "N"}, "decoder_out": {0: "N"}},
        {"context_size": 2, "vocab_size": vocabulary},
    )
    joiner = Joiner(joint, vocabulary)
    heard = streamed(head, features, chunk, frames)[0]
    with torch.no_grad():
        said = decoder(torch.randint(0, vocabulary, (len(heard), 2)))
        calibrate(joiner.out, 2.5, lambda: joiner(heard, said))
        joiner.out.bias[0] += blank
        joiner.out.bias[1:3] -= 100.0
    export(
        joiner, (torch.rand(3, joint), torch.rand(3, joint)), directory / "joiner.onnx",
        ["encoder_out", "decoder_out"], ["logit"],
        {"encoder_out": {0: "N"}, "decoder_out": {0: "N"}, "logit": {0: "N"}}, {"joiner_dim": joint},
    )
    tokens_file(directory / "tokens.txt", symbols())
    (directory / "bpe.vocab").write_text("".join(f"{p}\t{-i}\n" for i, p in enumerate(symbols())), encoding="utf-8")


def syllables():
    """Pieces enough for a vocabulary of 500, each at the beginning of a word and within one."""
    made = [a + b + c for a in "BCDFGHJKLMNPRSTVWYZ" for b in "AEIOU" for c in ("", "N", "S")]
    known = set(PIECES)
    pieces = [p for s in made for p in (f"▁{s}", s) if p not in known]
    return pieces[: 500 - 3 - len(PIECES)]


def symbols():
    return ["<blk>", "<sos/eos>", "<unk>", *PIECES]


# ---------------------------------------------------------------- offline models of FunASR


class Block(nn.Module):
    """Self-attention and a feed-forward layer, deaf to what lies behind each row's length."""

    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x, mask):
        batch = x.shape[0]
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=2)
        split = lambda t: t.reshape(batch, -1, self.heads, self.dim // self.heads).transpose(1, 2)
        scores = torch.matmul(split(q), split(k).transpose(2, 3)) / math.sqrt(self.dim // self.heads)
        scores = scores.masked_fill(mask.unsqueeze(1).unsqueeze(2) == 0, -1e4)
        y = torch.matmul(scores.softmax(-1), split(v)).transpose(1, 2).reshape(batch, -1, self.dim)
        x = x + self.out(y)
        return x + self.down(F.relu(self.up(self.norm2(x))))


class Paraformer(nn.Module):
    """Encoder, continuous integrate-and-fire, and a decoder that says all tokens at once."""

    def __init__(self, vocabulary, dim=16, heads=2, hidden=32, layers=2, decoding=1):
        super().__init__()
        self.embed = nn.Linear(7 * BINS, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, hidden) for _ in range(layers))
        self.conv, self.weigh = nn.Conv1d(dim, dim, 3, padding=1), nn.Linear(dim, 1)
        self.decode = nn.ModuleList(Block(dim, heads, hidden) for _ in range(decoding))
        self.out = nn.Linear(dim, vocabulary)

    def forward(self, speech, speech_lengths):
        frames = torch.arange(speech.shape[1])
        mask = (frames.unsqueeze(0) < speech_lengths.unsqueeze(1)).to(torch.float32)
        x = self.embed(speech)
        for block in self.blocks:
            x = block(x, mask)
        x = x * mask.unsqueeze(-1)
        alphas = torch.sigmoid(self.weigh(F.relu(self.conv(x.transpose(1, 2)).transpose(1, 2)))).squeeze(-1)
        alphas = 0.5 * alphas * mask
        total = torch.cumsum(alphas, dim=1)
        count = torch.floor(total[:, -1] + 0.45).to(torch.int32)
        slots = torch.arange(int(1) * count.max()).to(torch.float32).reshape(1, -1, 1)
        upper = torch.minimum(total.unsqueeze(1), slots + 1)
        lower = torch.maximum((total - alphas).unsqueeze(1), slots)
        acoustic = torch.matmul(torch.clamp(upper - lower, min=0), x)
        said = (slots.squeeze(-1) < count.unsqueeze(1)).to(torch.float32)
        for block in self.decode:
            acoustic = block(acoustic, said)
        fine = torch.repeat_interleave(alphas / 3, 3, dim=1)
        fine = torch.cumsum(fine, dim=1)
        step = torch.floor(fine) - torch.floor(F.pad(fine, (1, 0))[:, :-1])
        peaks = torch.where(step > 0.5, torch.ones_like(fine), fine - torch.floor(fine) - 0.01)
        return F.log_softmax(self.out(acoustic), dim=-1), count, alphas, peaks


class SenseVoice(nn.Module):
    """A CTC encoder in front of whose frames stand four queries: language, emotion, event, text normalisation."""

    def __init__(self, vocabulary, tags, dim=16):
        super().__init__()
        self.queries = nn.Embedding(16, 7 * BINS)
        self.embed = nn.Linear(7 * BINS, dim)
        self.blocks = nn.ModuleList(Block(dim, 2, 32) for _ in range(2))
        self.out = nn.Linear(dim, vocabulary)
        said = torch.zeros(16, vocabulary)
        for query, token in tags.items():
            said[query, token] = 200.0
        self.register_buffer("said", said)

    def forward(self, x, x_length, language, text_norm):
        batch = x.shape[0]
        fixed = torch.tensor([[1, 2]]).expand(batch, 2)
        queries = torch.cat([language.unsqueeze(1).long(), fixed, text_norm.unsqueeze(1).long()], dim=1)
        x = torch.cat([self.queries(queries), x], dim=1)
        frames = torch.arange(x.shape[1])
        mask = (frames.unsqueeze(0) < (x_length + 4).unsqueeze(1)).to(torch.float32)
        extra = F.pad(self.said[queries], (0, 0, 0, x.shape[1] - 4))
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.out(x) + extra


def cmvn():
    """Mean and deviation of log filter banks of 16-bit samples, as such models carry them."""
    mean = np.tile(np.linspace(9.0, 6.0, BINS, dtype=np.float32), 7)
    deviation = np.full(7 * BINS, 0.25, dtype=np.float32)
    return -mean, deviation


def lfr(features):
    """Seven frames in one, every sixth, normalised: the input of the offline models."""
    rows = [features[at : at + 7].reshape(-1) for at in range(0, len(features) - 6, 6)]
    mean, deviation = cmvn()
    x = torch.from_numpy(((np.stack(rows) + mean) * deviation).astype(np.float32))[None]
    return x, torch.tensor([x.shape[1]], dtype=torch.int32)


# ---------------------------------------------------------------- making


def make_zipformer2(directory, spec, joint, features, blank, seed):
    torch.manual_seed(seed)
    encoder = Zipformer2(spec)
    states = [(n, a, True) for n, a in encoder.state_names()]
    streaming(
        directory, encoder, max(spec["dims"]), joint, features, states, encoder.meta("streaming zipformer2"), blank,
    )


def make_zipformer1(directory, features, blank, seed):
    torch.manual_seed(seed)
    encoder = Zipformer1(TINY1)
    states = [(n, a, True) for n, a in encoder.state_names()]
    streaming(directory, encoder, TINY1["dims"][-1], 16, features, states, encoder.meta("streaming zipformer"), blank)


def make_zipformer2_ctc(directory, features, blank, seed, spec=TINY):
    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    encoder = Zipformer2(spec)
    head = Projected(encoder, max(spec["dims"]), len(symbols()), ctc=True)
    calibrate(head.out, 2.5, lambda: streamed(head.eval(), features, 2 * spec["chunk"], 2 * spec["chunk"] + 13))
    with torch.no_grad():
        head.out.bias[0] += blank
        head.out.bias[1:3] -= 100.0
    names = encoder.state_names()
    axes = {"x": {0: "N"}, "log_probs": {0: "N"}}
    for name, axis in names:
        axes[name] = axes[f"new_{name}"] = {axis: "N"}
    export(
        head, (torch.rand(1, 2 * spec["chunk"] + 13, BINS), *encoder.states()), directory / "model.onnx",
        ["x"] + [n for n, _ in names], ["log_probs"] + [f"new_{n}" for n, _ in names], axes,
        encoder.meta("streaming ctc zipformer2"),
    )
    tokens_file(directory / "tokens.txt", symbols())


def make_conformer(directory, features, blank, seed):
    torch.manual_seed(seed)
    encoder = Conformer()
    meta = encoder.meta()
    streaming(
        directory, encoder, encoder.dim, 16, features,
        [("attn_cache", 2, True), ("cnn_cache", 2, True), ("processed_frames", 0, False)], meta, blank,
    )


def make_paraformer(directory, features, seed, more=(), **size):
    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    words = ["<blank>", "<s>", "</s>", *"你好支付查询航班退票".strip(), "bo@@", "ok", "fli@@", "ght", "hello", *more, "<unk>"]
    module = Paraformer(len(words), **size)
    x, lengths = lfr(features)
    calibrate(module.weigh, 2.0, lambda: module.eval()(x, lengths))
    calibrate(module.out, 4.0, lambda: module(x, lengths))
    with torch.no_grad():
        module.out.bias[:3] -= 100.0
        module.out.bias[-1] -= 100.0
    mean, deviation = (joined(f"{v:.5f}" for v in values) for values in cmvn())
    export(
        module, (torch.rand(2, 20, 7 * BINS), torch.tensor([20, 15], dtype=torch.int32)), directory / "model.onnx",
        ["speech", "speech_lengths"], ["logits", "token_num", "us_alphas", "us_cif_peak"],
        {
            "speech": {0: "N", 1: "T"}, "speech_lengths": {0: "N"}, "logits": {0: "N", 1: "L"},
            "token_num": {0: "N"}, "us_alphas": {0: "N", 1: "T"}, "us_cif_peak": {0: "N", 1: "U"},
        },
        {
            "vocab_size": len(words), "model_type": "paraformer", "version": "1", "model_author": "antiphon",
            "lfr_window_size": 7, "lfr_window_shift": 6, "neg_mean": mean, "inv_stddev": deviation,
        },
    )
    tokens_file(directory / "tokens.txt", words)


def make_sense_voice(directory, features, blank, seed):
    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    tags = ["<|zh|>", "<|en|>", "<|yue|>", "<|ja|>", "<|ko|>", "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>", "<|woitn|>"]
    words = ["<unk>", "<s>", "</s>", *"你好支付查询航班退票。", "▁book", "▁fl", "ight", "▁hello", *tags]
    at = {w: i for i, w in enumerate(words)}
    queries = {
        0: at["<|zh|>"], 3: at["<|zh|>"], 4: at["<|en|>"], 7: at["<|yue|>"], 11: at["<|ja|>"], 12: at["<|ko|>"],
        1: at["<|NEUTRAL|>"], 2: at["<|Speech|>"], 14: at["<|withitn|>"], 15: at["<|woitn|>"],
    }
    module = SenseVoice(len(words), queries)
    x, lengths = lfr(features)
    calibrate(module.out, 3.0, lambda: module.eval()(x, lengths, torch.tensor([0]), torch.tensor([14])))
    with torch.no_grad():
        module.out.bias[0] += blank
        module.out.bias[-len(tags) :] -= 100.0
        module.out.bias[1:3] -= 100.0
    mean, deviation = (joined(f"{v:.5f}" for v in values) for values in cmvn())
    one = torch.tensor([20, 15], dtype=torch.int32)
    export(
        module, (torch.rand(2, 20, 7 * BINS), one, torch.tensor([3, 4], dtype=torch.int32), torch.tensor([14, 15], dtype=torch.int32)),
        directory / "model.onnx", ["x", "x_length", "language", "text_norm"], ["logits"],
        {
            "x": {0: "N", 1: "T"}, "x_length": {0: "N"}, "language": {0: "N"}, "text_norm": {0: "N"},
            "logits": {0: "N", 1: "L"},
        },
        {
            "vocab_size": len(words), "model_type": "sense_voice_ctc", "version": "1", "model_author": "antiphon",
            "lfr_window_size": 7, "lfr_window_shift": 6, "normalize_samples": 0, "with_itn": 14, "without_itn": 15,
            "lang_auto": 0, "lang_zh": 3, "lang_en": 4, "lang_yue": 7, "lang_ja": 11, "lang_ko": 12,
            "neg_mean": mean, "inv_stddev": deviation,
        },
    )
    tokens_file(directory / "tokens.txt", words)


def make_audio(path, seconds=4.0):
    """Something that moves like speech: voiced bursts of gliding pitch and formants, hiss between them."""
    rng = np.random.default_rng(11)
    t = np.arange(int(seconds * RATE)) / RATE
    out = 0.002 * rng.standard_normal(t.size)
    at = 0.2
    while at < seconds - 0.6:
        length = rng.uniform(0.15, 0.4)
        here = (t >= at) & (t < at + length)
        u = (t[here] - at) / length
        pitch = rng.uniform(100, 220) * (1 + 0.2 * np.sin(3 * u))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formants = rng.uniform([300, 900, 2200], [800, 2000, 3200])
        burst = np.zeros(u.size)
        for harmonic in range(1, 25):
            gain = sum(np.exp(-(((harmonic * pitch - f * (1 + 0.2 * u)) / 180.0) ** 2)) for f in formants)
            burst += gain * np.sin(harmonic * phase)
        out[here] += 0.25 * burst * np.sin(np.pi * u)
        at += length + rng.uniform(0.03, 0.15)
    samples = np.clip(np.round(out * 20_000), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1), f.setsampwidth(2), f.setframerate(RATE)
        f.writeframes(samples.tobytes())
    return samples


# ---------------------------------------------------------------- what the originals say


def bank(samples, window, high, snip, scale):
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = RATE
    options.frame_opts.snip_edges = snip
    options.frame_opts.window_type = window
    options.mel_opts.num_bins = BINS
    options.mel_opts.high_freq = high
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(RATE, (samples.astype(np.float32) * scale).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


def transducer(directory, samples, chunk, total, method, hotwords="", score=1.5, model=""):
    """Tokens and times of sherpa-onnx for the samples and as much silence as completes their last chunk."""
    import sherpa_onnx

    options = {}
    if hotwords:
        options = dict(modeling_unit="cjkchar+bpe", bpe_vocab=str(directory / "bpe.vocab"), hotwords_score=score)
    recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=str(directory / "tokens.txt"), encoder=str(directory / f"encoder{model}.onnx"),
        decoder=str(directory / "decoder.onnx"), joiner=str(directory / "joiner.onnx"), num_threads=1,
        decoding_method=method, max_active_paths=4, **options,
    )
    stream = recognizer.create_stream(hotwords) if hotwords else recognizer.create_stream()
    return listen(recognizer, stream, samples, chunk, total)


def listen(recognizer, stream, samples, chunk, total):
    frames = (samples.size + 80) // 160
    chunks = -(-frames // chunk)
    wanted = (chunks * chunk + total - chunk + 3) * 160
    padded = np.concatenate([samples.astype(np.float32) / 32768, np.zeros(wanted - samples.size, np.float32)])
    stream.accept_waveform(RATE, padded)
    steps = 0
    while recognizer.is_ready(stream):
        recognizer.decode_stream(stream)
        steps += 1
    assert steps == chunks, (steps, chunks)
    return {"tokens": recognizer.tokens(stream), "times": [round(t, 3) for t in recognizer.timestamps(stream)]}


def offline(recognizer, samples):
    stream = recognizer.create_stream()
    stream.accept_waveform(RATE, samples.astype(np.float32) / 32768)
    recognizer.decode_stream(stream)
    result = stream.result
    return {"text": result.text, "tokens": list(result.tokens), "times": [round(t, 3) for t in result.timestamps]}


def oracle(root, samples):
    import onnxruntime
    import sherpa_onnx

    out = {}
    for name, chunk, total in [("zipformer2", 32, 45), ("conformer", 32, 43), ("zipformer", 32, 39)]:
        directory = root / name
        found = {"greedy": transducer(directory, samples, chunk, total, "greedy_search")}
        found["beam"] = transducer(directory, samples, chunk, total, "modified_beam_search")
        session = onnxruntime.InferenceSession(str(directory / "encoder.onnx"))
        features = bank(samples, "povey", -400, False, 1 / 32768)[:total]
        feeds = {"x": features[None]}
        for value in session.get_inputs()[1:]:
            shape = [1 if isinstance(d, str) else d for d in value.shape]
            feeds[value.name] = np.zeros(shape, np.int64 if "int64" in value.type else np.float32)
        first = session.run(None, feeds)[0][0]
        found["encoder"] = {"shape": list(first.shape), "values": [round(float(v), 5) for v in first.flatten()]}
        out[name] = found
    directory = root / "zipformer2"
    phrases = "BOOK FLIGHT\n支付\nPARIS"
    out["zipformer2"]["hints"] = {
        "phrases": phrases.split("\n"), "score": 2.5,
        **transducer(directory, samples, 32, 45, "modified_beam_search", phrases.replace("\n", "/"), 2.5),
    }
    out["zipformer2"]["int8"] = transducer(directory, samples, 32, 45, "greedy_search", model=".int8")
    directory = root / "zipformer2-ctc"
    recognizer = sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(
        tokens=str(directory / "tokens.txt"), model=str(directory / "model.onnx"), num_threads=1,
    )
    out["zipformer2-ctc"] = {"greedy": listen(recognizer, recognizer.create_stream(), samples, 32, 45)}
    directory = root / "paraformer"
    recognizer = sherpa_onnx.OfflineRecognizer.from_paraformer(
        paraformer=str(directory / "model.onnx"), tokens=str(directory / "tokens.txt"), num_threads=1,
    )
    out["paraformer"] = offline(recognizer, samples)
    directory = root / "sense-voice"
    for language in ["", "en"]:
        recognizer = sherpa_onnx.OfflineRecognizer.from_sense_voice(
            model=str(directory / "model.onnx"), tokens=str(directory / "tokens.txt"), num_threads=1,
            language=language, use_itn=language == "en",
        )
        out[f"sense-voice-{language or 'auto'}"] = offline(recognizer, samples)
    streaming_bank = bank(samples, "povey", -400, False, 1 / 32768)
    offline_bank = bank(samples, "hamming", 0, True, 1.0)
    out["bank"] = {
        name: {
            "frames": len(found), "first": [round(float(v), 4) for v in found[0]],
            "middle": [round(float(v), 4) for v in found[150]],
        }
        for name, found in [("streaming", streaming_bank), ("offline", offline_bank)]
    }
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory", type=Path, help="where the models and expected.json go")
    parser.add_argument("--large", action="store_true", help="one model of a real one's size, without expectations")
    options = parser.parse_args()
    root = options.directory
    root.mkdir(parents=True, exist_ok=True)
    samples = make_audio(root / AUDIO)
    heard = bank(samples, "povey", -400, False, 1 / 32768)
    whole = bank(samples, "hamming", 0, True, 1.0)
    if options.large:
        PIECES.extend(syllables())
        make_zipformer2(root, LARGE, 512, heard, 6.0, 5)
        quantize(root / "encoder.onnx", root / "encoder.int8.onnx")
        make_zipformer2_ctc(root / "ctc", heard, 6.0, 5, LARGE)
        quantize(root / "ctc/model.onnx", root / "ctc/model.int8.onnx")
        # As many as the published one has; none of them twice.
        more = [chr(0x4E00 + n) for n in range(8_404)]
        more = [c for c in more if c not in "你好支付查询航班退票"][: 8_404 - 19]
        size = dict(dim=512, heads=4, hidden=2_048, layers=50, decoding=16)
        make_paraformer(root / "paraformer", whole, 7, more, **size)
        quantize(root / "paraformer/model.onnx", root / "paraformer/model.int8.onnx")
        return
    make_zipformer2(root / "zipformer2", TINY, 16, heard, 5.0, 1)
    quantize(root / "zipformer2" / "encoder.onnx", root / "zipformer2" / "encoder.int8.onnx")
    make_zipformer2_ctc(root / "zipformer2-ctc", heard, 4.0, 2)
    make_conformer(root / "conformer", heard, 5.0, 3)
    make_zipformer1(root / "zipformer", heard, 5.0, 6)
    make_paraformer(root / "paraformer", whole, 4)
    make_sense_voice(root / "sense-voice", whole, 6.0, 5)
    (root / "expected.json").write_text(json.dumps(oracle(root, samples), ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
