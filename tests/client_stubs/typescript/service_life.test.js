// How a Service lives: it attaches again, gives up, and drains.

'use strict';

const assert = require('node:assert/strict');
const {test} = require('node:test');
const {FakeBroker, Refusal} = require('./fake_broker.js');
const {grpc} = require('./package.js');
const {Queue} = require('./queue.js');
const {attach, json, start} = require('./serving.js');

const options = {timeout: 30000};

// A handler that waits until the test lets it go, or its signal is aborted.
function holdable(service, pattern) {
  const held = new Queue();
  service.on(pattern, (params, {signal}) => new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
    held.push({release: resolve, signal});
  }));
  return held;
}

test('attaches again when the stream is lost', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const started = new Queue();
  service.on('m', () => 'again').onStarted(({epoch}) => started.push(epoch));
  let {session} = await attach(t, broker, service);
  assert.equal(await started.next(), 7n);
  const {INTERNAL, UNAVAILABLE} = grpc.status;
  const ends = [new Refusal(UNAVAILABLE, 'shutting down'), undefined, new Refusal(INTERNAL, 'fault')];
  for (const end of ends) {
    session.end(end);
    session = await broker.attached();
    assert.equal(await started.next(), 7n);
  }
  session.ask(1n, 'm');
  assert.equal(json((await session.next('reply')).resultJson), 'again');
  assert.equal(logger.lines.filter((line) => line.includes('not attached')).length, ends.length);
});

test('waits longer with each failure, until it is attached', options, async (t) => {
  const {broker, logger, service} = await start(t);
  t.mock.method(Math, 'random', () => 1);
  service.on('m', () => 1);
  const lost = new Refusal(grpc.status.UNAVAILABLE, 'lost');
  const {session} = await attach(t, broker, service);
  session.end(lost);
  for (let i = 0; i < 2; i++) (await broker.sessions.next()).end(lost);
  (await broker.attached()).end(lost);
  await broker.attached();
  const pauses = logger.lines.map((line) => /again in (\d+) ms/.exec(line)?.[1]).filter(Boolean);
  assert.deepEqual(pauses, ['100', '200', '400', '100']);
});

test('attaches again when the broker is back', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const attempts = [];
  service.on('m', () => 1);
  const {session} = await attach(t, broker, service);
  broker.stop();
  await session.left;
  // It tries while nobody is there.
  await new Promise((resolve) => {
    logger.warn = (message) => {
      attempts.push(message);
      if (attempts.length === 3) resolve();
    };
  });
  assert.match(attempts[2], /UNAVAILABLE/);
  const second = await FakeBroker.start(t, broker.port);
  await second.attached();
});

for (const code of ['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED']) {
  test(`ends when the broker says ${code}`, options, async (t) => {
    const {broker, service} = await start(t);
    service.on('m', () => 1);
    const ended = service.run();
    const session = await broker.sessions.next();
    await session.next('start');
    session.end(new Refusal(grpc.status[code], 'not you', 'R'));
    await assert.rejects(ended, {name: 'BrokerError', code: grpc.status[code], reason: 'R'});
  });
}

test('lost events are told, behind those before them, and it attaches again', options, async (t) => {
  const {broker, logger, service} = await start(t);
  const log = [];
  const held = new Queue();
  service.onStarted(() => { log.push('started'); });
  service.onAdmitted(async () => {
    await new Promise((resolve) => held.push(resolve));
    log.push('event');
  });
  service.onEventsLost(async () => {
    await new Promise(setImmediate);
    log.push('lost');
  });
  const {session} = await attach(t, broker, service);
  session.tell({connectionAdmitted: {connection: {}}});
  const release = await held.next();
  const noticed = new Promise((resolve) => { logger.warn = resolve; });
  session.end(new Refusal(grpc.status.ABORTED, 'too slow', 'EVENTS_LOST'));
  assert.match(await noticed, /EVENTS_LOST/);
  // The handler that is too slow keeps nothing back but events.
  const again = await broker.attached();
  release();
  again.tell({connectionAdmitted: {connection: {}}});
  (await held.next())();
  await again.next('credit');
  assert.deepEqual(log, ['started', 'event', 'lost', 'started', 'event']);
});

test('a wrong send is not a wrong start', options, async (t) => {
  const {broker, service} = await start(t);
  service.on('m', () => 1);
  const {session} = await attach(t, broker, service);
  session.end(new Refusal(grpc.status.INVALID_ARGUMENT, 'too long'));
  await broker.attached();
});

test('a lost stream aborts its handlers; the next has the credit that is left', options, async (t) => {
  const {broker, service} = await start(t, {concurrency: 3});
  const held = holdable(service, 'wait');
  const release = new Promise((resolve) => {
    service.on('deaf', () => new Promise((done) => resolve(done)));
  });
  const {session} = await attach(t, broker, service);
  session.ask(1n, 'wait');
  session.ask(2n, 'wait', undefined, {notification: true});
  session.ask(3n, 'deaf');
  const signals = [(await held.next()).signal, (await held.next()).signal];
  const finish = await release;
  assert.ok(signals.every(({aborted}) => !aborted));
  session.end(new Refusal(grpc.status.UNAVAILABLE, 'lost'));
  const again = await broker.attached();
  assert.ok(signals.every(({aborted, reason}) => aborted && reason.name === 'AbortError'));
  assert.equal(again.start.credit.messages, 2);
  finish();
  assert.equal((await again.next('credit')).messages, 1);
  // What it returned is not said on a stream that knows nothing of it.
  again.ask(4n, 'wait');
  (await held.next()).release('new');
  assert.equal((await again.next('reply')).messageId, 4n);
});

test('a drain lets the handlers end', options, async (t) => {
  const {broker, service} = await start(t);
  const held = holdable(service, 'wait');
  const {session, ended} = await attach(t, broker, service);
  session.ask(1n, 'wait');
  const {release, signal} = await held.next();
  // Longer than a timer can wait.
  const drained = service.drain(Infinity);
  assert.ok(await session.next('drain'));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(!signal.aborted);
  release('done');
  assert.equal(json((await session.next('reply')).resultJson), 'done');
  session.end();
  await Promise.all([drained, ended]);
});

test('a drain waits for handlers that nobody else waits for', options, async (t) => {
  const {broker, client, service} = await start(t);
  const held = holdable(service, 'told');
  const {session, ended} = await attach(t, broker, service);
  session.ask(1n, 'told', undefined, {notification: true});
  const {release, signal} = await held.next();
  const drained = service.drain();
  await session.next('drain');
  let over = false;
  void ended.then(() => { over = true; });
  const streamEnded = new Promise((resolve) => service.attachment.stream.call.on('status', resolve));
  session.end();
  await streamEnded;
  // What follows from that has followed when the broker answers again.
  await client.getBrokerInfo();
  assert.ok(!over && !signal.aborted);
  release();
  await Promise.all([drained, ended]);
});

test('a second drain, or its limit, cuts the handlers off', options, async (t) => {
  for (const cut of ['second', 'limit']) {
    const {broker, logger, service} = await start(t);
    const held = holdable(service, 'wait');
    service.on('deaf', () => {
      held.push({});
      return new Promise(() => {});
    });
    const {session, ended} = await attach(t, broker, service);
    session.ask(1n, 'wait');
    session.ask(2n, 'deaf');
    const [{signal}] = [await held.next(), await held.next()];
    const drained = service.drain(cut === 'limit' ? 20 : undefined);
    await session.next('drain');
    if (cut === 'second') service.drain();
    await Promise.all([drained, ended, session.left]);
    assert.ok(signal.aborted);
    assert.deepEqual(logger.lines.filter((line) => !line.startsWith('info')), []);
  }
});

test('a drain ends the wait for another attempt', options, async (t) => {
  const {broker, logger, service} = await start(t);
  service.on('m', () => 1);
  broker.stop();
  // The longest waits: the next attempt would be after all of the test's time.
  t.mock.method(Math, 'random', () => 1000);
  const waiting = new Promise((resolve) => { logger.warn = resolve; });
  const ended = service.run();
  await waiting;
  await Promise.all([service.drain(), ended]);
});

test('a drain waits for no broker', options, async (t) => {
  const {broker, service} = await start(t);
  service.on('m', () => 1);
  const ended = service.run();
  // It is there, but says nothing.
  const session = await broker.sessions.next();
  await Promise.all([service.drain(), ended, session.left]);
});

test('a drain before the run leaves nothing to run', options, async (t) => {
  const {broker, service} = await start(t);
  service.on('m', () => 1);
  await service.drain();
  await service.run();
  assert.deepEqual(broker.names, []);
});
