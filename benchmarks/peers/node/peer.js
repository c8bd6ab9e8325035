// npm ws, as its README has it. Takes the arguments of benchmarks/peers/arguments.py.

'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { parseArgs } = require('node:util');
const { WebSocket, WebSocketServer } = require('ws');

const MAX_MESSAGE = 4 * 1024 * 1024;
const HEARTBEAT = 20_000;
const DEFLATE = { serverMaxWindowBits: 12, threshold: 0, zlibDeflateOptions: { memLevel: 5 } };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '0' },
    connections: { type: 'string', default: '1' },
    size: { type: 'string', default: '64' },
    text: { type: 'boolean', default: false },
    certificate: { type: 'string', default: '' },
    key: { type: 'string', default: '' },
    compress: { type: 'boolean', default: false },
    heartbeat: { type: 'boolean', default: false },
  },
});

function echo(ws) {
  ws.on('error', console.error);
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
}

function receive(ws) {
  let messages = 0;
  ws.on('message', (data, isBinary) => {
    // As an application would have it: a string, where it is text.
    const message = isBinary ? data : data.toString();
    if (message === '?') ws.send(String(messages).padStart(12, '0'));
    else messages += 1;
  });
}

function send(ws) {
  const bytes = Buffer.alloc(Number(values.size), 'x');
  const message = values.text ? bytes.toString() : bytes;
  ws.on('open', () => {
    const more = () => {
      do ws.send(message);
      while (ws.bufferedAmount < 64 * 1024);
      ws.send(message, more);
    };
    more();
  });
}

// "How to detect and close broken connections?" in the README.
function heartbeats(wss) {
  wss.on('connection', (ws) => {
    ws.isAlive = true;
    ws.on('pong', () => { ws.isAlive = true; });
  });
  setInterval(() => {
    wss.clients.forEach((ws) => {
      if (ws.isAlive === false) return ws.terminate();
      ws.isAlive = false;
      ws.ping();
    });
  }, HEARTBEAT);
}

function serve() {
  const server = values.certificate
    ? https.createServer({
        cert: fs.readFileSync(values.certificate), key: fs.readFileSync(values.key),
      })
    : http.createServer();
  const wss = new WebSocketServer({
    server,
    maxPayload: MAX_MESSAGE,
    perMessageDeflate: values.compress ? DEFLATE : false,
  });
  wss.on('connection', echo);
  if (values.heartbeat) heartbeats(wss);
  server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port));
}

function connect() {
  const ws = new WebSocket(`ws://127.0.0.1:${values.port}`, {
    maxPayload: MAX_MESSAGE, perMessageDeflate: false,
  });
  ({ echo, receive, send })[positionals[0]](ws);
}

if (positionals[0] === 'serve') serve();
else for (let n = 0; n < Number(values.connections); n += 1) connect();
