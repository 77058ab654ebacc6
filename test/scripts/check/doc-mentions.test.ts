import { describe, expect, it } from 'vitest'
import { brokenCitations, brokenMentions, type Repository } from '../../../scripts/check/doc-mentions.ts'

const texts: Readonly<Record<string, string>> = {
  'docs/format.md': '# The format\n\n## Keys, and salts\n',
  'test/store/gate.test.ts': "it('a member\\'s note is whole', () => 1)",
  'test/python/test_loss.py': 'def test_the_loss_equals_a_loop() -> None: ...',
  'src/store/gate.ts': '',
}
const repository: Repository = {
  files: Object.keys(texts),
  scripts: ['bench:store'],
  textOf: (file) => texts[file] ?? '',
}
const found = (text: string): readonly string[] => brokenMentions('docs/page.md', text, repository)

describe('a document', () => {
  it('may name what is there, in links, in backticks, in commands and in prose', () => {
    const text = [
      '[format](format.md), [keys](format.md#keys-and-salts), [gate](../src/store/gate.ts), [here](#page), [web](https://a.b)',
      '# Page',
      '`store/gate.ts`, `src/store/`, src/store/gate.ts. And `npm run bench:store`; `gate.ts` too.',
    ].join('\n')
    expect(found(text)).toEqual(['docs/page.md: the link #page does not exist'])
    const [, ...rest] = text.split('\n')
    expect(brokenMentions('docs/format.md', rest.join('\n'), repository)).toEqual([])
  })

  it('may not link to a file, a folder or a heading that does not exist', () => {
    expect(found('[a](nothing.md) [b](format.md#no-such-heading) [c](../src/none)')).toEqual([
      'docs/page.md: the link nothing.md does not exist',
      'docs/page.md: the link format.md#no-such-heading does not exist',
      'docs/page.md: the link ../src/none does not exist',
    ])
  })

  it('may not name a path or a command that does not exist, code blocks included', () => {
    expect(found('```sh\nnpm run bench:none\nnode scripts/none.ts\n```\n')).toEqual([
      'docs/page.md: scripts/none.ts does not exist',
      'docs/page.md: npm run bench:none does not exist',
    ])
    expect(found('`other.ts` and `fused/none.py`')).toHaveLength(2)
  })

  it('may name paths of a store or of another machine', () => {
    expect(
      found('`objects/<2 hex>/x.safetensors`, `/mnt/src/none.ts`, `test/<room>/x.test.ts`, `checkpoint.json`'),
    ).toEqual([])
  })

  it('names tests by titles that their file has', () => {
    expect(found("| `test/store/gate.test.ts`: *a member's … whole* |")).toEqual([])
    expect(found('| `test_loss.py`: *the loss equals a loop* |')).toEqual([])
    expect(found('| `gate.test.ts`, *another title* |')).toHaveLength(1)
    expect(found('| `test/store/gate.test.ts` | *stressed, in another cell* |')).toEqual([])
  })
})

it('a source file may cite only documents that exist', () => {
  const [there, gone] = ['# docs/format.md says so', `# see notes${'.md'} 3.1`]
  expect(brokenCitations('python/a.py', there, repository)).toEqual([])
  expect(brokenCitations('python/a.py', gone, repository)).toEqual([
    'python/a.py: cites notes.md, which does not exist',
  ])
})
