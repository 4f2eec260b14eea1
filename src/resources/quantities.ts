export { cpuMillis, memoryBytes, parseQuantity } from '../platform/quantity.ts';
