/** What the API server needs beyond the types: the kinds themselves. Apart from index.ts, because it loads the schemas. */
export { checkShape } from './check.ts';
export { fieldErrorsText, fieldErrorText, type FieldError } from './field-error.ts';
export { apiVersionOf } from './group.ts';
export { kinds, type Column, type Kind, type Verb } from './kinds/index.ts';
export { podKind } from './kinds/pod.ts';
export { isAdministrator } from './kinds/reviews.ts';
export { serviceAccountKind } from './kinds/service-account.ts';
export { parseFieldSelector, parseLabelSelector } from './selectors.ts';
