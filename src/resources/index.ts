export type * from './meta.ts';
export type * from './serving.ts';
export { apiVersionOf, groupOf } from './group.ts';
export { microTimestamp, timestamp } from './time.ts';
