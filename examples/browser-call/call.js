// One call from a browser: microphone, WebRTC, the server's HTTP interface and its events.

const SDP = "application/sdp";
const FRAGMENT = "application/trickle-ice-sdpfrag";

/** What went wrong: `code` is the server's, or one of "microphone", "insecure", "network". */
export class CallError extends Error {
  constructor(code, message) {
    super(message || code);
    this.code = code;
  }
}

/**
 * Tells by DOM events what happens: "state" (connecting, ringing, connected, ended; with the cause), "heard" (one event of
 * the server's stream).
 */
export class Call extends EventTarget {
  /** @param {{base?: string, token?: string}} server `base` is its address; this page's own where there is none. */
  constructor({ base = location.origin, token = "" } = {}) {
    super();
    this.base = base;
    this.token = token;
    this.state = "idle";
    this.cause = null;
    this.waiting = [];
    this.answered = false;
  }

  /** Calls `to`, a number or user:NAME; the server's default flow where it is empty. */
  async start(to = "") {
    if (!navigator.mediaDevices) throw new CallError("insecure");
    this.#enter("connecting");
    try {
      const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
      const servers = this.#servers();
      this.microphone = await navigator.mediaDevices.getUserMedia({ audio: wanted }).catch((error) => {
        throw new CallError("microphone", error.message);
      });
      const peer = (this.peer = new RTCPeerConnection({ iceServers: await servers, bundlePolicy: "max-bundle" }));
      const [track] = this.microphone.getAudioTracks();
      this.sender = peer.addTrack(track, this.microphone);
      const arrived = new Promise((resolve) => (peer.ontrack = ({ track }) => resolve(new MediaStream([track]))));
      peer.onicecandidate = ({ candidate }) => candidate && this.#trickle(candidate);
      peer.onconnectionstatechange = () => this.#watch();
      await peer.setLocalDescription();
      const query = to ? `?to=${encodeURIComponent(to)}` : "";
      const response = await this.#ask(`/v1/webrtc${query}`, "POST", SDP, peer.localDescription.sdp);
      this.tag = response.headers.get("ETag");
      this.session = response.headers.get("Location");
      this.id = this.session.split("/").pop();
      this.#listen();
      await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
      this.waiting.splice(0).forEach((candidate) => this.#trickle(candidate));
      this.sound = await arrived;
    } catch (error) {
      this.#finish(null);
      throw error;
    }
  }

  /** Presses a key of the telephone: 0 to 9, *, #. */
  press(key) {
    this.sender?.dtmf?.insertDTMF(key, 120, 70);
  }

  /** Lets the far side hear nothing, or everything again. */
  mute(muted) {
    for (const track of this.microphone?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** Hangs up. */
  async end() {
    const session = this.session;
    this.#finish("call.hangup.caller");
    // The server notices by itself where this does not arrive.
    if (session) await this.#ask(session, "DELETE").catch(() => {});
  }

  /** Says goodbye while the page goes away. */
  leave() {
    this.peer?.close();
    if (this.session) fetch(this.base + this.session, { method: "DELETE", headers: this.#headers(), keepalive: true });
  }

  #headers(more = {}) {
    return this.token ? { ...more, Authorization: `Bearer ${this.token}` } : more;
  }

  async #ask(path, method, type, body, more = {}) {
    const headers = this.#headers(type ? { ...more, "Content-Type": type } : more);
    const response = await fetch(this.base + path, { method, headers, body }).catch(() => {
      throw new CallError("network");
    });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({ error: { code: "network" } }));
    throw new CallError(error.code, error.message);
  }

  /** STUN and TURN servers of the server's configuration, with credentials for this call (RFC 9725 section 4.6). */
  async #servers() {
    // Without them the call is tried directly.
    const response = await this.#ask("/v1/webrtc", "OPTIONS").catch(() => null);
    const links = (response?.headers.get("Link") ?? "").matchAll(/<([^>]+)>((?:\s*;\s*[\w-]+="[^"]*")*)/g);
    return [...links].flatMap(([, urls, rest]) => {
      const { rel, username, credential } = Object.fromEntries(
        [...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
      );
      return rel === "ice-server" ? [{ urls, username, credential }] : [];
    });
  }

  #trickle(candidate) {
    if (!this.session) return void this.waiting.push(candidate);
    const [, ufrag = ""] = this.peer.localDescription.sdp.match(/^a=ice-ufrag:(\S+)/m) ?? [];
    const lines = [`a=ice-ufrag:${ufrag}`, "m=audio 9 UDP/TLS/RTP/SAVPF 0", `a=mid:${candidate.sdpMid}`, `a=${candidate.candidate}`];
    const headers = this.tag ? { "If-Match": this.tag } : {};
    // The server is ICE-lite: it finds us by our checks if this does not arrive.
    this.#ask(this.session, "PATCH", FRAGMENT, lines.join("\r\n") + "\r\n", headers).catch(() => {});
  }

  #listen() {
    const protocols = ["antiphon.events.v1", ...(this.token ? [`bearer.${this.token}`] : [])];
    const url = this.base.replace(/^http/, "ws") + `/v1/calls/${this.id}/events`;
    this.events = new WebSocket(url, protocols);
    this.events.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      this.dispatchEvent(new CustomEvent("heard", { detail: event }));
      if (event.type === "call.answered") this.#answer();
      if (event.type === "call.ended") this.#finish(event.cause);
    };
    // Whoever may not watch the call cannot tell when it is answered.
    this.events.onerror = () => this.#answer();
  }

  #answer() {
    this.answered = true;
    this.#watch();
  }

  #watch() {
    const state = this.peer?.connectionState;
    if (state === "connected") this.#enter(this.answered ? "connected" : "ringing");
    // Its cause comes with the events, which may be a moment later.
    if (state === "failed") setTimeout(() => this.#finish("call.media.no_way"), 1000);
    if (state === "closed") setTimeout(() => this.#finish(null), 1000);
  }

  #finish(cause) {
    if (this.state === "ended") return;
    this.cause = cause;
    this.peer?.close();
    this.events?.close();
    for (const track of this.microphone?.getTracks() ?? []) track.stop();
    this.#enter("ended");
  }

  #enter(state) {
    if (this.state === "ended" || this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, cause: this.cause } }));
  }
}
