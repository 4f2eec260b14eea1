import { EbbError } from '../platform/errors.ts';

/** No honest line is longer: objects are bounded by the API at 1.5 MiB. */
const maxLineBytes = 16 * 1024 * 1024;

/** The values of a newline-delimited JSON stream, as they arrive. Throws EbbError BadAnswer on what is not JSON. */
export async function* jsonLines(stream: AsyncIterable<Buffer>): AsyncGenerator<unknown> {
  let pending: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      pending.push(chunk.subarray(from, end));
      const line = Buffer.concat(pending).toString('utf8');
      pending = [];
      size = 0;
      from = end + 1;
      if (line.trim() !== '') yield parse(line);
    }
    pending.push(chunk.subarray(from));
    size += chunk.length - from;
    if (size > maxLineBytes) throw new EbbError('BadAnswer', 502, 'the API sent a line of over 16 MiB');
  }
  const rest = Buffer.concat(pending).toString('utf8');
  if (rest.trim() !== '') yield parse(rest);
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (cause) {
    throw new EbbError('BadAnswer', 502, `the API sent what is not JSON: ${line.slice(0, 80)}`, { cause });
  }
}
