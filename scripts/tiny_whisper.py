#!/usr/bin/env python3
"""Makes tiny random-weight Whisper models as they are published (a Hugging Face folder of safetensors, GGUF with its
config and tokenizer beside it) and what transformers computes with them: what the tests of models/candle are held
against.

    python3 -m venv /tmp/tiny && /tmp/tiny/bin/pip install torch transformers gguf numpy
    /tmp/tiny/bin/python scripts/tiny_whisper.py models/onnx/fixtures/audio.wav models/candle/fixtures

The window is 5 s where the published models have 30, which keeps positions and time tokens few; all else is as it is
published.
"""

import json
import re
import shutil
import sys
import tempfile
import wave
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

CHUNK = 5
POSITIONS = CHUNK * 50
LANGUAGES = ["en", "zh", "de", "es", "ru", "ko", "fr", "ja"]
TEXT = (
    "check my balance please what is the balance of my account i would like to pay the bill and speak with somebody "
    "about the card that was lost can you transfer the money to the other account thank you good morning and goodbye "
    "the number is four two seven one and the name is written with two letters more than before where there was none"
).split()


def byte_letters():
    """GPT-2's letters for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in printable}
    for n, b in enumerate(b for b in range(256) if b not in letters):
        letters[b] = chr(256 + n)
    return letters


def tokenizer(multilingual):
    """A byte-level BPE with Whisper's special tokens after it; returns the JSON and the numbers by name."""
    letters = byte_letters()
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [b for b in range(256) if b not in order]
    vocab = {letters[b]: n for n, b in enumerate(order)}
    words = [["Ġ", *word] for word in TEXT]
    merges = []
    for _ in range(64):
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda p: (counts[p], p))
        merges.append(best)
        vocab["".join(best)] = len(vocab)
        for word in words:
            n = 0
            while n + 1 < len(word):
                if (word[n], word[n + 1]) == best:
                    word[n : n + 2] = ["".join(best)]
                n += 1
    special = ["<|endoftext|>", "<|startoftranscript|>"]
    special += [f"<|{tag}|>" for tag in LANGUAGES]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    special += ["<|notimestamps|>"]
    if not multilingual:
        # The English models have no end of text of their own: it is the last of GPT-2's.
        special = [s for s in special if s[2:-2] not in LANGUAGES]
    ids = {}
    added = []
    for name in special:
        ids[name] = len(vocab) + len(ids)
    for n in range(POSITIONS + 1):
        ids[f"<|{n * 0.02:.2f}|>"] = len(vocab) + len(ids)
    for name, number in ids.items():
        if name not in special and not multilingual:
            # Older tokenizers leave the times out.
            continue
        added.append(
            {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": name in special}
        )
    vocab["<|endoftext|>"] = ids["<|endoftext|>"]
    out = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
            "merges": [" ".join(pair) for pair in merges],
        },
    }
    return out, ids


def generation(spelling, ids, multilingual, heads):
    letters = {v: k for k, v in byte_letters().items()}
    suppressed = []
    for text, number in spelling["model"]["vocab"].items():
        said = bytes(letters[c] for c in text if c in letters)
        if not re.fullmatch(rb" ?[a-z]+", said):
            suppressed.append(number)
    end = ids["<|endoftext|>"]
    suppressed = sorted(s for s in suppressed if s != end)
    for name in ["<|startoftranscript|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]:
        suppressed.append(ids[name])
    out = {
        "alignment_heads": heads,
        "begin_suppress_tokens": [spelling["model"]["vocab"]["Ġ"], end],
        "bos_token_id": end, "decoder_start_token_id": ids["<|startoftranscript|>"], "eos_token_id": end,
        "is_multilingual": multilingual, "max_initial_timestamp_index": 50, "max_length": 128,
        "no_timestamps_token_id": ids["<|notimestamps|>"], "pad_token_id": end,
        "prev_sot_token_id": ids["<|startofprev|>"], "return_timestamps": False, "suppress_tokens": suppressed,
    }
    if multilingual:
        out["lang_to_id"] = {f"<|{tag}|>": ids[f"<|{tag}|>"] for tag in LANGUAGES}
        out["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return out


def network(ids, mels, layers, seed):
    vocabulary = max(ids.values()) + 1
    config = WhisperConfig(
        vocab_size=vocabulary, num_mel_bins=mels, d_model=32, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=2, decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_source_positions=POSITIONS, max_target_positions=128, decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"],
        suppress_tokens=None, begin_suppress_tokens=None, median_filter_width=7, attn_implementation="eager",
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "encoder.embed_positions" in name:
                continue
            if "layer_norm" in name:
                weight.copy_(torch.randn_like(weight) * 0.1 + (1.0 if name.endswith("weight") else 0.0))
            elif name.endswith("bias"):
                weight.copy_(torch.randn_like(weight) * 0.1)
            elif "embed_tokens" in name:
                weight.copy_(torch.randn_like(weight) * 0.3)
            elif "embed_positions" in name:
                weight.copy_(torch.randn_like(weight) * 0.8)
            else:
                fan = weight[0].numel()
                gain = 3.0 if "encoder_attn.q_proj" in name or "encoder_attn.k_proj" in name else 1.4
                weight.copy_(torch.randn_like(weight) * gain / fan**0.5)
            # What is published is what is computed with.
            weight.copy_(weight.half().float())
        # The later, the likelier the end, as in a trained model.
        places, tokens = model.model.decoder.embed_positions.weight, model.model.decoder.embed_tokens.weight
        drift = torch.arange(len(places))[:, None] / 6 * tokens[ids["<|endoftext|>"]]
        places.copy_((places + drift).half().float())
    return model


def write(folder, model, spelling, settings, mels):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.generation_config = GenerationConfig.from_dict(dict(settings))
        model.half().save_pretrained(scratch)
        model.float()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(Path(scratch) / name, folder / name)
    (folder / "tokenizer.json").write_text(json.dumps(spelling, separators=(",", ":"), ensure_ascii=False))
    (folder / "generation_config.json").write_text(json.dumps(settings, separators=(",", ":")))
    preprocessor = {
        "chunk_length": CHUNK, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": mels,
        "hop_length": 160, "n_fft": 400, "n_samples": CHUNK * 16000, "nb_max_frames": CHUNK * 100, "padding_side": "right",
        "padding_value": 0.0, "processor_class": "WhisperProcessor", "return_attention_mask": False, "sampling_rate": 16000,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=1))


def write_gguf(path, model, quantised):
    """As candle's examples publish it: the names of the safetensors, matrices quantised, the rest in floats. Returns the
    weights that a reader gets back."""
    writer = gguf.GGUFWriter(path, "whisper")
    back = {}
    for name, weight in model.state_dict().items():
        if name == "proj_out.weight":
            continue
        array = weight.float().numpy()
        if array.ndim < 2:
            kind = gguf.GGMLQuantizationType.F32
        elif quantised and array.ndim == 2 and "embed_positions" not in name:
            kind = gguf.GGMLQuantizationType.Q8_0
        else:
            kind = gguf.GGMLQuantizationType.F16
        data = gguf.quants.quantize(np.ascontiguousarray(array), kind)
        back[name] = torch.from_numpy(gguf.quants.dequantize(data, kind).reshape(array.shape).copy())
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    back["proj_out.weight"] = back["model.decoder.embed_tokens.weight"]
    return back


def sound(path):
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).astype(np.float32) / 32768.0


def some(row, count=None):
    return [round(float(x), 5) for x in (row if count is None else row[:count])]


def said(model, features, frames, settings, **kwargs):
    """One greedy pass with the rules for time tokens, and what the reference measures of it."""
    model.generation_config = GenerationConfig.from_dict(dict(settings))
    mask = torch.zeros(1, features.shape[-1], dtype=torch.long)
    mask[:, :frames] = 1
    out = model.generate(
        features, attention_mask=mask, return_timestamps=True, return_token_timestamps=True, force_unique_generate_call=True,
        return_dict_in_generate=True, output_scores=True, **kwargs,
    )
    prompt = out["sequences"].shape[1] - len(out["scores"])
    tokens = out["sequences"][0, prompt:]
    end = settings["eos_token_id"]
    return {
        "tokens": [t for t in tokens.tolist() if t != end],
        "ended": tokens.tolist()[-1] == end,
        "average": float(model._retrieve_avg_logprobs([s[0] for s in out["scores"]], tokens, 0.0)),
        "ratio": float(model._retrieve_compression_ratio(tokens, model.config.vocab_size)),
        "times": [round(float(t), 2) for t in out["token_timestamps"][0, prompt : prompt + len(tokens)]],
    }


def silence(model, features, settings):
    """The probability of <|nospeech|> after <|startoftranscript|>."""
    start = torch.tensor([[settings["decoder_start_token_id"]]])
    logits = model(input_features=features, decoder_input_ids=start).logits[0, -1]
    return float(logits.softmax(-1)[settings["no_timestamps_token_id"] - 1])


def multilingual(root, audio, expected, seed):
    spelling, ids = tokenizer(True)
    settings = generation(spelling, ids, True, [[0, 1], [1, 0], [1, 3]])
    model = network(ids, 80, 2, seed)
    write(root / "multilingual", model, spelling, settings, 80)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=CHUNK)
    words = Tokenizer.from_file(str(root / "multilingual" / "tokenizer.json"))
    phrases = ["Check my balance. The number is 427! ", "it's  what's  two\n\n three", "查询 balance—ok", " x"]
    expected["pieces"] = [{"text": p, "ids": words.encode(p, add_special_tokens=False).ids} for p in phrases]

    def listen(samples):
        return extractor(samples, sampling_rate=16000, return_tensors="pt").input_features

    features = listen(audio)
    expected["mel80"] = {str(n): some(features[0, :, n]) for n in (0, 57, 300, 399, 400, 499)}
    with torch.no_grad():
        encoded = model.model.encoder(features).last_hidden_state[0]
        expected["encoder"] = {str(n): some(encoded[n]) for n in (0, 1, 150, 249)}
        start = [settings["decoder_start_token_id"], ids["<|en|>"], ids["<|transcribe|>"]]
        logits = model(input_features=features, decoder_input_ids=torch.tensor([start])).logits[0]
        expected["logits"] = {"prompt": start, "first": some(logits[0]), "last": some(logits[-1])}
        cases = []
        for first, last, tag, prompt in [
            (0, 64000, "en", None), (0, 64000, "zh", None), (8000, 40000, "en", None), (20000, 64000, "de", None),
            (0, 64000, "en", " check my balance."), (0, 64000, None, None), (3000, 35000, None, " the card was lost"),
        ]:
            samples = audio[first:last]
            features = listen(samples)
            detected = model.detect_language(input_features=features, generation_config=GenerationConfig.from_dict(dict(settings)))
            language = tag or next(t for t in LANGUAGES if ids[f"<|{t}|>"] == int(detected[0]))
            kwargs = {"language": language, "task": "transcribe"}
            if prompt:
                kwargs["prompt_ids"] = torch.tensor([ids["<|startofprev|>"], *words.encode(prompt, add_special_tokens=False).ids])
            case = said(model, features, (last - first) // 160, settings, **kwargs)
            case |= {"from": first, "to": last, "language": tag, "prompt": prompt, "heard": language}
            case["silence"] = silence(model, features, settings)
            cases.append(case)
        expected["cases"] = cases
        model.load_state_dict(write_gguf(root / "model-tiny-q80.gguf", model, True), strict=False)
        features = listen(audio)
        expected["q8_0"] = said(model, features, 400, settings, language="en", task="transcribe")
        encoded = model.model.encoder(features).last_hidden_state[0]
        expected["q8_0"]["encoder"] = some(encoded[150])


def english(root, audio, expected, seed):
    spelling, ids = tokenizer(False)
    settings = generation(spelling, ids, False, [[0, 0], [0, 2]])
    model = network(ids, 128, 1, seed)
    folder = root / "f16"
    write(folder, model, spelling, settings, 128)
    (folder / "model.safetensors").unlink()
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=CHUNK)
    features = extractor(audio, sampling_rate=16000, return_tensors="pt").input_features
    expected["mel128"] = {str(n): some(features[0, :, n]) for n in (0, 300, 399, 499)}
    with torch.no_grad():
        model.load_state_dict(write_gguf(folder / "model-f16.gguf", model, False), strict=False)
        expected["f16"] = said(model, features, 400, settings)
        encoded = model.model.encoder(features).last_hidden_state[0]
        expected["f16"]["encoder"] = some(encoded[150])


def main():
    root = Path(sys.argv[2])
    audio = sound(sys.argv[1])
    seeds = [int(s) for s in sys.argv[3:5]] or [5, 3]
    expected = {}
    multilingual(root, audio, expected, seeds[0])
    english(root, audio, expected, seeds[1])
    (root / "expected.json").write_text(json.dumps(expected, separators=(",", ":")))
    words = Tokenizer.from_file(str(root / "multilingual" / "tokenizer.json"))
    for case in [*expected["cases"], expected["q8_0"], expected["f16"]]:
        print(len(case["tokens"]), case["ended"], round(case["average"], 3), round(case["ratio"], 3),
              repr(words.decode(case["tokens"], skip_special_tokens=False)), case["times"][:12])


if __name__ == "__main__":
    main()
