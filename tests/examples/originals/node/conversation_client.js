// A client that sends and receives, until you type quit.

'use strict';

const readline = require('node:readline');
const { WebSocket } = require('ws');

const ws = new WebSocket(process.argv[2]);

ws.on('error', console.error);
ws.on('message', (data) => console.log(`${data}`));
ws.on('close', () => process.stdin.destroy());

ws.on('open', () => {
  console.log('connected; type quit to end');
  const terminal = readline.createInterface({ input: process.stdin });
  terminal.on('line', (line) => {
    if (line === 'quit') ws.close();
    else ws.send(line);
  });
});
