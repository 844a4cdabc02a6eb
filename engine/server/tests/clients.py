"""Has published clients hear a WAV file from our service; prints what each was told, as one JSON object.

Usage: clients.py PORT WAV (one channel, 16 bits)
"""

import asyncio
import json
import sys
import threading
import wave

import websockets
from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types import ListenV1CloseStream
from openai import OpenAI

port, path = sys.argv[1], sys.argv[2]
with wave.open(path) as file:
    rate, pcm = file.getframerate(), file.readframes(file.getnframes())
octets = open(path, "rb").read()
pieces = [pcm[at : at + 3200] for at in range(0, len(pcm), 3200)]
told = {}

openai = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
transcriptions = openai.audio.transcriptions
with open(path, "rb") as file:
    told["openai"] = transcriptions.create(model="whisper-1", file=file).text
with open(path, "rb") as file:
    verbose = transcriptions.create(
        model="whisper-1", file=file, response_format="verbose_json", timestamp_granularities=["word"]
    )
    told["openai_words"] = [word.word for word in verbose.words]
with open(path, "rb") as file:
    events = [event.type for event in transcriptions.create(model="whisper-1", file=file, stream=True)]
    told["openai_stream"] = events[-1]
speech = openai.audio.speech.create(model="tts-1", voice="alloy", input="hello", response_format="wav")
told["openai_speech"] = speech.content[:4].decode("latin-1")

addresses = {"base": f"http://127.0.0.1:{port}", "production": f"ws://127.0.0.1:{port}", "agent": f"ws://127.0.0.1:{port}"}
if "agent_rest" in DeepgramClientEnvironment.__init__.__code__.co_varnames:
    addresses["agent_rest"] = f"http://127.0.0.1:{port}"
deepgram = DeepgramClient(api_key="none", environment=DeepgramClientEnvironment(**addresses))
heard = deepgram.listen.v1.media.transcribe_file(request=octets, model="nova-3", utterances=True)
told["deepgram"] = heard.results.channels[0].alternatives[0].transcript
finals = []
with deepgram.listen.v1.connect(
    model="nova-3", encoding="linear16", sample_rate=str(rate), interim_results="true"
) as connection:

    def take(message):
        if getattr(message, "type", None) == "Results" and message.is_final:
            finals.append(message.channel.alternatives[0].transcript)

    connection.on(EventType.MESSAGE, take)
    listening = threading.Thread(target=connection.start_listening, daemon=True)
    listening.start()
    for piece in pieces:
        connection.send_media(piece)
    connection.send_close_stream(ListenV1CloseStream(type="CloseStream"))
    listening.join(30)
told["deepgram_live"] = " ".join(text for text in finals if text)


async def vosk():
    """As the client scripts of vosk-server do."""
    texts = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/vosk") as socket:
        await socket.send(json.dumps({"config": {"sample_rate": rate}}))
        for piece in pieces:
            await socket.send(piece)
            texts.append(json.loads(await socket.recv()).get("text", ""))
        await socket.send('{"eof" : 1}')
        texts.append(json.loads(await socket.recv())["text"])
    return " ".join(text for text in texts if text)


async def funasr():
    """As FunASR's own WebSocket client does, in two passes."""
    texts = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/funasr", subprotocols=["binary"]) as socket:
        settings = {"mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10, "wav_name": "t", "audio_fs": rate}
        await socket.send(json.dumps({**settings, "is_speaking": True}))
        for piece in pieces:
            await socket.send(piece)
        await socket.send(json.dumps({"is_speaking": False}))
        async for message in socket:
            message = json.loads(message)
            if message["mode"] == "2pass-offline":
                texts.append(message["text"])
    return " ".join(text for text in texts if text)


told["vosk"] = asyncio.run(vosk())
told["funasr"] = asyncio.run(funasr())
print(json.dumps(told))
