// Services in TypeScript, the real broker, and real clients.

'use strict';

const assert = require('node:assert/strict');
const {once} = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {test} = require('node:test');
const {Queue} = require('../../client_stubs/typescript/queue.js');
const {grpc, socketbroker} = require('../../client_stubs/typescript/package.js');
const {Broker} = require('../node/broker.js');
const {ask, attach, clientOf, connect, quiet, start} = require('./running.js');

const {JsonRpcError, refuse, Service} = socketbroker;
const options = {timeout: 60000};

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
  service.onMessage((data, {send}) => send(
    typeof data === 'string' ? data.toUpperCase() : Uint8Array.from(data).reverse()));
  await attach(t, service);
  const {ticket} = await client.createTicketVerified({namespace: 'games'}, () => ({accountId: 'a1'}));
  const socket = await broker.connect(ticket, {path: '/raw'});
  socket.send('héllo');
  assert.equal(await socket.receive(), 'HÉLLO');
  socket.send(Buffer.from([0, 1, 255]));
  assert.deepEqual([...await socket.receive()], [255, 1, 0]);
});

test('a request is cancelled by its client, by its leaving, and by time', options, async (t) => {
  const endpoints = [{path: '/ws', request_timeout: '0.2s'}, {path: '/long'}];
  const {broker, client} = await start(t, {config: {endpoints}});
  const asked = new Queue();
  const service = new Service(client, {logger: quiet});
  service.on('wait', (params, {signal}) => new Promise((done) => {
    signal.addEventListener('abort', () => done('late'));
    asked.push(signal);
  }));
  await attach(t, service);
  const wait = async (socket) => {
    socket.send('{"jsonrpc":"2.0","id":1,"method":"wait"}');
    const signal = await asked.next();
    assert.ok(!signal.aborted);
    return signal;
  };

  const hasty = await connect(broker, client, {accountId: 'a1'});
  const timedOut = await wait(hasty);
  assert.equal(JSON.parse(await hasty.receive()).error.code, -32001);
  const socket = await connect(broker, client, {accountId: 'a1'}, {path: '/long'});
  const cancelled = await wait(socket);
  socket.send('{"jsonrpc":"2.0","method":"cancel","params":{"request_id":1}}');
  assert.equal(JSON.parse(await socket.receive()).error.code, -32800);
  const gone = await wait(socket);
  socket.close();
  const causes = [[timedOut, /CAUSE_TIMEOUT/], [cancelled, /CAUSE_CLIENT/], [gone, /CAUSE_CONNECTION_CLOSED/]];
  for (const [signal, cause] of causes) {
    if (!signal.aborted) await once(signal, 'abort');
    assert.match(signal.reason.message, cause);
  }
});

test('what no client may get is the fault of one handler', options, async (t) => {
  const {broker, client} = await start(t, {config: {endpoints: [{path: '/ws', max_message_bytes: 1000}]}});
  const errors = [];
  let answer;
  const waited = new Promise((resolve) => { answer = resolve; });
  const service = new Service(client, {logger: {...quiet, error: (message, error) => errors.push(error.message)}});
  service.on('long', () => 'x'.repeat(2000));
  service.on('tell', (params, {notify}) => notify(...params));
  service.on('echo', (params) => [params]);
  service.on('cut', ([text]) => text.slice(0, 1));
  service.on('far too long', () => 'x'.repeat(5 * 2 ** 20));
  service.on('wait', () => waited);
  await attach(t, service);
  const [socket, other] = [await connect(broker, client, {accountId: 'a1'}),
    await connect(broker, client, {accountId: 'a2'})];
  const waiting = ask(other, 'wait');
  assert.equal((await ask(socket, 'long')).error.code, -32603);
  assert.equal((await ask(socket, 'cut', ['\u{1f600}'])).error.code, -32603);
  assert.equal((await ask(socket, 'far too long')).error.code, -32603);
  assert.equal((await ask(socket, 'tell', ['rpc.x'])).error.code, -32603);
  // The deepest that the broker takes from a client is one less than what is echoed.
  const deep = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
  assert.deepEqual((await ask(socket, 'echo', deep(30))).result, deep(31));
  assert.equal((await ask(socket, 'echo', deep(31))).error.code, -32603);
  assert.equal(errors.length, 4);
  // The stream has lived on.
  answer('done');
  assert.equal((await waiting).result, 'done');
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

test('attaches again when the broker is started again', options, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'again-'));
  t.after(() => fs.rmSync(folder, {recursive: true}));
  // A port of its own would be another one; the socket is at the same place again.
  const socketPath = path.join(folder, 'control.sock');
  const config = {control: {unix_socket: socketPath}};
  const first = await Broker.start(t, {config});
  const client = clientOf(t, {control: `unix:${socketPath}`});
  const service = new Service(client, {logger: quiet}).on('who', (params, {identity}) => identity.accountId);
  const attached = await attach(t, service);
  await first.stop();
  const second = await Broker.start(t, {config});
  await attached.next();
  const socket = await connect(second, client, {accountId: 'a1'});
  assert.equal((await ask(socket, 'who')).result, 'a1');
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
