// One stream per tab. It is closed while the tab is hidden (browsers allow six per host), begins
// again where it ended, and says when it is lost.

const SILENT_MS = 2500;
const AGAIN_MS = 1000;

export class Stream {
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.since = "";
    this.last = performance.now();
    this.source = null;
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("pagehide", () => this.close());
    setInterval(() => this.look(), 500);
    this.follow();
  }

  follow() {
    if (document.hidden) this.close();
    else if (this.source === null) this.open();
  }

  open() {
    this.opened = performance.now();
    this.source = new EventSource(`/events?since=${encodeURIComponent(this.since)}`);
    this.source.onmessage = (event) => {
      this.since = event.lastEventId;
      this.last = performance.now();
      this.lost = false;
      this.onState(null);
      this.onMessage(JSON.parse(event.data));
    };
    this.source.onerror = () => {
      this.lost = true;
    };
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  // The browser's own tries may end for good, and a connection may be silent without an error.
  look() {
    if (this.source === null) return;
    const now = performance.now();
    const silent = now - Math.max(this.last, this.opened) > SILENT_MS;
    if (!this.lost && !silent) return;
    this.onState((now - this.last) / 1000);
    if (now - this.opened > AGAIN_MS) {
      this.close();
      this.open();
    }
  }
}
