// A client that is welcomed, says its name, and is greeted.
//
//   npm --prefix examples/javascript install            once
//   node examples/javascript/welcome_client.js [URL]    ws://127.0.0.1:8765 unless you say so
//
// Start welcome_server.js or welcome_server.py first.

'use strict';

const { WebSocket } = require('ws');

const url = process.argv[2] ?? 'ws://127.0.0.1:8765';
const ws = new WebSocket(url);

ws.on('error', (error) => {
  console.error(`${url}: ${error.message}`);
  process.exitCode = 1;
});

ws.once('message', (welcome) => {
  console.log(`${welcome}`);
  ws.send('Node');
  ws.once('message', (greeting) => {
    console.log(`${greeting}`);
    ws.close();
  });
});
