import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { findFeatureFiles, globMatcher } from '../../../src/roles/produce/feature-files.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function folder(...names: string[]): Promise<string> {
  const dir = await tempDir()
  for (const name of names) {
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true })
    await writeFile(path.join(dir, name), name)
  }
  return dir
}

describe('feature files', () => {
  it('are found at any depth and sorted as plain text, as the reference does', async () => {
    const dir = await folder('rows_0/data_10.ckpt', 'rows_0/data_2.ckpt.gz', 'a.ckpt', 'rows_0/notes.txt')
    const found = await findFeatureFiles(`${dir}/**/*.ckpt*`)
    expect(found.map(({ name }) => name)).toEqual(['a.ckpt', 'rows_0/data_10.ckpt', 'rows_0/data_2.ckpt.gz'])
    expect(found[0]).toEqual({ path: path.join(dir, 'a.ckpt'), name: 'a.ckpt', bytes: 6 })
  })

  it('are all feature files of a folder, or the one file that is named', async () => {
    const dir = await folder('x/b.safetensors', 'x/a.ckpt', 'x/c.ckpt.gz', 'x/d.json')
    expect((await findFeatureFiles(dir)).map(({ name }) => name)).toEqual([
      'x/a.ckpt',
      'x/b.safetensors',
      'x/c.ckpt.gz',
    ])
    expect((await findFeatureFiles(path.join(dir, 'x/a.ckpt'))).map(({ name }) => name)).toEqual(['a.ckpt'])
  })

  it.each(['feat{v2,lr=1}', 'a[1]', 'what?', 'all*', '(x|y)!'])(
    'are found in a folder that is called %s',
    async (name) => {
      const dir = path.join(await folder(`${name}/a.ckpt`, 'feat/b.ckpt', 'all-of-it/c.ckpt'), name)
      expect((await findFeatureFiles(dir)).map((file) => file.path)).toEqual([path.join(dir, 'a.ckpt')])
    },
  )

  it('are not folders that have such a name', async () => {
    const dir = await folder('a.ckpt/data.pkl', 'b.ckpt')
    expect((await findFeatureFiles(`${dir}/*.ckpt`)).map(({ name }) => name)).toEqual(['b.ckpt'])
  })

  it.each(['none/*.ckpt', 'none', 'x/*.pt'])(
    'that are not there are an error with the pattern in it: %s',
    async (tail) => {
      const pattern = path.join(await folder('x/a.ckpt'), tail)
      await expect(findFeatureFiles(pattern)).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        details: { field: 'features.files', found: expect.stringContaining(pattern) },
      })
    },
  )

  it.each([
    ['*.ckpt', 'a.ckpt', true],
    ['*.ckpt', 'x/a.ckpt', false],
    ['**/*.ckpt', 'a.ckpt', true],
    ['**/*.ckpt', 'x/y/a.ckpt', true],
    ['x/**', 'x/y/z', true],
    ['data_?.ckpt', 'data_1.ckpt', true],
    ['data_?.ckpt', 'data_12.ckpt', false],
    ['*.{ckpt,ckpt.gz}', 'a.ckpt.gz', true],
    ['*.{ckpt,ckpt.gz}', 'a.ckpt.bz', false],
    ['a+b(1).ckpt', 'a+b(1).ckpt', true],
    ['a.ckpt', 'aXckpt', false],
    ['a+b(1).ckpt', 'aab1.ckpt', false],
    ['*[1].ckpt', 'a[1].ckpt', true],
    ['*[1].ckpt', 'a1.ckpt', false],
    ['!*.ckpt', '!a.ckpt', true],
    ['!*.ckpt', 'b.txt', false],
    ['*.ckpt', '.hidden.ckpt', true],
    ['**', 'x/.y/z', true],
    ['a$^|b\\c', 'a$^|b\\c', true],
  ])('pattern %s against %s: %s', (pattern, name, matches) => {
    expect(globMatcher(pattern)(name)).toBe(matches)
  })
})
