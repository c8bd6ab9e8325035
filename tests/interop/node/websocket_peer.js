// The conversation with npm's websocket, WebSocket-Node.
'use strict';

const {
  client: WebSocketClient,
  connection: WebSocketConnection,
  server: WebSocketServer,
} = require('websocket');
const { ca, converse, isServer, listen, refuses, say, subprotocol, url } = require('./conversation');

const limits = {
  maxReceivedFrameSize: 16 << 20,
  maxReceivedMessageSize: 16 << 20,
  fragmentOutgoingMessages: false,
};

const handle = (connection) => {
  const send = (message) =>
    typeof message === 'string' ? connection.sendUTF(message) : connection.sendBytes(message);
  const answer = converse({
    subprotocol: () => connection.protocol,
    send,
    // It fragments what is longer than its threshold.
    sendFragments: (parts) => {
      const whole = typeof parts[0] === 'string' ? parts.join('') : Buffer.concat(parts);
      connection.config.fragmentOutgoingMessages = true;
      connection.config.fragmentationThreshold = Math.ceil(Buffer.byteLength(whole) / parts.length);
      send(whole);
      connection.config.fragmentOutgoingMessages = false;
    },
    ping: (data, then) => {
      connection.once('pong', (received) => received.toString() === data && then());
      connection.ping(Buffer.from(data));
    },
    close: (code, reason) => connection.close(code, reason),
  });
  connection.on('message', (message) =>
    answer(message.type === 'utf8' ? message.utf8Data : message.binaryData));
  // Where a close frame has no reason, it makes one up.
  connection.on('close', (code, reason) =>
    say('closed', code, reason === WebSocketConnection.CLOSE_DESCRIPTIONS[code] ? '' : reason));
};

if (isServer) {
  const server = new WebSocketServer({ httpServer: listen(), ...limits });
  server.on('request', (request) => refuses
    ? request.reject(403, 'not you')
    : handle(request.accept(subprotocol, request.origin)));
} else {
  const client = new WebSocketClient({ ...limits, tlsOptions: { ca } });
  client.on('connect', handle);
  client.on('httpResponse', (response) => {
    say('refused', response.statusCode);
    response.destroy();
  });
  client.on('connectFailed', (error) => { throw error; });
  client.connect(url, subprotocol);
}
