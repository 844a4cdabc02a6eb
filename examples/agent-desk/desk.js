// One call's stream for its agent: a WebSocket that goes on where it broke off.

/** Tells by DOM events what happens: "told" (one event of the stream), "state" (following, lost, over, refused). */
export class Desk extends EventTarget {
  /** @param {{base?: string, token?: string, call: string}} where `base` is the server's address; this page's own where there is none. */
  constructor({ base = location.origin, token = "", call }) {
    super();
    Object.assign(this, { base, token, call, last: 0, closed: false, tries: 0 });
    this.#connect();
  }

  /** Says whether a suggestion helped. */
  rate(suggestion, verdict) {
    return this.#say({ suggestion, verdict });
  }

  /** Files the call. */
  file(disposition) {
    return this.#say({ disposition });
  }

  close() {
    this.closed = true;
    this.socket?.close();
  }

  #connect() {
    const address = new URL(`/v1/calls/${this.call}/assist?after=${this.last}`, this.base.replace(/^http/, "ws"));
    const protocols = this.token ? ["antiphon.events.v1", `bearer.${this.token}`] : ["antiphon.events.v1"];
    const socket = (this.socket = new WebSocket(address, protocols));
    socket.onopen = () => {
      this.tries = 0;
      this.#tell("state", "following");
    };
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      this.last = event.number;
      this.#tell("told", event);
    };
    socket.onclose = ({ code }) => {
      if (this.closed) return;
      if (code === 1000) return this.#tell("state", "over");
      // Refused at the door, or gone: the same to a browser. A few tries, further and further apart.
      if (this.tries === 6) return this.#tell("state", "refused");
      this.#tell("state", "lost");
      setTimeout(() => this.closed || this.#connect(), 250 * 2 ** this.tries++);
    };
  }

  async #say(body) {
    const response = await ask(this, `/v1/calls/${this.call}/assist/feedback`, body);
    if (!response.ok) throw new Error((await response.json()).error.code);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/** Asks the server; POST where there is a body. */
export function ask({ base = location.origin, token = "" }, path, body) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  return fetch(new URL(path, base), { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
}
