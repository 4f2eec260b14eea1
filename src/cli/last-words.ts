/**
 * The sentence that tells why a process ended, from the end of its log: the message of the last line of level error or
 * above, else the last line that is no stack frame. Undefined for an empty log.
 */
export function lastWords(log: string): string | undefined {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  for (const line of lines.toReversed()) {
    const record = jsonOf(line);
    if (record && (record.level === 'error' || record.level === 'fatal')) {
      const words = [record.msg, record.err?.message].filter((text) => typeof text === 'string' && text !== '');
      if (words.length > 0) return words.join(': ');
    }
  }
  const plain = lines.filter((line) => !jsonOf(line) && !/^\s+at |^Node\.js v|^\s*\^?\s*$|^node:/.test(line));
  // An uncaught error prints `Name: message` and then its stack and fields.
  return (plain.findLast((line) => /^\w*Error\b.*:/.test(line)) ?? plain.at(-1) ?? lines.at(-1))?.trim();
}

function jsonOf(line: string): { level?: string; msg?: string; err?: { message?: string } } | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as { level?: string; msg?: string };
  } catch {
    return undefined; // an app's own words
  }
}
