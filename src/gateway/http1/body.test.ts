import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ChunkedReader, LengthReader, type BodyReader } from './body.ts';

/** Feeds `text` in pieces cut at `cuts`; what went on, what was left over, and whether it was refused. */
function feed(reader: BodyReader, text: string, cuts: number[]) {
  const bytes = Buffer.from(text, 'latin1');
  const edges = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b);
  let passed = '';
  let from = 0;
  for (const to of [...edges, bytes.length]) {
    const piece = Buffer.from(bytes.subarray(from, to));
    const out: Buffer[] = [];
    const next = reader.feed(piece, 0, out);
    passed += out.map((b) => b.toString('latin1')).join('');
    if (next < 0) return { passed, left: '', refused: true };
    if (reader.done) return { passed, left: bytes.toString('latin1', from + next), refused: false };
    assert.equal(next, piece.length, 'all is read until the body is done');
    from = to;
  }
  return { passed, left: '', refused: false };
}

const cuts = fc.array(fc.nat(), { maxLength: 12 });

test('chunked: the same result however the bytes are cut', () => {
  const chunk = fc.record({
    data: fc.string({ minLength: 1, maxLength: 40 }),
    ext: fc.constantFrom('', '', ';a=b', ' ;x'),
  });
  const trailer = fc.constantFrom('', '', 'X-Sum: 1\r\n', 'A: 1\r\nB: 2\r\n');
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 6 }),
      trailer,
      fc.constantFrom('', 'GET / HTTP/1.1\r\n'),
      cuts,
      (chunks, end, next, at) => {
        const plain = chunks.map(({ data }) => Buffer.from(data, 'utf8').toString('latin1'));
        const wire = (withExt: boolean) =>
          plain.map((d, i) => `${d.length.toString(16)}${withExt ? chunks[i]!.ext : ''}\r\n${d}\r\n`).join('') +
          `0\r\n${end}\r\n`;
        const raw = feed(new ChunkedReader(), wire(true) + next, at);
        assert.deepEqual(raw, { passed: wire(false), left: next, refused: false });
        const decoded = feed(new ChunkedReader({ decode: true }), wire(true) + next, at);
        assert.deepEqual(decoded, { passed: plain.join(''), left: next, refused: false });
      },
    ),
  );
});

test('length: exactly that many bytes', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.string({ maxLength: 20 }), cuts, (body, next, at) => {
      const text = Buffer.from(body, 'utf8').toString('latin1');
      const more = Buffer.from(next, 'utf8').toString('latin1');
      const reader = new LengthReader(text.length);
      if (text.length === 0) assert.equal(reader.done, true);
      else assert.deepEqual(feed(reader, text + more, at), { passed: text, left: more, refused: false });
    }),
  );
});

const refused = {
  'bare LF after the size': '3\nabc\r\n0\r\n\r\n',
  'bare LF after the data': '3\r\nabc\n0\r\n\r\n',
  'no size': '\r\nabc',
  'negative size': '-3\r\nabc\r\n',
  'prefixed size': '0x3\r\nabc\r\n',
  'overlong size': '0000000000003\r\nabc\r\n',
  'more data than said': '3\r\nabcd\r\n0\r\n\r\n',
  'bare CR in extension': '3;a\rb\r\nabc\r\n0\r\n\r\n',
  'bare LF in extension': '3;a\nb\r\nabc\r\n0\r\n\r\n',
  'endless extension': `3;${'a'.repeat(2000)}\r\nabc\r\n0\r\n\r\n`,
  'trailer that frames': '0\r\nContent-Length: 5\r\n\r\n',
  'trailer that is no field': '0\r\nnonsense\r\n\r\n',
  'trailer with a bare LF': '0\r\nA: 1\nB: 2\r\n\r\n',
  'endless trailers': `0\r\n${'A: 1\r\n'.repeat(3000)}\r\n`,
  'extension first': ';a\r\nabc\r\n',
};

for (const [name, text] of Object.entries(refused)) {
  test(`chunked: refuses ${name}, however cut`, () => {
    assert.equal(feed(new ChunkedReader(), text, []).refused, true);
    fc.assert(
      fc.property(cuts, (at) => assert.equal(feed(new ChunkedReader(), text, at).refused, true)),
      { numRuns: 30 },
    );
  });
}
