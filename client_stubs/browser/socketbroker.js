// The client of socket-broker for browsers: one connection that comes back, with
// JSON-RPC 2.0 in both directions. What each option and method means is said in
// socketbroker.d.ts.

const REVOKED = 4001;
const SERVER_SILENT = 4002;
// Milliseconds: the longest wait after the first failure, and after any.
const FIRST_DELAY = 500;
const LONGEST_DELAY = 30_000;

// Whether and how to reconnect: broker/docs/close-codes.md, and 1006 for a socket
// that ended without a close frame. A code that is not here is taken as 1006.
export const CLOSE_CODES = Object.freeze({
  1000: 'never', 4001: 'never', 4004: 'never',  // removed, revoked, too many of the account
  1002: 'never', 1003: 'never', 1007: 'never', 1008: 'never', 1009: 'never',  // the client is at fault
  1001: 'jitter', 1006: 'jitter', 1011: 'jitter', 4008: 'jitter',  // going away, lost, a fault, too slow
  1013: 'later', 4029: 'later',  // short of memory, rate limited
  4002: 'at once', 4003: 'at once',  // the server was silent, the client was
  4005: 'reauthenticate', 4006: 'reauthenticate',  // expired, not admitted
});

export class JsonRpcError extends Error {
  constructor(code, message, data) {
    check(Number.isSafeInteger(code), 'code', code, 'an integer');
    super(message);
    Object.assign(this, {name: 'JsonRpcError', code, data});
  }
}

export class ConnectionError extends Error {
  constructor(code, message, {sent = false, cause} = {}) {
    super(message, cause && {cause});
    Object.assign(this, {name: 'ConnectionError', code, sent});
  }
}

export class Connection extends EventTarget {
  #url;
  #options;
  #ways;
  #state = 'closed';
  // One in each state: connecting gives up, open forgets the attempts that
  // failed, waiting tries again.
  #timer;
  #life;  // an AbortController, of the attempt and its socket
  #page;  // an AbortController, until the page is listened to no more
  #socket;  // once the ticket is there
  #attempts = 0;  // that failed in a row
  #way = 'jitter';  // why it waits; 'reauthenticate' until a socket is open
  #heartTimer;
  #probing = false;
  #lastId = 0;
  #pending = new Map();  // id -> entry, requests without a reply
  #queue = new Set();  // entries that wait for a socket
  #handlers = new Map();
  #serving = new Map();  // id -> AbortController, requests of the server

  constructor({
    url, ticket, timeout = 30_000, maxQueue = 100, cancelMethod = 'cancel', heartbeat, closeCodes = {},
    connectTimeout = 20_000, stableAfter = 10_000, WebSocket = globalThis.WebSocket,
  }) {
    super();
    this.#url = webSocketUrl(url);
    check(ticket === undefined || typeof ticket === 'function', 'ticket', ticket, 'a function');
    check(Number.isSafeInteger(maxQueue) && maxQueue >= 0, 'maxQueue', maxQueue, 'an integer, not negative');
    check(typeof cancelMethod === 'string', 'cancelMethod', cancelMethod, 'a string, empty for none');
    check(typeof WebSocket === 'function', 'WebSocket', WebSocket, 'a class, and there is none here by default');
    checkTimes({timeout, connectTimeout, stableAfter});
    for (const [code, way] of Object.entries(closeCodes)) {
      check(Object.values(CLOSE_CODES).includes(way), `closeCodes[${code}]`, way, 'as in CLOSE_CODES');
    }
    if (heartbeat) {
      heartbeat = {interval: 30_000, timeout: 10_000, ...heartbeat};
      checkMethod('heartbeat.method', heartbeat.method);
      checkTimes({'heartbeat.interval': heartbeat.interval, 'heartbeat.timeout': heartbeat.timeout});
    }
    this.#ways = {...CLOSE_CODES, ...closeCodes};
    this.#options = {ticket, timeout, maxQueue, cancelMethod, heartbeat, connectTimeout, stableAfter, WebSocket};
    this.connect();
  }

  get state() { return this.#state; }

  connect() {
    if (this.#state === 'closed') {
      this.#attempts = 0;
      this.#way = 'jitter';
      this.#listenToPage();
    }
    if (this.#state === 'closed' || this.#state === 'waiting') this.#attempt();
  }

  close() {
    if (this.#state === 'closed') return;
    this.#leave(1000);
    this.#end('closed', 'the application closed the connection');
  }

  async request(method, params, {timeout = this.#options.timeout, signal} = {}) {
    signal?.throwIfAborted();
    checkTimes({timeout});
    const id = ++this.#lastId;
    const entry = {text: callText(method, params, id), sent: false};
    this.#send(entry);
    this.#pending.set(id, entry);
    const giveUp = (error) => {
      if (!this.#pending.delete(id)) return;
      this.#queue.delete(entry);
      const {cancelMethod} = this.#options;
      if (entry.sent && cancelMethod) this.#socket.send(callText(cancelMethod, {request_id: id}));
      entry.reject(error);
    };
    const onAbort = () => giveUp(signal.reason);
    signal?.addEventListener('abort', onAbort);
    const timer = startTimer(timeout, () => giveUp(new ConnectionError(
      'timeout', `no reply to '${method}' within ${timeout} ms`, {sent: entry.sent})));
    try {
      return await new Promise((resolve, reject) => { Object.assign(entry, {resolve, reject}); });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  notify(method, params) {
    this.#send({text: callText(method, params)});
  }

  on(method, handler) {
    checkMethod('method', method);
    check(typeof handler === 'function', 'handler', handler, 'a function');
    check(method !== this.#options.cancelMethod, 'method', method, 'another than cancelMethod');
    check(!this.#handlers.has(method), 'method', method, 'one that has no handler yet');
    this.#handlers.set(method, handler);
    return () => { if (this.#handlers.get(method) === handler) this.#handlers.delete(method); };
  }

  async #attempt() {
    const {ticket, connectTimeout, WebSocket} = this.#options;
    const life = this.#life = new AbortController();
    clearTimeout(this.#timer);
    this.#timer = startTimer(connectTimeout, () => this.#lost(1006, 'no connection in time'));
    this.#become('connecting');
    try {
      await null;  // so that who made the connection can listen to it first
      const presented = this.#life === life && await ticket?.({signal: life.signal});
      if (this.#life !== life) return;
      check(!ticket || (typeof presented === 'string' && presented !== ''), 'ticket', presented, 'a string');
      const socket = new WebSocket(this.#url, ...(ticket ? [['socketbroker.v1', `ticket.${presented}`]] : []));
      socket.onopen = () => this.#opened();
      socket.onmessage = ({data}) => this.#receive(data);
      socket.onclose = ({code, reason}) => this.#lost(code, reason);
      socket.onerror = () => {};  // A close follows. Some classes throw when nobody listens.
      this.#socket = socket;
    } catch (error) {
      if (this.#life === life) this.#noTicket(error);
    }
  }

  #noTicket(error) {
    this.#leave();
    const refused = error instanceof ConnectionError && error.code === 'unauthenticated';
    if (refused || this.#way === 'reauthenticate') {
      this.#end('unauthenticated', 'there is no ticket', undefined, error);
    } else {
      this.#wait('jitter');
      this.#dispatch('error', {error});
    }
  }

  #opened() {
    this.#way = 'jitter';
    clearTimeout(this.#timer);
    this.#timer = startTimer(this.#options.stableAfter, () => { this.#attempts = 0; });
    this.#state = 'open';
    this.#heard();
    this.#queue.forEach((entry) => this.#send(entry));
    this.#queue.clear();
    this.#become('open');
  }

  #lost(closeCode, closeReason) {
    const closed = {closeCode, closeReason};
    const revoked = closeCode === REVOKED;
    const way = this.#ways[closeCode] ?? this.#ways[1006];
    const text = `the connection was closed with ${closeCode}${closeReason && `: ${closeReason}`}`;
    this.#leave(...(closeCode === SERVER_SILENT ? [closeCode, closeReason] : []));
    // After a revocation what still waits must not be said by who comes next.
    this.#fail(revoked ? 'unauthenticated' : 'closed', text, revoked);
    const helpless = way === 'reauthenticate' && !this.#options.ticket;
    if (way === 'never' || helpless) this.#end(revoked || helpless ? 'unauthenticated' : 'closed', text, closed);
    else this.#wait(way, closed);
    if (revoked) this.#dispatch('revoked', closed);
  }

  #wait(way, closed) {
    let delay = Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts);
    if (way === 'later') delay = (1 + Math.random()) * LONGEST_DELAY / 2;
    if (way === 'at once' && this.#attempts === 0) delay = 0;  // and not again and again
    if (this.#way !== 'reauthenticate') this.#way = way;
    this.#attempts += 1;
    this.#timer = startTimer(delay, () => this.#attempt());
    this.#become('waiting', {delay, ...closed});
  }

  // Leaves the attempt and its socket: nothing more is heard of them. Who listens
  // to their signals is told in a task of its own, for it may call anything here.
  #leave(...close) {
    clearTimeout(this.#timer);
    clearTimeout(this.#heartTimer);
    const over = [this.#life, ...this.#serving.values()];
    queueMicrotask(() => over.forEach((controller) => controller?.abort()));
    this.#life = undefined;
    this.#serving.clear();
    if (!this.#socket) return;
    Object.assign(this.#socket, {onopen: null, onmessage: null, onclose: null}).close(...close);
    this.#socket = undefined;
  }

  #end(code, text, closed, cause) {
    this.#fail(code, text, true);
    this.#page.abort();
    this.#become('closed', {error: new ConnectionError(code, text, {cause}), ...closed});
  }

  // Fails the requests that were sent, which may have been done.
  #fail(code, text, waitingToo) {
    for (const [id, {sent, reject}] of this.#pending) {
      if (!sent && !waitingToo) continue;
      this.#pending.delete(id);
      reject(new ConnectionError(sent && code === 'closed' ? 'disconnected' : code, text, {sent}));
    }
    if (waitingToo) this.#queue.clear();
  }

  #listenToPage() {
    const {signal} = this.#page = new AbortController();
    const {document} = globalThis;
    globalThis.addEventListener?.('online', () => this.#wake(), {signal});
    globalThis.addEventListener?.('offline', () => this.#probe(), {signal});
    document?.addEventListener('visibilitychange', () => document.hidden || this.#wake(), {signal});
  }

  // The network or the user is back.
  #wake() {
    this.#probe();
    if (this.#state !== 'waiting' || this.#way === 'later') return;
    this.#attempts = 0;
    this.#attempt();
  }

  #heard() {
    this.#probing = false;
    clearTimeout(this.#heartTimer);
    const {heartbeat} = this.#options;
    if (heartbeat) this.#heartTimer = startTimer(heartbeat.interval, () => this.#probe());
  }

  #probe() {
    const {heartbeat} = this.#options;
    if (!heartbeat || this.#state !== 'open' || this.#probing) return;
    clearTimeout(this.#heartTimer);
    this.#probing = true;
    this.#socket.send(callText(heartbeat.method, undefined, ++this.#lastId));
    const asked = Date.now();
    this.#heartTimer = startTimer(heartbeat.timeout, () => {
      // Much too late, the page was asleep, and what the server said may only
      // wait to be delivered.
      if (Date.now() - asked < 2 * heartbeat.timeout) return this.#lost(SERVER_SILENT, 'Server silent');
      this.#probing = false;
      this.#probe();
    });
  }

  #send(entry) {
    if (this.#state === 'closed') throw new ConnectionError('closed', 'the connection is closed');
    if (this.#state === 'open') {
      this.#socket.send(entry.text);
      entry.sent = true;
    } else if (this.#queue.size < this.#options.maxQueue) {
      this.#queue.add(entry);
    } else {
      throw new ConnectionError('queue_full', `${this.#queue.size} messages wait for the connection already`);
    }
  }

  #receive(data) {
    this.#heard();
    try {
      const message = read(data);
      if (message.method === undefined) this.#settle(message);
      else if (message.id === undefined) this.#notified(message);
      else this.#serve(message);
    } catch (error) {
      this.#dispatch('error', {error: new ConnectionError('malformed', error.message), data});
    }
  }

  #settle({id, result, error}) {
    const entry = this.#pending.get(id);
    const failure = error && new JsonRpcError(error.code, error.message, error.data);
    if (entry?.sent) {
      this.#pending.delete(id);
      if (failure) entry.reject(failure);
      else entry.resolve(result);
    } else if (id === null) {
      this.#dispatch('error', {error: failure});  // It could not read what we sent.
    } else if (!Number.isInteger(id) || id < 1 || id > this.#lastId) {
      throw new Error('a response to what was never asked');
    }  // Else it comes too late.
  }

  async #notified({method, params}) {
    if (method === this.#options.cancelMethod) {
      this.#serving.get(params?.request_id)?.abort();
      this.#serving.delete(params?.request_id);
      return;
    }
    try {
      await this.#handlers.get(method)?.(params, {method});
    } catch (error) {
      this.#dispatch('error', {error});
    }
  }

  async #serve({id, method, params}) {
    const socket = this.#socket;
    const controller = new AbortController();
    this.#serving.set(id, controller);
    let text;
    try {
      const handler = this.#handlers.get(method);
      if (!handler) throw new JsonRpcError(-32601, 'Method not found');
      const result = await handler(params, {method, id, signal: controller.signal});
      text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${JSON.stringify(result) ?? null}}`;
    } catch (error) {
      text = errorText(id, error);
      if (!(error instanceof JsonRpcError) && !controller.signal.aborted) this.#dispatch('error', {error});
    }
    // Else it was cancelled, or nobody is there any more.
    if (this.#serving.get(id) !== controller) return;
    this.#serving.delete(id);
    socket.send(text);
  }

  #become(state, fields) {
    this.#dispatch(this.#state = state, fields);
  }

  #dispatch(type, fields) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }
}

function check(good, name, value, allowed) {
  const shown = typeof value === 'string' ? `'${value}'` : String(value);
  if (!good) throw new TypeError(`${name} is ${shown}; it must be ${allowed}`);
}

const checkMethod = (name, value) =>
  check(typeof value === 'string' && value !== '', name, value, 'a string that is not empty');
const checkTimes = (times) => Object.entries(times).forEach(([name, value]) =>
  check(typeof value === 'number' && value > 0, name, value, 'milliseconds over 0, or Infinity'));
// A timer holds no more than 2^31 - 1 ms; one for longer would fire at once.
const startTimer = (delay, then) => (delay < 2 ** 31 ? setTimeout(then, delay) : undefined);
const isObject = (value) => typeof value === 'object' && value !== null;

function webSocketUrl(url) {
  const result = new URL(url, globalThis.location?.href);
  result.protocol = result.protocol.replace(/^http/, 'ws');
  check(/^wss?:$/.test(result.protocol), 'url', url, 'of ws, wss, http or https');
  return result.href;
}

function callText(method, params, id) {
  checkMethod('method', method);
  check(params === undefined || isObject(params), 'params', params, 'an object or an array');
  return JSON.stringify({jsonrpc: '2.0', id, method, params});
}

function errorText(id, error) {
  const encode = ({code, message, data}) => JSON.stringify({jsonrpc: '2.0', id, error: {code, message, data}});
  try {
    if (error instanceof JsonRpcError) return encode(error);
  } catch {}  // Its data is not JSON.
  return encode({code: -32603, message: 'Internal error'});
}

function read(data) {
  const message = typeof data === 'string' ? JSON.parse(data) : undefined;
  const {jsonrpc, id, method, params, result, error} = isObject(message) ? message : {};
  const hasId = typeof id === 'string' || typeof id === 'number';
  const call = typeof method === 'string' && (hasId || id === undefined) && (params === undefined || isObject(params));
  const reply = method === undefined && hasId && result !== undefined && error === undefined;
  const failure = method === undefined && (hasId || id === null) && result === undefined
    && Number.isSafeInteger(error?.code) && typeof error.message === 'string';
  if (jsonrpc !== '2.0' || !(call || reply || failure)) throw new Error('not a JSON-RPC 2.0 message');
  return message;
}
