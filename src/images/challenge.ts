/** One challenge of a `WWW-Authenticate` header: scheme in lower case, parameters by lower-case name. */
export interface Challenge {
  scheme: string;
  params: Record<string, string>;
}

const longestHeader = 8192;
const parameter = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)\s*/;
const scheme = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s+|,\s*|$)/;

/** The challenges of a header (RFC 9110 section 11.6.1); what can't be parsed is left out. */
export function parseChallenges(header: string): Challenge[] {
  const found: Challenge[] = [];
  for (let rest = header.slice(0, longestHeader).trim(); rest !== '';) {
    const pair = parameter.exec(rest);
    const last = found.at(-1);
    if (pair && last) {
      const [whole, name = '', quoted, token] = pair;
      last.params[name.toLowerCase()] = quoted === undefined ? (token ?? '') : quoted.replace(/\\(.)/g, '$1');
      rest = rest.slice(whole.length);
      continue;
    }
    const next = scheme.exec(rest);
    if (!next?.[1]) return found;
    found.push({ scheme: next[1].toLowerCase(), params: Object.create(null) as Record<string, string> });
    rest = rest.slice(next[0].length);
  }
  return found;
}
