"use strict";
(() => {
  // What the peer sends is only ever shown as text: never as markup.

  const settings = JSON.parse(document.documentElement.dataset.settings);
  const byId = (id) => document.getElementById(id);
  const encoder = new TextEncoder();

  const MAX_ROWS = 1000;
  const MAX_HELD = 32 * 1024 * 1024; // characters and bytes of payloads
  const SHORT = 2000; // characters of a payload that a row shows at first
  const FIRST_DELAY = 0.5; // seconds
  const LONGEST_DELAY = 30;
  const STABLE = 10; // seconds open until the delays begin anew
  // The server said that it is done, or that trying again is of no use.
  const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);

  // Frames: entries as in docs/reference/json-lines.md, with `data` a string or a Uint8Array.

  const entries = [];
  const waiting = []; // entries that have no row yet
  let held = 0;
  let total = 0;
  let drawing = false;

  const sizeOf = (data) => (typeof data === "string" ? encoder.encode(data).length : data.length);

  function add(entry) {
    const full = { ts: Date.now() / 1000, ...entry };
    if (full.data !== undefined) {
      full.bytes = sizeOf(full.data);
      held += full.data.length;
    }
    entries.push(full);
    waiting.push(full);
    total += 1;
    while (entries.length > MAX_ROWS || (held > MAX_HELD && entries.length > 1)) drop();
    drawSoon();
  }

  function drop() {
    const entry = entries.shift();
    if (entry.data !== undefined) held -= entry.data.length;
    if (entry.row) entry.row.remove();
    entry.dropped = true;
  }

  // Many messages in one moment are drawn at once.
  function drawSoon() {
    if (drawing) return;
    drawing = true;
    // A page that is not seen gets no animation frames.
    (document.hidden ? setTimeout : requestAnimationFrame)(draw);
  }

  // Change the list, and keep showing its end if that is what is shown.
  function following(change) {
    const list = byId("frames");
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
    change();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  function draw() {
    drawing = false;
    following(drawRows);
    drawCounters();
  }

  function drawRows() {
    const rows = document.createDocumentFragment();
    for (const entry of waiting.splice(0)) {
      if (!entry.dropped) rows.append(rowOf(entry));
    }
    byId("rows").append(rows);
  }

  function cell(row, name, text) {
    const td = document.createElement("td");
    td.className = name;
    td.textContent = text;
    row.append(td);
    return td;
  }

  function rowOf(entry) {
    const row = document.createElement("tr");
    const payload = entry.data !== undefined;
    row.dataset.type = entry.type;
    row.dataset.kind = payload ? "payload" : "event";
    if (entry.dir) row.dataset.dir = entry.dir;
    cell(row, "direction", { in: "↓ in", out: "↑ out" }[entry.dir] || "·");
    cell(row, "time", timeOf(entry.ts));
    cell(row, "type", payload ? (typeof entry.data === "string" ? "text" : "binary") : entry.type);
    cell(row, "number", payload ? bytesText(entry.bytes) : "");
    cell(row, "data", "");
    entry.row = row;
    drawData(entry);
    row.hidden = !passes(entry);
    return row;
  }

  function drawData(entry, whole = false) {
    const td = entry.row.lastElementChild;
    const { text, more } = shownOf(entry, whole);
    td.textContent = text;
    if (!more) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${more} more: show`;
    button.addEventListener("click", () => drawData(entry, true));
    td.append("… ", button);
  }

  function shownOf(entry, whole) {
    if (entry.data === undefined) return { text: eventText(entry), more: "" };
    if (typeof entry.data !== "string") {
      const part = whole ? entry.data : entry.data.subarray(0, SHORT / 4);
      const rest = entry.data.length - part.length;
      return { text: hexOf(part), more: rest ? bytesText(rest) : "" };
    }
    const all = byId("pretty").checked ? prettyOf(entry.data) : entry.data;
    const rest = whole ? 0 : Math.max(0, all.length - SHORT);
    return { text: rest ? all.slice(0, SHORT) : all, more: rest ? `${rest.toLocaleString("en")} characters` : "" };
  }

  function prettyOf(text) {
    if (!/^\s*[[{]/.test(text)) return text;
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }

  function eventText(entry) {
    const reason = entry.reason ? `: ${entry.reason}` : "";
    if (entry.type === "open") return `connected to ${entry.url}${entry.note}`;
    if (entry.type === "close") return `closed with ${entry.code}${nameOf(entry.code)}${reason}`;
    if (entry.type === "retry") return `attempt ${entry.attempt} in ${entry.delay.toFixed(1)} s`;
    return entry.reason;
  }

  const CODE_NAMES = {
    1000: "normal closure", 1001: "going away", 1002: "protocol error", 1003: "unsupported data",
    1005: "no code", 1006: "cut off", 1007: "invalid payload", 1008: "policy violation",
    1009: "message too big", 1010: "extension missing", 1011: "internal error",
    1012: "service restart", 1013: "try again later", 1014: "bad gateway",
  };
  const nameOf = (code) => (CODE_NAMES[code] ? ` (${CODE_NAMES[code]})` : "");

  function timeOf(ts) {
    const date = new Date(ts * 1000);
    const two = (number) => String(number).padStart(2, "0");
    const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
    return `${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  }

  function bytesText(count) {
    if (count < 1024) return `${count} B`;
    if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} KiB`;
    return `${(count / 1024 / 1024).toFixed(1)} MiB`;
  }

  // Bytes as text, and back

  const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

  function base64Of(bytes) {
    let binary = "";
    for (let at = 0; at < bytes.length; at += 0x8000) {
      binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    }
    return btoa(binary);
  }

  function fromHex(text) {
    const digits = text.replace(/0x|[\s:,]/gi, "");
    if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error("Not hex: two digits a byte, such as 00 ff 1a");
    return Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));
  }

  function fromBase64(text) {
    try {
      return Uint8Array.from(atob(text.replace(/\s/g, "")), (character) => character.charCodeAt(0));
    } catch {
      throw new Error("Not Base64");
    }
  }

  // Filter, pretty, clear, save

  function passes(entry) {
    const wanted = byId("filter").value.toLowerCase();
    if (!wanted) return true;
    const text = typeof entry.data === "string" ? entry.data : shownOf(entry, false).text;
    return `${entry.type} ${entry.dir || ""} ${text}`.toLowerCase().includes(wanted);
  }

  byId("filter").addEventListener("input", () => {
    following(() => {
      for (const entry of entries) if (entry.row) entry.row.hidden = !passes(entry);
    });
    drawCounters();
  });

  byId("pretty").addEventListener("change", () => {
    following(() => {
      for (const entry of entries) if (entry.row) drawData(entry);
    });
  });

  byId("clear").addEventListener("click", () => {
    while (entries.length) drop();
    total = 0;
    drawCounters();
  });

  function lineOf(entry) {
    const line = { ts: entry.ts, conn: entry.conn, type: entry.type, dir: entry.dir, url: entry.url };
    if (entry.data !== undefined) {
      const text = typeof entry.data === "string";
      line.op = text ? "text" : "binary";
      line.data = text ? entry.data : base64Of(entry.data);
      line.enc = text ? "utf-8" : "base64";
      line.bytes = entry.bytes;
    }
    // What is undefined is left out.
    Object.assign(line, { code: entry.code, reason: entry.reason || undefined, delay: entry.delay, attempt: entry.attempt });
    return `${JSON.stringify(line)}\n`;
  }

  byId("save").addEventListener("click", () => {
    const blob = new Blob(entries.map(lineOf), { type: "application/x-ndjson" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `trio-ws-${new Date().toISOString().replace(/[:.]/g, "-")}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // Counters

  const counts = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0, connections: 0 };
  let roundTrip = null;

  function drawCounters() {
    const number = (value) => value.toLocaleString("en");
    byId("sent").textContent = `${number(counts.sent)} · ${bytesText(counts.sentBytes)}`;
    byId("received").textContent = `${number(counts.received)} · ${bytesText(counts.receivedBytes)}`;
    byId("connections").textContent = number(counts.connections);
    byId("latency").textContent = roundTrip === null ? "n/a" : `${roundTrip.toFixed(1)} ms`;
    byId("empty").hidden = entries.length > 0;
    const filtered = byId("filter").value ? `${number(entries.filter(passes).length)} match, ` : "";
    const kept = total > entries.length ? `the last ${number(entries.length)} of ${number(total)}` : number(total);
    byId("shown").textContent = total ? `${filtered}${kept} frame${total === 1 ? "" : "s"}` : "";
  }

  // Round trips, of an echo server only: browsers offer no pings.

  let unanswered = [];

  const keyOf = (data) => (typeof data === "string" ? `t${data}` : `b${base64Of(data)}`);

  function isEcho(url) {
    return settings.echo && new URL(url).host === location.host;
  }

  function expectEcho(data) {
    if (!connection.echo || data.length > 65536) return;
    unanswered.push({ key: keyOf(data), at: performance.now() });
    if (unanswered.length > 256) unanswered.shift();
  }

  function matchEcho(data) {
    const now = performance.now();
    if (!unanswered.length) return;
    const key = keyOf(data);
    const at = unanswered.findIndex((one) => one.key === key);
    if (at < 0) return;
    roundTrip = now - unanswered[at].at;
    unanswered = unanswered.slice(at + 1);
  }

  // The connection

  let connection = null; // of the newest attempt
  let wanted = false; // whether the user wants to be connected
  let attempts = 0; // since the last stable connection
  let made = 0;
  let retry = null;

  function show(state, text) {
    byId("state").dataset.state = state;
    byId("state-text").textContent = text;
    byId("now").hidden = state !== "waiting";
    if (state !== "waiting") byId("countdown").textContent = "";
    byId("send").disabled = state !== "open";
    const button = byId("connect");
    button.textContent = wanted ? "Disconnect" : "Connect";
    button.toggleAttribute("data-on", wanted);
  }

  function connect() {
    stopWaiting();
    byId("connection-error").textContent = "";
    const url = byId("url").value.trim();
    const offered = byId("subprotocols").value.split(/[\s,]+/).filter(Boolean);
    let socket;
    try {
      socket = new WebSocket(url, offered);
    } catch (error) {
      byId("connection-error").textContent = error.message;
      wanted = false;
      show("closed", "Not connected");
      return;
    }
    made += 1;
    socket.binaryType = "arraybuffer";
    connection = { socket, conn: String(made), begun: performance.now(), opened: null, echo: false };
    listen(connection);
    show("connecting", attempts ? `Connecting, attempt ${attempts + 1}` : "Connecting");
  }

  function listen(own) {
    const { socket, conn } = own;
    socket.addEventListener("open", () => {
      own.opened = performance.now();
      own.echo = isEcho(socket.url);
      unanswered = [];
      roundTrip = null;
      counts.connections += 1;
      const protocol = socket.protocol ? `, subprotocol ${socket.protocol}` : "";
      const note = `${protocol}, in ${Math.round(own.opened - own.begun)} ms`;
      add({ conn, type: "open", url: socket.url, note });
      show("open", "Connected");
      byId("message").focus();
    });
    socket.addEventListener("message", (event) => {
      const data = typeof event.data === "string" ? event.data : new Uint8Array(event.data);
      matchEcho(data);
      counts.received += 1;
      counts.receivedBytes += sizeOf(data);
      add({ conn, type: "message", dir: "in", data });
    });
    socket.addEventListener("close", (event) => closed(own, event));
  }

  function closed(own, event) {
    const { conn } = own;
    const { code, reason } = event;
    if (own.opened === null) {
      add({ conn, type: "error", reason: "could not connect" });
    } else {
      // The browser does not say who began, but this page knows whether it did.
      add({ conn, type: "close", dir: own.closing ? "out" : code === 1006 ? undefined : "in", code, reason });
      byId("last-close").textContent = `${code}${nameOf(code)}${reason ? `: ${reason}` : ""}`;
      if (performance.now() - own.opened >= STABLE * 1000) attempts = 0;
    }
    if (own !== connection) return;
    const final = FINAL_CODES.has(code) || code >= 3000;
    if (wanted && byId("reconnect").checked && !final) {
      wait(conn);
    } else {
      const lost = wanted && own.opened === null ? "Could not connect" : "Not connected";
      wanted = false;
      show("closed", lost);
    }
  }

  // Exponential, and drawn from all of it ("full jitter"): clients do not come back in step.
  function wait(conn) {
    attempts += 1;
    const delay = Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempts - 1));
    add({ conn, type: "retry", delay: Math.round(delay * 1000) / 1000, attempt: attempts + 1 });
    const due = performance.now() + delay * 1000;
    const count = () => {
      const left = (due - performance.now()) / 1000;
      if (left <= 0) connect();
      else byId("countdown").textContent = `in ${left.toFixed(1)} s`;
    };
    retry = setInterval(count, 100);
    show("waiting", `Reconnecting, attempt ${attempts + 1}`);
    count();
  }

  function stopWaiting() {
    clearInterval(retry);
    retry = null;
  }

  function retryNow() {
    if (retry !== null) connect();
  }

  function disconnect() {
    wanted = false;
    if (retry !== null) {
      stopWaiting();
      show("closed", "Not connected");
      return;
    }
    connection.closing = true;
    connection.socket.close(connection.opened === null ? undefined : 1000);
    show("closing", "Closing");
  }

  byId("connection").addEventListener("submit", (event) => {
    event.preventDefault();
    if (wanted) {
      disconnect();
      return;
    }
    wanted = true;
    attempts = 0;
    connect();
  });
  byId("now").addEventListener("click", retryNow);
  window.addEventListener("online", retryNow);
  byId("reconnect").addEventListener("change", (event) => {
    if (!event.target.checked && retry !== null) disconnect();
  });

  // Sending

  const kind = () => document.querySelector("input[name=kind]:checked").value;

  async function payload() {
    const text = byId("message").value;
    if (kind() === "hex") return fromHex(text);
    if (kind() === "base64") return fromBase64(text);
    // As the browser sends it: with half surrogate pairs replaced.
    if (kind() === "text") return new TextDecoder("utf-8", { ignoreBOM: true }).decode(encoder.encode(text));
    const file = byId("file").files[0];
    if (!file) throw new Error("Choose a file first");
    return new Uint8Array(await file.arrayBuffer());
  }

  async function send() {
    byId("composer-error").textContent = "";
    let data;
    try {
      data = await payload();
    } catch (error) {
      byId("composer-error").textContent = error.message;
      return;
    }
    if (!connection || connection.socket.readyState !== WebSocket.OPEN) return;
    connection.socket.send(data);
    expectEcho(data);
    counts.sent += 1;
    counts.sentBytes += sizeOf(data);
    add({ conn: connection.conn, type: "message", dir: "out", data });
    byId("message").select();
  }

  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });

  byId("message").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!byId("send").disabled) send();
  });

  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => {
      byId("message-label").hidden = kind() === "file";
      byId("file-label").hidden = kind() !== "file";
      byId("composer-error").textContent = "";
      const hints = { hex: "00 ff 1a", base64: "AAEC/w==" };
      byId("message").placeholder = hints[kind()] || "Enter sends, Shift+Enter begins a new line";
    });
  }

  // At the start

  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  byId("url").value = `${scheme}//${location.host}${settings.path}`;
  byId("subprotocols").value = settings.subprotocols.join(", ");
  drawCounters();
  show("closed", "Not connected");
})();
