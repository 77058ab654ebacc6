import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, it, vi } from 'vitest'
import { Recorder } from '../../../scripts/results/recorder.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** What a script prints while `task` runs. */
async function printed(task: () => Promise<void>): Promise<string> {
  const chunks: string[] = []
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => chunks.push(String(chunk)) > 0)
  await task().finally(() => spy.mockRestore())
  return chunks.join('')
}

async function measureWith(recorder: Recorder): Promise<void> {
  const table = recorder.table('put, 3 KB', ['side', 'median', 'a|b'])
  table.row('put none', '1.53 ms', '0.82')
  recorder.note('Two threads read 1.10 times as fast as one.')
  await recorder.write()
}

it('a recorded file has the date, the commit, the machine, the command and every figure that was printed', async () => {
  const [out, name] = [await tempDir(), 'store']
  const recorder = new Recorder({ title: 'A store of samples', record: true, name, out })
  const text = await printed(() => measureWith(recorder))
  expect(text).toContain('put none')
  expect(text).toContain('1.53 ms')
  const file = await readFile(path.join(out, `${name}.md`), 'utf8')
  expect(file.split('\n')[0]).toBe('# A store of samples')
  expect(file).toMatch(/\| date \| \d{4}-\d{2}-\d{2} \|/)
  for (const fact of ['commit', 'cpu', 'memory', 'gpu', 'kernel', 'versions', 'command']) {
    expect(file).toMatch(new RegExp(`^\\| ${fact} \\| \\S.* \\|$`, 'm'))
  }
  expect(file).toContain('| side | median | a\\|b |\n| --- | ---: | ---: |\n| put none | 1.53 ms | 0.82 |\n')
  expect(file).toContain('* Two threads read 1.10 times as fast as one.\n')
})

it('without --record the figures are printed and no file is written', async () => {
  const out = await tempDir()
  const recorder = new Recorder({ title: 'A store of samples', record: false, name: 'store', out })
  expect(await printed(() => measureWith(recorder))).toContain('0.82')
  expect(await readdir(out)).toEqual([])
})

it('a row that does not fit its table is an error', async () => {
  const recorder = new Recorder({ title: 'x', record: false, name: 'x' })
  await printed(async () => {
    const table = recorder.table('x', ['name', 'value'])
    expect(() => table.row('only a name')).toThrow('x: 1 cells in 2 columns')
  })
})
