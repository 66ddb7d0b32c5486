// A program in a folder of its own that uses the package, as it would be after
// `npm install @socket-broker/client`.

'use strict';

const {execFileSync} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {FOLDER} = require('./package.js');

class Consumer {
  // The folder is gone after the test `t`.
  constructor(t) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'consumer-'));
    t.after(() => fs.rmSync(this.folder, {recursive: true}));
    const modules = path.join(this.folder, 'node_modules');
    fs.mkdirSync(path.join(modules, '@socket-broker'), {recursive: true});
    fs.symlinkSync(FOLDER, path.join(modules, '@socket-broker', 'client'));
    for (const name of ['@grpc', '@types']) {
      fs.symlinkSync(path.join(FOLDER, 'node_modules', name), path.join(modules, name));
    }
  }

  // Compiles all TypeScript of these folders into this one; throws what the
  // compiler says.
  compile(folders, module = 'node16', resolution = 'node16') {
    const names = [];
    for (const folder of folders) {
      const sources = fs.readdirSync(folder).filter((found) => /\.m?ts$/.test(found));
      for (const name of sources) {
        fs.copyFileSync(path.join(folder, name), path.join(this.folder, name));
        names.push(name);
      }
    }
    try {
      execFileSync(process.execPath, [path.join(FOLDER, 'node_modules/typescript/bin/tsc'), '--strict',
        '--target', 'es2022', '--module', module, '--moduleResolution', resolution, '--types', 'node', ...names],
      {cwd: this.folder, encoding: 'utf8'});
    } catch (error) {
      throw new Error(error.stdout || error.message);
    }
  }

  // Runs a program as an ES module; returns what it says.
  run(program) {
    return execFileSync(process.execPath, ['--input-type=module', '-e', program], {cwd: this.folder, encoding: 'utf8'});
  }
}

module.exports = {Consumer};
