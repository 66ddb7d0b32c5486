// Services in TypeScript, the real broker, and real clients.

'use strict';

const assert = require('node:assert/strict');
const {once} = require('node:events');
const {test} = require('node:test');
const {grpc, socketbroker} = require('../../client_stubs/typescript/package.js');
const {clientOf, connect, start} = require('./running.js');

const {JsonRpcError, refuse, Service} = socketbroker;
const options = {timeout: 60000};
const quiet = {info() {}, warn() {}, error() {}};

// Runs the service until the test ends; resolves when it is attached.
async function attach(t, service) {
  const started = new Promise((resolve) => service.onStarted(resolve));
  const ended = service.run();
  t.after(async () => {
    void service.drain(0);
    await ended.catch(() => {});
  });
  await Promise.race([started, ended]);
}

// Sends a request and returns its reply; what comes before it goes to `before`.
let lastId = 0;
async function ask(socket, method, params, before = []) {
  const id = ++lastId;
  socket.send(JSON.stringify({jsonrpc: '2.0', id, method, params}));
  for (;;) {
    const message = JSON.parse(await socket.receive());
    if (message.id === id) return message;
    before.push(message);
  }
}

test('requests are answered', options, async (t) => {
  const {broker, client} = await start(t);
  const errors = [];
  const service = new Service(client, {logger: {...quiet, error: (message, error) => errors.push(error.message)}});
  service.on('orders.create', async (params, {identity, endpoint, remoteAddress, sequence, notify}) => {
    await notify('orders.progress', {percent: 50});
    return {account: identity.accountId, sku: params.sku, endpoint, remoteAddress, sequence: Number(sequence)};
  });
  service.on('orders.*', (params, {method}) => ({method, params: params ?? null}));
  service.on('stock', () => { throw new JsonRpcError(1, 'Out of stock', {left: 0}); });
  service.on('fault', () => { throw new Error('the password is canary'); });
  await attach(t, service);
  const socket = await connect(broker, client, {accountId: 'a1', tokenHash: 's1'});

  const progress = [];
  const created = await ask(socket, 'orders.create', {sku: 'tea'}, progress);
  assert.deepEqual(created.result,
    {account: 'a1', sku: 'tea', endpoint: '/ws', remoteAddress: '127.0.0.1', sequence: 1});
  assert.deepEqual(progress, [{jsonrpc: '2.0', method: 'orders.progress', params: {percent: 50}}]);
  assert.deepEqual((await ask(socket, 'orders.list', [1, 'é'])).result, {method: 'orders.list', params: [1, 'é']});
  assert.deepEqual((await ask(socket, 'orders.list')).result, {method: 'orders.list', params: null});
  assert.deepEqual((await ask(socket, 'stock')).error, {code: 1, message: 'Out of stock', data: {left: 0}});
  assert.deepEqual((await ask(socket, 'fault')).error, {code: -32603, message: 'Internal error'});
  assert.deepEqual(errors, ['the password is canary']);
  assert.equal((await ask(socket, 'unknown')).error.code, -32601);
});

test('notifications arrive in order', options, async (t) => {
  const {broker, client} = await start(t);
  const count = 300;
  const seen = [];
  const service = new Service(client, {concurrency: 7, logger: quiet});
  const all = new Promise((resolve) => {
    service.on('told', async ({n}, {isNotification}) => {
      assert.ok(isNotification);
      seen.push(n);
      if (seen.length === count) resolve();
      await new Promise(setImmediate);
    });
  });
  await attach(t, service);
  const socket = await connect(broker, client, {accountId: 'a1'});
  for (let n = 0; n < count; n++) socket.send(JSON.stringify({jsonrpc: '2.0', method: 'told', params: {n}}));
  await all;
  assert.deepEqual(seen, [...Array(count).keys()]);
});

test('handshakes are judged, and events told', options, async (t) => {
  const {broker, client} = await start(t, {config: {endpoints: [{path: '/ws', ways: ['TICKET', 'ATTACH']}]}});
  const events = [];
  let gone;
  const left = new Promise((resolve) => { gone = resolve; });
  const service = new Service(client, {logger: quiet, eventsFilter: 'labels.plan = "pro"'});
  service.onHandshake(async ({cookies}) => cookies[0]?.name === 'session'
    ? {accountId: cookies[0].value, tokenHash: 's1', labels: {plan: 'pro'}} : refuse('log in first'));
  service.onAdmitted(({identity, version}) => { events.push(['admitted', identity.accountId, version]); });
  service.onUpdated(({identity, version}) => { events.push(['updated', identity.accountId, version]); });
  service.onClosed(({connection, cause, code}) => {
    events.push([cause, connection.identity.accountId, code]);
    gone();
  });
  await attach(t, service);

  const stranger = await broker.connect();
  assert.deepEqual(await stranger.closed, {code: 4006, reason: 'log in first'});
  // Not "pro": nothing is told of it.
  const other = await connect(broker, client, {accountId: 'a2'});
  other.close();
  await other.closed;

  const watch = client.watchConnections({filter: 'account_id = "a1"', states: ['CONNECTION_STATE_ADMITTED']});
  const socket = await broker.connect(undefined, {headers: {Cookie: 'session=a1'}});
  let connectionId;
  for await (const {added} of watch) {
    if (!added) continue;
    ({connectionId} = added);
    break;
  }
  await client.updateConnection({connectionId, identity: {groups: ['g']}, updateMask: ['groups']});
  await client.closeSocketsForSession({tokenHash: 's1'});
  assert.equal((await socket.closed).code, 4001);
  await left;
  assert.deepEqual(events, [['admitted', 'a1', 1n], ['updated', 'a1', 2n], ['CAUSE_REVOKED', 'a1', 4001]]);
});

test('raw messages', options, async (t) => {
  const endpoint = {path: '/raw', namespace: 'games', framing: 'RAW', ways: ['TICKET']};
  const {broker, client} = await start(t, {config: {endpoints: [endpoint]}});
  const service = new Service(client, {namespace: 'games', logger: quiet});
  service.onMessage((data, {send}) => send(typeof data === 'string' ? data.toUpperCase() : Uint8Array.from(data).reverse()));
  await attach(t, service);
  const {ticket} = await client.createTicketVerified({namespace: 'games'}, () => ({accountId: 'a1'}));
  const socket = await broker.connect(ticket, {path: '/raw'});
  socket.send('héllo');
  assert.equal(await socket.receive(), 'HÉLLO');
  socket.send(Buffer.from([0, 1, 255]));
  assert.deepEqual([...await socket.receive()], [255, 1, 0]);
});

test('a client that leaves aborts its requests', options, async (t) => {
  const {broker, client} = await start(t);
  const service = new Service(client, {logger: quiet});
  const asked = new Promise((resolve) => {
    service.on('wait', (params, {signal}) => new Promise((done) => {
      signal.addEventListener('abort', () => done());
      resolve(signal);
    }));
  });
  await attach(t, service);
  const socket = await connect(broker, client, {accountId: 'a1'});
  socket.send('{"jsonrpc":"2.0","id":1,"method":"wait"}');
  const signal = await asked;
  assert.ok(!signal.aborted);
  const aborted = once(signal, 'abort');
  socket.close();
  await aborted;
  assert.match(signal.reason.message, /CAUSE_CONNECTION_CLOSED/);
});

test('a drain answers what it was given, and leaves the rest to others', options, async (t) => {
  const {broker, client} = await start(t);
  const leaving = new Service(client, {logger: quiet});
  let release;
  const asked = new Promise((resolve) => {
    leaving.on('who', () => new Promise((done) => {
      release = () => done('first');
      resolve();
    }));
  });
  await attach(t, leaving);
  const socket = await connect(broker, client, {accountId: 'a1'});
  const first = ask(socket, 'who');
  await asked;
  const drained = leaving.drain();
  const staying = new Service(clientOf(t, broker), {logger: quiet}).on('who', () => 'second');
  await attach(t, staying);
  const other = await connect(broker, client, {accountId: 'a2'});
  assert.equal((await ask(other, 'who')).result, 'second');
  release();
  assert.equal((await first).result, 'first');
  await drained;
});

test('ends when the broker will not have it', options, async (t) => {
  const {client} = await start(t);
  const wrong = new Service(client, {filter: 'no_such_field = 1', logger: quiet}).on('*', () => 1);
  await assert.rejects(wrong.run(), (error) => {
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.match(error.violations[0].field, /filter/);
    return true;
  });
});
