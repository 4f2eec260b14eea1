import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { Outbox, TurnEnd } from './outbox.ts';

class Sink extends Writable {
  readonly writes: string[] = [];
  /** Called to take the last write; undefined to take each at once. */
  hold: (() => void) | undefined;
  readonly #holding: boolean;

  constructor(holding = false) {
    super({ decodeStrings: false, highWaterMark: 20 * 1024 });
    this.#holding = holding;
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: () => void): void {
    this.writes.push(typeof chunk === 'string' ? `${encoding}:${chunk}` : `bytes:${chunk.toString('latin1')}`);
    if (this.#holding) this.hold = done;
    else done();
  }
}

test('what is written in one turn goes out at its end, in one write', async () => {
  const turnEnd = new TurnEnd();
  const sinks = [new Sink(), new Sink()];
  const [one, other] = sinks.map((sink) => new Outbox(sink, turnEnd));
  one?.writeText('head ');
  other?.writeText('x');
  const data = Buffer.from('body\xe9', 'latin1');
  one?.write(data);
  data.fill(0);
  assert.deepEqual(sinks[0]?.writes, []);
  await turn();
  assert.deepEqual(
    sinks.map((sink) => sink.writes),
    [['latin1:head body\xe9'], ['latin1:x']],
  );
  one?.writeText('next');
  await turn();
  assert.equal(sinks[0]?.writes.length, 2);
});

test('large pieces keep their place, are copied, and tell of a slow reader', async () => {
  const sink = new Sink(true);
  const outbox = new Outbox(sink, new TurnEnd());
  const large = Buffer.alloc(30 * 1024, 'a');
  assert.equal(outbox.writeText('head '), true);
  assert.equal(outbox.write(large), false);
  large.fill('b');
  assert.equal(outbox.writeText(' end'), false);
  assert.equal(outbox.blocked, true);
  while (sink.hold) {
    const done = sink.hold;
    sink.hold = undefined;
    done();
    await turn();
  }
  assert.equal(
    sink.writes.map((text) => text.slice(text.indexOf(':') + 1)).join(''),
    `head ${'a'.repeat(30 * 1024)} end`,
  );
  assert.equal(outbox.blocked, false);
});

test('a turn of many sockets does not wait for its end, nor does much text', () => {
  const turnEnd = new TurnEnd();
  const sinks = Array.from({ length: 64 }, () => new Sink());
  for (const sink of sinks) new Outbox(sink, turnEnd).writeText('x');
  assert.ok(sinks.every((sink) => sink.writes.length === 1));
  const sink = new Sink();
  new Outbox(sink, turnEnd).writeText('x'.repeat(17 * 1024));
  assert.equal(sink.writes.length, 1);
});

test('a socket that was destroyed gets nothing more', async () => {
  const sink = new Sink();
  const outbox = new Outbox(sink, new TurnEnd());
  outbox.writeText('x');
  sink.destroy();
  await turn();
  assert.deepEqual(sink.writes, []);
});
