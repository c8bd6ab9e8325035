// The conversation with npm's ws.
'use strict';

const { WebSocket, WebSocketServer } = require('ws');
const { ca, converse, deflates, isServer, listen, refuses, say, subprotocol, url } = require('./conversation');

const perMessageDeflate = deflates ? { threshold: 0 } : false;

const handle = (ws) => {
  const answer = converse({
    subprotocol: () => ws.protocol,
    send: (message) => ws.send(message),
    sendFragments: (parts) =>
      parts.forEach((part, index) => ws.send(part, { fin: index === parts.length - 1 })),
    ping: (data, then) => {
      ws.once('pong', (received) => received.toString() === data && then());
      ws.ping(data);
    },
    close: (code, reason) => ws.close(code, reason),
  });
  ws.on('message', (data, isBinary) => answer(isBinary ? data : data.toString()));
  ws.on('close', (code, reason) => say('closed', code, reason));
};

if (isServer) {
  const verifyClient = (info, decide) => decide(!refuses, 403, 'not you');
  const server = new WebSocketServer({ server: listen(), perMessageDeflate, verifyClient });
  server.on('connection', handle);
} else {
  const ws = new WebSocket(url, [subprotocol], { perMessageDeflate, ca });
  ws.on('unexpected-response', (request, response) => {
    say('refused', response.statusCode);
    request.destroy();
  });
  handle(ws);
}
