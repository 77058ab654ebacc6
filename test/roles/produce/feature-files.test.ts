import { mkdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { globMatcher } from '../../../src/core/files/files-of-pattern.ts'
import { findFeatureFiles } from '../../../src/roles/produce/feature-files.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function folder(...names: string[]): Promise<string> {
  const dir = await tempDir()
  for (const name of names) {
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true })
    await writeFile(path.join(dir, name), name)
  }
  return dir
}

const filesOf = async (pattern: string) => (await findFeatureFiles(pattern)).files
const namesOf = async (pattern: string) => (await filesOf(pattern)).map(({ name }) => name)

describe('feature files', () => {
  it('are found at any depth and sorted as plain text, as the reference does', async () => {
    const dir = await folder('rows_0/data_10.ckpt', 'rows_0/data_2.ckpt.gz', 'a.ckpt', 'rows_0/notes.txt')
    const found = await filesOf(`${dir}/**/*.ckpt*`)
    expect(found.map(({ name }) => name)).toEqual(['a.ckpt', 'rows_0/data_10.ckpt', 'rows_0/data_2.ckpt.gz'])
    expect(found[0]).toEqual({ path: path.join(dir, 'a.ckpt'), name: 'a.ckpt', bytes: 6 })
  })

  it('are all feature files of a folder, or the one file that is named', async () => {
    const dir = await folder('x/b.safetensors', 'x/a.ckpt', 'x/c.ckpt.gz', 'x/d.json')
    expect((await filesOf(dir)).map(({ name }) => name)).toEqual(['x/a.ckpt', 'x/b.safetensors', 'x/c.ckpt.gz'])
    expect((await filesOf(path.join(dir, 'x/a.ckpt'))).map(({ name }) => name)).toEqual(['a.ckpt'])
  })

  it.each(['feat{v2,lr=1}', 'a[1]', 'what?', 'all*', '(x|y)!'])(
    'are found in a folder that is called %s',
    async (name) => {
      const dir = path.join(await folder(`${name}/a.ckpt`, 'feat/b.ckpt', 'all-of-it/c.ckpt'), name)
      expect((await filesOf(dir)).map((file) => file.path)).toEqual([path.join(dir, 'a.ckpt')])
      expect((await filesOf(`${dir}/*.ckpt`)).map((file) => file.path)).toEqual([path.join(dir, 'a.ckpt')])
      expect((await filesOf(`${dir}/**/a.{ckpt,gz}`)).map((file) => file.path)).toEqual([path.join(dir, 'a.ckpt')])
    },
  )

  it('are matched by wildcards where no folder has such a name', async () => {
    const dir = await folder('feat1/a.ckpt', 'feat2/a.ckpt', 'feat{3}/a.ckpt')
    expect(await namesOf(`${dir}/feat{1,2}/*.ckpt`)).toEqual(['feat1/a.ckpt', 'feat2/a.ckpt'])
    expect(await namesOf(`${dir}/feat{3}/*.ckpt`)).toEqual(['a.ckpt'])
  })

  it('are found once where links to folders go in circles or meet', async () => {
    const dir = await folder('rows/a.ckpt', 'rows/deep/b.ckpt', 'other/c.ckpt')
    await symlink('..', path.join(dir, 'rows/deep/up'))
    await symlink('rows', path.join(dir, 'latest'))
    await symlink(dir, path.join(dir, 'rows/self'))
    await symlink(path.join(await folder('far/d.ckpt'), 'far'), path.join(dir, 'linked'))
    const found = await findFeatureFiles(`${dir}/**/*.ckpt`)
    const names = ['linked/d.ckpt', 'other/c.ckpt', 'rows/a.ckpt', 'rows/deep/b.ckpt']
    expect(found.files.map(({ name }) => name)).toEqual(names)
    expect([...found.leftOut.again].sort()).toEqual(['latest', 'rows/deep/up', 'rows/self'])
  })

  it('may be links; a link to nothing or to itself is one file that cannot be read', async () => {
    const dir = await folder('a.ckpt')
    await symlink('a.ckpt', path.join(dir, 'b.ckpt'))
    await symlink('nowhere', path.join(dir, 'c.ckpt'))
    await symlink('d.ckpt', path.join(dir, 'd.ckpt'))
    const sizes = (await filesOf(`${dir}/*.ckpt`)).map(({ name, bytes }) => [name, bytes])
    expect(sizes).toEqual([
      ['a.ckpt', 6],
      ['b.ckpt', 6],
      ['c.ckpt', 0],
      ['d.ckpt', 0],
    ])
  })

  it('are not counted twice where a compressed copy lies beside a file', async () => {
    const dir = await folder('x/a.ckpt', 'x/a.ckpt.gz', 'x/b.ckpt.gz', 'y/a.ckpt.gz')
    const { files, leftOut } = await findFeatureFiles(dir)
    expect(files.map(({ name }) => name)).toEqual(['x/a.ckpt', 'x/b.ckpt.gz', 'y/a.ckpt.gz'])
    expect(leftOut.compressed).toEqual(['x/a.ckpt.gz'])
  })

  it('are none of those that other systems leave beside them', async () => {
    const dir = await folder('a.ckpt', '._a.ckpt', '.DS_Store', 'x/Thumbs.db', '__MACOSX/._a.ckpt')
    const { files, leftOut } = await findFeatureFiles(`${dir}/**`)
    expect(files.map(({ name }) => name)).toEqual(['a.ckpt'])
    expect(leftOut.companion).toHaveLength(4)
  })

  it('are not folders that have such a name', async () => {
    const dir = await folder('a.ckpt/data.pkl', 'b.ckpt')
    expect((await filesOf(`${dir}/*.ckpt`)).map(({ name }) => name)).toEqual(['b.ckpt'])
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
