/** Whether a Server-Timing header (W3C) tells of a cold start: it has a metric of that name. */
export function wasCold(header: string | string[] | undefined): boolean {
  return [header ?? []]
    .flat()
    .flatMap((line) => line.split(','))
    .some((metric) => /^\s*cold\b/i.test(metric));
}
