// A client that asks for your name and prints the server's greeting.

'use strict';

const readline = require('node:readline');
const { WebSocket } = require('ws');

const terminal = readline.createInterface({ input: process.stdin, output: process.stdout });

terminal.question("What's your name? ", (name) => {
  terminal.close();
  process.stdin.destroy();
  const ws = new WebSocket(process.argv[2]);
  ws.on('error', console.error);
  ws.on('open', () => ws.send(name));
  ws.on('message', (greeting) => {
    console.log(`${greeting}`);
    ws.close();
  });
});
