// The conversation with npm's ws.
'use strict';

const { WebSocket, WebSocketServer } = require('ws');
const { ca, converse, deflates, isServer, listen, say, subprotocol, url } = require('./conversation');

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
  new WebSocketServer({ server: listen(), perMessageDeflate }).on('connection', handle);
} else {
  handle(new WebSocket(url, [subprotocol], { perMessageDeflate, ca }));
}
