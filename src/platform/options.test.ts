import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { controlArgs, controlOptions, formatListen, parseControlArgs, parseListen } from './options.ts';

describe('controlOptions', () => {
  it('completes nothing to the defaults', () => {
    assert.deepEqual(controlOptions({}), {
      dataDir: '/var/lib/ebb',
      runDir: '/run/ebb',
      gatewayListen: '0.0.0.0:8080',
      apiListen: '127.0.0.1:8470',
      domain: 'localhost',
      logLevel: 'info',
      detach: false,
    });
  });

  it('makes directories absolute and completes a bare port', () => {
    const options = controlOptions({ dataDir: 'd', runDir: 'r', gatewayListen: '9000', apiListen: ':9001' });
    assert.equal(options.dataDir, `${process.cwd()}/d`);
    assert.equal(options.gatewayListen, '0.0.0.0:9000');
    assert.equal(options.apiListen, '127.0.0.1:9001');
  });

  const bad: [string, Parameters<typeof controlOptions>[0], RegExp][] = [
    ['a port too high', { gatewayListen: '0.0.0.0:65536' }, /--gateway-listen "0\.0\.0\.0:65536".*0 to 65535/],
    ['no port', { apiListen: 'localhost' }, /--api-listen "localhost"/],
    ['one port for both', { gatewayListen: '8470' }, /--api-listen "127\.0\.0\.1:8470".*another port/],
    ['one directory for both', { dataDir: '/x', runDir: '/x' }, /--run-dir "\/x"/],
    ['a run directory too long for sockets', { runDir: `/${'x'.repeat(90)}` }, /at most 72 bytes/],
    ['an unknown log level', { logLevel: 'loud' }, /--log-level "loud".*debug, info/],
    ['a domain with a space', { domain: 'a b' }, /--domain "a b"/],
    ['a runtime with a space', { runtime: 'crun --debug' }, /--runtime/],
    ['a time without a unit', { scaleToZeroAfter: '10' }, /--scale-to-zero-after "10".*1s to 24h/],
    ['a budget that is no size', { standbyBudget: 'lots' }, /--standby-budget "lots"/],
  ];
  for (const [what, raw, message] of bad) {
    it(`refuses ${what}`, () => assert.throws(() => controlOptions(raw), { code: 'InvalidOption', message }));
  }
});

describe('control arguments', () => {
  it('are read back as they were written', () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            gatewayListen: fc.integer({ min: 0, max: 65_535 }).map((p) => `[::1]:${p}`),
            domain: fc.constantFrom('localhost', 'apps.example.com'),
            runtime: fc.constantFrom('crun', '/usr/bin/runc'),
            scaleToZeroAfter: fc.integer({ min: 1000, max: 86_400_000 }).map((ms) => `${ms}ms`),
            standbyBudget: fc.nat().map(String),
            logLevel: fc.constantFrom('debug', 'silent'),
            detach: fc.boolean(),
          },
          { requiredKeys: [] },
        ),
        (raw) => {
          const options = controlOptions(raw);
          assert.deepEqual(parseControlArgs(controlArgs(options)), options);
        },
      ),
    );
  });

  it('that are unknown are refused', () => {
    assert.throws(() => parseControlArgs(['--nonsense']), { code: 'InvalidOption', message: /nonsense/ });
  });
});

describe('listen addresses', () => {
  it('go there and back', () => {
    for (const text of ['127.0.0.1:0', '[::1]:8080', 'localhost:1']) {
      assert.equal(formatListen(parseListen('x', text, '0.0.0.0')), text);
    }
  });
});
