import { z } from 'zod'

/** Numbers that several sections of the config share. */
export const Count = z.number().int().positive()
export const Unit = z.number().min(0).max(1)
