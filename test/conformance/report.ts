export type Outcome = 'pass' | 'fail' | 'skip';

export interface Result {
  name: string;
  outcome: Outcome;
  /** What the suite said; empty for a pass. */
  reason: string;
  ms: number;
}

/** Tests that don't pass, and in one sentence why not. */
export type Expectations = Record<string, { outcome: 'fail' | 'skip'; reason: string }>;

/** What a run of one test comes to, from the events of `go tool test2json` (one JSON object a line). */
export function outcomeOf(output: string, test: string): { outcome: Outcome; reason: string; text: string } {
  let outcome: Outcome | undefined;
  let text = '';
  const failures: string[] = [];
  for (const line of output.split('\n')) {
    const event = eventOf(line);
    if (!event) {
      if (line) text += `${line}\n`;
      continue;
    }
    if (event.Action === 'output') text += event.Output ?? '';
    if (event.Test === test && isOutcome(event.Action)) outcome = event.Action;
    else if (event.Action === 'fail' && event.Test?.startsWith(`${test}/`))
      failures.push(event.Test.slice(test.length + 1));
  }
  const panicked = /^panic: (.*)$/m.exec(text)?.[1];
  if (!outcome) return { outcome: 'fail', reason: panicked ?? 'it ended without a result', text };
  if (outcome === 'pass') return { outcome, reason: '', text };
  // The message that decided is the last that names a line of a test file.
  const said = [...text.matchAll(/^\s*\w+\.go:\d+: (.*)$/gm)].map((m) => m[1] ?? '');
  const last = said.findLast((s) => outcome === 'skip' || /fail|error|want|expect|not|unable/i.test(s)) ?? '';
  const parts = failures.length > 0 ? `${failures.join(', ')}: ` : '';
  return { outcome, reason: `${parts}${panicked ?? last}`, text };
}

/** What is not as expected, in words; with `all` tests run, also expectations that no test bears out. */
export function surprises(results: readonly Result[], expectations: Expectations, all: boolean): string[] {
  const names = new Set(results.map((r) => r.name));
  const gone = all ? Object.keys(expectations).filter((name) => !names.has(name)) : [];
  return [
    ...results.flatMap(({ name, outcome }) => {
      const expected = expectations[name]?.outcome ?? 'pass';
      if (outcome === expected) return [];
      return outcome === 'pass'
        ? `${name} passes now: take it out of expectations.json`
        : `${name} should ${expected}, and did not: ${outcome}`;
    }),
    ...gone.map((name) => `${name} is no test of the suite: take it out of expectations.json`),
  ];
}

export function printTable(results: readonly Result[], expectations: Expectations): void {
  const wide = Math.max(...results.map((r) => r.name.length), 4);
  console.log(`\n${'test'.padEnd(wide)}  result     time  reason`);
  for (const { name, outcome, reason, ms } of results.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const expected = expectations[name];
    const asExpected = outcome === (expected?.outcome ?? 'pass');
    const time = `${(ms / 1000).toFixed(1)} s`.padStart(8);
    const why = asExpected ? (expected?.reason ?? '') : reason.slice(0, 300);
    console.log(`${name.padEnd(wide)}  ${outcome}${asExpected ? ' ' : '!'}  ${time}  ${why}`);
  }
  const count = (outcome: Outcome) => results.filter((r) => r.outcome === outcome).length;
  console.log(`\n${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped`);
}

interface TestEvent {
  Action: string;
  Test?: string;
  Output?: string;
}

function eventOf(line: string): TestEvent | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as TestEvent;
  } catch {
    return undefined; // a line that the test itself printed
  }
}

function isOutcome(action: string): action is Outcome {
  return action === 'pass' || action === 'fail' || action === 'skip';
}
