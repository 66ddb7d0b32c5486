// A real broker, and clients of the built package.

'use strict';

const {Broker} = require('../node/broker.js');
const {socketbroker} = require('../../client_stubs/typescript/package.js');
const {Queue} = require('../../client_stubs/typescript/queue.js');

// A logger.
const quiet = {info() {}, warn() {}, error() {}};

// A broker with a client of its own; both end with the test.
async function start(t, {config, ...options} = {}) {
  const broker = await Broker.start(t, {config});
  return {broker, client: clientOf(t, broker, options)};
}

function clientOf(t, broker, options) {
  const client = new socketbroker.Client(broker.control, options);
  t.after(() => client.close());
  return client;
}

// A socket that is admitted as `identity`.
async function connect(broker, client, identity, options) {
  const {ticket} = await client.createTicketVerified({}, () => identity);
  return broker.connect(ticket, options);
}

// The connection that a listing has alone.
async function onlyConnection(client) {
  const {connections: [connection, ...more]} = await client.listConnections();
  if (!connection || more.length > 0) throw new Error('one connection was expected');
  return connection;
}

// Runs the service until the test ends. Returns when it is attached, with a Queue
// of the times that it is again.
async function attach(t, service) {
  const attached = new Queue();
  service.onStarted((started) => attached.push(started));
  const ended = service.run();
  t.after(async () => {
    void service.drain(0);
    await ended.catch(() => {});
  });
  await Promise.race([attached.next(), ended]);
  return attached;
}

let lastId = 0;

// Sends a request and returns its reply; what comes before it goes to `before`.
async function ask(socket, method, params, before = []) {
  const id = ++lastId;
  socket.send(JSON.stringify({jsonrpc: '2.0', id, method, params}));
  for (;;) {
    const message = JSON.parse(await socket.receive());
    if (message.id === id) return message;
    before.push(message);
  }
}

module.exports = {ask, attach, clientOf, connect, onlyConnection, quiet, start};
