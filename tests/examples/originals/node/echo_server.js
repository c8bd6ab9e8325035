// An echo server that prints what it gets.

'use strict';

const { WebSocketServer } = require('ws');

const wss = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]) });

wss.on('listening', () => console.log(`listening on ws://127.0.0.1:${wss.address().port}`));

wss.on('connection', (ws) => {
  ws.on('error', console.error);
  ws.on('message', (data, isBinary) => {
    console.log(`received '${data}'`);
    ws.send(data, { binary: isBinary });
  });
});
