/** What is wrong with which fields, in the words of Knative's `apis.FieldError`. */
export interface FieldError {
  /** `missing field(s)`, `invalid value: foo`, `must not set the field(s)`, `expected 0 <= -1 <= 1000` ... */
  message: string;
  /** `spec.template.spec.containers[0].image`; several where the error is about all of them. */
  paths: string[];
  details?: string;
  /** Kubernetes' cause type: `FieldValueInvalid` unless given. */
  reason?: 'FieldValueRequired' | 'FieldValueForbidden' | 'FieldValueTypeInvalid' | 'FieldValueDuplicate';
}

/** `missing field(s): a, b` and, on a line of its own, the details. */
export function fieldErrorText(error: FieldError): string {
  const line = error.paths.length === 0 ? error.message : `${error.message}: ${error.paths.join(', ')}`;
  return error.details === undefined ? line : `${line}\n${error.details}`;
}

export function fieldErrorsText(errors: readonly FieldError[]): string {
  return errors.map(fieldErrorText).join('\n');
}

/** Values quoted in messages are cut here: they come from outside. */
const shown = (value: unknown) => {
  const text = String(value);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
};

export const missing = (...paths: string[]): FieldError => ({
  message: 'missing field(s)',
  paths,
  reason: 'FieldValueRequired',
});

export const forbidden = (...paths: string[]): FieldError => ({
  message: 'must not set the field(s)',
  paths,
  reason: 'FieldValueForbidden',
});

export const invalid = (value: unknown, path: string, details?: string): FieldError => ({
  message: `invalid value: ${shown(value)}`,
  paths: [path],
  ...(details === undefined ? {} : { details }),
});

export const invalidKey = (key: string, path: string, details: string): FieldError => ({
  message: `invalid key name ${JSON.stringify(shown(key))}`,
  paths: [path],
  details,
});

export const outOfBounds = (value: unknown, low: number | string, high: number | string, path: string): FieldError => ({
  message: `expected ${low} <= ${shown(value)} <= ${high}`,
  paths: [path],
});

export const exactlyOne = (given: number, ...paths: string[]): FieldError => ({
  message: given === 0 ? 'expected exactly one, got neither' : 'expected exactly one, got both',
  paths,
});

export const generic = (message: string, ...paths: string[]): FieldError => ({ message, paths });
