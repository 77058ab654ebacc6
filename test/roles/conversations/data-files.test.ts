import { mkdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it } from 'vitest'
import { dataFiles } from '../../../src/roles/conversations/data-files.ts'
import { tempDir } from '../../support/temp-dir.ts'

it('conversation files are found once, in folders with any name, without what other systems leave', async () => {
  const dir = path.join(await tempDir(), 'chats {v2} [a]*?')
  await mkdir(path.join(dir, 'deep'), { recursive: true })
  for (const name of ['b.jsonl', 'deep/a.jsonl', '._b.jsonl']) await writeFile(path.join(dir, name), '{}')
  await symlink('..', path.join(dir, 'deep/up'))
  const found = await dataFiles(`${dir}/**/*.jsonl`)
  expect(found).toEqual([path.join(dir, 'b.jsonl'), path.join(dir, 'deep/a.jsonl')])
})

it('a pattern or a name without a file is refused, also where its folder is missing', async () => {
  const dir = await tempDir()
  for (const pattern of [`${dir}/*.jsonl`, `${dir}/none/*.jsonl`, `${dir}/none.jsonl`]) {
    await expect(dataFiles(pattern)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { file: pattern, field: 'data.conversations' },
    })
  }
})
