// A server that acknowledges every message, and reports who connects and disconnects.

'use strict';

const { WebSocketServer } = require('ws');

const wss = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]) });

wss.on('listening', () => console.log(`listening on ws://127.0.0.1:${wss.address().port}`));

wss.on('connection', (ws, request) => {
  const { remoteAddress, remotePort } = request.socket;
  const client = `('${remoteAddress}', ${remotePort})`;
  console.log(`${client} connected`);
  ws.on('error', console.error);
  ws.on('message', (data) => ws.send(`Server received: ${data}`));
  ws.on('close', (code) => console.log(`${client} disconnected: ${code}`));
});
