#!/usr/bin/env python3
"""Our server beside sherpa-onnx's own streaming server (its C++ program), on the same graph, with the same threads, in turns in
one run: CPU time, streams a core, memory a stream, and how long the last words take. Real sockets on loopback, sound in real
time.

    python3 -m venv /tmp/side && /tmp/side/bin/pip install websockets sherpa-onnx-bin sherpa-onnx-core
    cargo build --release -p antiphon-engine-server --features transducer,ort
    /tmp/side/bin/python scripts/side_by_side.py --model /tmp/large --sound speech.wav --antiphon target/release/antiphon \\
        --onnxruntime .../libonnxruntime.so.1.31.1 --sherpa /tmp/side

`--model` is a folder of `scripts/tiny_models.py --large`; `--sound` is speech of 16 kHz, 16 bits, one channel, which each stream
begins at another place. Ours is asked over `/v1/vosk`. CPU time is that of the server's process, all threads; so another program's
load shows little in it, but in the waiting it does.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import websockets

PIECE = 0.1
RATE = 16_000


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit("a server ended before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    sys.exit("a server does not listen")


@contextlib.contextmanager
def started(command, port, log, env=None):
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        listens(port, process)
        time.sleep(2)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ours(options, int8, runtime, folder, log):
    http, sip = free_port(), free_port()
    library = f'onnxruntime = "{options.onnxruntime}"' if runtime == "ort" else ""
    config = folder / f"antiphon-{runtime}-{int8}.toml"
    config.write_text(
        f'data = "{folder}/data"\n[sip]\nlisten = "127.0.0.1:{sip}"\n[http]\nlisten = "127.0.0.1:{http}"\n'
        f'[call]\nconcurrent = 200\n[recognizer]\nengine = "transducer"\nworkers = 1\n[pool]\ncalibrate = false\n'
        f'[recognizer.transducer]\nmodel = "{options.model}"\nint8 = {str(int8).lower()}\nthreads = {options.threads}\n'
        f"rows = {options.rows}\n{library}\n[log]\nlevel = \"warn\"\n"
    )
    return started([options.antiphon, "serve", "--config", config], http, log), http


def theirs(options, int8, log):
    port = free_port()
    root = Path(options.sherpa)
    program = next(root.rglob("sherpa-onnx-online-websocket-server"))
    libraries = {str(p.parent) for p in root.rglob("libonnxruntime*.so*")}
    env = dict(os.environ, LD_LIBRARY_PATH=":".join(sorted(libraries)))
    model = Path(options.model)
    encoder = model / ("encoder.int8.onnx" if int8 else "encoder.onnx")
    command = [
        program, f"--port={port}", f"--tokens={model}/tokens.txt", f"--encoder={encoder}", f"--decoder={model}/decoder.onnx",
        f"--joiner={model}/joiner.onnx", f"--num-threads={options.threads}", "--num-work-threads=1", "--num-io-threads=1",
        f"--max-batch-size={options.rows}", "--log-file=/dev/null", "--enable-endpoint=true",
    ]
    return started(command, port, log, env), port


async def pace(send, pcm, begun):
    step = int(PIECE * RATE)
    for n in range(0, len(pcm), step):
        await asyncio.sleep(max(0, begun + n / RATE - time.monotonic()))
        await send(pcm[n : n + step])


async def ask_ours(port, pcm, begun):
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/vosk", max_size=None) as ws:
        await ws.send(json.dumps({"config": {"sample_rate": RATE}}))
        words = 0

        async def read():
            nonlocal words
            async for message in ws:
                words += len(json.loads(message).get("text", "").split())

        reading = asyncio.create_task(read())
        await pace(lambda part: ws.send(struct.pack(f"<{len(part)}h", *part)), pcm, begun)
        end = time.monotonic()
        await ws.send('{"eof" : 1}')
        await reading
        return time.monotonic() - end, words


async def ask_theirs(port, pcm, begun):
    async with websockets.connect(f"ws://127.0.0.1:{port}", max_size=None) as ws:
        texts = {}

        async def read():
            async for message in ws:
                if message.startswith("Done"):
                    return
                said = json.loads(message)
                texts[said.get("segment", 0)] = said.get("text", "")

        reading = asyncio.create_task(read())
        await pace(lambda part: ws.send(struct.pack(f"<{len(part)}f", *(s / 32768 for s in part))), pcm, begun)
        end = time.monotonic()
        await ws.send("Done")
        await reading
        return time.monotonic() - end, sum(len(t.split()) for t in texts.values())


async def load(ask, port, pid, pcm, streams, seconds):
    """Some streams at once; CPU and memory are taken while all of them speak."""
    length, began, grown = int(seconds * RATE), resident(pid), []
    begun = time.monotonic() + 0.5

    async def one(n):
        at = n * 7 * RATE % max(1, len(pcm) - length)
        # Not all at the same moment: their chunks would be ready together.
        return await ask(port, pcm[at : at + length], begun + n * 0.32 / streams)

    async def watch():
        await asyncio.sleep(max(0, begun + 2 - time.monotonic()))
        first, at = cpu(pid), time.monotonic()
        await asyncio.sleep(seconds - 3)
        grown.append(resident(pid) - began)
        return cpu(pid) - first, time.monotonic() - at

    watching = asyncio.create_task(watch())
    ends = await asyncio.gather(*(one(n) for n in range(streams)))
    used, lasted = await watching
    lags = sorted(lag for lag, _ in ends)
    return {
        "cpu": used / (lasted * streams), "memory": grown[0] / streams, "lag": lags[len(lags) // 2],
        "worst": lags[-1], "words": sum(words for _, words in ends) / streams,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sound", required=True)
    parser.add_argument("--antiphon", required=True)
    parser.add_argument("--sherpa", required=True, help="a folder with the program and its libraries somewhere in it")
    parser.add_argument("--onnxruntime", help="the library that ours takes, too; without it only rten is measured")
    parser.add_argument("--streams", default="1,8,16")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", default="float,int8")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    with wave.open(options.sound) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 1, 2), "16 kHz, 16 bits, mono"
        pcm = struct.unpack(f"<{sound.getnframes()}h", sound.readframes(sound.getnframes()))
    assert len(pcm) > (options.seconds + 7) * RATE, "more sound is needed"
    runtimes = ["rten"] + (["ort"] if options.onnxruntime else [])
    print(f"load average {os.getloadavg()[0]:.1f}; chunks in real time; {options.threads} thread, up to {options.rows} rows a step")
    print("weights  server     streams  streams a core  MiB a stream  last words p50, worst  words a stream  turn")
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "wb") as log:
        for weights in options.weights.split(","):
            for turn in range(options.turns):
                for name in ["sherpa-onnx"] + [f"ours, {r}" for r in runtimes]:
                    int8 = weights == "int8"
                    if name == "sherpa-onnx":
                        (server, port), ask = theirs(options, int8, log), ask_theirs
                    else:
                        (server, port), ask = ours(options, int8, name.split()[-1], Path(folder), log), ask_ours
                    with server as pid:
                        for streams in map(int, options.streams.split(",")):
                            found = asyncio.run(load(ask, port, pid, pcm, streams, options.seconds))
                            print(
                                f"{weights:7}  {name:11} {streams:6}  {1 / max(found['cpu'], 1e-6):14.1f}  {found['memory']:12.2f}"
                                f"  {found['lag']:9.2f} s, {found['worst']:.2f} s  {found['words']:14.1f}  {turn:4}",
                                flush=True,
                            )


if __name__ == "__main__":
    main()
