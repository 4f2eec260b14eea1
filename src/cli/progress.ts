import type { Style } from './style.ts';

/** What a long command says on standard error while it works: a spinner on a terminal, plain lines elsewhere. */
export interface Progress extends Disposable {
  /** What is being done now. Repeated messages are said once. */
  update(message: string): void;
  /** A step is done: its line stays. */
  done(message: string): void;
  /** Something that the user should see and that does not stop the work. */
  warn(message: string): void;
  /** Takes the spinner away. Safe to call twice. */
  [Symbol.dispose](): void;
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

export function createProgress(options: {
  stream: { isTTY?: boolean | undefined; columns?: number | undefined; write(text: string): unknown };
  style: Style;
  quiet?: boolean;
}): Progress {
  const { stream, style } = options;
  if (options.quiet)
    return { update() {}, done() {}, warn: (m) => void stream.write(`! ${m}\n`), [Symbol.dispose]() {} };
  return stream.isTTY ? spinner(stream, style) : plain(stream);
}

function plain(stream: { write(text: string): unknown }): Progress {
  let last = '';
  const say = (mark: string) => (message: string) => {
    if (`${mark}${message}` === last) return;
    last = `${mark}${message}`;
    stream.write(`${last}\n`);
  };
  return { update: say('  '), done: say('✓ '), warn: say('! '), [Symbol.dispose]() {} };
}

function spinner(stream: { columns?: number | undefined; write(text: string): unknown }, style: Style): Progress {
  let message = '';
  let frame = 0;
  let timer: NodeJS.Timeout | undefined;
  const clear = () => stream.write('\r\x1b[K');
  const draw = () => {
    const room = Math.max(10, (stream.columns ?? 80) - 3);
    stream.write(`\r\x1b[K${style.cyan(frames[frame++ % frames.length] ?? '')} ${message.slice(0, room)}`);
  };
  const stop = () => {
    if (timer === undefined) return;
    clearInterval(timer);
    timer = undefined;
    clear();
  };
  const line = (mark: string, text: string) => {
    const spinning = timer !== undefined;
    stop();
    stream.write(`${mark} ${text}\n`);
    if (spinning && message !== '') start();
  };
  const start = () => {
    timer ??= setInterval(draw, 80).unref();
    draw();
  };
  return {
    update(text) {
      message = text.replaceAll('\n', ' ');
      start();
    },
    done(text) {
      message = '';
      line(style.green('✓'), text);
    },
    warn: (text) => line(style.yellow('!'), text),
    [Symbol.dispose]: stop,
  };
}
