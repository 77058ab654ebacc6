import { expect, it } from 'vitest'
import { cutParts } from '../../../src/roles/health/cut-parts.ts'

const part = (text: string, trained = false) => ({ text, trained })

it('leaves short parts as they are', () => {
  const parts = [part('a'), part('b'.repeat(400), true)]
  expect(cutParts(parts)).toEqual({ parts, more: 0 })
})

it('keeps both ends of a long part, and no half of a character', () => {
  const { parts } = cutParts([part('👩'.repeat(1000), true)])
  const text = parts[0]?.text ?? ''
  expect(text).not.toMatch(/[\uD800-\uDFFF]/u)
  expect(text).toBe(`${'👩'.repeat(200)} [... 600 characters ...] ${'👩'.repeat(200)}`)
  expect(parts[0]?.trained).toBe(true)
})

it('counts the parts that it leaves out', () => {
  const { parts, more } = cutParts(Array.from({ length: 55 }, (_, at) => part(String(at), at % 2 === 1)))
  expect([parts.length, more]).toEqual([40, 15])
})
