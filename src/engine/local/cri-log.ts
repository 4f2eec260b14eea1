/** One entry of a CRI log file, as conmon writes it: `TIME STREAM F|P TEXT`. */
export interface CriEntry {
  time: string;
  stream: 'stdout' | 'stderr';
  /** The line goes on in the next entry of its stream. */
  partial: boolean;
  text: string;
}

/** Longest line handed out; what a program prints without a line break beyond this comes as several lines. */
const longestLine = 1 << 20;

export function parseCriEntry(line: string): CriEntry | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\S{1,40}) (stdout|stderr) ([FP])(?: (.*))?$/s.exec(line);
  if (!match?.[1]) return undefined;
  return {
    time: match[1],
    stream: match[2] === 'stderr' ? 'stderr' : 'stdout',
    partial: match[3] === 'P',
    text: match[4] ?? '',
  };
}

/** Joins partial entries into lines, stream by stream. Text goes in as it was read, in pieces of any size. */
export class CriJoiner {
  #rest = '';
  readonly #open = new Map<string, { time: string; text: string }>();

  /** The lines that `text` completes. */
  push(text: string): { time: string; stream: 'stdout' | 'stderr'; text: string }[] {
    const pieces = (this.#rest + text).split('\n');
    this.#rest = pieces.pop() ?? '';
    const lines = [];
    for (const piece of pieces) {
      const entry = parseCriEntry(piece);
      if (!entry) continue;
      const open = this.#open.get(entry.stream);
      const joined = { time: open?.time ?? entry.time, text: (open?.text ?? '') + entry.text };
      if (entry.partial && joined.text.length < longestLine) {
        this.#open.set(entry.stream, joined);
        continue;
      }
      this.#open.delete(entry.stream);
      lines.push({ time: joined.time, stream: entry.stream, text: joined.text });
    }
    return lines;
  }

  /** What was begun and never ended: the last words of a program that was killed in mid-line. */
  flush(): { time: string; stream: 'stdout' | 'stderr'; text: string }[] {
    const last = [...this.#open].map(([stream, { time, text }]) => ({
      time,
      stream: stream === 'stderr' ? ('stderr' as const) : ('stdout' as const),
      text,
    }));
    this.#open.clear();
    return last;
  }
}

/** Milliseconds of an RFC 3339 time with any number of fraction digits. */
export function timeMs(time: string): number {
  return Date.parse(time.replace(/(\.\d{3})\d+/, '$1'));
}
