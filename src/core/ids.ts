import { z } from 'zod'

// A sample id becomes a file name and a network key, so it is parsed once here rather than escaped by each backend.
export const SAMPLE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$/
export const SampleId = z.string().regex(SAMPLE_ID).brand<'SampleId'>()
export type SampleId = z.infer<typeof SampleId>

/** The form of store ids and run ids. */
export const SHORT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

export const StoreId = z.string().regex(SHORT_NAME).brand<'StoreId'>()
export type StoreId = z.infer<typeof StoreId>

export const RunId = z.string().regex(SHORT_NAME).brand<'RunId'>()
export type RunId = z.infer<typeof RunId>

/** Never reused, not even after a free: a reused number would let a stale ref read fresh data. */
export const Generation = z.number().int().positive().brand<'Generation'>()
export type Generation = z.infer<typeof Generation>
