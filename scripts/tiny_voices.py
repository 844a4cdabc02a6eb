#!/usr/bin/env python3
"""Makes a tiny random-weight voice as Piper exports them, and what Piper's own parts and ONNX Runtime make of a few texts:
what the tests of models/onnx and models/backends are held against.

    python3 -m venv /tmp/tiny && /tmp/tiny/bin/pip install torch onnx numpy onnxruntime piper-tts
    /tmp/tiny/bin/python scripts/tiny_voices.py models/onnx/fixtures

The network is that of piper-tts (its training code), its sizes cut down; export and interface are Piper's (opset 15,
`input`, `input_lengths`, `scales`, `sid`). Nothing is trained: the sound is nonsense, and the same nonsense in every
correct implementation as long as both noises are 0. No voice is downloaded.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP, phonemes_to_ids
from piper.phonemize_espeak import EspeakPhonemizer
from piper.train.vits.models import SynthesizerTrn

from tiny_onnx import shorten

OPSET = 15
RATE = 22_050
# As in the graph that is exported: noise, length, noise of the lengths.
QUIET = (0.0, 1.0, 0.0)
SLOW = (0.0, 1.5, 0.0)
LETTERS = "_^$ !',-.:;?abcdefghijklmnopqrstuvwxyz"
TEXTS = [
    ("en-us", "Good morning. Your balance is 42 dollars, and nothing is due."),
    ("en-us", "Hello, world! It costs $3.50, e.g. at 10 a.m. or later; isn't it?"),
    ("en-us", "The first one has a number: 10:30. The second (in brackets) has none."),
    ("de", "Guten Tag! Wie geht's: gut?"),
    ("fr", "Bonjour à tous le weekend, ça va ?"),
    ("cmn", "查询余额，你好。欢迎致电！请问：好的。"),
]


def voice(name, symbols, speakers):
    """A voice of Piper's architecture, as small as it gets."""
    torch.manual_seed(sum(map(ord, name)))
    model = SynthesizerTrn(
        n_vocab=symbols, spec_channels=33, segment_size=8, inter_channels=8, hidden_channels=8, filter_channels=16,
        n_heads=2, n_layers=2, kernel_size=3, p_dropout=0.1, resblock="2", resblock_kernel_sizes=(3, 5),
        resblock_dilation_sizes=((1, 2), (2, 6)), upsample_rates=(8, 8, 4), upsample_initial_channel=16,
        upsample_kernel_sizes=(16, 16, 8), n_speakers=speakers, gin_channels=8 if speakers > 1 else 0,
    )
    with torch.no_grad():
        for weights in model.parameters():
            # What training starts from zero would leave parts of the graph without a say.
            if weights.abs().max() == 0:
                weights.normal_(0, 0.1)
        # Weights this small make no sound that could be compared.
        model.enc_p.emb.weight.mul_(4)
        model.dec.conv_post.weight.mul_(20)
    model.eval()
    model.dec.remove_weight_norm()
    return model


def export(model, path, speakers):
    """The export of piper-tts (piper/train/export_onnx.py), step by step."""

    def forward(text, text_lengths, scales, sid=None):
        return model.infer(
            text, text_lengths, noise_scale=scales[0], length_scale=scales[1], noise_scale_w=scales[2], sid=sid
        )[0].unsqueeze(1)

    model.forward = forward
    text = torch.randint(0, model.n_vocab, (1, 50), dtype=torch.long)
    sid = torch.LongTensor([0]) if speakers > 1 else None
    inputs = (text, torch.LongTensor([50]), torch.FloatTensor([0.667, 1.0, 0.8]), sid)
    torch.onnx.export(
        model, inputs, str(path), opset_version=OPSET, dynamo=False,
        input_names=["input", "input_lengths", "scales", "sid"][: 4 if speakers > 1 else 3], output_names=["output"],
        dynamic_axes={
            "input": {0: "batch_size", 1: "phonemes"},
            "input_lengths": {0: "batch_size"},
            "output": {0: "batch_size", 2: "time"},
        },
    )
    graph = onnx.load(str(path))
    shorten(graph.graph)
    share_constants(graph.graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
    return sorted({node.op_type for node in graph.graph.node})


def share_constants(graph):
    """Leaves one of equal constants: in a tiny model they would be a third of the file."""
    first, instead, kept = {}, {}, []
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.input[:] = [instead.get(name, name) for name in node.input]
        if node.op_type == "Constant":
            same = first.setdefault(node.attribute[0].SerializeToString(), node.output[0])
            if same != node.output[0]:
                instead[node.output[0]] = same
                continue
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def settings(kind, espeak, ids, names):
    return {
        "audio": {"sample_rate": RATE, "quality": "tiny"},
        "espeak": {"voice": espeak},
        "language": {"code": "en_US" if espeak == "en-us" else espeak},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": kind,
        "phoneme_map": {},
        "phoneme_id_map": ids,
        "num_symbols": 1 + max(max(each) for each in ids.values()),
        "num_speakers": max(1, len(names)),
        "speaker_id_map": {name: n for n, name in enumerate(names)},
        "piper_version": "1.0.0",
    }


def spoken(path, ids, scales, speaker):
    """What ONNX Runtime makes of `ids`: its length, its loudest sample, and every 97th sample."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array(scales, np.float32),
    }
    if any(port.name == "sid" for port in session.get_inputs()):
        inputs["sid"] = np.array([speaker], np.int64)
    (out,) = session.run(None, inputs)
    sound = out.reshape(-1)
    again = session.run(None, inputs)[0].reshape(-1)
    assert np.array_equal(sound, again), "without noise it is always the same"
    return {
        "ids": ids,
        "scales": list(scales),
        "speaker": speaker,
        "shape": list(out.shape),
        "peak": round(float(np.abs(sound).max()), 7),
        "every_97th": [round(float(sample), 7) for sample in sound[::97]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path)
    folder = parser.parse_args().fixtures / "piper"
    folder.mkdir(parents=True, exist_ok=True)

    letters = {letter: [n] for n, letter in enumerate(LETTERS)}
    speakers = ["ann", "bob", "eve"]
    expected = {}
    phonemizer = EspeakPhonemizer()
    texts = []
    for espeak, text in TEXTS:
        sentences = phonemizer.phonemize(espeak, text)
        ids = [phonemes_to_ids(sentence, DEFAULT_PHONEME_ID_MAP) for sentence in sentences]
        texts.append({"voice": espeak, "text": text, "phonemes": ["".join(s) for s in sentences], "ids": ids})
    expected["texts"] = texts
    path = folder / "tiny.onnx"
    config = settings("espeak", "en-us", DEFAULT_PHONEME_ID_MAP, speakers)
    model = voice("tiny", config["num_symbols"], len(speakers))
    expected["operators"] = export(model, path, len(speakers))
    path.with_suffix(".onnx.json").write_text(json.dumps(config, ensure_ascii=False) + "\n")
    # The same graph, read by its letters.
    plain = settings("text", "en-us", letters, speakers)
    (folder / "letters.json").write_text(json.dumps(plain, ensure_ascii=False) + "\n")
    said = phonemes_to_ids(list("say it again, please."), letters)
    cases = [
        (texts[0]["ids"][0], QUIET, 0),
        (texts[0]["ids"][1], QUIET, 2),
        (texts[1]["ids"][1], SLOW, 1),
        (said, QUIET, 0),
    ]
    expected["spoken"] = [spoken(path, *case) for case in cases]
    print(path.stat().st_size, [case["shape"] for case in expected["spoken"]])
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
