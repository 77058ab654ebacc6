import { z } from 'zod'
import { errorCodes } from '../core/errors.ts'

/** A `BridgeError` of Python: the code, the whole message, and the details in the field names of `finding`. */
export const PythonError = z.strictObject({
  code: z.enum(errorCodes),
  message: z.string(),
  details: z.looseObject({
    file: z.string().optional(),
    field: z.string().optional(),
    found: z.string().optional(),
    fix: z.string().optional(),
    column: z.number().int().nonnegative().optional(),
  }),
})
export type PythonError = z.output<typeof PythonError>
