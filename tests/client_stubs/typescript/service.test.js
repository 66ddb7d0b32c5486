// Service against a fake broker, whose side of the stream the test plays by hand.

'use strict';

const assert = require('node:assert/strict');
const {once} = require('node:events');
const {test} = require('node:test');
const {Refusal} = require('./fake_broker.js');
const {grpc, internal, socketbroker} = require('./package.js');
const {Queue} = require('./queue.js');
const {attach, json, start} = require('./serving.js');

const {duration, JsonRpcError, refuse, Service} = socketbroker;
const {backoff} = internal('backoff.js');
const {Patterns} = internal('patterns.js');
const options = {timeout: 30000};

test('the most specific pattern has a method', () => {
  const patterns = new Patterns();
  for (const name of ['orders.*', 'orders.new.*', '*', 'orders.create']) patterns.add(name, name);
  for (const [method, found] of [['orders.create', 'orders.create'], ['orders.creates', 'orders.*'],
    ['orders.new.x', 'orders.new.*'], ['order', '*'], ['', '*']]) {
    assert.equal(patterns.find(method), found, method);
  }
  assert.equal(new Patterns().find('x'), undefined);
  assert.throws(() => patterns.add('*', 'again'), /\* has a handler/);
  assert.throws(() => patterns.add('', 'empty'), /1 to 256 bytes, not 0/);
  assert.throws(() => patterns.add('é'.repeat(129), 'long'), /not 258/);
});

test('backs off with full jitter, from 0.1 s, doubled, to 10 s', () => {
  assert.deepEqual([0, 1, 2, 6, 7, 50, 5000].map((failures) => backoff(failures, () => 1)),
    [100, 200, 400, 6400, 10000, 10000, 10000]);
  assert.equal(backoff(50, () => 0), 0);
});

test('refuses options that are out of range, and nothing to do', options, async (t) => {
  const {client, service} = await start(t);
  assert.throws(() => new Service(client, {concurrency: 0}), /concurrency is 0; 1 to 100000 are allowed/);
  assert.throws(() => new Service(client, {handshakeConcurrency: 1.5}), /handshakeConcurrency is 1.5/);
  assert.throws(() => new Service(client, {sticky: 'session'}), /sticky is session; none, connection, account are allowed/);
  await assert.rejects(service.run(), /without handlers/);
  await assert.rejects(service.run(), /once/);
  assert.throws(() => service.on('m', () => 1), /before it runs/);
  assert.throws(() => service.onClosed(() => {}), /before it runs/);
  const both = new Service(client).on('*', () => 1).onMessage(() => 1);
  await assert.rejects(both.run(), /not both/);
});

test('says how it wants to be attached', options, async (t) => {
  const {broker, service} = await start(t, {
    namespace: 'shop', concurrency: 3, handshakeConcurrency: 2, sticky: 'account', idempotent: true,
    filter: 'f', eventsFilter: 'e',
  });
  service.on('orders.*', () => 1).on('ping', () => 1).onHandshake(() => refuse()).onClosed(() => {});
  const {session: {start: said}} = await attach(t, broker, service);
  assert.deepEqual([said.namespace, said.handshakes, said.filter, said.matchAll], ['shop', true, 'e', undefined]);
  assert.deepEqual(said.credit, {handshakes: 2, events: 1000, messages: 3});
  const {messages} = said;
  assert.deepEqual([messages.methods, messages.filter, messages.sticky, messages.idempotent],
    [['orders.*', 'ping'], 'f', 'STICKY_ACCOUNT', true]);
});

test('says no more than it wants', options, async (t) => {
  const {broker, service} = await start(t);
  service.onAdmitted(() => {});
  const {session: {start: said}} = await attach(t, broker, service);
  assert.deepEqual([said.namespace, said.handshakes, said.messages, said.matchAll],
    [undefined, false, undefined, true]);
});

test('answers requests, and gives credit back', options, async (t) => {
  const {broker, service} = await start(t);
  const contexts = [];
  service.on('add', (params, context) => {
    contexts.push(context);
    return {sum: params.a + params.b};
  });
  service.on('nothing', async (params) => assert.equal(params, undefined));
  const {session} = await attach(t, broker, service);
  const id = 2n ** 63n + 5n;
  session.ask(id, 'add', {a: 1, b: 2}, {
    connectionId: 'c1', identity: {accountId: 'a1'}, endpoint: '/ws', remoteAddress: '::1', remotePort: 9,
    sequence: id, traceparent: '00-1',
  });
  const reply = await session.next('reply');
  assert.equal(reply.messageId, id);
  assert.deepEqual(json(reply.resultJson), {sum: 3});
  assert.deepEqual(await session.next('credit'), {handshakes: 0, events: 0, messages: 1});
  const [context] = contexts;
  assert.deepEqual(
    [context.method, context.isNotification, context.connectionId, context.identity.accountId, context.endpoint,
      context.remoteAddress, context.remotePort, context.sequence, context.traceparent, context.signal.aborted],
    ['add', false, 'c1', 'a1', '/ws', '::1', 9, id, '00-1', false]);

  session.ask(2n, 'nothing');
  assert.equal(json((await session.next('reply')).resultJson), null);
});

test('errors reach the client as they are meant to', options, async (t) => {
  const {broker, logger, service} = await start(t);
  service.on('*', (params) => {
    if (params === undefined) throw new JsonRpcError(-32000, 'out of stock', {sku: 'x'});
    if (params[0] === 'bare') return Promise.resolve(new JsonRpcError(7, 'bare'));
    if (params[0] === 'bigint') return 1n;
    if (params[0] === 'function') return () => {};
    if (params[0] === 'data') throw new JsonRpcError(7, 'data', {a: 1n});
    throw new Error('the password is canary');
  });
  const {session} = await attach(t, broker, service);
  const ask = async (params) => {
    session.ask(1n, 'm', params);
    return (await session.next('reply')).error;
  };
  const error = await ask();
  assert.deepEqual([error.code, error.message, json(error.dataJson)], [-32000n, 'out of stock', {sku: 'x'}]);
  const bare = await ask(['bare']);
  assert.deepEqual([bare.code, bare.message, bare.dataJson], [7n, 'bare', undefined]);
  assert.deepEqual(logger.lines.filter((line) => line.startsWith('error')), []);
  for (const what of ['secret', 'bigint', 'function', 'data']) {
    const internalError = await ask([what]);
    assert.deepEqual([internalError.code, internalError.message, internalError.dataJson],
      [-32603n, 'Internal error', undefined], what);
  }
  await session.next('credit');
  assert.equal(logger.lines.filter((line) => line.startsWith('error')).length, 4);
  assert.ok(logger.lines.includes('error socketbroker: the handler of m failed: the password is canary'));
  assert.throws(() => new JsonRpcError(1.5, 'm'), RangeError);
});

test('a method that nobody has is not found', options, async (t) => {
  const {broker, service} = await start(t);
  service.on('known', () => 1);
  const {session} = await attach(t, broker, service);
  session.ask(1n, 'unknown');
  assert.equal((await session.next('reply')).error.code, -32601n);
});

test('notifications get no reply, but their credit back', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const seen = [];
  service.on('*', (params, context) => {
    seen.push([context.method, context.isNotification, params]);
    if (params) throw params[0] === 'rpc' ? new JsonRpcError(1, 'dropped') : new Error('logged');
    return 'dropped';
  });
  const {session} = await attach(t, broker, service);
  for (const params of [undefined, ['rpc'], ['other']]) session.ask(1n, 'told', params, {notification: true});
  for (let i = 0; i < 3; i++) assert.deepEqual(await session.next('credit'), {handshakes: 0, events: 0, messages: 1});
  assert.deepEqual(seen, [['told', true, undefined], ['told', true, ['rpc']], ['told', true, ['other']]]);
  assert.deepEqual(logger.lines.filter((line) => line.startsWith('error')),
    ['error socketbroker: the handler of told failed: logged']);
  // Nothing was replied: this is the next thing that is said.
  session.ask(2n, 'asked');
  assert.equal((await session.next('reply')).messageId, 2n);
});

test('notify goes to the connection, before the reply', options, async (t) => {
  const {broker, service} = await start(t);
  service.on('*', async (params, {notify}) => {
    await notify('progress', {percent: 50});
    void notify('bare');
    return 'done';
  });
  const {session} = await attach(t, broker, service);
  session.ask(1n, 'work', undefined, {connectionId: 'c1'});
  const first = await session.next('send');
  assert.equal(first.connectionId, 'c1');
  assert.equal(first.message.notification.method, 'progress');
  assert.deepEqual(json(first.message.notification.paramsJson), {percent: 50});
  assert.equal((await session.next('send')).message.notification.paramsJson, undefined);
  assert.equal(json((await session.next('reply')).resultJson), 'done');
});

test('what the broker would not take is the fault of one handler', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const nested = (levels) => JSON.parse('["a]\\\\\\"[",' + '['.repeat(levels - 1) + ']'.repeat(levels));
  service.on('result', ([levels]) => nested(levels));
  service.on('data', ([levels]) => { throw new JsonRpcError(1, 'm', nested(levels)); });
  service.on('notify', async ([method, params], {notify}) => notify(method, params));
  service.on('deep', async ([levels], {notify}) => notify('m', nested(levels)));
  service.on('echo', ([value]) => value);
  service.on('half', ([text]) => text.slice(0, -1));
  service.on('half key', ([text], {notify}) => notify('m', {[text.slice(0, -1)]: 1}));
  service.on('date', (params, {notify}) => notify('m', new Date()));
  service.on('long', ([bytes]) => 'x'.repeat(bytes - 2));
  const {session} = await attach(t, broker, service);
  for (const [method, params, fault] of [
    ['echo', ['\\ud83d \\\\ud83d \u{1f600}']], ['half', ['\u{1f600}'], /half a surrogate pair/],
    ['half', ['\\\u{1f600}'], /half a surrogate pair/], ['half key', ['\u{1f600}'], /half a surrogate pair/],
    ['date', [], /object or an array/],
    ['long', [3 * 2 ** 20]], ['long', [3 * 2 ** 20 + 1], /3145729 bytes, at most 3145728/],
    ['result', [31]], ['result', [32], /32 levels deep, 31 are allowed/],
    ['data', [30]], ['data', [31], /30 are allowed/],
    ['notify', ['m', {}]], ['notify', ['', {}], /1 to 256 bytes, not 0/], ['notify', ['x'.repeat(257)], /not 257/],
    ['notify', ['rpc.x'], /reserved/],
    ['notify', ['m', 7], /object or an array/], ['notify', ['m', null], /object or an array/],
    ['deep', [31]], ['deep', [32], /31 are allowed/],
  ]) {
    logger.lines = [];
    session.ask(1n, method, params);
    if (!fault && ['notify', 'deep'].includes(method)) await session.next('send');
    const {error} = await session.next('reply');
    await session.next('credit');
    assert.equal(error?.code === -32603n, fault !== undefined, `${method} ${params}`);
    const faults = logger.lines.filter((line) => line.startsWith('error'));
    assert.equal(faults.length, fault ? 1 : 0);
    if (fault) assert.match(faults[0], fault);
  }
});

test('handlers start in order and run side by side', options, async (t) => {
  const {broker, service} = await start(t);
  const order = [];
  let release;
  const gate = new Promise((resolve) => { release = resolve; });
  service.on('*', async (params) => {
    order.push(params[0]);
    if (params[0] === 1) await gate;
    else release();
    return params[0];
  });
  const {session} = await attach(t, broker, service);
  session.ask(1n, 'm', [1]);
  session.ask(2n, 'm', [2]);
  const replies = [await session.next('reply'), await session.next('reply')];
  assert.deepEqual(replies.map(({messageId}) => messageId).sort(), [1n, 2n]);
  assert.deepEqual(order, [1, 2]);
});

test('a cancelled request aborts its handler, whose answer is dropped', options, async (t) => {
  const {broker, client, logger, service} = await start(t);
  const aborted = new Queue();
  service.on('wait', (params, {signal}) => new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => {
      aborted.push(signal.reason);
      if (!params) resolve('late');
      else if (params[0] === 'fault') reject(new Error('the disk is full'));
      else if (params[0] === 'call') client.getBrokerInfo({}, {signal}).catch(reject);
      else reject(signal.reason);
    });
  }));
  service.on('next', () => 1);
  const {session} = await attach(t, broker, service);
  for (const [id, params] of [[1n, undefined], [2n, ['reject']], [2n, ['call']], [2n, ['fault']]]) {
    session.ask(id, 'wait', params);
    session.tell({requestCancelled: {messageId: id, cause: 'CAUSE_TIMEOUT'}});
    const reason = await aborted.next();
    assert.equal(reason.name, 'AbortError');
    assert.match(reason.message, /CAUSE_TIMEOUT/);
    assert.equal((await session.next('credit')).messages, 1);
  }
  session.tell({requestCancelled: {messageId: 99n}});
  session.ask(3n, 'next');
  assert.equal((await session.next('reply')).messageId, 3n);
  assert.deepEqual(logger.lines.filter((line) => line.startsWith('error')),
    ['error socketbroker: the handler of wait failed: the disk is full']);
});

test('raw messages in and out', options, async (t) => {
  const {broker, service} = await start(t);
  service.onMessage(async (data, context) => {
    await context.send(typeof data === 'string' ? data.toUpperCase() : Uint8Array.from(data).reverse());
  });
  const {session} = await attach(t, broker, service);
  assert.deepEqual(session.start.messages.methods, []);
  session.tell({clientMessage: {messageId: 1n, text: 'abc', connectionId: 'c1'}});
  const {connectionId, message} = await session.next('send');
  assert.deepEqual([connectionId, message.text], ['c1', 'ABC']);
  for (const bytes of [[1, 2], []]) {
    session.tell({clientMessage: {messageId: 2n, binary: Uint8Array.from(bytes), connectionId: 'c1'}});
    assert.deepEqual([...(await session.next('send')).message.binary], bytes.reverse());
  }
});

test('what is no raw message is the fault of one handler', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const wrong = [7, undefined, new ArrayBuffer(1), 'é'.repeat(1.5 * 2 ** 20 + 1), new Uint8Array(3 * 2 ** 20 + 1)];
  service.onMessage((data, {send}) => send(data === 'ok' ? data : wrong.shift()));
  const {session} = await attach(t, broker, service);
  for (const fault of [/not number/, /not undefined/, /not object/, /3145730 bytes/, /3145729 bytes/]) {
    session.tell({clientMessage: {messageId: 1n, text: 'wrong', connectionId: 'c1'}});
    await session.next('credit');
    assert.match(logger.lines.at(-1), fault);
  }
  session.tell({clientMessage: {messageId: 2n, text: 'ok', connectionId: 'c1'}});
  assert.equal((await session.next('send')).message.text, 'ok');
});

test('raw messages of one connection are handled one after another', options, async (t) => {
  const {broker, service} = await start(t);
  const begun = new Queue();
  service.onMessage((data) => new Promise((resolve) => begun.push({data, resolve})));
  const {session} = await attach(t, broker, service);
  const say = (messageId, text, connectionId) => session.tell({clientMessage: {messageId, text, connectionId}});
  say(1n, 'a1', 'a');
  say(2n, 'a2', 'a');
  say(3n, 'b1', 'b');
  const first = await begun.next();
  // b does not wait for a.
  assert.deepEqual([first.data, (await begun.next()).data], ['a1', 'b1']);
  assert.equal(begun.kept.length, 0);
  first.resolve();
  assert.equal((await begun.next()).data, 'a2');
});

test('what it does not know is left alone', options, async (t) => {
  const {broker, service} = await start(t);
  service.onMessage(() => assert.fail('not to be called'));
  const {session} = await attach(t, broker, service);
  session.tell({});
  session.tell({clientMessage: {messageId: 1n, connectionId: 'a'}});
  assert.equal((await session.next('credit')).messages, 1);
});

test('a handler of handshakes hears that its offer is over', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const begun = new Queue();
  service.onHandshake(async (handshake, {signal}) => {
    begun.push(signal);
    if (!signal.aborted) await once(signal, 'abort');
    signal.throwIfAborted();
  });
  const {session} = await attach(t, broker, service);
  session.tell({handshakeOffer: {offerId: 1n, connectionId: 'c1', handshake: {}, timeout: duration(20)}});
  const first = await begun.next();
  assert.equal((await session.next('credit')).handshakes, 1);
  assert.match(first.reason.message, /another service/);

  session.tell({handshakeOffer: {offerId: 2n, connectionId: 'c2', handshake: {}, timeout: duration(1e6)}});
  const second = await begun.next();
  session.end(new Refusal(grpc.status.UNAVAILABLE, 'gone'));
  if (!second.aborted) await once(second, 'abort');
  assert.match(second.reason.message, /stream to the broker has ended/);
  assert.deepEqual(logger.lines.filter((line) => line.startsWith('error')), []);
});

test('handshakes are admitted or refused', options, async (t) => {
  const {broker, logger, service} = await start(t);
  service.onHandshake(async ({query}, {connectionId, signal}) => {
    assert.ok(!signal.aborted);
    if (query === 'bad') return refuse('log in first');
    if (query === 'none') return undefined;
    if (query === 'throws') throw new Error('the database is down');
    return {accountId: query, tokenHash: connectionId};
  });
  const {session} = await attach(t, broker, service);
  const offer = (offerId, query) => session.tell(
    {handshakeOffer: {offerId, connectionId: `c${offerId}`, handshake: {query, epoch: 5n}}});

  offer(1n, 'bad');
  assert.deepEqual(await session.next('refuseHandshake'), {offerId: 1n, reason: 'log in first'});
  assert.equal((await session.next('credit')).handshakes, 1);
  offer(2n, 'a1');
  assert.equal((await session.next('credit')).handshakes, 1);
  const [added] = broker.of('addConnection');
  assert.deepEqual([added.connectionId, added.identity.accountId, added.identity.tokenHash, added.verifiedAtEpoch],
    ['c2', 'a1', 'c2', undefined]);

  for (const [query, code, reason] of [
    ['a2', grpc.status.FAILED_PRECONDITION, 'CREDENTIAL_REVOKED'],
    ['a3', grpc.status.FAILED_PRECONDITION, 'ALREADY_BOUND'],
    ['a4', grpc.status.INVALID_ARGUMENT, ''], ['none'], ['throws']]) {
    broker.on('addConnection', code && new Refusal(code, 'no', reason));
    offer(3n, query);
    // It would be offered again, and refused by the broker again.
    if (query === 'a2') assert.deepEqual(await session.next('refuseHandshake'), {offerId: 3n, reason: ''});
    assert.equal((await session.next('credit')).handshakes, 1);
  }
  const said = logger.lines.slice(1).map((line) => line.replace('socketbroker: ', ''));
  assert.deepEqual(said.map((line) => line.split(' ')[0]), ['info', 'info', 'error', 'error', 'error']);
  assert.match(said[0], /connection c3 is not bound: .*CREDENTIAL_REVOKED/);
  assert.match(said[4], /database is down/);
});

test('a refusal has room in a close frame', () => {
  assert.equal(refuse('é'.repeat(61)).reason.length, 61);
  assert.throws(() => refuse('é'.repeat(62)), /124 bytes, at most 123/);
});

test('events come one at a time, in order', options, async (t) => {
  const {broker, service} = await start(t);
  const log = [];
  const slowly = (name) => async (event) => {
    log.push(`${name} begins`);
    await new Promise(setImmediate);
    log.push(`${name} ends ${(event.connection ?? event).connectionId}`);
  };
  service.onAdmitted(slowly('admitted')).onUpdated(slowly('updated')).onClosed(slowly('closed'));
  const {session} = await attach(t, broker, service);
  const connection = {connectionId: 'c1'};
  session.tell({connectionAdmitted: {connection}});
  session.tell({connectionUpdated: {connection}});
  session.tell({connectionClosed: {connection, cause: 'CAUSE_REVOKED', code: 4001}});
  for (let i = 0; i < 3; i++) assert.equal((await session.next('credit')).events, 1);
  assert.deepEqual(log, ['admitted begins', 'admitted ends c1', 'updated begins', 'updated ends c1',
    'closed begins', 'closed ends c1']);
});
