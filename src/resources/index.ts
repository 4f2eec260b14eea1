export type * from './meta.ts';
export type * from './serving.ts';
