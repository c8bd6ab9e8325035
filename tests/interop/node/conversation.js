// The conversation that tests/interop/peers/conversation.py describes.
'use strict';

const [, , role, ...rest] = process.argv;

exports.subprotocol = 'chat';
exports.isServer = role === 'server';
exports.url = rest[0];
exports.deflates = rest.includes('--deflate');
exports.say = (...words) => console.log(words.join(' '));

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
