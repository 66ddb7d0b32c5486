// A WebSocket that does what the test says, and a Connection on top of it.

import assert from 'node:assert/strict';
import {mock} from 'node:test';
import {Connection} from '../../../client_stubs/browser/socketbroker.js';

export class FakeWebSocket {
  static made = [];

  constructor(url, protocols) {
    Object.assign(this, {url, protocols, sent: [], closes: []});
    FakeWebSocket.made.push(this);
  }

  send(text) {
    assert.equal(typeof text, 'string');
    assert.ok(this.isOpen, 'sent on a socket that is not open');
    this.sent.push(JSON.parse(text));
  }

  close(code, reason) {
    this.closes.push([code, reason].filter((value) => value !== undefined));
  }

  // What the server and the network do.

  open() {
    this.isOpen = true;
    this.onopen?.({});
  }

  receive(message) {
    this.onmessage?.({data: typeof message === 'object' ? JSON.stringify({jsonrpc: '2.0', ...message}) : message});
  }

  end(code = 1006, reason = '') {
    this.isOpen = false;
    if (code === 1006) this.onerror({});
    this.onclose?.({code, reason, wasClean: code !== 1006});
  }

  // What was sent since the last call.
  take() {
    return this.sent.splice(0);
  }
}

// Timers that move when the test says. Those of node:test clear the wrong ones in
// Node.js 18.
class Clock {
  now = 0;
  timers = new Map();
  #lastId = 0;

  setTimeout = (then, delay) => {
    this.timers.set(++this.#lastId, {at: this.now + delay, then});
    return this.#lastId;
  };

  clearTimeout = (id) => this.timers.delete(id);

  // Fires what is due, in order, and lets each have its effects.
  async tick(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const due = [...this.timers].filter(([, {at}]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      const [id, {at, then}] = due;
      this.timers.delete(id);
      this.now = at;
      then();
      await settled();
    }
    this.now = end;
    await settled();
  }
}

let clock;

export const EVENTS = ['connecting', 'open', 'waiting', 'closed', 'revoked', 'error'];

// Lets everything happen that waits for no timer and no socket.
export async function settled() {
  for (let turn = 0; turn < 20; ++turn) await null;
}

export const tick = (milliseconds) => clock.tick(milliseconds);

// A connection with fake timers, whose waits are `random` of the longest. `log`
// has its events; `sockets` those it made.
export async function connect(t, {random = 0.5, ...options} = {}) {
  clock = new Clock();
  for (const name of ['setTimeout', 'clearTimeout']) mock.method(globalThis, name, clock[name]);
  mock.method(Date, 'now', () => clock.now);
  mock.method(Math, 'random', () => random);
  FakeWebSocket.made = [];
  const connection = new Connection({url: 'ws://broker.test/ws', WebSocket: FakeWebSocket, ...options});
  t.after(async () => {
    connection.close();
    await settled();
    mock.restoreAll();
    assert.equal(clock.timers.size, 0, 'a timer outlives its connection');
  });
  const log = [];
  for (const type of EVENTS) connection.addEventListener(type, (event) => log.push(event));
  await settled();
  return {
    connection,
    log,
    sockets: FakeWebSocket.made,
    socket: () => FakeWebSocket.made.at(-1),
    types: () => log.splice(0).map((event) => event.type),
  };
}

export async function open(t, options) {
  const parts = await connect(t, options);
  parts.socket().open();
  parts.types();
  return parts;
}

// What a promise is by now: {value}, {error} or 'pending'.
export async function stateOf(promise) {
  let state = 'pending';
  promise.then((value) => { state = {value}; }, (error) => { state = {error}; });
  await settled();
  return state;
}
