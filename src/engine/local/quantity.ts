import { EbbError } from '../../platform/errors.ts';
import { parseQuantity } from '../../platform/quantity.ts';

/** A Kubernetes quantity that is not negative. Throws EbbError InvalidQuantity, naming `field`. */
export function quantityOf(text: string, field: string): number {
  const value = parseQuantity(text);
  if (value === undefined || value < 0)
    throw new EbbError(
      'InvalidQuantity',
      422,
      `${field} is ${JSON.stringify(text.slice(0, 40))}; it must be a quantity such as 500m, 1, 256Mi or 1Gi`,
    );
  return value;
}
