// JSON-RPC 2.0 in both directions.

import assert from 'node:assert/strict';
import {getEventListeners} from 'node:events';
import {test} from 'node:test';
import {JsonRpcError} from '../../../client_stubs/browser/socketbroker.js';
import {connect, open, settled, stateOf, tick} from './testing.mjs';

test('requests and their replies, in any order', async (t) => {
  const {connection, socket} = await open(t);
  const first = connection.request('add', [1, 2]);
  const second = connection.request('who', {of: 'me'});
  const third = connection.request('bare');
  assert.deepEqual(socket().take(), [
    {jsonrpc: '2.0', id: 1, method: 'add', params: [1, 2]},
    {jsonrpc: '2.0', id: 2, method: 'who', params: {of: 'me'}},
    {jsonrpc: '2.0', id: 3, method: 'bare'},
  ]);
  socket().receive({id: 2, error: {code: -7, message: 'nobody', data: {x: 1}}});
  socket().receive({id: 1, result: 3});
  socket().receive({id: 3, result: null});
  assert.equal(await first, 3);
  await assert.rejects(second, {name: 'JsonRpcError', code: -7, message: 'nobody', data: {x: 1}});
  assert.equal(await third, null);
});

test('a request times out: it is cancelled, and what comes later is dropped', async (t) => {
  const {connection, socket, types} = await open(t);
  const request = connection.request('slow');
  const quick = connection.request('quick', undefined, {timeout: 100});
  socket().take();
  await tick(99);
  assert.deepEqual(socket().take(), []);
  await tick(1);
  assert.deepEqual(socket().take(), [{jsonrpc: '2.0', method: 'cancel', params: {request_id: 2}}]);
  await assert.rejects(quick, {name: 'ConnectionError', code: 'timeout', sent: true, message: /'quick' within 100 ms/});
  await tick(29_899);
  assert.equal(await stateOf(request), 'pending');
  await tick(1);
  await assert.rejects(request, {code: 'timeout'});
  socket().receive({id: 1, result: 1});
  socket().receive({id: 2, error: {code: -32800, message: 'Cancelled'}});
  assert.deepEqual(types(), []);
});

test('a request without an end has no timer', async (t) => {
  const {connection, socket} = await open(t);
  const request = connection.request('m', undefined, {timeout: Infinity});
  await tick(3_600_000);
  socket().receive({id: 1, result: 'at last'});
  assert.equal(await request, 'at last');
});

test('a request is aborted', async (t) => {
  const {connection, socket} = await open(t, {cancelMethod: '$/cancel'});
  const controller = new AbortController();
  const request = connection.request('m', undefined, {signal: controller.signal});
  const done = connection.request('done', undefined, {signal: controller.signal});
  socket().receive({id: 2, result: 1});
  socket().take();
  const reason = new Error('changed my mind');
  controller.abort(reason);
  assert.deepEqual(socket().take(), [{jsonrpc: '2.0', method: '$/cancel', params: {request_id: 1}}]);
  assert.equal((await stateOf(request)).error, reason);
  assert.equal(await done, 1);
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  await tick(60_000);
  assert.deepEqual(socket().take(), []);
  await assert.rejects(connection.request('m', undefined, {signal: controller.signal}), reason);
  assert.deepEqual(socket().take(), []);
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
});

test('without a cancel method nobody is told', async (t) => {
  const {connection, socket} = await open(t, {cancelMethod: ''});
  const request = connection.request('m', undefined, {timeout: 1});
  socket().take();
  await tick(1);
  await assert.rejects(request, {code: 'timeout'});
  assert.deepEqual(socket().take(), []);
});

test('what is not JSON-RPC is not sent', async (t) => {
  const {connection, socket} = await open(t);
  await assert.rejects(connection.request(''), {name: 'TypeError', message: /^method is ''/});
  await assert.rejects(connection.request('m', 7), {name: 'TypeError', message: /^params is 7/});
  await assert.rejects(connection.request('m', [1n]), TypeError);
  await assert.rejects(connection.request('m', [], {timeout: -1}), {message: /^timeout is -1/});
  assert.throws(() => connection.notify('m', 'x'), {message: /^params is 'x'/});
  assert.deepEqual(socket().take(), []);
});

test('the queue: order kept, bounded, and left by who gives up', async (t) => {
  const {connection, socket} = await connect(t, {maxQueue: 4});
  const controller = new AbortController();
  const gone = connection.request('gone', undefined, {signal: controller.signal});
  const late = connection.request('late', undefined, {timeout: 10});
  connection.notify('n');
  const kept = connection.request('kept');
  await assert.rejects(connection.request('more'), {code: 'queue_full', sent: false});
  assert.throws(() => connection.notify('more'), {code: 'queue_full', message: /^4 messages/});
  controller.abort();
  await assert.rejects(gone, {name: 'AbortError'});
  await tick(10);
  await assert.rejects(late, {code: 'timeout', sent: false});
  connection.notify('last');
  socket().open();
  assert.deepEqual(socket().take().map(({method}) => method), ['n', 'kept', 'last']);
  socket().receive({id: 3, result: 'yes'});
  assert.equal(await kept, 'yes');
});

test('without a queue nothing waits', async (t) => {
  const {connection, socket} = await connect(t, {maxQueue: 0});
  await assert.rejects(connection.request('m'), {code: 'queue_full'});
  socket().open();
  connection.notify('m');
  assert.equal(socket().take().length, 1);
});

test('a lost connection: what was sent fails, what waits survives', async (t) => {
  const {connection, socket} = await open(t);
  const sent = connection.request('sent');
  socket().end();
  await assert.rejects(sent, {code: 'disconnected', sent: true, message: 'the connection was closed with 1006'});
  const waiting = connection.request('waiting');
  await tick(250);
  socket().end();
  await tick(500);
  socket().open();
  assert.deepEqual(socket().take(), [{jsonrpc: '2.0', id: 2, method: 'waiting'}]);
  socket().receive({id: 2, result: 1});
  assert.equal(await waiting, 1);
  socket().end();
  await tick(1000);
  socket().open();
  assert.deepEqual(socket().take(), []);
});

test('a terminal close fails both', async (t) => {
  const {connection, socket} = await open(t, {ticket: async () => 't'});
  const sent = connection.request('sent');
  socket().end(1009, 'Message too big');
  await assert.rejects(sent, {code: 'disconnected', message: /1009: Message too big/});
  connection.connect();
  const waiting = connection.request('waiting');
  await settled();
  socket().end(1008);
  await assert.rejects(waiting, {code: 'closed', sent: false});
});

test('close() fails both, and sends nothing of before when it is opened again', async (t) => {
  const {connection, socket} = await open(t);
  const sent = connection.request('sent');
  connection.close();
  await assert.rejects(sent, {code: 'disconnected'});
  connection.connect();
  const waiting = connection.request('waiting');
  connection.notify('waiting');
  connection.close();
  await assert.rejects(waiting, {code: 'closed'});
  connection.connect();
  await settled();
  socket().open();
  assert.deepEqual(socket().take(), []);
});

test('notifications reach their handler, in order, until it is taken off', async (t) => {
  const {connection, socket, types} = await open(t);
  const told = [];
  const off = connection.on('news', (params, context) => { told.push([params, context]); });
  socket().receive({method: 'news', params: {n: 1}});
  socket().receive({method: 'news', params: [2]});
  socket().receive({method: 'news'});
  socket().receive({method: 'other'});
  assert.deepEqual(told, [[{n: 1}, {method: 'news'}], [[2], {method: 'news'}], [undefined, {method: 'news'}]]);
  off();
  socket().receive({method: 'news'});
  assert.equal(told.length, 3);
  const again = connection.on('news', () => {});
  off();
  assert.throws(() => connection.on('news', () => {}), {message: /^method is 'news'/});
  again();
  assert.throws(() => connection.on('cancel', () => {}), {message: /^method is 'cancel'/});
  assert.throws(() => connection.on('x', 7), {message: /^handler is 7/});
  assert.throws(() => connection.on('', () => {}), {message: /^method is ''/});
  assert.deepEqual(types(), []);
});

test('a handler of notifications that fails is told of', async (t) => {
  const {connection, socket, log} = await open(t);
  const failure = new Error('mine');
  connection.on('sync', () => { throw failure; });
  connection.on('async', async () => { throw failure; });
  socket().receive({method: 'sync'});
  socket().receive({method: 'async'});
  await settled();
  assert.deepEqual(log.map(({type, error}) => [type, error]), [['error', failure], ['error', failure]]);
  assert.deepEqual(socket().take(), []);
});

test('requests of the server', async (t) => {
  const {connection, socket, log} = await open(t);
  const exchange = async (method, params) => {
    socket().receive({id: 's7', method, params});
    await settled();
    const [{id, jsonrpc, ...reply}, ...more] = socket().take();
    assert.deepEqual([jsonrpc, id, more], ['2.0', 's7', []]);
    return reply;
  };
  connection.on('value', (params, {method, id}) => [params, method, id]);
  connection.on('promise', async () => 'later');
  connection.on('nothing', () => {});
  connection.on('function', () => () => {});
  assert.deepEqual(await exchange('value', {a: 1}), {result: [{a: 1}, 'value', 's7']});
  assert.deepEqual(await exchange('promise'), {result: 'later'});
  assert.deepEqual(await exchange('nothing'), {result: null});
  assert.deepEqual(await exchange('function'), {result: null});
  assert.deepEqual(await exchange('unknown'), {error: {code: -32601, message: 'Method not found'}});
  connection.on('refuse', () => { throw new JsonRpcError(-5, 'no', {why: 1}); });
  assert.deepEqual(await exchange('refuse'), {error: {code: -5, message: 'no', data: {why: 1}}});
  assert.equal(log.length, 0);

  const internal = {error: {code: -32603, message: 'Internal error'}};
  connection.on('fault', async () => { throw new Error('a secret'); });
  connection.on('big', () => 1n);
  connection.on('circle', () => { const data = {}; data.data = data; throw new JsonRpcError(1, 'm', data); });
  assert.deepEqual(await exchange('fault'), internal);
  assert.deepEqual(await exchange('big'), internal);
  assert.deepEqual(await exchange('circle'), internal);
  assert.deepEqual(log.map(({error}) => error.message).slice(0, 1), ['a secret']);
});

test('a JsonRpcError has an integer for a code', () => {
  assert.throws(() => new JsonRpcError('x', 'm'), {message: /^code is 'x'/});
});

test('the server cancels: the handler is told, and nothing is replied', async (t) => {
  const {connection, socket, types} = await open(t);
  const signals = {};
  const reply = {};
  connection.on('work', (params, {id, signal}) => {
    signals[id] = signal;
    return new Promise((resolve, reject) => Object.assign(reply, {[id]: resolve}));
  });
  socket().receive({id: 's1', method: 'work'});
  socket().receive({id: 's2', method: 'work'});
  socket().receive({method: 'cancel', params: {request_id: 's9'}});
  socket().receive({method: 'cancel'});
  socket().receive({method: 'cancel', params: {request_id: 's1'}});
  assert.deepEqual([signals.s1.aborted, signals.s2.aborted], [true, false]);
  reply.s1(1);
  reply.s2(2);
  await settled();
  assert.deepEqual(socket().take(), [{jsonrpc: '2.0', id: 's2', result: 2}]);
  assert.deepEqual(types(), []);
  connection.close();
  await settled();
  assert.equal(signals.s2.aborted, false);
});

test('a request whose connection is gone is not replied to on the next one', async (t) => {
  const {connection, socket, types} = await open(t);
  let served;
  connection.on('work', (params, {signal}) => new Promise((resolve, reject) => {
    served = {signal, resolve};
    // Whatever a handler does then must not hold the connection up.
    signal.addEventListener('abort', () => {
      connection.request('after').catch(() => {});
      reject(signal.reason);
    });
  }));
  socket().receive({id: 's1', method: 'work'});
  socket().end();
  await settled();
  assert.equal(served.signal.aborted, true);
  await tick(250);
  socket().open();
  await settled();
  assert.deepEqual(socket().take().map(({method}) => method), ['after']);
  assert.deepEqual(types(), ['waiting', 'connecting', 'open']);
});

test('a handler that closes the connection as it is aborted', async (t) => {
  const {connection, socket, sockets} = await open(t);
  connection.on('work', (params, {signal}) => new Promise(() => {
    signal.addEventListener('abort', () => connection.close());
  }));
  socket().receive({id: 's1', method: 'work'});
  socket().end();
  await tick(3_600_000);
  assert.equal(connection.state, 'closed');
  assert.equal(sockets.length, 1);
});

for (const data of [
  '', '{', '7', 'null', '[]', '[{"jsonrpc":"2.0","method":"m"}]', '{}', new ArrayBuffer(2),
  '{"method":"m"}', '{"jsonrpc":"1.0","method":"m"}', '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":1}',
  '{"jsonrpc":"2.0","method":7}', '{"jsonrpc":"2.0","method":"m","params":7}',
  '{"jsonrpc":"2.0","method":"m","params":null}',
  '{"jsonrpc":"2.0","method":"m","id":null}', '{"jsonrpc":"2.0","method":"m","id":{}}',
  '{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"m"}}', '{"jsonrpc":"2.0","result":1}',
  '{"jsonrpc":"2.0","id":null,"result":1}', '{"jsonrpc":"2.0","id":1,"error":"m"}',
  '{"jsonrpc":"2.0","id":1,"error":null}', '{"jsonrpc":"2.0","id":1,"error":{"code":1}}',
  '{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"m"}}', '{"jsonrpc":"2.0","id":2,"result":1}',
  '{"jsonrpc":"2.0","id":"1","result":1}', '{"jsonrpc":"2.0","id":1.5,"result":1}',
]) {
  test(`malformed: ${typeof data === 'string' ? data : 'binary'}`, async (t) => {
    const {connection, socket, log} = await open(t);
    connection.on('m', () => assert.fail('a malformed message was handled'));
    const request = connection.request('n');
    socket().take();
    socket().onmessage({data});
    await settled();
    assert.deepEqual(log.map(({type, error}) => [type, error.name, error.code]),
                     [['error', 'ConnectionError', 'malformed']]);
    assert.equal(log[0].data, data);
    assert.deepEqual(socket().take(), []);
    assert.equal(connection.state, 'open');
    socket().receive({id: 1, result: 'fine'});
    assert.equal(await request, 'fine');
  });
}

test('what the server could not read is told of', async (t) => {
  const {socket, log} = await open(t);
  socket().receive({id: null, error: {code: -32700, message: 'Parse error'}});
  assert.deepEqual([log[0].type, log[0].error.name, log[0].error.code], ['error', 'JsonRpcError', -32700]);
});
