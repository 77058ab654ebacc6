import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { draftbridge } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'
import { trainingInputs } from '../support/training.ts'

let inputs = ''
beforeAll(async () => {
  inputs = await tempDir()
  await trainingInputs(inputs)
})

async function folder(): Promise<{ dir: string; config: string }> {
  const dir = await tempDir()
  const config = path.join(dir, 'draftbridge.yaml')
  const talks = Array.from({ length: 12 }, (_, index) =>
    JSON.stringify({
      messages: [
        { role: 'user', content: `ask ${index % 10}` },
        { role: 'assistant', content: `answer ${index % 10} <img src=x onerror=alert(1)>` },
      ],
    }),
  )
  await writeFile(path.join(dir, 'talks.jsonl'), `${[...talks, '{"messages": ['].join('\n')}\n`)
  const target = { model: path.join(inputs, 'target'), dtype: 'float32' }
  const data = { conversations: 'talks.jsonl', maxLength: 200, maxBadShare: 0.1 }
  const store = { root: 'store', durability: 'fast' }
  await writeFile(
    config,
    stringify({ version: 1, run: { dir: 'run' }, target, data, store, manifest: 'store/manifest' }),
  )
  return { dir, config }
}

it('a capture shows ten samples in its report, the same ones each time, or none', async () => {
  const { dir, config } = await folder()
  const report = async (...args: string[]) => {
    const { code, stderr } = await draftbridge('capture', '-c', config, ...args)
    expect(stderr).toContain('report.html')
    expect(code).toBe(0)
    return (await readFile(path.join(dir, 'run/report.html'), 'utf8')).split('<h2>Data</h2>')[1] ?? ''
  }
  const first = await report()
  expect(first).toContain('<th scope="row">Repeats</th><td>2</td>')
  expect(first.match(/<mark>answer \d &lt;img src=x onerror=alert\(1\)&gt;&lt;\|im_end\|&gt;\n<\/mark>/g)).toHaveLength(
    10,
  )
  expect(first).not.toContain('<img')
  expect(await report('--no-samples')).not.toMatch(/answer \d/)
  expect(await report()).toBe(first)
})

it('manifest show tells the health as text and as JSON, and samples on request', async () => {
  const { dir, config } = await folder()
  expect((await draftbridge('capture', '-c', config, '--quiet', '--no-samples')).code).toBe(0)
  const show = (...args: string[]) => draftbridge('manifest', 'show', path.join(dir, 'store/manifest'), ...args)
  const { stdout: plain } = await show()
  expect(plain).toMatch(/^inputs +13 {2}conversations or files$/m)
  expect(plain).toMatch(/^repeats +2 /m)
  expect(plain).not.toMatch(/answer \d/)
  const { stdout: marked } = await show('--samples', '2', '--seed', '3')
  expect(marked.match(/^ {2}>>answer \d <img src=x onerror=alert\(1\)><\|im_end\|>$/gm)).toHaveLength(2)
  expect((await show('--samples', '2', '--seed', '3')).stdout).toBe(marked)
  const { health } = JSON.parse((await show('--json', '--samples', '1')).stdout)
  expect(health).toMatchObject({
    samples: 12,
    produced: { inputs: 13, total: 13, whole: true, empty: 0, refused: 1, duplicates: { samples: 2 } },
    vocabulary: { coverage: [{ tokens: 320, share: 1 }] },
    shown: { seed: 0, missing: null, samples: [{ parts: [{ trained: false }, { trained: true }] }] },
  })
  // As `init` lays them out: the manifest beside the store, which may have neighbours.
  await cp(path.join(dir, 'store/manifest'), path.join(dir, 'manifest'), { recursive: true })
  await mkdir(path.join(dir, 'other'))
  await writeFile(path.join(dir, 'other/store.json'), '{"storeId": "another"}')
  const beside = await draftbridge('manifest', 'show', path.join(dir, 'manifest'), '--samples', '2', '--seed', '3')
  expect(beside.stdout.match(/^ {2}>>answer \d/gm)).toHaveLength(2)
  const { code, stderr } = await show('--samples', 'many')
  expect([code, stderr]).toEqual([2, expect.stringContaining('whole number')])
})
