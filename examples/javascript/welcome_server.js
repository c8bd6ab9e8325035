// A server that welcomes whoever connects, and then greets every name it is sent.
//
//   npm --prefix examples/javascript install            once
//   node examples/javascript/welcome_server.js [PORT]   8765 unless you say so; 0 takes a free one
//   python examples/welcome_client.py [URL]             in another terminal

'use strict';

const { WebSocketServer } = require('ws');

const wss = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2] ?? 8765) });

wss.on('listening', () => console.log(`listening on ws://127.0.0.1:${wss.address().port}`));

wss.on('connection', (ws) => {
  ws.on('error', console.error);
  ws.on('message', (name) => ws.send(`Hello, ${name}!`));
  ws.send('Welcome to the WebSocket server!');
});
