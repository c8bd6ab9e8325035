// The conversation that tests/interop/peers/conversation.py describes.
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const path = require('path');

const [, , role, ...rest] = process.argv;

const tls = rest.includes('--tls') ? rest[rest.indexOf('--tls') + 1] : null;
const read = (name) => fs.readFileSync(path.join(tls, name));

exports.subprotocol = 'chat';
exports.isServer = role === 'server';
exports.url = rest[0];
exports.deflates = rest.includes('--deflate');
// What a client trusts, beside what it does anyway.
exports.ca = tls ? read('ca.pem') : undefined;
exports.refuses = rest.includes('--refuse');
exports.say = (...words) => console.log(words.join(' '));

// A server of HTTP on a free port, of which it tells.
exports.listen = () => {
  const pem = tls && read('server.pem');
  const server = tls ? https.createServer({ cert: pem, key: pem }) : http.createServer();
  server.listen(0, '127.0.0.1', () => exports.say('listening', server.address().port));
  return server;
};

// Answers the messages of one connection, which the library's adapter gives and sends.
exports.converse = (connection) => {
  let fragments = 0;
  return (message) => {
    if (typeof message !== 'string' || !message.startsWith('/')) {
      if (fragments) connection.sendFragments(split(message, fragments));
      else connection.send(message);
      fragments = 0;
      return;
    }
    const [, command, argument] = message.match(/^\/(\w+) ?(.*)$/);
    if (command === 'subprotocol') connection.send(connection.subprotocol());
    else if (command === 'fragments') fragments = Number(argument);
    else if (command === 'ping') connection.ping(argument, () => connection.send(`pong ${argument}`));
    else if (command === 'close') {
      const [, code, reason] = argument.match(/^(\d+) ?(.*)$/);
      connection.close(Number(code), reason);
    } else throw new Error(`no command: ${command}`);
  };
};

const split = (message, count) => {
  const size = Math.ceil(message.length / count);
  return Array.from({ length: count }, (_, index) => message.slice(index * size, (index + 1) * size));
};
