'use strict';

// Things that come one by one, for whoever waits for them.
class Queue {
  constructor() {
    this.waiting = [];
    this.kept = [];
  }

  push(value) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(value);
    else this.kept.push(value);
  }

  next() {
    return this.kept.length > 0 ? Promise.resolve(this.kept.shift())
      : new Promise((resolve) => this.waiting.push(resolve));
  }
}

module.exports = {Queue};
